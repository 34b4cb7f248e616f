package proxy

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zapcore"

	"ssegw/proxy/s3"
)

// element is an element of an error document.
type element struct {
	XMLName xml.Name
	Text    string `xml:",chardata"`
}

// elements returns the elements of an error document by name. Another
// document fails the test.
func (a clientAnswer) elements(t testing.TB) map[string]string {
	t.Helper()
	var doc struct {
		XMLName  xml.Name  `xml:"Error"`
		Elements []element `xml:",any"`
	}
	if err := xml.Unmarshal(a.body, &doc); err != nil {
		t.Fatalf("%v: %q", err, a.body)
	}
	found := map[string]string{}
	for _, e := range doc.Elements {
		found[e.XMLName.Local] = e.Text
	}
	return found
}

// forwardedRequests are requests whose errors are the store's.
var forwardedRequests = []clientRequest{
	{method: "GET", path: "/bucket", query: url.Values{"tagging": {""}}},
	{method: "PUT", path: "/bucket", query: url.Values{"tagging": {""}}, body: []byte("<T/>")},
	{method: "DELETE", path: "/bucket/key"},
	{method: "GET", path: "/bucket/key"},
	{method: "GET", path: "/bucket"},
	{method: "GET", path: "/"},
	{method: "DELETE", path: "/bucket"},
	{method: "HEAD", path: "/bucket"},
	{method: "HEAD", path: "/bucket/key"},
}

// TestStoreErrors: an error of the store reaches the client with its status,
// code, message and further elements. The rest of the answer is the gateway's.
func TestStoreErrors(t *testing.T) {
	t.Parallel()
	const doc = "<?xml version='1.0'?>\n<Error xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"  ><Code>XStrangeVendorError</Code>" +
		"<Message>&lt;b>words</Message><Detail a=\"1\">&lt;é</Detail><Resource>/theirs</Resource><Endpoint>store.internal</Endpoint>" +
		"<Nested><More>of the store</More></Nested>" +
		"<RequestId>theirs</RequestId><HostId>theirs</HostId></Error>\n\n"
	for _, status := range []int{400, 403, 404, 405, 409, 411, 500, 501, 503} {
		for _, request := range forwardedRequests {
			t.Run(fmt.Sprintf("%s %s %d", request.method, request.path, status), func(t *testing.T) {
				t.Parallel()
				g := newGateway(t)
				g.upstream.on(request.method, "/", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
					h := w.Header()
					h.Set("Content-Type", "text/html; vendor")
					h.Set("X-Amz-Request-Id", "their-request")
					h.Set("X-Amz-Id-2", "their-host")
					h.Set("Retry-After", "7")
					h.Set("X-Minio-Error-Code", "Strange")
					h.Set("Server", "TheirServer")
					h.Set("Location", "http://store.internal/")
					h.Set("Set-Cookie", "a=b")
					w.WriteHeader(status)
					_, _ = io.WriteString(w, doc)
				})
				r := g.do(request)
				id := r.header.Get("X-Amz-Request-Id")
				if r.status != status || r.header.Get("Retry-After") != "7" || r.header.Get("Server") != "ssegw" || id == "" || id == "their-request" {
					t.Errorf("answer %d, %v", r.status, r.header)
				}
				for _, name := range []string{"Location", "Set-Cookie", "X-Amz-Id-2"} {
					if v, ok := r.header[name]; ok {
						t.Errorf("%s: %q reaches the client", name, v)
					}
				}
				if !loggedID(g, "their-request", "their-host") {
					t.Error("the store's IDs are not in the log")
				}
				if request.method == "HEAD" {
					return
				}
				want := map[string]string{
					"Code": "XStrangeVendorError", "Message": "<b>words", "Detail": "<é", "Resource": request.path, "RequestId": id, "HostId": id,
				}
				if diff := cmp.Diff(want, r.elements(t)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if r.header.Get("Content-Type") != "application/xml" {
					t.Errorf("Content-Type %q", r.header.Get("Content-Type"))
				}
			})
		}
	}
}

// loggedID reports whether the line of a request has the store's IDs.
func loggedID(g *testGateway, request, host string) (found bool) {
	eventually(g.t, "the request to be logged", func() bool {
		for _, entry := range g.logs.FilterMessage("request").All() {
			field := func(name string) string {
				i := slices.IndexFunc(entry.Context, func(f zapcore.Field) bool { return f.Key == name })
				if i < 0 {
					return ""
				}
				return entry.Context[i].String
			}
			found = found || field("store_request_id") == request && field("store_host_id") == host
		}
		return found || g.logs.FilterMessage("request").Len() > 0
	})
	return found
}

// evilDocuments are bodies that a store should never send, with their content
// type.
var evilDocuments = map[string]string{
	"html":          "<html><body><script>alert(1)</script></body></html>",
	"xhtml":         `<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><script>alert(1)</script></html>`,
	"svg":           `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`,
	"xslt":          `<?xml version="1.0"?><?xml-stylesheet href="http://evil.invalid/x.xsl" type="text/xsl"?><Error><Code>a b</Code></Error>`,
	"no code":       "<Error><Message>evil</Message></Error>",
	"odd code":      "<Error><Code>&lt;script></Code><Message>evil</Message></Error>",
	"cut":           "<Error><Code>AccessDenied</Code><Message>evil",
	"trailing":      "<Error><Code>AccessDenied</Code></Error><script>alert(1)</script>",
	"document type": `<!DOCTYPE e [<!ENTITY x "evil">]><Error><Code>AccessDenied</Code><Message>&x;</Message></Error>`,
	"nested":        `<Error><Code>AccessDenied</Code><Message>evil</Message><html xmlns="http://www.w3.org/1999/xhtml"><script>alert(1)</script></html></Error>`,
	"text":          "evil",
	"json":          `{"evil":true}`,
	"":              "",
}

// TestEvilStoreErrors: of an error answer that is not an S3 error only the
// status counts. No byte of its document reaches the client.
func TestEvilStoreErrors(t *testing.T) {
	t.Parallel()
	codes := map[int]string{
		400: "InvalidRequest", 401: "AccessDenied", 403: "AccessDenied", 409: "OperationAborted", 418: "BadGateway", 429: "SlowDown", 500: "InternalError",
		501: "NotImplemented", 503: "ServiceUnavailable", 504: "ServiceUnavailable", 599: "BadGateway",
	}
	for name, doc := range evilDocuments {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			for status, code := range codes {
				for _, request := range forwardedRequests {
					g.upstream.on(request.method, "/", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
						w.Header().Set("Content-Type", "text/html")
						w.WriteHeader(status)
						_, _ = io.WriteString(w, doc)
					})
					r := g.do(request)
					g.upstream.unhook()
					if want := s3.ErrorByCode(code).Status; r.status != want || request.method != "HEAD" && r.elements(t)["Code"] != code {
						t.Errorf("%s %s of %d: %d %.200q, want %d %s", request.method, request.path, status, r.status, r.body, want, code)
					}
					if ct := r.header.Get("Content-Type"); request.method != "HEAD" && ct != "application/xml" || strings.Contains(string(r.body), "evil") || strings.Contains(string(r.body), "script") {
						t.Errorf("%s: %q", ct, r.body)
					}
				}
			}
		})
	}
}

// TestStoreNotFound: if the store does not name what is missing, it follows
// from the request.
func TestStoreNotFound(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.upstream.on("", "/bucket", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(404) })
	g.do(clientRequest{method: "GET", path: "/bucket"}).want(t, 404, "NoSuchBucket")
	g.do(clientRequest{method: "GET", path: "/bucket/k"}).want(t, 404, "NoSuchKey")
	if r := g.head("/bucket"); r.status != 404 || r.header.Get("X-Minio-Error-Code") != "NoSuchBucket" {
		t.Errorf("%d %v", r.status, r.header)
	}
}

// TestForwardedDocuments: a document of the store is passed on when it is what
// the operation answers with, under the type that it has then.
func TestForwardedDocuments(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	const good = `<?xml version="1.0"?><Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><TagSet xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"/></Tagging>`
	answer := func(doc string) {
		g.upstream.unhook()
		g.upstream.on("", "/bucket", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("X-Amz-Mp-Parts-Count", "1")
			_, _ = io.WriteString(w, doc)
		})
	}
	tagging := clientRequest{method: "GET", path: "/bucket/k", query: url.Values{"tagging": {""}}}
	policy := clientRequest{method: "GET", path: "/bucket", query: url.Values{"policy": {""}}}
	batch := clientRequest{method: "POST", path: "/bucket", query: url.Values{"delete": {""}}, body: []byte("<Delete><Object><Key>k</Key></Object></Delete>")}
	list := clientRequest{method: "GET", path: "/bucket"}
	for _, tt := range []struct {
		c         clientRequest
		doc, kind string
	}{
		{tagging, good, "application/xml"},
		{batch, `<DeleteResult><Deleted><Key>k</Key></Deleted></DeleteResult>`, "application/xml"},
		{policy, `{"Version": "2012-10-17"}`, "application/json"},
		{list, `<ListBucketResult></ListBucketResult>`, "application/xml"},
	} {
		answer(tt.doc)
		r := g.do(tt.c)
		if r.status != 200 || string(r.body) != tt.doc || r.header.Get("Content-Type") != tt.kind {
			t.Errorf("%s %v: %d %s %q", tt.c.method, tt.c.query, r.status, r.header.Get("Content-Type"), r.body)
		}
	}
	bad := map[string]string{"empty xhtml": `<x:Tagging xmlns:x="http://www.w3.org/1999/xhtml"/>`, "hidden": `<T xmlns="&#104;ttp://www.w3.org/1999/xhtml"/>`}
	for name, doc := range evilDocuments {
		if strings.HasPrefix(doc, "<Error><Code>A") || doc == "" {
			continue
		}
		bad[name] = doc
	}
	delete(bad, "no code")
	delete(bad, "odd code")
	for name, doc := range bad {
		answer(doc)
		for _, c := range []clientRequest{tagging, batch, policy, list} {
			if name == "json" && c.query.Has("policy") {
				continue
			}
			if r := g.do(c); r.status != 503 || strings.Contains(string(r.body), "evil") {
				t.Errorf("%s %v of %s: %d %q", c.method, c.query, name, r.status, r.body)
			}
		}
	}
	// The document of a write's answer does not matter: the write is done.
	answer(evilDocuments["html"])
	r := g.do(clientRequest{method: "PUT", path: "/bucket/k", query: url.Values{"tagging": {""}}, body: []byte("<T/>")})
	if r.status != 200 || len(r.body) > 0 {
		t.Errorf("PUT: %d %q", r.status, r.body)
	}
}

// TestErrorElements: error documents have the elements that Amazon S3
// documents.
func TestErrorElements(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/k", []byte("0123456789"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	bare := func(status int, code string) hook { // a store that says no more than the code
		return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(status)
			fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
		}
	}
	tests := map[string]struct {
		c    clientRequest
		hook hook
		want map[string]string
	}{
		"range": {clientRequest{method: "GET", path: "/bucket/k", header: headers("Range", "bytes=10-")}, nil,
			map[string]string{"Code": "InvalidRange", "RangeRequested": "bytes=10-", "ActualObjectSize": "10"}},
		"part": {clientRequest{method: "GET", path: "/bucket/k", query: url.Values{"partNumber": {"7"}}}, nil,
			map[string]string{"Code": "InvalidPartNumber", "PartNumberRequested": "7", "ActualPartCount": "1"}},
		"key": {clientRequest{method: "GET", path: "/bucket/a b"}, nil, map[string]string{"Code": "NoSuchKey", "Key": "a b"}},
		"version": {clientRequest{method: "GET", path: "/bucket/k", query: url.Values{"versionId": {"v"}}}, nil,
			map[string]string{"Code": "NoSuchVersion", "Key": "k", "VersionId": "v"}},
		"bucket":       {clientRequest{method: "GET", path: "/absent/k"}, nil, map[string]string{"Code": "NoSuchBucket", "BucketName": "absent"}},
		"tags":         {clientRequest{method: "GET", path: "/bucket", query: url.Values{"tagging": {""}}}, bare(404, "NoSuchTagSet"), map[string]string{"Code": "NoSuchTagSet", "BucketName": "bucket"}},
		"not empty":    {clientRequest{method: "DELETE", path: "/bucket"}, bare(409, "BucketNotEmpty"), map[string]string{"Code": "BucketNotEmpty", "BucketName": "bucket"}},
		"upload":       {clientRequest{method: "GET", path: "/bucket/k", query: url.Values{"uploadId": {"u"}}}, nil, map[string]string{"Code": "NoSuchUpload", "UploadId": "u"}},
		"match":        {clientRequest{method: "GET", path: "/bucket/k", header: headers("If-Match", `"x"`)}, nil, map[string]string{"Code": "PreconditionFailed", "Condition": "If-Match"}},
		"unmodified":   {clientRequest{method: "GET", path: "/bucket/k", header: headers("If-Unmodified-Since", "Thu, 01 Dec 1994 16:00:00 GMT")}, nil, map[string]string{"Condition": "If-Unmodified-Since"}},
		"none match":   {clientRequest{method: "PUT", path: "/bucket/k", header: headers("If-None-Match", "*")}, nil, map[string]string{"Condition": "If-None-Match"}},
		"copy":         {clientRequest{method: "PUT", path: "/bucket/k2", header: headers(s3.HeaderCopySource, "/bucket/k", s3.HeaderCopySourceIfMatch, `"x"`)}, nil, map[string]string{"Condition": "x-amz-copy-source-If-Match"}},
		"copy of none": {clientRequest{method: "PUT", path: "/bucket/k2", header: headers(s3.HeaderCopySource, "/bucket/none")}, nil, map[string]string{"Code": "NoSuchKey", "Key": "none"}},
		"copy from no bucket": {clientRequest{method: "PUT", path: "/bucket/k2", header: headers(s3.HeaderCopySource, "/absent/none")}, nil,
			map[string]string{"Code": "NoSuchBucket", "BucketName": "absent"}},
		"marker": {clientRequest{method: "GET", path: "/bucket/k", query: url.Values{"versionId": {"v"}}}, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			w.Header().Set("X-Amz-Delete-Marker", "true")
			bare(405, "MethodNotAllowed")(w, r, nil)
		}, map[string]string{"Code": "MethodNotAllowed", "Method": "GET", "ResourceType": "DeleteMarker"}},
		"method": {clientRequest{method: "GET", path: "/bucket/k", query: url.Values{"acl": {""}}}, bare(405, "MethodNotAllowed"), map[string]string{"Method": "GET", "ResourceType": "OBJECT"}},
		"metadata": {clientRequest{method: "PUT", path: "/bucket/k", header: headers(s3.HeaderSSE, s3.AES256, "X-Amz-Meta-A", strings.Repeat("a", 2048))}, nil,
			map[string]string{"Code": "MetadataTooLarge", "Size": "2049", "MaxSizeAllowed": "2048"}},
		"long key": {clientRequest{method: "PUT", path: "/bucket/" + strings.Repeat("k", 1025)}, nil,
			map[string]string{"Code": "KeyTooLongError", "Size": "1025", "MaxSizeAllowed": "1024"}},
		"header": {clientRequest{method: "PUT", path: "/bucket/k", header: headers("X-Amz-New-Feature", "on")}, nil, map[string]string{"Code": "NotImplemented", "Header": "x-amz-new-feature"}},
		"too large": {clientRequest{method: "PUT", path: "/bucket/k", body: []byte("0123456789")}, bare(400, "EntityTooLarge"),
			map[string]string{"Code": "EntityTooLarge", "ProposedSize": "10", "MaxSizeAllowed": "5368709120"}},
		"document": {clientRequest{method: "PUT", path: "/bucket", query: url.Values{"tagging": {""}}, body: make([]byte, 2<<20)}, nil,
			map[string]string{"Code": "MaxMessageLengthExceeded", "MaxMessageLengthBytes": "1048576"}},
	}
	for name, tt := range tests {
		if tt.hook != nil {
			g.upstream.on("", "/bucket", tt.hook)
		}
		r := g.do(tt.c)
		g.upstream.unhook()
		if r.err != nil || len(r.body) == 0 {
			t.Fatalf("%s: %d %v", name, r.status, r.err)
		}
		got := r.elements(t)
		for element, want := range tt.want {
			if got[element] != want {
				t.Errorf("%s: %s is %q, want %q: %s", name, element, got[element], want, r.body)
			}
		}
	}
}

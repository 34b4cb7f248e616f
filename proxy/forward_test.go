package proxy

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
)

// document returns what the store keeps for a sub-resource, "/bucket/key?name".
func (u *memUpstream) document(name string) []byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.docs[name]
}

// TestForwardDocuments sends documents of other operations through the gateway:
// bytes and headers arrive unchanged, and come back unchanged.
func TestForwardDocuments(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		path, sub, doc string
		header         []string
	}{
		"tagging":        {"/bucket/key", "tagging", "<?xml version=\"1.0\"?>\n<Tagging><TagSet><Tag><Key>bucket</Key>\r\n<Value>" + testStateBucket + "</Value></Tag></TagSet></Tagging>\n", nil},
		"bucket tagging": {"/bucket", "tagging", "<Tagging><TagSet/></Tagging>", nil},
		"policy":         {"/bucket", "policy", `{"Version":"2012-10-17", "Statement":[{"Resource":"arn:aws:s3:::bucket/*","Sid":"a<b&c"}]}`, nil},
		"ACL":            {"/bucket", "acl", "", []string{"X-Amz-Acl", "public-read", "X-Amz-Grant-Read", `id="x", uri="http://acs/y"`}},
		"object ACL":     {"/bucket/a b+c/ü?#%2F", "acl", "<AccessControlPolicy/>", nil},
		"lifecycle":      {"/bucket", "lifecycle", "<LifecycleConfiguration>ünï</LifecycleConfiguration>", []string{"X-Amz-Transition-Default-Minimum-Object-Size", "varies_by_storage_class"}},
		"logging":        {"/bucket", "logging", "<BucketLoggingStatus><LoggingEnabled><TargetBucket>logs</TargetBucket><TargetPrefix>" + testStateBucket + "</TargetPrefix></LoggingEnabled></BucketLoggingStatus>", nil},
		"versioning":     {"/bucket", "versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>", []string{"X-Amz-Mfa", "serial 123456"}},
		"lock":           {"/bucket", "object-lock", "<ObjectLockConfiguration/>", []string{"X-Amz-Expected-Bucket-Owner", "111122223333"}},
		"retention":      {"/bucket/key", "retention", "<Retention/>", []string{"X-Amz-Bypass-Governance-Retention", "true"}},
	}
	for name, test := range tests {
		for _, mode := range []string{modeHash, modeUnsigned} {
			t.Run(name+" "+mode, func(t *testing.T) {
				t.Parallel()
				g := newGateway(t)
				query := url.Values{test.sub: {""}}
				g.do(clientRequest{method: http.MethodPut, path: test.path, query: query, body: []byte(test.doc), header: headers(test.header...), mode: mode}).want(t, 200, "")
				seen := g.upstream.requests("/bucket")
				if len(seen) != 1 {
					t.Fatalf("the store saw %d requests", len(seen))
				}
				if got := g.upstream.document(test.path + "?" + test.sub); seen[0].Path != test.path || string(got) != test.doc {
					t.Errorf("arrived at %s: %q\nwant %q", seen[0].Path, got, test.doc)
				}
				if diff := cmp.Diff(query, seen[0].Query); diff != "" {
					t.Errorf("query (-want +got):\n%s", diff)
				}
				for name, want := range headers(test.header...) {
					if diff := cmp.Diff(want, seen[0].Header.Values(name)); diff != "" {
						t.Errorf("%s (-want +got):\n%s", name, diff)
					}
				}
				if test.doc == "" {
					return
				}
				r := g.do(clientRequest{method: http.MethodGet, path: test.path, query: query})
				r.want(t, 200, "")
				if string(r.body) != test.doc {
					t.Errorf("came back as %q", r.body)
				}
			})
		}
	}
}

// TestForwardKeepsChecksums: stores want a checksum on DeleteObjects and the
// like.
func TestForwardKeepsChecksums(t *testing.T) {
	t.Parallel()
	doc := []byte("<Delete><Object><Key>" + testStateBucket + "</Key></Object><Object><Key>&#x1;</Key></Object></Delete>")
	g := newGateway(t)
	g.do(clientRequest{
		method: http.MethodPost, path: "/bucket", query: url.Values{"delete": {""}}, body: doc,
		header: headers("X-Amz-Checksum-Crc32", sumText("CRC32", doc), "X-Amz-Sdk-Checksum-Algorithm", "CRC32"),
	}).want(t, 200, "")
	seen := g.upstream.requests("/bucket")
	if len(seen) != 1 || !bytes.Equal(g.upstream.document("/bucket?delete"), doc) {
		t.Fatalf("arrived as %+v", seen)
	}
	if got := seen[0].Header.Get("X-Amz-Checksum-Crc32"); got != sumText("CRC32", doc) {
		t.Errorf("checksum %q", got)
	}
	if seen[0].Header.Get("Content-Md5") == "" {
		t.Error("no Content-MD5 for stores that know nothing else")
	}
}

// TestForwardVerifiesFirst sends documents that do not match their signature or
// checksum. The store never sees the request.
func TestForwardVerifiesFirst(t *testing.T) {
	t.Parallel()
	doc := []byte("<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>")
	flip := func(b []byte) []byte { return bytes.Replace(b, []byte("<Value>v"), []byte("<Value>w"), 1) }
	tests := map[string]struct {
		c      clientRequest
		status int
		code   string
	}{
		"hash":           {clientRequest{spoil: flip}, 400, "XAmzContentSHA256Mismatch"},
		"MD5":            {clientRequest{header: headers("Content-Md5", sumText("MD5", []byte("other")))}, 400, "BadDigest"},
		"checksum":       {clientRequest{header: headers("X-Amz-Checksum-Sha256", sumText("SHA256", []byte("other")))}, 400, "BadDigest"},
		"cut":            {clientRequest{mode: modeUnsigned, cut: 10}, 400, "IncompleteBody"},
		"chunks":         {clientRequest{mode: modeSigned}, 400, "InvalidRequest"},
		"signed trailer": {clientRequest{mode: modeSignedTrailer}, 400, "InvalidRequest"},
		"trailer":        {clientRequest{mode: modeTrailer}, 400, "InvalidRequest"},
		"anonymous":      {clientRequest{mode: modeTrailer, anonymous: true}, 400, "InvalidRequest"},
	}
	for name, test := range tests {
		g := newGateway(t)
		test.c.method, test.c.path, test.c.query, test.c.body = http.MethodPut, "/bucket/key", url.Values{"tagging": {""}}, doc
		r := g.do(test.c)
		if r.status != test.status || r.code != test.code {
			t.Errorf("%s: %d %s (%v), want %d %s", name, r.status, r.code, r.err, test.status, test.code)
		}
		if seen := g.upstream.requests("/bucket"); len(seen) > 0 {
			t.Errorf("%s: the store saw %+v", name, seen)
		}
	}
}

// TestForwardDocumentLimit: a body too large for its operation is refused.
func TestForwardDocumentLimit(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	pad := func(n int) []byte { return []byte("<T>" + strings.Repeat("x", n-7) + "</T>") }
	tests := []struct {
		method, sub string
		size        int
		code        string
	}{
		{"PUT", "tagging", 1 << 20, ""},
		{"PUT", "tagging", 1<<20 + 1, "MaxMessageLengthExceeded"},
		{"POST", "delete", 4 << 20, ""},
		{"POST", "delete", 4<<20 + 1, "MaxMessageLengthExceeded"},
		{"DELETE", "tagging", maxDocument + 1, "MaxMessageLengthExceeded"}, // takes no document
	}
	for _, test := range tests {
		g.upstream.forget()
		r := g.do(clientRequest{method: test.method, path: "/bucket", query: url.Values{test.sub: {""}}, body: pad(test.size)})
		if r.code != test.code || (test.code == "") != (len(g.upstream.requests("/bucket")) == 1) {
			t.Errorf("%s ?%s of %d bytes: %d %s", test.method, test.sub, test.size, r.status, r.code)
		}
	}
}

// TestForwardTrouble: a failure between gateway and store is a 503 that reveals
// nothing of the store.
func TestForwardTrouble(t *testing.T) {
	t.Parallel()
	redirect := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Location", "http://store.internal/bucket/key")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
	for name, h := range map[string]hook{
		"away":                  breakAfter(0),
		"gateway's key":         answerWith(403, "InvalidAccessKeyId"),
		"gateway's secret":      answerWith(403, "SignatureDoesNotMatch"),
		"gateway's clock":       answerWith(403, "RequestTimeTooSkewed"),
		"gateway's region":      answerWith(400, "AuthorizationHeaderMalformed"),
		"redirect to the store": redirect,
	} {
		g := newGateway(t)
		g.upstream.on("", "/bucket", h)
		for _, request := range []clientRequest{
			{method: "GET", path: "/bucket", query: url.Values{"tagging": {""}}},
			{method: "PUT", path: "/bucket/key", body: []byte("x")},
			{method: "GET", path: "/bucket/key"},
			{method: "GET", path: "/bucket"},
		} {
			r := g.do(request)
			if r.status != 503 || r.code != "ServiceUnavailable" || r.header.Get("Retry-After") == "" || r.header.Get("Location") != "" || bytes.Contains(r.body, []byte("on demand")) {
				t.Errorf("%s, %s %s: %d %v %s", name, request.method, request.path, r.status, r.header, r.body)
			}
		}
	}
}

// TestForwardAnonymous: the store decides on requests without a signature.
func TestForwardAnonymous(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/key", []byte("x")).want(t, 200, "")
	g.upstream.forget()
	g.do(clientRequest{method: "DELETE", path: "/bucket/key", anonymous: true}).want(t, 403, "AccessDenied")
	for _, r := range g.upstream.requests("/bucket") {
		if r.Header.Get("Authorization") != "" {
			t.Errorf("%s %s was signed for nobody", r.Method, r.Path)
		}
	}
	g.upstream.public[testBucket] = true
	g.do(clientRequest{method: "DELETE", path: "/bucket/key", anonymous: true}).want(t, 204, "")
}

// TestStateBucketIsHidden names the state bucket in every way a request can.
func TestStateBucketIsHidden(t *testing.T) {
	t.Parallel()
	logging := func(target string) []byte {
		return []byte("<BucketLoggingStatus><LoggingEnabled>" + target + "</LoggingEnabled></BucketLoggingStatus>")
	}
	sub := func(name string) url.Values { return url.Values{name: {""}} }
	tests := map[string]struct {
		c    clientRequest
		code string
	}{
		"get":                  {clientRequest{method: "GET", path: "/" + testStateBucket + "/root"}, "NoSuchBucket"},
		"put":                  {clientRequest{method: "PUT", path: "/" + testStateBucket + "/rules", body: []byte("x")}, "NoSuchBucket"},
		"delete":               {clientRequest{method: "DELETE", path: "/" + testStateBucket + "/rules"}, "NoSuchBucket"},
		"list":                 {clientRequest{method: "GET", path: "/" + testStateBucket}, "NoSuchBucket"},
		"delete bucket":        {clientRequest{method: "DELETE", path: "/" + testStateBucket}, "NoSuchBucket"},
		"create bucket":        {clientRequest{method: "PUT", path: "/" + testStateBucket}, "BucketAlreadyExists"},
		"policy":               {clientRequest{method: "PUT", path: "/" + testStateBucket, query: sub("policy"), body: []byte("{}")}, "NoSuchBucket"},
		"rule":                 {clientRequest{method: "PUT", path: "/" + testStateBucket, query: sub("encryption"), body: encryptionDoc("AES256", "")}, "NoSuchBucket"},
		"versions":             {clientRequest{method: "GET", path: "/" + testStateBucket, query: sub("versions")}, "NoSuchBucket"},
		"delete objects":       {clientRequest{method: "POST", path: "/" + testStateBucket, query: sub("delete"), body: []byte("<Delete/>")}, "NoSuchBucket"},
		"anonymous":            {clientRequest{method: "GET", path: "/" + testStateBucket + "/root", anonymous: true}, "NoSuchBucket"},
		"escaped":              {clientRequest{method: "GET", path: "/" + testStateBucket + "/root", tamper: func(r *http.Request) { r.URL.RawPath = "/%67ateway-state/root" }}, "NoSuchBucket"},
		"copy source":          {clientRequest{method: "PUT", path: "/bucket/k", header: headers("X-Amz-Copy-Source", testStateBucket+"/root")}, "NoSuchBucket"},
		"copy source, slash":   {clientRequest{method: "PUT", path: "/bucket/k", header: headers("X-Amz-Copy-Source", "/"+testStateBucket+"/root")}, "NoSuchBucket"},
		"copy source, escaped": {clientRequest{method: "PUT", path: "/bucket/k", header: headers("X-Amz-Copy-Source", "%67ateway-state%2Froot")}, "NoSuchBucket"},
		"part copy source":     {clientRequest{method: "PUT", path: "/bucket/k", query: url.Values{"partNumber": {"1"}, "uploadId": {"u"}}, header: headers("X-Amz-Copy-Source", testStateBucket+"/root")}, "NoSuchBucket"},
		"virtual host":         {clientRequest{method: "GET", path: "/root", anonymous: true, tamper: func(r *http.Request) { r.Host = testStateBucket + ".s3.example.com" }}, "NoSuchBucket"},
		"logging":              {clientRequest{method: "PUT", path: "/bucket", query: sub("logging"), body: logging("<TargetBucket>" + testStateBucket + "</TargetBucket>")}, "NoSuchBucket"},
		"logging, spaces":      {clientRequest{method: "PUT", path: "/bucket", query: sub("logging"), body: logging("<TargetBucket>\n " + testStateBucket + "\t</TargetBucket>")}, "NoSuchBucket"},
		"logging, namespace":   {clientRequest{method: "PUT", path: "/bucket", query: sub("logging"), body: logging(`<x:TargetBucket xmlns:x="http://s3.amazonaws.com/doc/2006-03-01/">` + testStateBucket + "</x:TargetBucket>")}, "NoSuchBucket"},
		"logging, CDATA":       {clientRequest{method: "PUT", path: "/bucket", query: sub("logging"), body: logging("<TargetBucket>gate<![CDATA[way-state]]></TargetBucket>")}, "NoSuchBucket"},
		"logging, comment":     {clientRequest{method: "PUT", path: "/bucket", query: sub("logging"), body: logging("<TargetBucket>gate<!-- x -->way-state</TargetBucket>")}, "NoSuchBucket"},
		"logging, child":       {clientRequest{method: "PUT", path: "/bucket", query: sub("logging"), body: logging("<TargetBucket>gate<x>y</x>way-state</TargetBucket>")}, "NoSuchBucket"},
		"logging, reference":   {clientRequest{method: "PUT", path: "/bucket", query: sub("logging"), body: logging("<TargetBucket>&#103;ateway-state</TargetBucket>")}, "NoSuchBucket"},
		"logging, entity":      {clientRequest{method: "PUT", path: "/bucket", query: sub("logging"), body: append([]byte(`<!DOCTYPE x [<!ENTITY e "gateway-state">]>`), logging("<TargetBucket>&e;</TargetBucket>")...)}, "MalformedXML"},
		"logging, Latin-1":     {clientRequest{method: "PUT", path: "/bucket", query: sub("logging"), body: append([]byte(`<?xml version="1.0" encoding="ISO-8859-1"?>`), logging("<TargetBucket>"+testStateBucket+"</TargetBucket>")...)}, "MalformedXML"},
		"logging, UTF-16":      {clientRequest{method: "PUT", path: "/bucket", query: sub("logging"), body: utf16LE(string(logging("<TargetBucket>" + testStateBucket + "</TargetBucket>")))}, "MalformedXML"},
		"logging, not closed":  {clientRequest{method: "PUT", path: "/bucket", query: sub("logging"), body: []byte("<L><TargetBucket>" + testStateBucket)}, "MalformedXML"},
		"logging, tenant":      {clientRequest{method: "PUT", path: "/bucket", query: sub("logging"), body: logging("<TargetBucket>tenant:" + testStateBucket + "</TargetBucket>")}, "NoSuchBucket"},
		"logging, at creation": {clientRequest{method: "PUT", path: "/new-bucket", body: logging("<TargetBucket>" + testStateBucket + "</TargetBucket>")}, "NoSuchBucket"},
		"inventory":            {clientRequest{method: "PUT", path: "/bucket", query: url.Values{"inventory": {""}, "id": {"i"}}, body: []byte("<InventoryConfiguration><Destination><S3BucketDestination><Bucket>arn:aws:s3:::" + testStateBucket + "</Bucket></S3BucketDestination></Destination></InventoryConfiguration>")}, "NoSuchBucket"},
		"analytics, with path": {clientRequest{method: "PUT", path: "/bucket", query: url.Values{"analytics": {""}, "id": {"i"}}, body: []byte("<A><S3BucketDestination><Bucket>arn:aws-cn:s3:::" + testStateBucket + "/prefix</Bucket></S3BucketDestination></A>")}, "NoSuchBucket"},
		"restore":              {clientRequest{method: "POST", path: "/bucket/key", query: sub("restore"), body: []byte("<RestoreRequest><OutputLocation><S3><BucketName>" + testStateBucket + "</BucketName></S3></OutputLocation></RestoreRequest>")}, "NoSuchBucket"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withConfig(func(c *Config) { c.Domains = []string{"s3.example.com"} }))
			a := g.do(test.c)
			if a.code != test.code {
				t.Errorf("%d %s (%v), want %s", a.status, a.code, a.err, test.code)
			}
			for _, seen := range g.upstream.requests("/") {
				// The gateway's own look at its rules apart.
				if seen.Path != "/"+testStateBucket+"/"+state.RulesObject || seen.Method != http.MethodGet {
					t.Errorf("the store saw %s %s", seen.Method, seen.Path)
				}
			}
		})
	}
}

func utf16LE(s string) []byte {
	out := []byte{0xff, 0xfe}
	for _, c := range []byte(s) {
		out = append(out, c, 0)
	}
	return out
}

func TestListBucketsHidesState(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.upstream.makeBucket(testStateBucket + "-2")
	r := g.do(clientRequest{method: http.MethodGet, path: "/"})
	r.want(t, 200, "")
	for name, want := range map[string]bool{testBucket: true, testStateBucket: false, testStateBucket + "-2": true} {
		if got := bytes.Contains(r.body, []byte("<Name>"+name+"</Name>")); got != want {
			t.Errorf("%s shown: %t; %s", name, got, r.body)
		}
	}
}

// TestRefuseBucket reads the worst documents of the largest size, and documents
// that only seem to name the bucket. It would not end if the time grew with the
// square of the size.
func TestRefuseBucket(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	for _, piece := range []string{"a<!---->", "<a>", "<a/>", "&#97;"} {
		doc := []byte("<Bucket>" + strings.Repeat(piece, limit/len(piece)))
		if err := s3.RefuseBucket(doc, testStateBucket); s3Error(err).Code != "MalformedXML" {
			t.Errorf("%q: %v", piece, err)
		}
	}
	if err := s3.RefuseBucket([]byte("<Tagging><Key>"+testStateBucket+"</Key></Tagging>"), testStateBucket); err != nil {
		t.Errorf("a tag is taken for a bucket: %v", err)
	}
	if err := s3.RefuseBucket([]byte("<TargetBucket>"+testStateBucket+"-2</TargetBucket>"), testStateBucket); err != nil {
		t.Errorf("another bucket: %v", err)
	}
	if err := s3.RefuseBucket(nil, testStateBucket); err != nil {
		t.Error(err)
	}
	if s3Error(s3.RefuseBucket([]byte("<TargetBucket>"+testStateBucket+"</TargetBucket>"), testStateBucket)) != s3.ErrNoSuchBucket {
		t.Error("the state bucket is taken")
	}
}

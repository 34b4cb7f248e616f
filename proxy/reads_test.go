package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// rawHead reads the lines of an answer's head as they are on the wire.
func (g *testGateway) rawHead(c clientRequest) []string {
	g.t.Helper()
	conn := g.dial()
	defer conn.Close()
	c.header.Set("Connection", "close")
	g.writePart(conn, c, len(c.body))
	all, err := io.ReadAll(conn)
	if err != nil {
		g.t.Fatal(err)
	}
	head, _, _ := bytes.Cut(all, []byte("\r\n\r\n"))
	return strings.Split(string(head), "\r\n")
}

// TestHeaderSpelling: headers are spelled as Amazon documents them, because
// some clients accept no other spelling.
func TestHeaderSpelling(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	want := func(lines []string, names ...string) {
		t.Helper()
		for _, name := range names {
			if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, name+": ") }) {
				t.Errorf("no %s in %q", name, lines)
			}
		}
		for _, line := range lines[1:] {
			name, _, _ := strings.Cut(line, ":")
			if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") && name != lower || lower == "etag" && name != "ETag" {
				t.Errorf("%q", line)
			}
		}
	}
	for _, pairs := range [][]string{{s3.HeaderSSE, s3.AES256}, {}} {
		put := g.rawHead(clientRequest{method: "PUT", path: "/bucket/k", body: []byte("data"), header: headers(append(pairs, "X-Amz-Meta-Color", "red", "Cache-Control", "no-cache")...)})
		want(put, "ETag", "x-amz-request-id")
		for _, method := range []string{"GET", "HEAD"} {
			want(g.rawHead(clientRequest{method: method, path: "/bucket/k", header: headers(s3.HeaderChecksumMode, "ENABLED")}),
				"ETag", "x-amz-meta-color", "x-amz-request-id", "Last-Modified", "Content-Type", "Content-Length", "Cache-Control", "Accept-Ranges")
		}
		want(g.rawHead(clientRequest{method: "GET", path: "/bucket/k", header: headers("If-None-Match", "*")}), "ETag", "x-amz-request-id")
		want(g.rawHead(clientRequest{method: "GET", path: "/bucket/none", header: headers()}), "x-amz-request-id", "Content-Type")
		want(g.rawHead(clientRequest{method: "GET", path: "/bucket", header: headers()}), "x-amz-request-id", "Content-Type")
		want(g.rawHead(clientRequest{method: "POST", path: "/bucket/k", query: url.Values{"uploads": {""}}, header: headers(pairs...)}), "x-amz-request-id")
		want(g.rawHead(clientRequest{method: "PUT", path: "/bucket/k2", header: headers(s3.HeaderCopySource, "/bucket/k")}), "x-amz-request-id")
	}
	sealed := g.rawHead(clientRequest{method: "GET", path: "/bucket/k2", header: headers(s3.HeaderSSE, "")})
	want(sealed, "x-amz-request-id")
}

// TestIfRange: a range applies only if the object is the one that the client
// knows (RFC 9110, section 13.1.5). Otherwise the client gets the whole object.
func TestIfRange(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	body := pattern(sealer.PackageSize+500, 1)
	for _, pairs := range [][]string{{s3.HeaderSSE, s3.AES256}, {}} {
		g.put("/bucket/k", body, pairs...).want(t, 200, "")
		head := g.head("/bucket/k").header
		tag, modified := head.Get("ETag"), head.Get("Last-Modified")
		at, err := http.ParseTime(modified)
		if err != nil {
			t.Fatal(err)
		}
		for validator, isRange := range map[string]bool{
			tag: true, modified: true, at.Format(time.RFC850): true,
			"W/" + tag: false, `"other"`: false, strings.Trim(tag, `"`): false, "nonsense": false, "*": false, tag + `, "x"`: false,
			at.Add(time.Second).Format(http.TimeFormat): false, at.Add(-time.Second).Format(http.TimeFormat): false,
			`"` + strings.TrimSuffix(strings.Trim(tag, `"`), "-1") + `"`: len(pairs) == 0,
		} {
			for _, span := range []string{"bytes=65530-65549", fmt.Sprintf("bytes=-%d", len(body)-65530)} {
				for _, method := range []string{"GET", "HEAD"} {
					r := g.do(clientRequest{method: method, path: "/bucket/k", header: headers("Range", span, "If-Range", validator)})
					status, want := 200, body
					if isRange {
						status, want = 206, body[65530:]
						if !strings.HasPrefix(span, "bytes=-") {
							want = body[65530:65550]
						}
					}
					if r.status != status || method == "GET" && !bytes.Equal(r.body, want) || r.header.Get("Content-Length") != fmt.Sprint(len(want)) {
						t.Errorf("%v %s %s If-Range %s: %d, %d bytes, want %d", pairs, method, span, validator, r.status, len(r.body), status)
					}
				}
			}
		}
		// If the object is another one, an unsatisfiable range does not matter.
		g.get("/bucket/k", "Range", "bytes=9999999-", "If-Range", tag).want(t, 416, "InvalidRange")
		g.get("/bucket/k", "Range", "bytes=9999999-", "If-Range", `"other"`).want(t, 200, "")
	}
}

// TestConditionalAnswers: 304 and 412 have the headers that RFC 9110 (section
// 15.4.5) and Amazon S3 send with them, those of the object that clients know.
func TestConditionalAnswers(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	past, future := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for _, pairs := range [][]string{{s3.HeaderSSE, s3.AES256}, {}} {
		g.put("/bucket/k", []byte("data"), append(pairs, "Cache-Control", "max-age=60", "Expires", future, "Content-Type", "text/x", "X-Amz-Meta-A", "1")...).want(t, 200, "")
		g.upstream.unhook()
		g.upstream.on("", "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Header.Get("If-None-Match") == "" && r.Header.Get("If-Modified-Since") == "" {
				w.Header().Set("X-Amz-Version-Id", "v1")
				w.Header().Set("Vary", "Origin")
			}
			next.ServeHTTP(w, r)
		})
		whole := g.head("/bucket/k").header
		tag := whole.Get("ETag")
		for _, tt := range []struct {
			status     int
			conditions []string
		}{
			{304, []string{"If-None-Match", tag}}, {304, []string{"If-None-Match", "*"}}, {304, []string{"If-None-Match", `"x", ` + tag}},
			{304, []string{"If-Modified-Since", future}}, {304, []string{"If-None-Match", tag, "If-Modified-Since", past}},
			{412, []string{"If-Match", `"other"`}}, {412, []string{"If-Unmodified-Since", past}}, {412, []string{"If-Match", `"other", "x"`}},
		} {
			for _, method := range []string{"GET", "HEAD"} {
				for _, span := range []string{"", "bytes=1-2", "bytes=-1"} {
					h := headers(tt.conditions...)
					if span != "" {
						h.Set("Range", span)
					}
					r := g.do(clientRequest{method: method, path: "/bucket/k", header: h})
					names := []string{"ETag", "Last-Modified", "X-Amz-Version-Id"}
					if tt.status == 304 {
						names = append(names, "Cache-Control", "Expires", "Vary")
					}
					for _, name := range names {
						if r.status != tt.status || r.header.Get(name) != whole.Get(name) {
							t.Errorf("%v %s %s %v: %d, %s %q, want %q", pairs, method, span, tt.conditions, r.status, name, r.header.Get(name), whole.Get(name))
						}
					}
					if r.header.Get("X-Amz-Meta-A") != "" || tt.status == 304 && (r.header.Get("Content-Type") != "" || r.header.Get("Content-Length") != "") {
						t.Errorf("%v", r.header)
					}
				}
			}
		}
		if len(pairs) > 0 {
			// The store's own values are not passed on.
			g.upstream.edit(testBucket, "k", func(o *memObject) { o.header.Set("Cache-Control", "max-age=99999") })
			r := g.get("/bucket/k", "If-None-Match", tag)
			if r.status != 304 || r.header.Get("Cache-Control") != "" || r.header.Get("Expires") != "" || r.header.Get("ETag") != tag {
				t.Errorf("%d %v", r.status, r.header)
			}
		}
	}
}

// TestDeleteMarkers: the answers about a delete marker name it as one.
func TestDeleteMarkers(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, status := range []int{404, 405} {
		g.upstream.on("", "/bucket/k", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			h := w.Header()
			h.Set("X-Amz-Delete-Marker", "true")
			h.Set("X-Amz-Version-Id", "v2")
			h.Set("Last-Modified", "Thu, 01 Dec 1994 16:00:00 GMT")
			w.WriteHeader(status)
		})
		for _, c := range []clientRequest{
			{method: "GET", path: "/bucket/k"}, {method: "HEAD", path: "/bucket/k"},
			{method: "GET", path: "/bucket/k", header: headers("Range", "bytes=-1")},
			{method: "GET", path: "/bucket/k", query: url.Values{"versionId": {"v2"}}},
			{method: "HEAD", path: "/bucket/k", query: url.Values{"versionId": {"v2"}}},
		} {
			r := g.do(c)
			want := []string{"true", "v2", "Thu, 01 Dec 1994 16:00:00 GMT", ""}
			if status == 405 {
				want[3] = "DELETE"
			}
			got := []string{r.header.Get("X-Amz-Delete-Marker"), r.header.Get("X-Amz-Version-Id"), r.header.Get("Last-Modified"), r.header.Get("Allow")}
			if diff := cmp.Diff(want, got); diff != "" || r.status != status {
				t.Errorf("%s %v: %d (-want +got):\n%s", c.method, c.query, r.status, diff)
			}
		}
		g.upstream.unhook()
	}
}

// TestUnknownHeadersOfReads: unknown headers are ignored on reads. Writes with
// them are refused, with the reason.
func TestUnknownHeadersOfReads(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/k", []byte("data"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	for _, c := range []clientRequest{
		{method: "GET", path: "/bucket/k"}, {method: "HEAD", path: "/bucket/k"}, {method: "GET", path: "/bucket"},
		{method: "GET", path: "/bucket/k", query: url.Values{"tagging": {""}}}, {method: "HEAD", path: "/bucket"}, {method: "GET", path: "/"},
		{method: "PUT", path: "/bucket/k", body: []byte("new")}, {method: "DELETE", path: "/bucket/k"},
		{method: "PUT", path: "/bucket/k", query: url.Values{"tagging": {""}}, body: []byte("<T/>")},
	} {
		g.upstream.forget()
		before := g.do(c)
		c.header = headers("X-Amz-Cf-Id", "abc==")
		r := g.do(c)
		if c.method == "PUT" || c.method == "DELETE" {
			if r.status != 501 || !strings.Contains(string(r.body), "x-amz-cf-id") {
				t.Errorf("%s %s: %d %q", c.method, c.path, r.status, r.body)
			}
			continue
		}
		if r.status != before.status {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, r.status, before.status)
		}
		// A proxy adds it after the request was signed.
		c.header, c.tamper = nil, func(r *http.Request) { r.Header.Set("X-Amz-Cf-Id", "abc==") }
		if r := g.do(c); r.status != before.status {
			t.Errorf("%s %s, unsigned: %d, want %d", c.method, c.path, r.status, before.status)
		}
		c.tamper = func(r *http.Request) { r.Header.Set("X-Amz-Expected-Bucket-Owner", "x") }
		if r := g.do(c); r.status != 403 {
			t.Errorf("%s %s, an unsigned header that has a meaning: %d", c.method, c.path, r.status)
		}
		for _, seen := range g.upstream.requests("/") {
			if seen.Header.Get("X-Amz-Cf-Id") != "" {
				t.Errorf("%s %s: the store sees the header", c.method, c.path)
			}
		}
	}
}

// TestReplacedAtCarelessStore replaces a plain object between the HEAD and the
// read of a range, at a store that ignores If-Match. The client does not get
// bytes of the other object, least of all sealed ones.
func TestReplacedAtCarelessStore(t *testing.T) {
	t.Parallel()
	one, two := pattern(300_000, 1), pattern(300_000, 2)
	for name, sealed := range map[string]bool{"by sealed": true, "by plain": false} {
		for _, forever := range []bool{false, true} {
			for _, what := range []string{"get", "head", "copy"} {
				t.Run(fmt.Sprintf("%s, forever=%t, %s", name, forever, what), func(t *testing.T) {
					t.Parallel()
					g := newGateway(t)
					g.put("/bucket/one", one).want(t, 200, "")
					pairs := []string{}
					if sealed {
						pairs = []string{s3.HeaderSSE, s3.AES256}
					}
					g.put("/bucket/k", two, pairs...).want(t, 200, "")
					first, second := g.upstream.object(testBucket, "one"), g.upstream.object(testBucket, "k")
					g.upstream.store(testBucket, "k", first)
					g.upstream.on("", "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
						if r.Method == http.MethodPut {
							next.ServeHTTP(w, r)
							return
						}
						r.Header.Del("If-Match")
						looks := r.Method == http.MethodHead && r.Header.Get("Range") == ""
						answer := httptest.NewRecorder()
						next.ServeHTTP(answer, r)
						if looks {
							g.upstream.store(testBucket, "k", second)
						} else if forever {
							g.upstream.store(testBucket, "k", first)
						}
						for name, values := range answer.Header() {
							w.Header()[name] = values
						}
						w.WriteHeader(answer.Code)
						w.Write(answer.Body.Bytes())
					})
					var r clientAnswer
					want := two[70_000:70_010]
					switch what {
					case "copy":
						r = g.do(clientRequest{method: "PUT", path: "/bucket/copy", header: headers(s3.HeaderCopySource, "/bucket/k", s3.HeaderSSE, s3.AES256)})
						if forever && r.status != 409 || !forever && r.status != 200 {
							t.Errorf("%d %q", r.status, r.body)
						}
						if copied := g.get("/bucket/copy"); !forever && !bytes.Equal(copied.body, two) {
							t.Errorf("%d, not what the source has become", copied.status)
						}
						return
					case "head":
						r = g.head("/bucket/k", "Range", "bytes=70000-70009")
						want = nil
					default:
						r = g.get("/bucket/k", "Range", "bytes=70000-70009")
					}
					if forever {
						if r.status != 409 {
							t.Errorf("%d %q", r.status, r.body)
						}
						return
					}
					if r.status != 206 || !bytes.Equal(r.body, want) || r.header.Get("Content-Range") != "bytes 70000-70009/300000" {
						t.Errorf("%d %v, neither object's bytes", r.status, r.header)
					}
				})
			}
		}
	}
}

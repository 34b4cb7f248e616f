package proxy

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssegw/kms/kmstest"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// copy copies src ("bucket/key", escaped) to path.
func (g *testGateway) copy(src, path string, pairs ...string) clientAnswer {
	g.t.Helper()
	return g.put(path, nil, append([]string{"X-Amz-Copy-Source", src}, pairs...)...)
}

// ofSource are the SSE-C headers of a read as those of a copy's source.
func ofSource(read []string) (pairs []string) {
	for p := range slices.Chunk(read, 2) {
		pairs = append(pairs, strings.Replace(strings.ToLower(p[0]), "x-amz-", "x-amz-copy-source-", 1), p[1])
	}
	return pairs
}

// wantNoBodies fails the test if a byte of an object's body passed the gateway:
// it may look at objects, read their part tables, and write without a body.
func wantNoBodies(t testing.TB, g *testGateway) {
	t.Helper()
	for _, r := range g.upstream.requests("/bucket") {
		tail := r.Method == http.MethodGet && r.Header.Get("Range") != "" && !strings.HasPrefix(r.Header.Get("Range"), "bytes=0-")
		complete := r.Method == http.MethodPost && r.Query.Has("uploadId")
		tags := r.Method == http.MethodGet && (r.Query.Has("tagging") || r.Query.Has("acl"))
		if r.Method != http.MethodHead && !tail && !complete && !tags && r.Header.Get("X-Amz-Content-Sha256") != emptyHash || r.Method == http.MethodGet && !tail && !tags {
			t.Errorf("%s %s?%s with Range %q and a body %s", r.Method, r.Path, r.Query.Encode(), r.Header.Get("Range"), r.Header.Get("X-Amz-Content-Sha256"))
		}
	}
}

// TestCopySchemes copies between all schemes, single PUTs and multipart
// objects, to another key and onto itself. Between sealed ones no byte passes
// the gateway.
func TestCopySchemes(t *testing.T) {
	t.Parallel()
	plain := testScheme{name: "plain"}
	for _, from := range append(testSchemes(), plain) {
		for _, to := range append(testSchemes(), plain) {
			for _, kind := range []string{"put", "large put", "multipart"} {
				t.Run(from.name+"/"+to.name+"/"+kind, func(t *testing.T) {
					t.Parallel()
					g := newGateway(t, withTLS()).withSmallParts()
					body := pattern(150_000, 1)
					meta := []string{"X-Amz-Meta-Color", "red", "Content-Type", "text/x"}
					switch kind {
					case "put":
						g.put("/bucket/src", body, append(meta, from.write...)...).want(t, 200, "")
					case "large put":
						body = pattern(smallBody+5000, 2)
						g.do(clientRequest{method: http.MethodPut, path: "/bucket/src", body: body, mode: modeTrailer, header: headers(append(meta, from.write...)...)}).want(t, 200, "")
					default:
						u := g.begin("/bucket/src", append(meta, from.write...)...)
						u.read = from.read
						for i, p := range [][]byte{body[:100_000], body[100_000:]} {
							r := u.try(i+1, p)
							r.want(t, 200, "")
							u.listed = append(u.listed, testPart{number: i + 1, etag: r.header.Get("ETag")})
						}
						u.complete()
					}
					g.upstream.forget()
					r := g.copy("bucket/src", "/bucket/dir/dst", append(ofSource(from.read), to.write...)...)
					r.want(t, 200, "")
					if from.name != "plain" && to.name != "plain" {
						wantNoBodies(t, g)
					}
					shown := to
					if to.name == "plain" && from.name != "plain" {
						// A copy of a sealed object is sealed, also if nothing
						// asks for it.
						shown = testSchemes()[0]
						switch from.name {
						case "SSE-KMS":
							shown = testScheme{shown: from.shown[:4]}
						case "SSE-KMS-bucket-key":
							shown = from
						}
					}
					if diff := cmp.Diff(wantSSE(shown), sseHeaders(r.header)); diff != "" {
						t.Error(diff)
					}
					var result struct{ ETag string }
					if err := xml.Unmarshal(r.body, &result); err != nil || strings.Contains(string(r.body), `xmlns=""`) {
						t.Fatalf("%v: %s", err, r.body)
					}
					h := g.head("/bucket/dir/dst", to.read...)
					if h.header.Get("ETag") != result.ETag || h.header.Get("X-Amz-Meta-Color") != "red" || h.header.Get("Content-Type") != "text/x" {
						t.Errorf("%v, copied as %s", h.header, result.ETag)
					}
					if isSealed(g.upstream.object(testBucket, "dir/dst")) != (from.name != "plain" || to.name != "plain") {
						t.Error("sealed, or not, against what was asked for")
					}
					wantObject(t, g, "/bucket/dir/dst", body, 10, to.read...)
					wantObject(t, g, "/bucket/src", body, 3, from.read...)
					if from.name != to.name && to.name != "plain" {
						g.copy("bucket/src", "/bucket/src", append(ofSource(from.read), to.write...)...).want(t, 200, "")
						wantObject(t, g, "/bucket/src", body, 5, to.read...)
					}
				})
			}
		}
	}
}

// TestCopyKeys copies under another KES key, under a denied one, and with
// missing or wrong customer keys.
func TestCopyKeys(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withTLS())
	g.kes.CreateKey("second-key")
	body := pattern(1000, 1)
	g.put("/bucket/src", body, s3.HeaderSSE, s3.AWSKMS).want(t, 200, "")
	g.copy("bucket/src", "/bucket/dst", s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "second-key").want(t, 200, "")
	g.kes.DeleteKey(kmstest.DefaultKey)
	wantObject(t, g, "/bucket/dst", body, 3)
	if id := g.head("/bucket/dst").header.Get(s3.HeaderSSEKeyID); id != "arn:aws:kms:"+"second-key" {
		t.Error(id)
	}
	g.copy("bucket/dst", "/bucket/none", s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "no-such-key").want(t, 404, "kms:KeyNotFound")
	g.kes.Deny("second-key")
	if r := g.copy("bucket/dst", "/bucket/none", s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "second-key"); r.status != 403 {
		t.Errorf("%d %s", r.status, r.code)
	}
	wantStored(t, g, "none", nil)

	key, other := customerHeaders('c'), customerHeaders('d')
	g.put("/bucket/c", body, key...).want(t, 200, "")
	for name, c := range map[string]struct {
		pairs  []string
		status int
		code   string
	}{
		"no key":    {key, 400, "InvalidRequest"},
		"wrong key": {append(ofSource(other), key...), 403, "AccessDenied"},
	} {
		r := g.copy("bucket/c", "/bucket/none", c.pairs...)
		if r.status != c.status || r.code != c.code {
			t.Errorf("%s: %d %s, want %d %s", name, r.status, r.code, c.status, c.code)
		}
	}
	wantStored(t, g, "none", nil)
	g.copy("bucket/c", "/bucket/c", append(ofSource(key), other...)...).want(t, 200, "") // a new key for an object
	wantObject(t, g, "/bucket/c", body, 3, other...)
	g.get("/bucket/c", key...).want(t, 403, "AccessDenied")
}

// TestCopyConditions: conditions on the source have the ETag that clients know.
func TestCopyConditions(t *testing.T) {
	t.Parallel()
	for _, sse := range [][]string{{s3.HeaderSSE, s3.AES256}, nil} {
		g := newGateway(t)
		etag := g.put("/bucket/src", []byte("data"), sse...).header.Get("ETag")
		past, future := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
		for _, c := range []struct {
			pairs []string
			holds bool
		}{
			{[]string{s3.HeaderCopySourceIfMatch, etag}, true},
			{[]string{s3.HeaderCopySourceIfMatch, `"00000000000000000000000000000000-1"`}, false},
			{[]string{s3.HeaderCopySourceIfNoneMatch, etag}, false},
			{[]string{s3.HeaderCopySourceIfNoneMatch, `"00000000000000000000000000000000-1"`}, true},
			{[]string{s3.HeaderCopySourceIfModified, past}, true},
			{[]string{s3.HeaderCopySourceIfModified, future}, false},
			{[]string{s3.HeaderCopySourceIfUnmodified, past}, false},
			{[]string{s3.HeaderCopySourceIfUnmodified, future}, true},
			{[]string{s3.HeaderCopySourceIfMatch, etag, s3.HeaderCopySourceIfUnmodified, past}, true},
			{[]string{"If-None-Match", "*"}, false}, // of the copy: it is there since the first case
			{[]string{"If-Match", etag}, true},
		} {
			want, code := 412, "PreconditionFailed"
			if c.holds {
				want, code = 200, ""
			}
			if r := g.copy("bucket/src", "/bucket/dst", append(c.pairs, sse...)...); r.status != want || r.code != code {
				t.Errorf("%v %v: %d %s", sse, c.pairs, r.status, r.code)
			}
		}
		for _, old := range [][]string{{s3.HeaderSSE, s3.AES256}, nil} { // what the copy is made over
			over := func(name string) clientAnswer {
				tag := g.put("/bucket/dst", []byte("old"), old...).header.Get("ETag")
				return g.copy("bucket/src", "/bucket/dst", append([]string{name, tag}, sse...)...)
			}
			over("If-Match").want(t, 200, "")
			over("If-None-Match").want(t, 412, "PreconditionFailed")
			g.copy("bucket/src", "/bucket/dst", append([]string{"If-Match", `"00000000000000000000000000000000-1"`}, sse...)...).want(t, 412, "PreconditionFailed")
			wantObject(t, g, "/bucket/dst", []byte("old"), 1)
		}
		g.copy("bucket/none", "/bucket/dst").want(t, 404, "NoSuchKey")
		g.copy("bucket/src?versionId=none", "/bucket/dst").want(t, 404, "NoSuchVersion")
		g.copy(testStateBucket+"/root", "/bucket/dst").want(t, 404, "NoSuchBucket")
	}
}

// TestCopyDirectives: metadata and tags of the source or of the request, in
// copies that the store makes and in those that stream.
func TestCopyDirectives(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ from, to []string }{
		"sealed":  {[]string{s3.HeaderSSE, s3.AES256}, []string{s3.HeaderSSE, s3.AWSKMS}},
		"sealing": {nil, []string{s3.HeaderSSE, s3.AES256}},
		"plain":   {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			g.put("/bucket/src", []byte("data"), append([]string{"X-Amz-Meta-Color", "red", "Cache-Control", "no-cache", "X-Amz-Tagging", "a=1&b=2%20x"}, c.from...)...).want(t, 200, "")
			tags := func(key string) string {
				return string(g.do(clientRequest{method: http.MethodGet, path: "/bucket/" + key, query: url.Values{"tagging": {""}}}).body)
			}
			source := tags("src")
			if !strings.Contains(source, "2 x") {
				t.Fatalf("tags %s", source)
			}
			g.copy("bucket/src", "/bucket/copied", append([]string{"X-Amz-Meta-Size", "big"}, c.to...)...).want(t, 200, "")
			h := g.head("/bucket/copied").header
			if h.Get("X-Amz-Meta-Color") != "red" || h.Get("Cache-Control") != "no-cache" || h.Get("X-Amz-Meta-Size") != "" || tags("copied") != source {
				t.Errorf("%v, tags %s", h, tags("copied"))
			}
			g.copy("bucket/src", "/bucket/replaced", append([]string{
				"X-Amz-Metadata-Directive", "REPLACE", "X-Amz-Meta-Size", "big", "Content-Type", "a/b",
				"X-Amz-Tagging-Directive", "REPLACE", "X-Amz-Tagging", "c=3", "X-Amz-Storage-Class", "COLD",
			}, c.to...)...).want(t, 200, "")
			h = g.head("/bucket/replaced").header
			if h.Get("X-Amz-Meta-Color") != "" || h.Get("Cache-Control") != "" || h.Get("X-Amz-Meta-Size") != "big" || h.Get("Content-Type") != "a/b" ||
				!strings.Contains(tags("replaced"), "<Key>c<") || strings.Contains(tags("replaced"), "<Key>a<") || h.Get("X-Amz-Storage-Class") != "COLD" && name != "plain" {
				t.Errorf("%v, tags %s", h, tags("replaced"))
			}
			wantObject(t, g, "/bucket/replaced", []byte("data"), 1)
			for _, header := range []string{"X-Amz-Metadata-Directive", "X-Amz-Tagging-Directive"} {
				g.copy("bucket/src", "/bucket/none", append([]string{header, "MERGE"}, c.to...)...).want(t, 400, "InvalidArgument")
			}
			g.copy("bucket/src", "/bucket/none", append([]string{"X-Amz-Metadata-Directive", "REPLACE", "X-Amz-Meta-Ssegw", "AQ"}, c.to...)...).want(t, 400, "InvalidArgument")
			wantStored(t, g, "none", nil)
		})
	}
}

// TestCopyOntoItself: a copy to itself that changes nothing is refused.
func TestCopyOntoItself(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	g.put("/bucket/k", []byte("data"), "X-Amz-Meta-A", "1").want(t, 200, "")
	g.copy("bucket/k", "/bucket/k").want(t, 400, "InvalidRequest")
	g.copy("bucket/k", "/bucket/k", "X-Amz-Metadata-Directive", "REPLACE", "X-Amz-Meta-A", "2").want(t, 200, "")
	if v := g.head("/bucket/k").header.Get("X-Amz-Meta-A"); v != "2" {
		t.Error(v)
	}
	wantObject(t, g, "/bucket/k", []byte("data"), 2)
	g.copy("bucket/k", "/bucket/k", s3.HeaderSSE, s3.AWSKMS).want(t, 200, "")
	wantObject(t, g, "/bucket/k", []byte("data"), 2)
}

// TestCopyVersion copies an older version, onto the current one too.
func TestCopyVersion(t *testing.T) {
	t.Parallel()
	for _, sse := range [][]string{{s3.HeaderSSE, s3.AES256}, nil} {
		g := newGateway(t)
		g.put("/bucket/k", []byte("old"), sse...).want(t, 200, "")
		g.upstream.keepVersion(testBucket, "k", "v1")
		g.put("/bucket/k", []byte("newer"), sse...).want(t, 200, "")
		r := g.copy("bucket/k?versionId=v1", "/bucket/dst", sse...)
		r.want(t, 200, "")
		if v := r.header.Get(s3.HeaderCopySourceVersionID); v != "v1" {
			t.Errorf("%v: version %q", sse, v)
		}
		wantObject(t, g, "/bucket/dst", []byte("old"), 1)
		g.copy("bucket/k?versionId=v1", "/bucket/k", sse...).want(t, 200, "")
		wantObject(t, g, "/bucket/k", []byte("old"), 1)
	}
}

// TestCopyUnsealedSource: a plaintext object of a sealed-only bucket is not
// copied, neither to another bucket nor sealed within it.
func TestCopyUnsealedSource(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256, SealedOnly: true}))
	g.upstream.makeBucket("other")
	g.upstream.store(testBucket, "planted", &memObject{body: []byte("planted"), header: headers("Content-Type", "a/b"), etag: memTag(nil)})
	g.copy("bucket/planted", "/other/k").want(t, 403, "AccessDenied")
	g.copy("bucket/planted", "/bucket/k").want(t, 403, "AccessDenied")
	u := g.begin("/bucket/k")
	u.try(1, nil, "X-Amz-Copy-Source", "bucket/planted").want(t, 403, "AccessDenied")
}

// TestCopyTampered: a source that is not authentic is not copied. If that shows
// in the middle of the body the copy fails, and is not a shorter object.
func TestCopyTampered(t *testing.T) {
	t.Parallel()
	g := newGateway(t).withSmallParts()
	sse := []string{s3.HeaderSSE, s3.AES256}
	body := pattern(300_000, 1)
	g.put("/bucket/src", body, sse...).want(t, 200, "")
	good := g.upstream.object(testBucket, "src")
	u := g.begin("/bucket/parts", sse...)
	for name, change := range map[string]func(*memObject){
		"body":  func(o *memObject) { o.body = flip(o.body, 200_000) },
		"first": func(o *memObject) { o.body = flip(o.body, 5) },
		"header": func(o *memObject) {
			v := []byte(o.header.Get(sealer.MetadataKey))
			v[60] ^= 1
			o.header.Set(sealer.MetadataKey, string(v))
		},
		"metadata": func(o *memObject) { o.header.Set("X-Amz-Meta-Evil", "1") },
		"size":     func(o *memObject) { o.body = o.body[:len(o.body)-1] },
	} {
		g.upstream.store(testBucket, "src", good)
		g.upstream.edit(testBucket, "src", change)
		// A checksum that the source does not have makes the copy stream.
		r := g.copy("bucket/src", "/bucket/dst", append([]string{"X-Amz-Checksum-Algorithm", "SHA256"}, sse...)...)
		if r.status != 500 || r.code != notAuthentic {
			t.Errorf("%s: copy %d %s", name, r.status, r.code)
		}
		r = u.try(1, nil, "X-Amz-Copy-Source", "bucket/src")
		if r.status != 500 || r.code != notAuthentic {
			t.Errorf("%s: part %d %s", name, r.status, r.code)
		}
	}
	wantStored(t, g, "dst", nil)
	if n := len(g.upstream.uploadParts(u.id)); n != 0 {
		t.Errorf("%d parts upstream", n)
	}
}

// TestCopyLarge copies an object by parts, as those over 5 GiB are.
func TestCopyLarge(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"put", "multipart"} {
		g := newGateway(t).withSmallParts()
		g.bounds.maxCopy, g.bounds.copyRange = 100_000, 70_000
		g.upstream.mu.Lock()
		g.upstream.maxCopy = 100_000
		g.upstream.mu.Unlock()
		body := pattern(333_333, 1)
		sse := []string{s3.HeaderSSE, s3.AES256}
		if kind == "put" {
			g.put("/bucket/src", body, append([]string{"X-Amz-Tagging", "a=1", "X-Amz-Meta-A", "1"}, sse...)...).want(t, 200, "")
		} else {
			u := g.begin("/bucket/src", append([]string{"X-Amz-Tagging", "a=1", "X-Amz-Meta-A", "1"}, sse...)...)
			u.part(1, body[:200_000])
			u.part(2, body[200_000:])
			u.complete()
		}
		g.upstream.forget()
		r := g.copy("bucket/src", "/bucket/dst", "If-None-Match", "*", s3.HeaderSSE, s3.AWSKMS)
		r.want(t, 200, "")
		wantNoBodies(t, g)
		wantObject(t, g, "/bucket/dst", body, 10)
		if h := g.head("/bucket/dst").header; h.Get("X-Amz-Tagging-Count") != "1" || h.Get("X-Amz-Meta-A") != "1" || !strings.Contains(string(r.body), strings.Trim(h.Get("ETag"), `"`)) {
			t.Errorf("%s: %v, %s", kind, h, r.body)
		}
		g.copy("bucket/src", "/bucket/dst", "If-None-Match", "*", s3.HeaderSSE, s3.AWSKMS).want(t, 412, "PreconditionFailed")
		g.upstream.on(http.MethodPut, "/bucket/again", answerWith(500, "InternalError"))
		if r := g.copy("bucket/src", "/bucket/again", sse...); r.status != 500 {
			t.Errorf("%s: %d", kind, r.status)
		}
		g.upstream.mu.Lock()
		if len(g.upstream.uploads) != 0 {
			t.Errorf("%s: %d uploads left behind", kind, len(g.upstream.uploads))
		}
		g.upstream.mu.Unlock()
	}
}

// TestCopyChecksums: a copy keeps the source's checksum, or gets the one asked
// for; the store's own checksums, of sealed bytes, never show.
func TestCopyChecksums(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	body := pattern(2000, 1)
	sse := []string{s3.HeaderSSE, s3.AES256}
	g.put("/bucket/src", body, append([]string{"X-Amz-Checksum-Crc32", sumText("CRC32", body)}, sse...)...).want(t, 200, "")
	g.upstream.on(http.MethodPut, "/bucket/dst", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(httpDiscard{}, r)
		memXML(w, `<CopyObjectResult><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"%s"</ETag><ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME></CopyObjectResult>`, g.upstream.object(testBucket, "dst").etag)
	})
	r := g.copy("bucket/src", "/bucket/dst", sse...)
	r.want(t, 200, "")
	if s := string(r.body); strings.Contains(s, "CRC64NVME") || !strings.Contains(s, "<ChecksumCRC32>"+sumText("CRC32", body)+"<") || !strings.Contains(s, "FULL_OBJECT") {
		t.Error(s)
	}
	r = g.copy("bucket/src", "/bucket/sha", append([]string{"X-Amz-Checksum-Algorithm", "SHA256"}, sse...)...)
	r.want(t, 200, "")
	h := g.head("/bucket/sha", "X-Amz-Checksum-Mode", "ENABLED").header
	if h.Get("X-Amz-Checksum-Sha256") != sumText("SHA256", body) || !strings.Contains(string(r.body), sumText("SHA256", body)) {
		t.Errorf("%v, %s", h, r.body)
	}
	g.copy("bucket/src", "/bucket/none", append([]string{"X-Amz-Checksum-Algorithm", "ROT13"}, sse...)...).want(t, 400, "InvalidRequest")
	wantObject(t, g, "/bucket/sha", body, 2)
}

// TestCopyStoredChecksum: a sealed copy of a plaintext object has the store's
// checksum if that is right. If the store's is over parts, the copy has one of
// the whole object.
func TestCopyStoredChecksum(t *testing.T) {
	t.Parallel()
	body := pattern(smallBody+1000, 1)
	for _, tt := range []struct {
		name, value, kind, code string
	}{
		{"kept", sumText("SHA256", body), s3.FullObject, ""},
		{"without a type", sumText("SHA256", body), "", ""},
		{"of parts", sumText("SHA256", body[:9]) + "-2", s3.Composite, ""},
		{"untrue", sumText("SHA256", body[1:]), s3.FullObject, notAuthentic},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			h := headers("Content-Type", "a/b", "X-Amz-Checksum-Sha256", tt.value, "X-Amz-Checksum-Type", tt.kind)
			g.upstream.store(testBucket, "src", &memObject{body: body, header: h, etag: memTag(body)})
			r := g.copy("bucket/src", "/bucket/dst", s3.HeaderSSE, s3.AES256)
			if tt.code != "" {
				if r.code != tt.code {
					t.Errorf("%d %s", r.status, r.code)
				}
				wantStored(t, g, "dst", nil)
				return
			}
			r.want(t, 200, "")
			sum := g.head("/bucket/dst", "X-Amz-Checksum-Mode", "ENABLED").header.Get("X-Amz-Checksum-Sha256")
			if sum != sumText("SHA256", body) || !strings.Contains(string(r.body), ">"+sum+"<") {
				t.Errorf("%q, %s", sum, r.body)
			}
			wantObject(t, g, "/bucket/dst", body, 2)
		})
	}
}

// httpDiscard drops an answer.
type httpDiscard struct{}

func (httpDiscard) Header() http.Header         { return http.Header{} }
func (httpDiscard) Write(p []byte) (int, error) { return len(p), nil }
func (httpDiscard) WriteHeader(int)             {}

// TestUploadPartCopy makes parts of ranges of sealed and plain sources, in
// sealed and plain uploads, but none of a sealed source in a plain upload.
func TestUploadPartCopy(t *testing.T) {
	t.Parallel()
	plain := testScheme{name: "plain"}
	body := pattern(200_000, 1)
	for _, from := range append(testSchemes(), plain) {
		for _, to := range append(testSchemes(), plain) {
			t.Run(from.name+"/"+to.name, func(t *testing.T) {
				t.Parallel()
				g := newGateway(t, withTLS()).withSmallParts()
				g.put("/bucket/src", body, from.write...).want(t, 200, "")
				u := g.begin("/bucket/dst", to.write...)
				if from.name != "plain" && to.name == "plain" {
					u.try(1, nil, slices.Concat([]string{"X-Amz-Copy-Source", "bucket/src"}, ofSource(from.read))...).want(t, 400, "InvalidRequest")
					if parts := g.upstream.uploadParts(u.id); len(parts) > 0 {
						t.Errorf("%d parts stored", len(parts))
					}
					return
				}
				var want []byte
				for i, span := range [][2]int{{0, 99_999}, {65_530, 65_530 + 1200}, {199_999, 199_999}} {
					r := u.try(i+1, nil, slices.Concat([]string{"X-Amz-Copy-Source", "bucket/src", "X-Amz-Copy-Source-Range", fmt.Sprintf("bytes=%d-%d", span[0], span[1])}, ofSource(from.read), to.read)...)
					r.want(t, 200, "")
					var result struct{ ETag string }
					if err := xml.Unmarshal(r.body, &result); err != nil || !strings.HasPrefix(result.ETag, `"`) {
						t.Fatalf("%v: %s", err, r.body)
					}
					u.listed = append(u.listed, testPart{number: i + 1, etag: result.ETag})
					want = append(want, body[span[0]:span[1]+1]...)
				}
				for _, bad := range []string{"bytes=0-200000", "bytes=-5", "bytes=5-", "bytes=7-3", "0-5", "bytes=200000-200000"} {
					r := u.try(4, nil, slices.Concat([]string{"X-Amz-Copy-Source", "bucket/src", "X-Amz-Copy-Source-Range", bad}, ofSource(from.read), to.read)...)
					if r.status != 400 && r.status != 416 {
						t.Errorf("%s: %d %s", bad, r.status, r.code)
					}
				}
				if r := u.completeWith(u.listed); r.status != 200 {
					t.Fatalf("%d %s", r.status, r.body)
				}
				wantObject(t, g, "/bucket/dst", want, 10, to.read...)
				if o := g.upstream.object(testBucket, "dst"); isSealed(o) != (to.name != "plain") || !isSealed(o) && !bytes.Equal(o.body, want) {
					t.Error("sealed, or not, against what was asked for")
				}
			})
		}
	}
}

// TestUploadPartCopyChecksum: the announced checksum is computed from the
// source.
func TestUploadPartCopyChecksum(t *testing.T) {
	t.Parallel()
	g := newGateway(t).withSmallParts()
	body := pattern(5000, 1)
	g.put("/bucket/src", body).want(t, 200, "")
	u := g.begin("/bucket/dst", s3.HeaderSSE, s3.AES256, "X-Amz-Checksum-Algorithm", "CRC32", "X-Amz-Checksum-Type", s3.FullObject)
	r := u.try(1, nil, "X-Amz-Copy-Source", "bucket/src")
	r.want(t, 200, "")
	if !strings.Contains(string(r.body), "<ChecksumCRC32>"+sumText("CRC32", body)+"<") {
		t.Errorf("%s", r.body)
	}
	p := listPartsOf(t, u).Part
	if len(p) != 1 || p[0].ChecksumCRC32 != sumText("CRC32", body) {
		t.Fatalf("%+v", p)
	}
	u.listed = []testPart{{number: 1, etag: p[0].ETag}}
	r = u.completeWith(u.listed, "X-Amz-Checksum-Crc32", sumText("CRC32", body))
	r.want(t, 200, "")
}

// TestCopyPatience: a store may take longer to copy, and to assemble parts,
// than the idle timeout.
func TestCopyPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const idle = 500 * time.Millisecond
		g := newGateway(t, onClock(), withUpstreamIdle(idle)).withSmallPuts()
		g.bounds.maxCopy, g.bounds.copyRange = smallestPut, 150_000
		sse := []string{s3.HeaderSSE, s3.AES256}
		slow := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Header.Get("X-Amz-Copy-Source") != "" || r.Method == http.MethodPost && r.URL.Query().Has("uploadId") || r.Method == http.MethodHead {
				time.Sleep(2 * idle)
			}
			next.ServeHTTP(w, r)
		}
		g.upstream.on("", "/bucket/slow", slow)
		g.put("/bucket/small", pattern(1000, 1), sse...).want(t, 200, "")
		g.put("/bucket/large", pattern(300_000, 2), sse...).want(t, 200, "")
		for _, key := range []string{"small", "large"} {
			g.copy("bucket/"+key, "/bucket/slow-"+key, sse...).want(t, 200, "")
		}
		for _, pairs := range [][]string{sse, nil} {
			u := g.begin("/bucket/slow", pairs...)
			u.completeWith([]testPart{{number: 1, etag: u.try(1, pattern(10, 1)).header.Get("ETag")}}).want(t, 200, "")
		}
		if r := g.head("/bucket/slow"); r.status != 503 {
			t.Errorf("a HEAD that takes as long: %d", r.status)
		}
	})
}

// TestCopySourceOwner: the store checks the expected owner of the source's
// bucket, also if the copy passes the gateway.
func TestCopySourceOwner(t *testing.T) {
	t.Parallel()
	g := newGateway(t).withSmallParts()
	g.put("/bucket/plain", []byte("data")).want(t, 200, "")
	g.put("/bucket/sealed", []byte("data"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	for _, key := range []string{"plain", "sealed"} {
		g.upstream.on("", "/bucket/"+key, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if owner := r.Header.Get(s3.HeaderExpectedOwner); owner != "" && owner != "owner" {
				memFail(w, 403, "AccessDenied", "of another owner")
				return
			}
			next.ServeHTTP(w, r)
		})
		u := g.begin("/bucket/parts", s3.HeaderSSE, s3.AES256)
		for owner, status := range map[string]int{"owner": 200, "other": 403} {
			code := map[int]string{403: "AccessDenied"}[status]
			g.copy("bucket/"+key, "/bucket/dst", s3.HeaderSSE, s3.AES256, s3.HeaderSourceExpectedOwner, owner).want(t, status, code)
			u.try(1, nil, "X-Amz-Copy-Source", "bucket/"+key, s3.HeaderSourceExpectedOwner, owner).want(t, status, code)
		}
	}
}

// TestCopyMetadataTooLarge: metadata of the request that does not fit is
// refused, also where the copy keeps that of the source.
func TestCopyMetadataTooLarge(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/src", []byte("data"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	for _, directive := range []string{"COPY", "REPLACE"} {
		g.copy("bucket/src", "/bucket/dst", s3.HeaderSSE, s3.AES256, s3.HeaderMetadataDirective, directive,
			"X-Amz-Meta-"+strings.Repeat("s", 2048), "value").want(t, 400, "MetadataTooLarge")
	}
}

// TestCopySourceChanges: if the source changes before the copy, the gateway
// starts over. No client sees the failure of a condition that it did not send.
func TestCopySourceChanges(t *testing.T) {
	t.Parallel()
	sse := []string{s3.HeaderSSE, s3.AES256}
	for name, stored := range map[string][]string{"sealed": sse, "plain": nil} {
		for what, copied := range map[string]func(g *testGateway, pairs ...string) clientAnswer{
			"object": func(g *testGateway, pairs ...string) clientAnswer {
				return g.copy("bucket/src", "/bucket/dst", pairs...)
			},
			"part": func(g *testGateway, pairs ...string) clientAnswer {
				return g.begin("/bucket/dst", stored...).try(1, nil, append(pairs, "X-Amz-Copy-Source", "bucket/src")...)
			},
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				g := newGateway(t).withSmallParts()
				etag := g.put("/bucket/src", []byte("0"), stored...).header.Get("ETag")
				n, always := 0, false
				g.upstream.on(http.MethodHead, "/bucket/src", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					next.ServeHTTP(w, r)
					if n == 0 || always {
						n++
						g.upstream.edit(testBucket, "src", func(o *memObject) { o.etag = memTag([]byte{byte(n)}) })
					}
				})
				copied(g).want(t, 200, "")
				always = true
				copied(g).want(t, 409, "OperationAborted")
				copied(g, s3.HeaderCopySourceIfMatch, etag).want(t, 412, "PreconditionFailed")
			})
		}
	}
}

// TestMalformedSource: a malformed copy source is refused after the signature,
// the credential's limits and a missing bucket. Nothing is written.
func TestMalformedSource(t *testing.T) {
	t.Parallel()
	limited := &Credential{AccessKey: "limited", SecretKey: "limited-secret", Buckets: []string{testBucket}}
	g := newGateway(t, withConfig(func(c *Config) {
		c.Credentials = func(accessKey string) (*Credential, bool) { return limited, accessKey == limited.AccessKey }
	}))
	part := url.Values{"partNumber": {"1"}, "uploadId": {"u"}}
	for _, query := range []url.Values{nil, part} {
		for _, source := range []string{"", "source", "source/", "source/a%zz", "source/../a", "source/a?version=1"} {
			r := clientRequest{method: http.MethodPut, path: "/bucket/k", query: query, header: headers(s3.HeaderCopySource, source)}
			g.do(r).want(t, 400, "InvalidArgument")
			r.as = limited
			g.do(r).want(t, 400, "InvalidArgument")
			r.path = "/other-bucket/k"
			g.do(r).want(t, 403, "AccessDenied")
			r.as = nil
			g.do(r).want(t, 404, "NoSuchBucket")
			r.tamper = func(r *http.Request) { r.Header.Set("Authorization", r.Header.Get("Authorization")+"0") }
			g.do(r).want(t, 403, "SignatureDoesNotMatch")
			r.tamper, r.path = nil, "/"+testStateBucket+"/k"
			g.do(r).want(t, 404, "NoSuchBucket")
		}
	}
	for _, seen := range g.upstream.requests("/bucket") {
		if seen.Method != http.MethodGet {
			t.Errorf("the store saw %s %s", seen.Method, seen.Path)
		}
	}
}

package proxy

import (
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssegw/kms/kmstest"
	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// TestMetadataBudget: metadata that does not fit in addition to the sealed
// header is refused before the body is read and before KES is called.
func TestMetadataBudget(t *testing.T) {
	t.Parallel()
	for _, scheme := range testSchemes() {
		t.Run(scheme.name, func(t *testing.T) {
			g := newGateway(t, withTLS())
			fits := func(n int) clientAnswer {
				return g.put("/bucket/k", []byte("data"), append(scheme.write, "X-Amz-Meta-M", strings.Repeat("m", n))...)
			}
			low, high := 0, 2100
			for low+1 < high { // the bound itself is the gateway's to choose
				if mid := (low + high) / 2; fits(mid).status == 200 {
					low = mid
				} else {
					high = mid
				}
			}
			if low < 1000 {
				t.Errorf("a client has %d bytes of metadata", low)
			}
			fits(low).want(t, 200, "")
			total := 0
			for name, values := range g.upstream.object(testBucket, "k").header {
				if name, ok := strings.CutPrefix(strings.ToLower(name), s3.MetaPrefix); ok {
					total += len(name) + len(values[0])
				}
			}
			if total > s3.MaxUserMetadata {
				t.Errorf("%d bytes of metadata reach the store", total)
			}
			g.upstream.store(testBucket, "k", nil)
			g.kes.ResetRequests()
			fits(high).want(t, 400, "MetadataTooLarge")
			wantStored(t, g, "k", nil)
			if n := g.kes.Requests(kmstest.OpGenerate); n > 0 {
				t.Error("KES was asked")
			}
		})
	}
	g := newGateway(t)
	conn := g.dial()
	defer conn.Close()
	// The body never comes: the refusal does not wait for it.
	c := clientRequest{method: "PUT", path: "/bucket/k", body: pattern(4<<20, 1), mode: modeUnsigned, header: headers(s3.HeaderSSE, s3.AES256, "X-Amz-Meta-M", strings.Repeat("m", 2000))}
	_, r := g.writePart(conn, c, 0)
	readAnswer(readResponse(conn, r)).want(t, 400, "MetadataTooLarge")
}

// TestHeadersRefused sends headers that the gateway cannot honour.
func TestHeadersRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, tt := range []struct {
		name, value, code string
	}{
		{sealer.MetadataKey, "AQEA", "InvalidArgument"},
		{"X-Amz-Meta-SSEGW", "", "InvalidArgument"},
		{"X-Amz-New-Feature", "on", "NotImplemented"},
		{"X-Amz-Write-Offset-Bytes", "5", "NotImplemented"},
		{"X-Amz-Meta-Snowball-Auto-Extract", "true", "NotImplemented"},
		{"X-Amz-Meta-Minio-Snowball-Prefix", "p", "NotImplemented"},
		{"X-Minio-Extract", "true", "NotImplemented"},
	} {
		for _, pairs := range [][]string{{s3.HeaderSSE, s3.AES256}, {}} {
			r := g.put("/bucket/k", []byte("data"), append(pairs, tt.name, tt.value)...)
			if r.code != tt.code {
				t.Errorf("%s: %d %s, want %s", tt.name, r.status, r.code, tt.code)
			}
		}
	}
	wantStored(t, g, "k", nil)
}

// TestRedirectDropped: an object can be read from a store that does not keep
// the website redirect.
func TestRedirectDropped(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/k", []byte("data"), s3.HeaderSSE, s3.AES256, "X-Amz-Website-Redirect-Location", "/there").want(t, 200, "")
	if r := g.head("/bucket/k"); r.header.Get("X-Amz-Website-Redirect-Location") != "/there" {
		t.Errorf("%v", r.header)
	}
	g.upstream.object(testBucket, "k").header.Del("X-Amz-Website-Redirect-Location")
	wantObject(t, g, "/bucket/k", []byte("data"), 2)
	g.copy("bucket/k", "/bucket/copy").want(t, 200, "")
}

// TestHeadersUpstream checks which headers reach the store: an allow-list.
func TestHeadersUpstream(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	passed := map[string]string{
		"Cache-Control": "max-age=1", "Content-Disposition": "inline", "Content-Language": "de", "Content-Type": "text/x",
		"Expires": "Thu, 01 Dec 1994 16:00:00 GMT", "X-Amz-Acl": "private", "X-Amz-Storage-Class": "STANDARD", "X-Amz-Tagging": "a=b",
		"X-Amz-Meta-A": "1", "X-Amz-Object-Lock-Mode": "GOVERNANCE", "X-Amz-Expected-Bucket-Owner": "me",
		"X-Amz-Website-Redirect-Location": "/there",
	}
	dropped := []string{
		"X-Minio-Internal-Server-Side-Encryption-Iv", "X-Minio-Replication-Server-Side-Encryption-Iv", "X-Minio-Source-Etag",
		"X-Rgw-Anything", "X-Forwarded-For", "Cookie", "Referer", "X-Amz-User-Agent",
		"X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", "X-Amz-Server-Side-Encryption-Context",
	}
	h := headers(s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, kmstest.DefaultKey, s3.HeaderSSEContext, testContext)
	for name, value := range passed {
		h.Set(name, value)
	}
	for _, name := range dropped[:8] {
		h.Set(name, "x")
	}
	g.do(clientRequest{method: "PUT", path: "/bucket/k", body: []byte("data"), header: h}).want(t, 200, "")
	seen := g.upstream.requests("/bucket/k")[0].Header
	for name, value := range passed {
		if seen.Get(name) != value {
			t.Errorf("%s reached the store as %q, want %q", name, seen.Get(name), value)
		}
	}
	for _, name := range dropped {
		if v, ok := seen[http.CanonicalHeaderKey(name)]; ok {
			t.Errorf("%s reached the store: %q", name, v)
		}
	}
	known := slices.Concat(slices.Collect(maps.Keys(passed)), []string{
		"Accept-Encoding", "Authorization", "Content-Length", "User-Agent", "X-Amz-Content-Sha256", "X-Amz-Date",
		"X-Amz-Decoded-Content-Length", "X-Amz-Trailer", "X-Amz-Meta-Ssegw",
	})
	for name := range seen {
		if !slices.Contains(known, name) {
			t.Errorf("%s reached the store: %q", name, seen[name])
		}
	}
}

// TestHeadersDownstream checks which of the store's headers reach a client.
func TestHeadersDownstream(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, pairs := range [][]string{{s3.HeaderSSE, s3.AES256}, {}} {
		g.put("/bucket/k", []byte("data"), pairs...).want(t, 200, "")
		sealed := len(pairs) > 0
		g.upstream.on("", "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			h := w.Header()
			h.Set("X-Amz-Server-Side-Encryption", "aws:kms")
			h.Set("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", "the-stores-own")
			h.Set("X-Amz-Checksum-Crc32", "AAAAAA==")
			h.Set("X-Amz-Version-Id", "v1")
			h.Set("X-Amz-Tagging-Count", "2")
			h.Set("X-Amz-Request-Id", "the-stores-own")
			h.Set("Server", "the-store")
			h.Set("X-Internal", "secret")
			h.Set("Set-Cookie", "a=b")
			next.ServeHTTP(w, r)
		})
		for _, method := range []string{"GET", "HEAD"} {
			r := g.do(clientRequest{method: method, path: "/bucket/k"})
			r.want(t, 200, "")
			if r.header.Get("X-Amz-Version-Id") != "v1" || r.header.Get("X-Amz-Tagging-Count") != "2" {
				t.Errorf("%s: %v", method, r.header)
			}
			for _, name := range []string{"X-Internal", "Set-Cookie", "X-Amz-Meta-Ssegw"} {
				if r.header.Get(name) != "" {
					t.Errorf("%s: %s reaches the client", method, name)
				}
			}
			if r.header.Get("Server") != "ssegw" || len(r.header.Values("X-Amz-Request-Id")) != 1 || r.header.Get("X-Amz-Request-Id") == "the-stores-own" {
				t.Errorf("%s: Server %q, request ID %q", method, r.header.Get("Server"), r.header.Values("X-Amz-Request-Id"))
			}
			if got := r.header.Get("X-Amz-Server-Side-Encryption"); sealed && (got != s3.AES256 || r.header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") != "" || r.header.Get("X-Amz-Checksum-Crc32") != "") {
				t.Errorf("%s: the store's own encryption or checksum is shown: %v", method, r.header)
			}
		}
		g.upstream.unhook()
	}
}

// TestContentEncoding: the object's encodings are stored, those of the transfer
// are not.
func TestContentEncoding(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for sent, want := range map[string]string{
		"aws-chunked": "", "aws-chunked,gzip": "gzip", "gzip, br": "gzip, br", "gzip, aws-chunked": "gzip", "AWS-Chunked, br ,gzip": "br,gzip", "gzip": "gzip", "": "",
	} {
		for _, pairs := range [][]string{{s3.HeaderSSE, s3.AES256}, {}} {
			c := clientRequest{method: "PUT", path: "/bucket/k", body: []byte("data"), mode: modeTrailer, header: headers(pairs...)}
			if sent != "" {
				c.header.Set("Content-Encoding", sent)
			}
			g.do(c).want(t, 200, "")
			if got := g.upstream.object(testBucket, "k").header.Get("Content-Encoding"); got != want {
				t.Errorf("%q is stored as %q, want %q", sent, got, want)
			}
			if r := g.get("/bucket/k"); r.header.Get("Content-Encoding") != want || string(r.body) != "data" {
				t.Errorf("%q is read as %q", sent, r.header.Get("Content-Encoding"))
			}
		}
	}
}

// TestUserMetadata: clients get user metadata back as sent, also if the store
// returns text outside ASCII as RFC 2047 encoded words. For sealed objects the
// gateway makes these itself, as Amazon S3 and MinIO do.
func TestUserMetadata(t *testing.T) {
	t.Parallel()
	metadata := map[string]string{
		"Ascii": "plain value", "Unicode": "Grüße, 世界 🎉", "Spaces": "a  b", "Empty": "", "Comma": "a,b", "Long": strings.Repeat("ö", 200),
		"Encoded": mime.BEncoding.Encode("utf-8", "schön"), "Looks": "=?not encoded", "Signs": `"quotes" <and> &`,
	}
	for _, pairs := range [][]string{{s3.HeaderSSE, s3.AES256}, {}} {
		for _, encodes := range []bool{false, true} {
			g := newGateway(t)
			h := headers(pairs...)
			for name, value := range metadata {
				h.Set("X-Amz-Meta-"+name, value)
			}
			g.do(clientRequest{method: "PUT", path: "/bucket/k", body: []byte("data"), header: h}).want(t, 200, "")
			if encodes {
				g.upstream.edit(testBucket, "k", func(o *memObject) {
					for name, values := range o.header {
						if strings.HasPrefix(name, "X-Amz-Meta-") {
							o.header.Set(name, mime.QEncoding.Encode("utf-8", values[0]))
						}
					}
				})
			}
			for _, method := range []string{"GET", "HEAD"} {
				r := g.do(clientRequest{method: method, path: "/bucket/k"})
				r.want(t, 200, "")
				got := map[string]string{}
				for name, values := range r.header {
					if name, ok := strings.CutPrefix(name, "X-Amz-Meta-"); ok {
						got[name] = values[0]
						sealed := len(pairs) > 0
						plain, err := new(mime.WordDecoder).DecodeHeader(values[0])
						switch {
						case err != nil:
						case sealed && name == "Encoded": // in one of its forms
							got[name] = mime.BEncoding.Encode("utf-8", plain)
						case sealed, encodes && name != "Encoded":
							got[name] = plain
						}
						if sealed && !s3.IsASCII(values[0]) {
							t.Errorf("%s travels as %q", name, values[0])
						}
					}
				}
				if diff := cmp.Diff(metadata, got); diff != "" {
					t.Errorf("%v, store encodes: %t (-want +got):\n%s", pairs, encodes, diff)
				}
			}
		}
	}
}

// TestHeadersDigest: every relevant difference of headers is found, and no
// other.
func TestHeadersDigest(t *testing.T) {
	t.Parallel()
	base := headers("Content-Type", "text/plain", "X-Amz-Meta-A", "1", "X-Amz-Meta-B", "2", "X-Amz-Meta-D", s3.EncodeWords("ö"))
	same := []http.Header{
		headers("content-type", "text/plain", "x-amz-meta-a", "1", "x-amz-meta-b", "2", "x-amz-meta-d", "ö"),
		headers("Content-Type", " text/plain ", "X-Amz-Meta-A", "1", "X-Amz-Meta-B", "2\t", "X-Amz-Meta-D", "=?UTF-8?B?w7Y=?="),
		headers("Content-Type", "text/plain", "X-Amz-Meta-A", "1", "X-Amz-Meta-B", "2", "X-Amz-Meta-D", "=?iso-8859-1?q?=F6?=", "Etag", `"x"`, "Date", "now",
			"X-Amz-Meta-C", "", "X-Amz-Acl", "private", "X-Amz-Meta-Ssegw", "AQEA"),
	}
	different := []http.Header{
		headers("Content-Type", "text/html", "X-Amz-Meta-A", "1", "X-Amz-Meta-B", "2"),
		headers("Content-Type", "text/plain", "X-Amz-Meta-A", "1"),
		headers("Content-Type", "text/plain", "X-Amz-Meta-A", "2", "X-Amz-Meta-B", "1"),
		headers("Content-Type", "text/plain", "X-Amz-Meta-A", "12", "X-Amz-Meta-B", ""),
		headers("Content-Type", "text/plain", "X-Amz-Meta-A", "1", "X-Amz-Meta-A", "2"),
		headers("Content-Type", "text/plain", "X-Amz-Meta-A1", "", "X-Amz-Meta-B", "2"),
		headers("Content-Type", "text/plain", "X-Amz-Meta-A", "1", "X-Amz-Meta-B", "=?UTF-8?B?Mg==?="),
		headers("Content-Type", "text/plain", "X-Amz-Meta-A", "1", "X-Amz-Meta-B", "2", "Cache-Control", "no-store"),
	}
	for _, h := range different {
		h.Set("X-Amz-Meta-D", "ö")
	}
	want := sealer.NewContent(base, "k", 0).Digest()
	for i, h := range same {
		if found, err := sealer.OpenContent(h, "k", 0, want); err != nil || found["x-amz-meta-d"] != base.Get("X-Amz-Meta-D") {
			t.Errorf("same %d: %v", i, found)
		}
	}
	for i, h := range different {
		if _, err := sealer.OpenContent(h, "k", 0, want); err == nil {
			t.Errorf("different %d: the same digest", i)
		}
	}
}

// TestDirectoryObjects: stores on file systems give directories (empty objects
// whose keys end in a slash) their own content type. Only there this is not an
// integrity failure.
func TestDirectoryObjects(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for path, size := range map[string]int{"/bucket/dir/": 0, "/bucket/dir/full/": 1, "/bucket/file": 0} {
		g.put(path, pattern(size, 1), s3.HeaderSSE, s3.AES256, "Content-Type", "text/plain").want(t, 200, "")
		g.upstream.edit(testBucket, strings.TrimPrefix(path, "/bucket/"), func(o *memObject) { o.header.Set("Content-Type", "application/x-directory") })
		status, code := 500, "XSsegwObjectNotAuthentic"
		if path == "/bucket/dir/" {
			status, code = 200, ""
		}
		g.get(path).want(t, status, code)
	}
}

package proxy

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// Bounds that stand for the 5 GiB of one request and the 1 GiB of a part.
const (
	smallestPut = 200_000
	smallPart   = 70_000
)

// withSmallPuts bounds what one request carries, at the gateway and upstream.
func (g *testGateway) withSmallPuts() *testGateway {
	g.withSmallParts()
	g.bounds.maxPut, g.bounds.putPart = smallestPut, smallPart
	g.upstream.mu.Lock()
	defer g.upstream.mu.Unlock()
	g.upstream.maxPut = smallestPut
	return g
}

// TestPutParts writes bodies around the bound of one request, however they are
// sent, and reads them back in every way that shows their size.
func TestPutParts(t *testing.T) {
	t.Parallel()
	edge := int(smallestPut - sealer.SealedSize(smallestPut) + smallestPut - sealer.SingleTrailerSize) // the longest that goes in one request
	for _, framing := range []upstream.Framing{upstream.FramingTrailer, upstream.FramingSigned, upstream.FramingPlain} {
		t.Run(framing.String(), func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withTLS(), withFraming(framing)).withSmallPuts()
			n := 0
			for _, scheme := range testSchemes() {
				for _, size := range []int{edge, edge + 1, 3 * smallPart, 3*smallPart + smallestPart, 2_000_001} {
					path, body, mode := fmt.Sprintf("/bucket/%s-%d", scheme.name, size), pattern(size, uint64(n)), clientModes[n%len(clientModes)]
					n++
					r := g.do(clientRequest{method: http.MethodPut, path: path, body: body, mode: mode, header: headers(append([]string{"X-Amz-Meta-A", "1"}, scheme.write...)...)})
					r.want(t, 200, "")
					if diff := cmp.Diff(wantSSE(scheme), sseHeaders(r.header)); diff != "" {
						t.Errorf("%s: %s", path, diff)
					}
					wantObject(t, g, path, body, 10, scheme.read...)
					h := g.head(path, append([]string{"X-Amz-Checksum-Mode", "ENABLED"}, scheme.read...)...).header
					if h.Get("ETag") != r.header.Get("ETag") || h.Get("X-Amz-Meta-A") != "1" || strings.HasSuffix(h.Get("ETag"), `-1"`) != (size == edge) {
						t.Errorf("%s: %v, answered %v", path, h, r.header)
					}
					if strings.HasSuffix(mode, "-TRAILER") {
						want := sumText("CRC32", body)
						if h.Get("X-Amz-Checksum-Crc32") != want || r.header.Get("X-Amz-Checksum-Crc32") != want || h.Get("X-Amz-Checksum-Type") != s3.FullObject {
							t.Errorf("%s: %v, answered %v", path, h, r.header)
						}
					}
				}
			}
			if left := g.upstream.uploadsLeft(); left > 0 {
				t.Errorf("%d uploads left", left)
			}
			g.upstream.forget()
			if l := g.list(testBucket, ""); len(l) != n {
				t.Errorf("%d objects listed, want %d", len(l), n)
			}
			if asked := g.upstream.requests("/bucket/"); len(asked) > 0 {
				t.Errorf("listing what was just written asked for %d objects", len(asked))
			}
		})
	}
}

// TestPutPartsAbortsForWriters: an upload of the gateway's own that fails is
// aborted even if the client may write but not abort.
func TestPutPartsAbortsForWriters(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallPuts()
	g.upstream.makePublic(testBucket)
	g.upstream.on(http.MethodDelete, "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("Authorization") == "" {
			http.Error(w, "<Error><Code>AccessDenied</Code></Error>", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
	wrong := headers("Content-Md5", base64.StdEncoding.EncodeToString(make([]byte, 16)))
	g.do(clientRequest{method: http.MethodPut, path: "/bucket/k", body: pattern(300_000, 1), anonymous: true, header: wrong}).want(t, 400, "BadDigest")
	if left := g.upstream.uploadsLeft(); left > 0 {
		t.Errorf("%d uploads left", left)
	}
}

// TestPutPartsHeaders: headers of the object go with the Create, conditions
// with the Complete.
func TestPutPartsHeaders(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallPuts()
	body := pattern(300_000, 1)
	first := g.put("/bucket/k", body[1:], "If-None-Match", "*")
	first.want(t, 200, "")
	small := g.put("/bucket/small", body[:10])
	sent := []string{
		"X-Amz-Acl", "public-read", "X-Amz-Tagging", "a=1", "X-Amz-Storage-Class", "GLACIER", "X-Amz-Object-Lock-Mode", "GOVERNANCE",
		"X-Amz-Object-Lock-Retain-Until-Date", "2099-01-01T00:00:00Z", "X-Amz-Object-Lock-Legal-Hold", "ON", "Cache-Control", "max-age=5", "X-Amz-Meta-A", "1",
	}
	g.upstream.forget()
	g.put("/bucket/k", body, append(sent, "If-Match", first.header.Get("ETag"))...).want(t, 200, "")
	requests := g.upstream.requests("/bucket/k")
	begin, end := requests[0], requests[len(requests)-1]
	if !begin.Query.Has("uploads") || begin.Header.Get("If-Match") != "" {
		t.Errorf("begun by %v", begin)
	}
	for p := range slices.Chunk(sent, 2) {
		if begin.Header.Get(p[0]) != p[1] {
			t.Errorf("%s: %q at the begin", p[0], begin.Header.Get(p[0]))
		}
	}
	if end.Method != http.MethodPost || end.Header.Get("If-Match") != first.header.Get("ETag") {
		t.Errorf("ended by %v", end)
	}
	for _, condition := range [][]string{{"If-None-Match", "*"}, {"If-Match", first.header.Get("ETag")}} {
		g.put("/bucket/k", body[2:], condition...).want(t, 412, "PreconditionFailed")
	}
	g.put("/bucket/small", body, "If-Match", small.header.Get("ETag")).want(t, 200, "") // an ETag that the store has in another form
	wantObject(t, g, "/bucket/k", body, 1)
	wantObject(t, g, "/bucket/small", body, 1)
	if left := g.upstream.uploadsLeft(); left > 0 {
		t.Errorf("%d uploads left", left)
	}
}

// TestPutPartsFailures: after any failure the older object is still there, and
// no upload is left.
func TestPutPartsFailures(t *testing.T) {
	t.Parallel()
	body := pattern(300_000, 1)
	isPart := func(number string) func(*http.Request) bool {
		return func(r *http.Request) bool { return r.URL.Query().Get("partNumber") == number }
	}
	spoilEnd := func(b []byte) []byte { return flip(b, len(b)-12) }
	for name, c := range map[string]struct {
		request clientRequest
		when    func(*http.Request) bool
		fails   hook
		status  int
		code    string
	}{
		"wrong SHA-256":         {request: clientRequest{spoil: spoilEnd}, status: 400, code: "XAmzContentSHA256Mismatch"},
		"wrong trailer":         {request: clientRequest{mode: modeTrailer, spoil: spoilEnd}, status: 400, code: "BadDigest"},
		"wrong chunk signature": {request: clientRequest{mode: modeSigned, spoil: spoilEnd}, status: 403, code: "SignatureDoesNotMatch"},
		"wrong MD5":             {request: clientRequest{mode: modeUnsigned, header: headers("Content-Md5", "AAAAAAAAAAAAAAAAAAAAAA==")}, status: 400, code: "BadDigest"},
		"wrong checksum":        {request: clientRequest{header: headers("X-Amz-Checksum-Crc32", "AAAAAA==")}, status: 400, code: "BadDigest"},
		"cut in the first part": {request: clientRequest{cut: 10_000}},
		"cut in the last part":  {request: clientRequest{cut: 299_999}},
		"no begin":              {when: func(r *http.Request) bool { return r.URL.Query().Has("uploads") }, fails: answerWith(403, "AccessDenied"), status: 403, code: "AccessDenied"},
		"first part refused":    {when: isPart("1"), fails: answerWith(500, "InternalError"), status: 500, code: "InternalError"},
		"second part breaks":    {when: isPart("2"), fails: breakAfter(20_000), status: 503, code: "ServiceUnavailable"},
		"no table":              {when: isPart("6"), fails: answerWith(503, "SlowDown"), status: 503, code: "SlowDown"},
		"no end":                {when: func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") }, fails: answerWith(500, "InternalError"), status: 500, code: "InternalError"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AWSKMS})).withSmallPuts()
			g.put("/bucket/k", []byte("old")).want(t, 200, "")
			var met atomic.Bool // the store serves on goroutines of its own
			met.Store(c.fails == nil)
			g.upstream.on("", "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if c.fails != nil && c.when(r) {
					met.Store(true)
					c.fails(w, r, next)
					return
				}
				next.ServeHTTP(w, r)
			})
			c.request.method, c.request.path, c.request.body = http.MethodPut, "/bucket/k", body
			if r := g.do(c.request); c.status > 0 {
				r.want(t, c.status, c.code)
			}
			if !met.Load() {
				t.Error("what was to fail was never asked for")
			}
			g.upstream.unhook()
			eventually(t, "the upload to be taken back", func() bool { return g.upstream.uploadsLeft() == 0 })
			wantObject(t, g, "/bucket/k", []byte("old"), 1)
		})
	}
	t.Run("no KMS", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AWSKMS})).withSmallPuts()
		g.kes.Stop()
		g.put("/bucket/k", body).want(t, 503, "ServiceUnavailable")
		g.wantNothing(t)
	})
}

// TestPartTooLarge: the limit of a part applies to its size at the store.
func TestPartTooLarge(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	plain, sealed := g.begin("/bucket/plain"), g.begin("/bucket/sealed", s3.HeaderSSE, s3.AES256)
	for _, c := range []struct {
		u    *testUpload
		size int64
		code string
	}{{plain, maxPut, "IncompleteBody"}, {plain, maxPut + 1, "EntityTooLarge"}, {sealed, maxPut, "EntityTooLarge"}} {
		r := c.u.request(http.MethodPut, 1, []byte("x"))
		r.mode, r.decoded = modeTrailer, c.size
		if a := g.do(r); a.code != c.code {
			t.Errorf("%s, %d bytes: %d %s, want %s", c.u.path, c.size, a.status, a.code, c.code)
		}
	}
}

// TestPutTooLarge: Amazon S3's bound on a PUT stays, sealed or not.
func TestPutTooLarge(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, sse := range [][]string{{s3.HeaderSSE, s3.AES256}, nil} {
		c := clientRequest{method: http.MethodPut, path: "/bucket/k", mode: modeTrailer, decoded: maxPut + 1, body: []byte("x"), header: headers(sse...)}
		g.do(c).want(t, 400, "EntityTooLarge")
		if seen := g.upstream.requests("/bucket/k"); len(seen) > 0 {
			t.Errorf("%v reached the store", seen)
		}
	}
}

// TestCopyIntoParts: a copy that becomes too long for one request by being
// sealed goes up in parts, too.
func TestCopyIntoParts(t *testing.T) {
	t.Parallel()
	g := newGateway(t).withSmallPuts()
	body := pattern(smallestPut-10, 1)
	g.put("/bucket/src", body, "X-Amz-Tagging", "a=1").want(t, 200, "")
	g.copy("bucket/src", "/bucket/dst", s3.HeaderSSE, s3.AES256).want(t, 200, "")
	wantObject(t, g, "/bucket/dst", body, 10)
	if h := g.head("/bucket/dst").header; !strings.HasSuffix(h.Get("ETag"), `-4"`) || h.Get("X-Amz-Tagging-Count") != "1" || !isSealed(g.upstream.object(testBucket, "dst")) {
		t.Errorf("%v", h)
	}
}

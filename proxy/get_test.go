package proxy

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// checkRange reads a range and compares it with a slice of the body.
func checkRange(t *testing.T, g *testGateway, path, span string, body []byte, first, last int) {
	t.Helper()
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		r := g.do(clientRequest{method: method, path: path, header: headers("Range", span)})
		r.want(t, 206, "")
		want := body[first : last+1]
		if method == http.MethodGet && !bytes.Equal(r.body, want) {
			t.Fatalf("%s of %d: %d wrong bytes", span, len(body), len(r.body))
		}
		if got := r.header.Get("Content-Range"); got != fmt.Sprintf("bytes %d-%d/%d", first, last, len(body)) {
			t.Fatalf("%s of %d: %s answers Content-Range %q", span, len(body), method, got)
		}
		if got := r.header.Get("Content-Length"); got != strconv.Itoa(len(want)) {
			t.Fatalf("%s of %d: %s answers Content-Length %s", span, len(body), method, got)
		}
	}
}

// TestGetRanges reads random ranges of sealed objects. Each costs one request.
func TestGetRanges(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	const p = sealer.PackageSize
	for _, size := range []int{1, p - 1, p, p + 1, 3*p + 77, 1<<20 + 5} {
		body := pattern(size, uint64(size))
		// The large one has a trailer behind its body.
		g.do(clientRequest{
			method: "PUT", path: "/bucket/k", body: body, mode: modeTrailer, header: headers(s3.HeaderSSE, s3.AES256),
		}).want(t, 200, "")
		for range 85 {
			first := rnd.IntN(size)
			last := first + rnd.IntN(size-first)
			if rnd.IntN(3) == 0 { // around the bounds of packages
				first = min(max(first/p*p+rnd.IntN(3)-1, 0), size-1)
				last = min(max(last/p*p+rnd.IntN(3)-1, first), size-1)
			}
			g.upstream.forget()
			checkRange(t, g, "/bucket/k", fmt.Sprintf("bytes=%d-%d", first, last), body, first, last)
			if n := len(g.upstream.requests("/bucket/k")); n != 2 {
				t.Fatalf("GET and HEAD of a range took %d requests", n)
			}
		}
		first := rnd.IntN(size)
		checkRange(t, g, "/bucket/k", fmt.Sprintf("bytes=%d-", first), body, first, size-1)
		checkRange(t, g, "/bucket/k", fmt.Sprintf("bytes=%d-%d", first, size+1000), body, first, size-1)
		checkRange(t, g, "/bucket/k", fmt.Sprintf("bytes=%d-9223372036854775807", first), body, first, size-1)
		n := 1 + rnd.IntN(size)
		g.upstream.forget()
		checkRange(t, g, "/bucket/k", fmt.Sprintf("bytes=-%d", n), body, size-n, size-1)
		checkRange(t, g, "/bucket/k", fmt.Sprintf("bytes=-%d", size+5), body, 0, size-1)
		if n := len(g.upstream.requests("/bucket/k")); n != 6 {
			t.Errorf("two suffix ranges took %d requests", n)
		}
	}
}

// TestGetPlainRanges reads ranges of objects that are not sealed.
func TestGetPlainRanges(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	body := pattern(200_000, 1)
	g.put("/bucket/k", body).want(t, 200, "")
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		first := rnd.IntN(len(body))
		last := first + rnd.IntN(len(body)-first)
		checkRange(t, g, "/bucket/k", fmt.Sprintf("bytes=%d-%d", first, last), body, first, last)
	}
	checkRange(t, g, "/bucket/k", "bytes=199999-", body, 199_999, 199_999)
	checkRange(t, g, "/bucket/k", "bytes=-7", body, 199_993, 199_999)
	checkRange(t, g, "/bucket/k", "bytes=65536-65600", body, 65_536, 65_600)
}

// TestGetUnsatisfiable reads ranges beyond the end. The stored object is longer
// than the plaintext, so the store would have bytes there.
func TestGetUnsatisfiable(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, pairs := range [][]string{{s3.HeaderSSE, s3.AES256}, {}} {
		for _, size := range []int{0, 10, sealer.PackageSize, sealer.PackageSize + 1} {
			path := fmt.Sprintf("/bucket/%d-%d", len(pairs), size)
			g.put(path, pattern(size, 1), pairs...).want(t, 200, "")
			spans := []string{fmt.Sprintf("bytes=%d-", size), fmt.Sprintf("bytes=%d-%d", size, size+5), fmt.Sprintf("bytes=%d-", size+1<<20), "bytes=-0"}
			if size == 0 {
				spans = append(spans, "bytes=0-0", "bytes=0-")
			}
			for _, span := range spans {
				r := g.get(path, "Range", span)
				r.want(t, 416, "InvalidRange")
				if want := fmt.Sprintf("bytes */%d", size); len(pairs) > 0 && r.header.Get("Content-Range") != want {
					t.Errorf("%s of %d: Content-Range %q, want %q", span, size, r.header.Get("Content-Range"), want)
				}
				if h := g.head(path, "Range", span); h.status != 416 {
					t.Errorf("HEAD, %s of %d: %d", span, size, h.status)
				}
			}
			if size == 0 && len(pairs) > 0 {
				// The last bytes of an empty object are the whole object.
				for _, r := range []clientAnswer{g.get(path, "Range", "bytes=-1"), g.head(path, "Range", "bytes=-1")} {
					if r.status != 200 || r.header.Get("Content-Range") != "" || r.header.Get("Content-Length") != "0" {
						t.Errorf("suffix of an empty object: %d, %v", r.status, r.header)
					}
				}
			}
			// Malformed ranges are ignored, as HTTP requires.
			for _, span := range []string{"bytes=5-2", "lines=1-2", "bytes=x-"} {
				if r := g.get(path, "Range", span); r.status != 200 || len(r.body) != size {
					t.Errorf("%s of %d: %d, %d bytes", span, size, r.status, len(r.body))
				}
			}
			if r := g.get(path, "Range", "bytes=0-1", "If-Range", `"other"`); r.status != 200 || len(r.body) != size {
				t.Errorf("If-Range of %d: %d, %d bytes", size, r.status, len(r.body))
			}
		}
	}
	for _, span := range []string{"", "bytes=0-1", "bytes=-1"} {
		g.get("/bucket/missing", "Range", span).want(t, 404, "NoSuchKey")
	}
}

// TestGetReplaced replaces the object between the first request and the read.
// The answer is one of the two objects, complete. A client's condition does not
// fail.
func TestGetReplaced(t *testing.T) {
	t.Parallel()
	one, two := pattern(2*sealer.PackageSize, 1), pattern(70_000, 2)
	for name, pairs := range map[string][]string{"by sealed ": {s3.HeaderSSE, s3.AES256}, "by plain ": nil} {
		for _, span := range []string{"bytes=-10", "bytes=0-9"} {
			t.Run(name+span, func(t *testing.T) {
				t.Parallel()
				g := newGateway(t)
				if span == "bytes=-10" {
					g.put("/bucket/k", one, s3.HeaderSSE, s3.AES256).want(t, 200, "")
				} else {
					g.put("/bucket/k", one).want(t, 200, "") // the first look is a GET then
				}
				var replaced atomic.Bool
				g.upstream.on("", "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					if r.Method == http.MethodPut || !replaced.CompareAndSwap(false, true) {
						next.ServeHTTP(w, r)
						return
					}
					old := httptest.NewRecorder()
					next.ServeHTTP(old, r)
					if a := g.put("/bucket/k", two, pairs...); a.status != 200 {
						t.Errorf("replacing: %d", a.status)
					}
					maps.Copy(w.Header(), old.Header())
					w.WriteHeader(old.Code)
					w.Write(old.Body.Bytes())
				})
				r := g.get("/bucket/k", "Range", span)
				r.want(t, 206, "")
				want := two[:10]
				if span == "bytes=-10" {
					want = two[len(two)-10:]
				}
				if !bytes.Equal(r.body, want) {
					t.Errorf("neither object's bytes: %q", r.body)
				}
			})
		}
	}
}

// TestGetReplacedForever gives up if the object changes at every attempt.
func TestGetReplacedForever(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/k", pattern(100, 1), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	g.upstream.on(http.MethodGet, "/bucket/k", answerWith(412, "PreconditionFailed"))
	g.upstream.forget()
	g.get("/bucket/k", "Range", "bytes=-1").want(t, 409, "OperationAborted")
	if n := len(g.upstream.requests("/bucket/k")); n > 2*maxReads {
		t.Errorf("%d requests", n)
	}
}

// TestGetRangeIgnored reads from a store that answers ranges with 200 and all.
func TestGetRangeIgnored(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.upstream.on(http.MethodGet, "/bucket/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Del("Range")
		next.ServeHTTP(w, r)
	})
	body := pattern(5*sealer.PackageSize+9, 1)
	g.put("/bucket/k", body, s3.HeaderSSE, s3.AES256).want(t, 200, "")
	for _, at := range [][2]int{{0, 0}, {10, 20}, {sealer.PackageSize, 3*sealer.PackageSize - 1}, {len(body) - 5, len(body) - 1}} {
		checkRange(t, g, "/bucket/k", fmt.Sprintf("bytes=%d-%d", at[0], at[1]), body, at[0], at[1])
	}
	checkRange(t, g, "/bucket/k", "bytes=-3", body, len(body)-3, len(body)-1)
}

// TestGetWrongRange reads from a store that answers with another range than
// requested. Its Content-Range shows that, or lies, or is missing or malformed.
func TestGetWrongRange(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	body := pattern(5*sealer.PackageSize, 1)
	g.put("/bucket/k", body, s3.HeaderSSE, s3.AES256).want(t, 200, "")
	stored := g.upstream.object(testBucket, "k")
	for name, contentRange := range map[string]string{
		"honest":     fmt.Sprintf("bytes %d-%d/%d", 3*sealedPackage, 4*sealedPackage-1, len(stored.body)),
		"lying":      fmt.Sprintf("bytes %d-%d/%d", sealedPackage, 2*sealedPackage-1, len(stored.body)),
		"garbage":    "bytes x-y/z",
		"none":       "",
		"short size": fmt.Sprintf("bytes %d-%d/%d", sealedPackage, 2*sealedPackage-1, 2*sealedPackage),
	} {
		g.upstream.on(http.MethodGet, "/bucket/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			h := w.Header()
			for name, values := range stored.header {
				h[name] = values
			}
			h.Set("ETag", `"`+stored.etag+`"`)
			h.Set("Content-Length", strconv.Itoa(sealedPackage))
			h.Set("Content-Range", contentRange)
			w.WriteHeader(http.StatusPartialContent)
			w.Write(stored.body[3*sealedPackage : 4*sealedPackage])
		})
		r := g.get("/bucket/k", "Range", fmt.Sprintf("bytes=%d-%d", sealer.PackageSize, 2*sealer.PackageSize-1))
		if r.status != 500 || r.code != "XSsegwObjectNotAuthentic" {
			t.Errorf("%s: %d %s, %d bytes", name, r.status, r.code, len(r.body))
		}
	}
}

// TestResponseOverrides sets response headers by query, on sealed and plain
// objects. No value can start another header line.
func TestResponseOverrides(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	overrides := map[string]string{
		"content-type": "text/x-mine", "cache-control": "no-store", "content-disposition": "attachment; filename=\"a\r\nX-Evil: 1\"",
		"content-encoding": "x-none", "content-language": "de", "expires": "Thu, 01 Dec 1994 16:00:00 GMT",
	}
	for _, pairs := range [][]string{{s3.HeaderSSE, s3.AES256}, {}} {
		g.put("/bucket/k", []byte("data"), append(pairs, "Content-Type", "text/plain", "Cache-Control", "max-age=1")...).want(t, 200, "")
		for _, method := range []string{"GET", "HEAD"} {
			query := map[string][]string{}
			for name, value := range overrides {
				query["response-"+name] = []string{value}
			}
			r := g.do(clientRequest{method: method, path: "/bucket/k", query: query})
			r.want(t, 200, "")
			for name, value := range overrides {
				if name == "content-disposition" {
					value = `attachment; filename="aX-Evil: 1"`
				}
				if got := r.header.Get(name); got != value {
					t.Errorf("%s %v: %s is %q, want %q", method, pairs, name, got, value)
				}
			}
			if _, evil := r.header["X-Evil"]; evil {
				t.Error("a header came out of a value")
			}
		}
		// Without them the stored headers are there.
		if r := g.get("/bucket/k"); r.header.Get("Content-Type") != "text/plain" || r.header.Get("Cache-Control") != "max-age=1" {
			t.Errorf("stored headers: %v", r.header)
		}
	}
	r := g.do(clientRequest{method: "GET", path: "/bucket/k", query: map[string][]string{"response-x-amz-evil": {"1"}}})
	if r.status < 400 || r.header.Get("X-Amz-Evil") != "" {
		t.Errorf("an unknown override: %d %q", r.status, r.header.Get("X-Amz-Evil"))
	}
}

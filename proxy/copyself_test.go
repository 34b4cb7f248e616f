package proxy

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ssegw/kms/kmstest"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// selfCopies are the requests that replace an object by a copy of itself.
var selfCopies = map[string]struct {
	stored []string // how the object is written
	large  bool     // it takes more than one request to copy
	copy   func(g *testGateway) clientAnswer
}{
	"UpdateObjectEncryption": {[]string{s3.HeaderSSE, s3.AES256}, false, func(g *testGateway) clientAnswer {
		return g.updateEncryption("/bucket/k", kmstest.DefaultKey)
	}},
	"UpdateObjectEncryption, large": {[]string{s3.HeaderSSE, s3.AES256}, true, func(g *testGateway) clientAnswer {
		return g.updateEncryption("/bucket/k", kmstest.DefaultKey)
	}},
	"metadata": {[]string{s3.HeaderSSE, s3.AES256}, false, func(g *testGateway) clientAnswer {
		return g.copy("bucket/k", "/bucket/k", "X-Amz-Metadata-Directive", "REPLACE", "X-Amz-Meta-A", "2", s3.HeaderSSE, s3.AES256)
	}},
	"metadata, large": {[]string{s3.HeaderSSE, s3.AES256}, true, func(g *testGateway) clientAnswer {
		return g.copy("bucket/k", "/bucket/k", "X-Amz-Metadata-Directive", "REPLACE", "X-Amz-Meta-A", "2", s3.HeaderSSE, s3.AES256)
	}},
	"checksum": {[]string{s3.HeaderSSE, s3.AES256}, false, func(g *testGateway) clientAnswer {
		return g.copy("bucket/k", "/bucket/k", s3.HeaderAlgorithm, "SHA256", s3.HeaderSSE, s3.AES256)
	}},
	"checksum, large": {[]string{s3.HeaderSSE, s3.AES256}, true, func(g *testGateway) clientAnswer {
		return g.copy("bucket/k", "/bucket/k", s3.HeaderAlgorithm, "SHA256", s3.HeaderSSE, s3.AES256)
	}},
	"sealing": {nil, false, func(g *testGateway) clientAnswer { return g.copy("bucket/k", "/bucket/k", s3.HeaderSSE, s3.AES256) }},
}

// withLargeCopies makes objects of 100 kB too large for one PUT or copy.
func (g *testGateway) withLargeCopies() *testGateway {
	g.bounds.maxPut, g.bounds.putPart, g.bounds.maxCopy, g.bounds.copyRange = 100_000, smallPart, 100_000, 60_000
	g.upstream.mu.Lock()
	defer g.upstream.mu.Unlock()
	g.upstream.maxPut, g.upstream.maxCopy = 100_000, 100_000
	return g
}

// TestSelfCopyLosesNothing: a change of the object during a copy to itself is
// never lost, at any point of the copy.
func TestSelfCopyLosesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range selfCopies {
		body, other := pattern(150_000, 1), pattern(140_000, 2)
		for moment, at := range map[string]func(*http.Request) bool{
			"first write": func(r *http.Request) bool { return true },
			"last write":  func(r *http.Request) bool { return !r.URL.Query().Has("uploads") && !r.URL.Query().Has("partNumber") },
		} {
			for what, event := range map[string]func(g *testGateway){
				"written": func(g *testGateway) { g.put("/bucket/k", other, s3.HeaderSSE, s3.AES256) },
				"deleted": func(g *testGateway) { g.delete("/bucket/k") },
			} {
				t.Run(strings.Join([]string{name, moment, what}, "/"), func(t *testing.T) {
					t.Parallel()
					g := newGateway(t).withSmallParts()
					if c.large {
						g = g.withLargeCopies()
					}
					g.put("/bucket/k", body, c.stored...).want(t, 200, "")
					var happened atomic.Bool
					hold := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
						if at(r) && happened.CompareAndSwap(false, true) {
							event(g)
						}
						next.ServeHTTP(w, r)
					}
					g.upstream.on(http.MethodPut, "/bucket/k", hold)
					g.upstream.on(http.MethodPost, "/bucket/k", hold)
					r := c.copy(g)
					if !happened.Load() {
						t.Fatal("the copy wrote nothing")
					}
					if what == "deleted" {
						r.want(t, 404, "NoSuchKey")
						wantStored(t, g, "k", nil)
						return
					}
					r.want(t, 200, "")
					wantObject(t, g, "/bucket/k", other, 3)
				})
			}
		}
	}
}

// TestSelfCopyConflict: the copy gives up if the object changes before each
// attempt.
func TestSelfCopyConflict(t *testing.T) {
	t.Parallel()
	for name, c := range selfCopies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t).withSmallParts()
			if c.large {
				g = g.withLargeCopies()
			}
			g.put("/bucket/k", pattern(150_000, 1), c.stored...).want(t, 200, "")
			n := uint64(0)
			change := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if !r.URL.Query().Has("uploads") && !r.URL.Query().Has("partNumber") {
					n++
					o := &memObject{body: pattern(1000, n), header: headers("Content-Type", "a/b"), etag: memTag(pattern(10, n))}
					if c.stored != nil {
						o = g.upstream.object(testBucket, "k")
						o.etag = memTag(pattern(10, n))
					}
					g.upstream.store(testBucket, "k", o)
				}
				next.ServeHTTP(w, r)
			}
			g.upstream.on(http.MethodPut, "/bucket/k", change)
			g.upstream.on(http.MethodPost, "/bucket/k", change)
			c.copy(g).want(t, 409, "OperationAborted")
			if o := g.upstream.object(testBucket, "k"); o.etag != memTag(pattern(10, n)) {
				t.Error("the last write is lost")
			}
			if n != maxReads {
				t.Errorf("%d tries", n)
			}
			g.upstream.mu.Lock()
			defer g.upstream.mu.Unlock()
			if len(g.upstream.uploads) > 0 {
				t.Errorf("%d uploads left", len(g.upstream.uploads))
			}
		})
	}
}

// TestSelfCopyInPlace: a sealed object is never changed in place. Stores that
// do so may combine the header of one write with the body of another.
func TestSelfCopyInPlace(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 150_000} {
		for _, key := range []string{"k", "dir/"} {
			if key == "dir/" && size > 0 {
				continue
			}
			t.Run(fmt.Sprint(key, size), func(t *testing.T) {
				g := newGateway(t)
				g.put("/bucket/"+key, pattern(size, 1), s3.HeaderSSE, s3.AES256, "X-Amz-Tagging", "a=1", "Cache-Control", "no-cache").want(t, 200, "")
				g.upstream.forget()
				r := g.copy("bucket/"+key, "/bucket/"+key, "X-Amz-Metadata-Directive", "REPLACE", "X-Amz-Meta-A", "2", s3.HeaderSSE, s3.AES256)
				r.want(t, 200, "")
				g.updateEncryption("/bucket/"+key, kmstest.DefaultKey).want(t, 200, "")
				if size > 0 {
					wantNoBodies(t, g)
				}
				for _, r := range g.upstream.requests("/bucket") {
					if r.Header.Get("X-Amz-Copy-Source") != "" && !r.Query.Has("uploadId") {
						t.Errorf("%s %s copies in place", r.Method, r.Path)
					}
					if key == "dir/" && r.Query.Has("uploads") {
						t.Error("stores have no uploads of directories")
					}
				}
				h := g.head("/bucket/" + key).header
				if h.Get("X-Amz-Meta-A") != "2" || h.Get("Cache-Control") != "" || h.Get("X-Amz-Tagging-Count") != "1" {
					t.Errorf("%v", h)
				}
				g.get("/bucket/"+key).want(t, 200, "")
			})
		}
	}
}

// TestSelfCopyWithoutConditions: the copy also works at stores that have no
// conditional writes, or want them in another form.
func TestSelfCopyWithoutConditions(t *testing.T) {
	t.Parallel()
	for code, status := range map[string]int{"NotImplemented": 501, "PreconditionFailed": 412} {
		for name, c := range selfCopies {
			t.Run(code+"/"+name, func(t *testing.T) {
				t.Parallel()
				g := newGateway(t).withSmallParts()
				if c.large {
					g = g.withLargeCopies()
				}
				body := pattern(150_000, 1)
				g.put("/bucket/k", body, c.stored...).want(t, 200, "")
				refuse := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					if r.Header.Get("If-Match") != "" {
						memFail(w, status, code, "no conditions")
						return
					}
					next.ServeHTTP(w, r)
				}
				g.upstream.on(http.MethodPut, "/bucket/k", refuse)
				g.upstream.on(http.MethodPost, "/bucket/k", refuse)
				c.copy(g).want(t, 200, "")
				wantObject(t, g, "/bucket/k", body, 3)
			})
		}
	}
}

// TestSelfCopyKeepsItsGuard: if a store refuses the condition for a temporary
// reason, the copy is made under the condition later.
func TestSelfCopyKeepsItsGuard(t *testing.T) {
	t.Parallel()
	type refusal struct {
		status int
		code   string
		change func(o *memObject) // what happens to the object meanwhile
	}
	for what, refused := range map[string]refusal{
		"409":     {409, "ConditionalRequestConflict", nil},
		"aborted": {409, "OperationAborted", nil},
		// Equal bytes have equal ETags.
		"412, time":   {412, "PreconditionFailed", func(o *memObject) { o.modified = o.modified.Add(time.Second) }},
		"412, header": {412, "PreconditionFailed", func(o *memObject) { o.header.Set("X-Amz-Meta-B", "3") }},
		"412, type":   {412, "PreconditionFailed", func(o *memObject) { o.header.Del("Content-Type") }},
	} {
		for name, c := range selfCopies {
			for _, size := range []int{0, 150_000} {
				if size == 0 && c.large || refused.change != nil && c.stored != nil && what != "412, time" {
					continue // such a change makes a sealed object unreadable
				}
				t.Run(fmt.Sprint(what, "/", name, "/", size), func(t *testing.T) {
					t.Parallel()
					g := newGateway(t).withSmallParts()
					if c.large {
						g = g.withLargeCopies()
					}
					body := pattern(size, 1)
					g.put("/bucket/k", body, c.stored...).want(t, 200, "")
					var last, unguarded atomic.Int32
					refuse := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
						if r.URL.Query().Has("uploads") || r.URL.Query().Has("partNumber") {
							next.ServeHTTP(w, r)
							return
						}
						if r.Header.Get("If-Match") == "" {
							unguarded.Add(1)
						}
						if last.Add(1) > 1 {
							next.ServeHTTP(w, r)
							return
						}
						if refused.change != nil {
							o := g.upstream.object(testBucket, "k")
							refused.change(o)
							g.upstream.store(testBucket, "k", o)
						}
						memFail(w, refused.status, refused.code, "not now")
					}
					g.upstream.on(http.MethodPut, "/bucket/k", refuse)
					g.upstream.on(http.MethodPost, "/bucket/k", refuse)
					c.copy(g).want(t, 200, "")
					if last.Load() != 2 || unguarded.Load() != 0 {
						t.Errorf("%d tries, %d of them without a condition", last.Load(), unguarded.Load())
					}
					wantStoredBody(t, g, "k", body)
				})
			}
		}
	}
}

// TestSelfCopyAlwaysBusy: nothing is written if every attempt meets another
// write.
func TestSelfCopyAlwaysBusy(t *testing.T) {
	t.Parallel()
	for name, c := range selfCopies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t).withSmallParts()
			if c.large {
				g = g.withLargeCopies()
			}
			g.put("/bucket/k", pattern(150_000, 1), c.stored...).want(t, 200, "")
			before := g.upstream.object(testBucket, "k").header.Get(sealer.MetadataKey)
			busy := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Header.Get("If-Match") != "" {
					memFail(w, 409, "ConditionalRequestConflict", "not now")
					return
				}
				next.ServeHTTP(w, r)
			}
			g.upstream.on(http.MethodPut, "/bucket/k", busy)
			g.upstream.on(http.MethodPost, "/bucket/k", busy)
			c.copy(g).want(t, 409, "OperationAborted")
			if g.upstream.object(testBucket, "k").header.Get(sealer.MetadataKey) != before {
				t.Error("the object was written without a condition")
			}
		})
	}
}

// TestCopyDestinationConditions: conditions on the destination work for sealed
// copies, also at stores that honour them only for uploads and PUTs.
func TestCopyDestinationConditions(t *testing.T) {
	t.Parallel()
	sse := []string{s3.HeaderSSE, s3.AES256}
	g := newGateway(t)
	g.upstream.on(http.MethodPut, "/bucket/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("X-Amz-Copy-Source") != "" {
			r.Header.Del("If-Match")
			r.Header.Del("If-None-Match")
		}
		next.ServeHTTP(w, r)
	})
	const wrong = `"00000000000000000000000000000000-1"`
	for _, body := range [][]byte{pattern(2000, 1), {}} {
		g.put("/bucket/k", body, sse...).want(t, 200, "")
		for _, dst := range []string{"dst", "k"} {
			old := g.put("/bucket/"+dst, body, sse...).header.Get("ETag")
			copied := func(pairs ...string) clientAnswer {
				return g.copy("bucket/k", "/bucket/"+dst, slices.Concat([]string{"X-Amz-Metadata-Directive", "REPLACE"}, sse, pairs)...)
			}
			copied("If-Match", wrong).want(t, 412, "PreconditionFailed")
			copied("If-None-Match", "*").want(t, 412, "PreconditionFailed")
			copied("If-Match", old).want(t, 200, "")
			old = g.head("/bucket/" + dst).header.Get("ETag")
			copied("If-None-Match", old).want(t, 412, "PreconditionFailed")
			copied("If-Match", "*").want(t, 200, "")
			wantStoredBody(t, g, dst, body)
		}
		g.copy("bucket/k", fmt.Sprintf("/bucket/new%d", len(body)), append([]string{"If-None-Match", "*"}, sse...)...).want(t, 200, "")
	}
}

func wantStoredBody(t *testing.T, g *testGateway, key string, body []byte) {
	t.Helper()
	if r := g.get("/bucket/" + key); r.status != 200 || string(r.body) != string(body) {
		t.Errorf("%s: %d, %d bytes", key, r.status, len(r.body))
	}
}

// TestCopyMixedLook: a store's answer to a HEAD mixes the headers of an object
// with the ETag of the one that replaces it meanwhile. The copy has the body and
// the header of one object.
func TestCopyMixedLook(t *testing.T) {
	t.Parallel()
	old, replacement := pattern(1000, 1), pattern(1000, 2)
	for name, to := range map[string]string{"onto itself": "/bucket/k", "to another key": "/bucket/other"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
			g.put("/bucket/k", old).want(t, 200, "")
			var once sync.Once
			g.upstream.on(http.MethodHead, "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				answer := httptest.NewRecorder()
				next.ServeHTTP(answer, r)
				once.Do(func() {
					g.put("/bucket/k", replacement).want(t, 200, "")
					later := httptest.NewRecorder()
					next.ServeHTTP(later, r)
					answer.Header().Set("ETag", later.Header().Get("ETag"))
				})
				maps.Copy(w.Header(), answer.Header())
				w.WriteHeader(answer.Code)
			})
			g.put(to, nil, "X-Amz-Copy-Source", "bucket/k", "X-Amz-Metadata-Directive", "REPLACE", "X-Amz-Meta-B", "2").want(t, 200, "")
			g.upstream.unhook()
			wantObject(t, g, to, replacement, 10)
			if h := g.head(to).header; h.Get("X-Amz-Meta-B") != "2" {
				t.Errorf("the copy has %v", h)
			}
		})
	}
}

// TestCopyOntoItselfTrailer: the answer to a copy of an object onto itself has
// the checksum of an object whose trailer this gateway has not read before.
// Afterwards it is too late: the object is another one.
func TestCopyOntoItselfTrailer(t *testing.T) {
	t.Parallel()
	first := newGateway(t)
	body := pattern(smallBody+1, 1)
	first.do(clientRequest{method: http.MethodPut, path: "/bucket/k", body: body, mode: modeTrailer, header: headers(s3.HeaderSSE, s3.AES256)}).want(t, 200, "")
	g := newGateway(t, withUpstream(first.upstream), withKES(first.kes))
	r := g.put("/bucket/k", nil, s3.HeaderCopySource, "bucket/k", s3.HeaderSSE, s3.AWSKMS)
	r.want(t, 200, "")
	if want := "<ChecksumCRC32>" + sumText("CRC32", body) + "</ChecksumCRC32>"; !strings.Contains(string(r.body), want) {
		t.Errorf("%s", r.body)
	}
	if n := len(slices.DeleteFunc(g.upstream.requests("/bucket/k"), func(r memRequest) bool { return !r.Query.Has("uploads") })); n != 1 {
		t.Errorf("%d copies", n)
	}
	wantObject(t, g, "/bucket/k", body, 1)
}

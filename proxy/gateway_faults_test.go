package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// uploads are writes in every framing, sealed and plain, small and large.
func uploads(t *testing.T, run func(t *testing.T, g *testGateway, body []byte, old *memObject)) {
	for _, framing := range []upstream.Framing{upstream.FramingTrailer, upstream.FramingSigned, upstream.FramingPlain} {
		for _, sealed := range []bool{true, false} {
			for _, size := range []int{1000, 3 << 20} {
				t.Run(fmt.Sprintf("%s/sealed=%t/%d", framing, sealed, size), func(t *testing.T) {
					t.Parallel()
					opts := []gatewayOption{withFraming(framing)}
					if sealed {
						opts = append(opts, withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
					}
					g := newGateway(t, opts...)
					g.put("/bucket/k", []byte("the old object")).want(t, 200, "")
					run(t, g, pattern(size, 4), g.upstream.object(testBucket, "k"))
				})
			}
		}
	}
}

// wantStored fails unless the store has exactly this object.
func wantStored(t *testing.T, g *testGateway, key string, want *memObject) {
	t.Helper()
	if diff := cmp.Diff(want, g.upstream.object(testBucket, key), cmp.AllowUnexported(memObject{})); diff != "" {
		t.Errorf("the store has another object (-want +got):\n%.600s", diff)
	}
}

// TestUpstreamBreaks breaks the connection to the store at many places of a
// PUT: a retryable answer, the old object in place, and the retry works.
func TestUpstreamBreaks(t *testing.T) {
	t.Parallel()
	uploads(t, func(t *testing.T, g *testGateway, body []byte, old *memObject) {
		for _, n := range []int64{0, 500, 1 << 20} {
			if n > int64(len(body)) {
				continue
			}
			g.upstream.on(http.MethodPut, "/bucket/", breakAfter(n))
			g.put("/bucket/k", body).want(t, 503, "ServiceUnavailable")
			wantStored(t, g, "k", old)
			g.upstream.unhook()
		}
		g.put("/bucket/k", body).want(t, 200, "")
		if r := g.get("/bucket/k"); !bytes.Equal(r.body, body) {
			t.Error("the retry is not read back")
		}
	})
}

// TestUpstreamAnswerLost loses the answer to a PUT that was stored.
func TestUpstreamAnswerLost(t *testing.T) {
	t.Parallel()
	uploads(t, func(t *testing.T, g *testGateway, body []byte, _ *memObject) {
		g.upstream.on(http.MethodPut, "/bucket/", dropAnswer)
		g.put("/bucket/k", body).want(t, 503, "ServiceUnavailable")
		if r := g.get("/bucket/k"); r.status != 200 || !bytes.Equal(r.body, body) {
			t.Errorf("what was stored is not read back: %d", r.status)
		}
		g.upstream.unhook()
		g.put("/bucket/k", body).want(t, 200, "")
		if r := g.get("/bucket/k"); r.status != 200 || !bytes.Equal(r.body, body) {
			t.Errorf("the retry is not read back: %d", r.status)
		}
	})
}

// TestUpstreamHangs leaves a PUT without an answer, or its body unread. The
// gateway's own timeout ends it, before net/http's and the client's.
func TestUpstreamHangs(t *testing.T) {
	t.Parallel()
	for _, framing := range []upstream.Framing{upstream.FramingTrailer, upstream.FramingSigned, upstream.FramingPlain} {
		for _, reads := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/reads=%t", framing, reads), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					g := newGateway(t, onClock(), withFraming(framing), withUpstreamIdle(time.Second))
					g.put("/bucket/k", []byte("the old object")).want(t, 200, "")
					old := g.upstream.object(testBucket, "k")
					release := make(chan struct{})
					g.upstream.on(http.MethodPut, "/bucket/", func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
						if reads {
							io.Copy(io.Discard, r.Body)
						}
						<-release
					})
					start := time.Now()
					r := g.put("/bucket/k", make([]byte, 24<<20), s3.HeaderSSE, s3.AES256) // more than the sockets hold
					close(release)
					if r.want(t, 503, "ServiceUnavailable"); time.Since(start) > 10*time.Second {
						t.Errorf("answered after %s", time.Since(start))
					}
					wantStored(t, g, "k", old)
				})
			})
		}
	}
}

// TestUpstreamStopsSending: if the store stops in the middle of a GET's answer,
// the client's connection breaks.
func TestUpstreamStopsSending(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, sealed := range []bool{true, false} {
			g := newGateway(t, onClock(), withUpstreamIdle(time.Second))
			body, pairs := pattern(3<<20, 1), []string{}
			if sealed {
				pairs = []string{s3.HeaderSSE, s3.AES256}
			}
			g.put("/bucket/k", body, pairs...).want(t, 200, "")
			release := make(chan struct{})
			g.upstream.on(http.MethodGet, "/bucket/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(&silentWriter{w, 1 << 20, release}, r)
			})
			start := time.Now()
			r := g.get("/bucket/k")
			close(release)
			if r.err == nil || time.Since(start) > 10*time.Second || !bytes.HasPrefix(body, r.body) {
				t.Errorf("sealed=%t: %d, %d bytes after %s, error %v", sealed, r.status, len(r.body), time.Since(start), r.err)
			}
		}
	})
}

// silentWriter passes left bytes on, then waits for release.
type silentWriter struct {
	http.ResponseWriter
	left    int
	release chan struct{}
}

func (s *silentWriter) Write(p []byte) (int, error) {
	s.ResponseWriter.Write(p[:min(s.left, len(p))])
	if s.left -= len(p); s.left < 0 {
		http.NewResponseController(s.ResponseWriter).Flush()
		<-s.release
		panic(http.ErrAbortHandler)
	}
	return len(p), nil
}

// TestUpstreamCut breaks the store's answer to a GET: never a clean end.
func TestUpstreamCut(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	body := pattern(3*sealer.PackageSize+10, 1)
	for _, pairs := range [][]string{{s3.HeaderSSE, s3.AES256}, {}} {
		g.put("/bucket/k", body, pairs...).want(t, 200, "")
		for _, n := range []int{0, 100, sealer.PackageSize, sealer.PackageSize + sealer.PackageOverhead, 2 * (sealer.PackageSize + sealer.PackageOverhead), len(body) - 1} {
			g.upstream.on(http.MethodGet, "/bucket/", cutAnswer(n))
			r := g.get("/bucket/k")
			if r.status == 200 && r.err == nil || !bytes.HasPrefix(body, r.body) && r.status == 200 {
				t.Errorf("%v cut at %d: %d, %d bytes, a clean end", pairs, n, r.status, len(r.body))
			}
			if len(pairs) > 0 && n < sealer.PackageSize && (r.status != 503 || r.code != "ServiceUnavailable") {
				t.Errorf("cut at %d, in the first package: %d %s", n, r.status, r.code)
			}
			g.upstream.unhook()
		}
	}
}

// TestUpstreamCutUnmeasured breaks an answer without a length, as some stores
// send them. Only the broken connection shows that it is incomplete.
func TestUpstreamCutUnmeasured(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/k", pattern(300_000, 1)).want(t, 200, "")
	g.upstream.on(http.MethodGet, "/bucket/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		cutAnswer(200_000)(&chunkedWriter{w}, r, next)
	})
	if r := g.get("/bucket/k"); r.status != 200 || r.err == nil {
		t.Errorf("%d, %d bytes, a clean end", r.status, len(r.body))
	}
}

// TestUpstreamSlow moves bodies slowly, for longer than the idle timeout.
// Nothing is given up while bytes arrive.
func TestUpstreamSlow(t *testing.T) {
	t.Parallel()
	const piece, pieces = 200_000, 8
	body := pattern(pieces*piece, 1)
	t.Run("upload", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g := newGateway(t, onClock(), withUpstreamIdle(time.Second))
			conn := g.dial()
			defer conn.Close()
			rest, r := g.writePart(conn, clientRequest{method: http.MethodPut, path: "/bucket/k", body: body, header: headers(s3.HeaderSSE, s3.AES256)}, 0)
			for p := range slices.Chunk(rest, piece) {
				<-time.After(250 * time.Millisecond) // the point of it: a quarter of the bound, twice the bound in all
				conn.Write(p)
			}
			readAnswer(readResponse(conn, r)).want(t, 200, "")
		})
	})
	t.Run("download", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g := newGateway(t, onClock(), withUpstreamIdle(time.Second))
			g.put("/bucket/k", body, s3.HeaderSSE, s3.AES256).want(t, 200, "")
			g.upstream.on(http.MethodGet, "/bucket/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(&slowWriter{w, piece}, r)
			})
			if r := g.get("/bucket/k"); r.err != nil || !bytes.Equal(r.body, body) {
				t.Errorf("%d, %d bytes, %v", r.status, len(r.body), r.err)
			}
		})
	})
}

// slowWriter sends in pieces.
type slowWriter struct {
	http.ResponseWriter
	piece int
}

func (s *slowWriter) Write(p []byte) (int, error) {
	for part := range slices.Chunk(p, s.piece) {
		if _, err := s.ResponseWriter.Write(part); err != nil {
			return 0, err
		}
		http.NewResponseController(s.ResponseWriter).Flush()
		<-time.After(250 * time.Millisecond)
	}
	return len(p), nil
}

// TestUpstreamRefusals: the store's own errors are passed on, for every
// operation.
func TestUpstreamRefusals(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.upstream.on("", "/bucket", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		w.Header().Set("Retry-After", "7")
		memFail(w, 503, "SlowDown", "slower please")
	})
	for _, c := range []clientRequest{
		{method: "PUT", path: "/bucket/k", body: pattern(2<<20, 1)},
		{method: "PUT", path: "/bucket/k", body: pattern(2<<20, 1), header: headers(s3.HeaderSSE, s3.AES256)},
		{method: "GET", path: "/bucket/k"},
		{method: "GET", path: "/bucket/k", header: headers("Range", "bytes=-5")},
		{method: "DELETE", path: "/bucket/k"},
		{method: "GET", path: "/bucket"},
		{method: "HEAD", path: "/bucket/k"},
	} {
		r := g.do(c)
		want := "SlowDown"
		switch {
		case c.method == "HEAD":
			want = ""
		case c.header.Get("Range") != "":
			want = "ServiceUnavailable" // the look before the read is a HEAD, whose answer has no code
		}
		if r.status != 503 || r.code != want || want == "SlowDown" && !bytes.Contains(r.body, []byte("slower please")) {
			t.Errorf("%s %s: %d %s", c.method, c.path, r.status, r.body)
		}
		if r.header.Get("Retry-After") != "7" {
			t.Errorf("%s %s: Retry-After %q", c.method, c.path, r.header.Get("Retry-After"))
		}
	}
	g.upstream.unhook()
	g.upstream.on("", "/bucket", answerWith(403, "SignatureDoesNotMatch"))
	g.get("/bucket/k").want(t, 503, "ServiceUnavailable") // the gateway's own credentials are not the client's fault
}

// TestClientGone: if the client disconnects in the middle of an upload, nothing
// is stored.
func TestClientGone(t *testing.T) {
	t.Parallel()
	for _, eager := range []bool{false, true} {
		uploads(t, func(t *testing.T, g *testGateway, body []byte, old *memObject) {
			g.upstream.eager = eager
			ended := make(chan struct{}, 1)
			g.upstream.on(http.MethodPut, "/bucket/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				defer func() { ended <- struct{}{} }()
				next.ServeHTTP(w, r)
			})
			conn := g.dial()
			g.writePart(conn, clientRequest{method: http.MethodPut, path: "/bucket/k", body: body}, len(body)-1)
			if len(body) > smallBody {
				eventually(t, "the upload to reach the store", func() bool { return len(g.upstream.requests("/bucket/k")) > 1 })
			}
			conn.Close()
			eventually(t, "the request to end", func() bool {
				return g.logs.FilterMessage("request").FilterFieldKey("action").Len() >= 2
			})
			if len(body) > smallBody {
				<-ended
			}
			wantStored(t, g, "k", old)
		})
	}
}

// TestClientStopsReading: a client that does not read its answer does not hold
// a connection to the store.
func TestClientStopsReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, onClock(), withConfig(func(c *Config) { c.IdleTimeout = 200 * time.Millisecond }))
		ended := make(chan struct{})
		g.upstream.on(http.MethodGet, "/bucket/", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			defer close(ended)
			w.Header().Set("Content-Length", "1000000000")
			for piece := make([]byte, 1<<20); ; {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		})
		conn := g.dial()
		defer conn.Close()
		g.writePart(conn, clientRequest{method: http.MethodGet, path: "/bucket/k"}, 0)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("the store still sends")
		}
	})
}

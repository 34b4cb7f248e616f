package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssegw/proxy/s3"
)

// TestPanic panics in a handler, before and after the answer has begun.
func TestPanic(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/k", pattern(1<<20, 1)).want(t, 200, "")
	client := g.KMS
	g.KMS = nil
	g.put("/bucket/k", []byte("data"), s3.HeaderSSE, s3.AES256).want(t, 500, "InternalError")
	g.KMS = client

	server := newTestServer(t, g.network, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.ServeHTTP(&panicWriter{w, 100_000}, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	defer server.Close()
	sound := g.url
	g.url = server.URL
	if r := g.get("/bucket/k"); r.err == nil {
		t.Errorf("after a panic in the body: %d, %d bytes, a clean end", r.status, len(r.body))
	}
	g.url = sound
	if g.get("/bucket/k").want(t, 200, ""); g.counter("ssegw_panics_total") != 2 {
		t.Errorf("%v panics counted", g.counter("ssegw_panics_total"))
	}
}

// panicWriter panics after left bytes.
type panicWriter struct {
	http.ResponseWriter
	left int
}

func (p *panicWriter) Write(b []byte) (int, error) {
	if p.left <= 0 {
		panic("on demand")
	}
	n, err := p.ResponseWriter.Write(b[:min(len(b), p.left)])
	p.left -= n
	return n, err
}

func (p *panicWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// TestTooManyRequests serves one request at a time and turns the next away.
// Health checks and the admin API are always served.
func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withConfig(func(c *Config) {
		c.MaxRequests = 1
		c.Operator = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	}))
	arrived, release := make(chan struct{}), make(chan struct{})
	g.upstream.on(http.MethodGet, "/bucket/slow", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		close(arrived)
		<-release
		next.ServeHTTP(w, r)
	})
	first := make(chan clientAnswer)
	go func() { first <- g.get("/bucket/slow") }()
	<-arrived
	r := g.get("/bucket/k")
	for _, path := range []string{"/minio/health/live", "/minio/admin/v3/info"} {
		g.get(path).want(t, http.StatusAccepted, "")
	}
	close(release)
	if r.want(t, 503, "SlowDown"); r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	(<-first).want(t, 404, "NoSuchKey")
	g.get("/bucket/k").want(t, 404, "NoSuchKey")
}

// TestExpectContinue reads the interim answer off the wire. botocore also waits
// for one before an empty body. A request that is refused gets none.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, body := range []string{"", "data"} {
		conn := g.dial()
		rest, r := g.writePart(conn, clientRequest{method: "PUT", path: "/bucket/k", body: []byte(body), header: headers("Expect", "100-continue")}, 0)
		in := bufio.NewReader(conn)
		if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
			t.Errorf("%d bytes: the first answer is %q, %v", len(body), line, err)
		}
		if _, err := textproto.NewReader(in).ReadMIMEHeader(); err != nil {
			t.Error(err)
		}
		conn.Write(rest)
		readAnswer(http.ReadResponse(in, r)).want(t, 200, "")
		// The connection is still usable, and the next answer is that of the
		// next request.
		_, r = g.writePart(conn, clientRequest{method: "GET", path: "/bucket/k"}, 0)
		if a := readAnswer(http.ReadResponse(in, r)); a.status != 200 || string(a.body) != body {
			t.Errorf("the next answer: %d %q", a.status, a.body)
		}
		conn.Close()
	}
	conn := g.dial()
	defer conn.Close()
	_, _ = g.writePart(conn, clientRequest{method: "PUT", path: "/bucket/k", body: []byte("data"), header: headers("Expect", "100-continue"), tamper: func(r *http.Request) {
		r.Header.Set("Authorization", flipHex(r.Header.Get("Authorization")))
	}}, 0)
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 403 ") {
		t.Errorf("refused: the first answer is %q, %v", line, err)
	}
}

// TestBodyStalls: a body that pauses too long is refused. A slow one is not.
func TestBodyStalls(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10_000, 2 << 20} {
		for _, pairs := range [][]string{{}, {s3.HeaderSSE, s3.AES256}} {
			t.Run(fmt.Sprint(size, pairs), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					g := newGateway(t, onClock(), withConfig(func(c *Config) { c.IdleTimeout = time.Second }))
					body := pattern(size, 1)
					request := clientRequest{method: "PUT", path: "/bucket/k", body: body, header: headers(pairs...)}
					conn := g.dial()
					defer conn.Close()
					_, r := g.writePart(conn, request, size-10)
					readAnswer(readResponse(conn, r)).want(t, 400, "RequestTimeout")
					wantStored(t, g, "k", nil)

					slow := g.dial()
					defer slow.Close()
					rest, r := g.writePart(slow, request, size-6)
					for i := range rest {
						<-time.After(250 * time.Millisecond) // the point of it: a quarter of IdleTimeout, longer in all
						slow.Write(rest[i : i+1])
					}
					readAnswer(readResponse(slow, r)).want(t, 200, "")
					if a := g.get("/bucket/k"); !bytes.Equal(a.body, body) {
						t.Error("not read back")
					}
				})
			})
		}
	}
}

// TestUnreadBodyStalls announces a body and never sends it, to requests that
// are answered without it. The answer comes anyway.
func TestUnreadBodyStalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, onClock(), withConfig(func(c *Config) { c.IdleTimeout = 500 * time.Millisecond }))
		g.put("/bucket/k", pattern(2<<20, 1)).want(t, 200, "")
		badSignature := func(r *http.Request) { r.Header.Set("Authorization", flipHex(r.Header.Get("Authorization"))) }
		for _, tt := range []struct {
			request clientRequest
			status  int
			code    string
		}{
			{clientRequest{method: "PUT", path: "/bucket/k", body: []byte("data"), tamper: badSignature}, 403, "SignatureDoesNotMatch"},
			{clientRequest{method: "PUT", path: "/bucket/k", body: []byte("data"), header: headers(s3.HeaderSSE, "aws:foo")}, 400, "InvalidArgument"},
			{clientRequest{method: "GET", path: "/bucket/k", body: []byte("data")}, 400, "RequestTimeout"},
			{clientRequest{method: "GET", path: "/bucket", body: []byte("data")}, 400, "RequestTimeout"},
			{clientRequest{method: "DELETE", path: "/bucket/k", body: []byte("data")}, 400, "RequestTimeout"},
		} {
			conn := g.dial()
			_, r := g.writePart(conn, tt.request, 0)
			readAnswer(readResponse(conn, r)).want(t, tt.status, tt.code)
			conn.Close()
		}
	})
}

// TestAnonymous: requests without a credential go to the store unsigned, and
// the store decides. They cannot read SSE-KMS objects.
func TestAnonymous(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for key, pairs := range map[string][]string{"plain": nil, "s3": {s3.HeaderSSE, s3.AES256}, "kms": {s3.HeaderSSE, s3.AWSKMS}} {
		g.put("/bucket/"+key, []byte("data"), pairs...).want(t, 200, "")
	}
	anonymous := func(method, path string, pairs ...string) clientAnswer {
		return g.do(clientRequest{method: method, path: path, body: map[string][]byte{"PUT": []byte("mine")}[method], header: headers(pairs...), anonymous: true})
	}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		anonymous(method, "/bucket/plain").want(t, 403, "AccessDenied")
	}
	wantStored(t, g, "mine", nil)
	g.upstream.mu.Lock()
	g.upstream.public[testBucket] = true
	g.upstream.mu.Unlock()
	for key, status := range map[string]int{"plain": 200, "s3": 200, "kms": 403} {
		r := anonymous("GET", "/bucket/"+key)
		if r.status != status || status == 200 && string(r.body) != "data" {
			t.Errorf("GET %s: %d %q", key, r.status, r.body)
		}
		if r := anonymous("HEAD", "/bucket/"+key); r.status != status {
			t.Errorf("HEAD %s: %d", key, r.status)
		}
	}
	g.upstream.forget()
	anonymous("PUT", "/bucket/mine", s3.HeaderSSE, s3.AES256).want(t, 200, "")
	if !isSealed(g.upstream.object(testBucket, "mine")) {
		t.Error("not sealed")
	}
	for _, r := range g.upstream.requests("/bucket") {
		if r.Header.Get("Authorization") != "" {
			t.Errorf("%s %s went up with the gateway's signature", r.Method, r.Path)
		}
	}
	r := g.do(clientRequest{method: "GET", path: "/bucket/s3", query: map[string][]string{"response-content-type": {"text/html"}}, anonymous: true})
	r.want(t, 400, "InvalidRequest")
}

package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"ssegw/kms"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
)

// BenchmarkSmall compares what a PUT, a GET and a HEAD of 4 KiB cost in the
// gateway with what they cost in a bare httputil.ReverseProxy (the floor).
// Client and store only copy bytes that were made before, so they cost little.
// The "ends" are client and store without anything between them. Each operation
// takes turns through all three, and reports CPU time and allocations of a
// request, and the ratio of the gateway to the floor, both without the ends.
//
// With SMALL_PROFILE only the gateway takes turns, and CPU profiles are written
// to files that begin with that name.
func BenchmarkSmall(b *testing.B) {
	b.Cleanup(func(before int) func() { return func() { debug.SetGCPercent(before) } }(debug.SetGCPercent(400))) // as in ssegw
	store := &cannedStore{answers: map[string][]byte{}}
	address := store.listen(b)
	g := newGateway(b, withRule(testBucket, state.Rule{Algorithm: s3.AWSKMS, BucketKey: true}),
		withKMS(func(c *kms.Config) { c.CacheTTL = time.Hour }),
		withConfig(func(c *Config) { c.Log = discardLog() }),
		withUpstreamConfig(func(c *upstream.Config) {
			store.behind = c.Endpoint.Host
			c.Endpoint = &url.URL{Scheme: "http", Host: address}
		}))
	floor := httptest.NewServer(&httputil.ReverseProxy{
		Transport:  &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
		BufferPool: copyBuffers{},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", address, r.In.Host
		},
	})
	b.Cleanup(floor.Close)
	host := strings.TrimPrefix(g.url, "http://")
	body := pattern(4<<10, 1)
	for _, method := range []string{http.MethodPut, http.MethodGet, http.MethodHead} {
		if method != http.MethodPut {
			body = nil
		}
		request := signedRequest(b, method, "http://"+host+"/bucket/o", body)
		dial(b, host).exchange(b, method, request) // the store's answer is kept
		store.keep(method)
		ends, bare, gateway := &way{to: address}, &way{to: strings.TrimPrefix(floor.URL, "http://")}, &way{to: host}
		b.Run(strings.ToLower(method), func(b *testing.B) {
			if name := os.Getenv("SMALL_PROFILE"); name != "" {
				profile(b, name+"."+strings.ToLower(method))
				for b.Loop() {
					gateway.turn(b, method, request)
				}
				return
			}
			for b.Loop() {
				for _, w := range []*way{ends, bare, gateway} {
					w.turn(b, method, request)
				}
			}
			ends, bare, gateway := ends.each(), bare.each(), gateway.each()
			b.ReportMetric(bare.cpu-ends.cpu, "floor-µs")
			b.ReportMetric(gateway.cpu-ends.cpu, "gateway-µs")
			b.ReportMetric((gateway.cpu-ends.cpu)/(bare.cpu-ends.cpu), "ratio")
			b.ReportMetric(bare.allocs-ends.allocs, "floor-allocs")
			b.ReportMetric(bare.bytes-ends.bytes, "floor-B")
			b.ReportMetric(gateway.allocs-ends.allocs, "gateway-allocs")
			b.ReportMetric(gateway.bytes-ends.bytes, "gateway-B")
		})
	}
}

// copyBuffers lends the gateway's buffers to the floor.
type copyBuffers struct{}

func (copyBuffers) Get() []byte  { return upstream.CopyBuffers.Get().(*[upstream.CopySize]byte)[:] }
func (copyBuffers) Put(b []byte) { upstream.CopyBuffers.Put((*[upstream.CopySize]byte)(b)) }

// discardLog encodes what the gateway logs in production, and drops it.
func discardLog() *zap.Logger {
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	return zap.New(zapcore.NewCore(encoder, zapcore.AddSync(io.Discard), zapcore.InfoLevel))
}

// signedRequest returns a signed request as it is sent. It stays valid for
// minutes.
func signedRequest(b *testing.B, method, target string, body []byte) []byte {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), method, target, bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	const hash = "UNSIGNED-PAYLOAD"
	r.Header.Set("X-Amz-Content-Sha256", hash)
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(b.Context(), aws.Credentials{AccessKeyID: clientAccessKey, SecretAccessKey: clientSecretKey}, r, hash, "s3", clientRegion, time.Now()); err != nil {
		b.Fatal(err)
	}
	var sent bytes.Buffer
	if err := r.Write(&sent); err != nil {
		b.Fatal(err)
	}
	return sent.Bytes()
}

// A way is one way from the client to the store, and what its turns have cost.
type way struct {
	to    string
	conns []*rawConn
	turns []cost
}

// cost is that of one request, or what this process has used.
type cost struct{ cpu, allocs, bytes float64 } // microseconds of CPU time, number, bytes

// Each turn makes turnRequests, on turnConns connections.
const (
	turnRequests = 800
	turnConns    = 4
)

// turn makes the requests of one turn and adds their cost.
func (w *way) turn(b *testing.B, method string, request []byte) {
	b.Helper()
	for len(w.conns) < turnConns {
		w.conns = append(w.conns, dial(b, w.to))
	}
	runtime.GC() // of what the others left
	before := spent(b)
	var all sync.WaitGroup
	for _, c := range w.conns {
		all.Go(func() {
			for range turnRequests / turnConns {
				c.exchange(b, method, request)
			}
		})
	}
	all.Wait()
	after := spent(b)
	w.turns = append(w.turns, cost{
		(after.cpu - before.cpu) / turnRequests, (after.allocs - before.allocs) / turnRequests, (after.bytes - before.bytes) / turnRequests,
	})
}

// profile writes a CPU profile of the rest of b to a file.
func profile(b *testing.B, name string) {
	b.Helper()
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { pprof.StopCPUProfile(); _ = f.Close() })
}

// each returns the cost of one request: the medians of all turns.
func (w *way) each() cost {
	median := func(of func(cost) float64) float64 {
		values := make([]float64, len(w.turns))
		for i, c := range w.turns {
			values[i] = of(c)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return cost{
		median(func(c cost) float64 { return c.cpu }), median(func(c cost) float64 { return c.allocs }),
		median(func(c cost) float64 { return c.bytes }),
	}
}

// spent returns what this process has used.
func spent(b *testing.B) cost {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return cost{float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1000, float64(m.Mallocs), float64(m.TotalAlloc)}
}

// rawConn sends and receives messages of HTTP/1.1 as they are.
type rawConn struct {
	net.Conn
	in *bufio.Reader
}

func dial(b *testing.B, address string) *rawConn {
	b.Helper()
	c, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	return &rawConn{c, bufio.NewReaderSize(c, 16<<10)}
}

// exchange sends a request and drops its answer, which must be 200.
func (c *rawConn) exchange(b *testing.B, method string, request []byte) {
	if _, err := c.Write(request); err != nil {
		b.Error(err)
		return
	}
	head, err := c.head()
	if err != nil || !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		b.Errorf("%s: %v\n%s", method, err, head)
		return
	}
	if err := c.skip(head, method != http.MethodHead); err != nil {
		b.Error(err)
	}
}

// head waits for the head of a message and returns it, not read yet.
func (c *rawConn) head() ([]byte, error) {
	for n := 1; ; n = c.in.Buffered() + 1 {
		if _, err := c.in.Peek(n); err != nil {
			return nil, err
		}
		have, _ := c.in.Peek(c.in.Buffered())
		if end := bytes.Index(have, []byte("\r\n\r\n")); end >= 0 {
			return have[:end+4], nil
		}
	}
}

// skip reads a message that begins with head.
func (c *rawConn) skip(head []byte, hasBody bool) error {
	n := len(head)
	const field = "\r\nContent-Length: "
	if at := bytes.Index(head, []byte(field)); at >= 0 && hasBody {
		value, _, _ := bytes.Cut(head[at+len(field):], []byte("\r\n"))
		size, err := strconv.Atoi(string(value))
		if err != nil {
			return err
		}
		n += size
	}
	_, err := c.in.Discard(n)
	return err
}

// cannedStore passes requests on to the store behind it, until it keeps the
// last answer to a method for the test bucket.
type cannedStore struct {
	behind string

	mu      sync.Mutex
	last    []byte
	answers map[string][]byte // by method
}

// keep answers further requests of the method as the last one.
func (s *cannedStore) keep(method string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[method] = s.last
}

func (s *cannedStore) listen(b *testing.B) string {
	b.Helper()
	l, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(&rawConn{c, bufio.NewReaderSize(c, 16<<10)})
		}
	}()
	return l.Addr().String()
}

// serve answers the requests of one connection, until an error.
func (s *cannedStore) serve(c *rawConn) {
	defer func() { _ = c.Close() }()
	for {
		head, err := c.head()
		if err != nil {
			return
		}
		method, rest, _ := bytes.Cut(head, []byte(" "))
		var answer []byte
		if bytes.HasPrefix(rest, []byte("/"+testBucket+"/")) {
			s.mu.Lock()
			answer = s.answers[string(method)]
			s.mu.Unlock()
		}
		if answer == nil {
			answer, err = s.ask(c.in)
		} else {
			err = c.skip(head, true)
		}
		if err == nil {
			_, err = c.Write(answer)
		}
		if err != nil {
			return
		}
	}
}

// ask passes one request on.
func (s *cannedStore) ask(in *bufio.Reader) ([]byte, error) {
	r, err := http.ReadRequest(in)
	if err != nil {
		return nil, err
	}
	r.URL.Scheme, r.URL.Host = "http", s.behind
	resp, err := http.DefaultTransport.RoundTrip(r.WithContext(context.Background()))
	if err != nil {
		return nil, fmt.Errorf("the store behind: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := httputil.DumpResponse(resp, r.Method != http.MethodHead)
	if err == nil && strings.HasPrefix(r.URL.Path, "/"+testBucket+"/") {
		s.mu.Lock()
		s.last = answer
		s.mu.Unlock()
	}
	return answer, err
}

package stack

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Call is one request that passed through a [Counter].
type Call struct {
	Method string
	Path   string // decoded
	Query  string // as sent
	Status int    // 0 if there was no answer
	In     int64  // bytes of the request's body
	Out    int64  // bytes of the answer's body
}

// Counter is an HTTP proxy that records what passes. It changes neither path,
// query, host nor body, so that signatures stay valid.
type Counter struct {
	Endpoint string // http://127.0.0.1:PORT
	server   *http.Server

	mu    sync.Mutex
	calls []*Call
}

// StartCounter starts a counting proxy in front of an endpoint (http or
// https://HOST:PORT). caFile holds the certificates to trust for https.
func (s *Stack) StartCounter(endpoint, caFile string) (*Counter, error) {
	c, err := newCounter(endpoint, caFile)
	if err != nil {
		return nil, err
	}
	s.own(c.Close)
	return c, nil
}

func newCounter(endpoint, caFile string) (*Counter, error) {
	target, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	client, err := HTTPClient(caFile)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	proxy := &httputil.ReverseProxy{
		Transport: client.Transport,
		ErrorLog:  log.New(io.Discard, "", 0), // some tests break connections on purpose
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.Out.URL.RawQuery = r.In.URL.RawQuery
			r.Out.Host = r.In.Host
			// Otherwise the transport would add its own.
			if r.In.Header.Get("User-Agent") == "" {
				r.Out.Header.Set("User-Agent", "")
			}
		},
	}
	c := &Counter{Endpoint: "http://" + l.Addr().String()}
	c.server = &http.Server{Handler: c.record(proxy), ErrorLog: proxy.ErrorLog, ReadHeaderTimeout: time.Minute}
	go func() { _ = c.server.Serve(l) }()
	return c, nil
}

// Close ends the proxy and its connections.
func (c *Counter) Close() error { return c.server.Close() }

// Calls returns the requests since the start or the last Reset, in order of
// arrival. A request is listed before its client sees the answer. Its figures
// are complete shortly after.
func (c *Counter) Calls() []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := make([]Call, len(c.calls))
	for i, call := range c.calls {
		calls[i] = *call
	}
	return calls
}

// Count returns the number of requests with the given method ("" for any) whose
// path starts with prefix.
func (c *Counter) Count(method, prefix string) int {
	n := 0
	for _, call := range c.Calls() {
		if (method == "" || call.Method == method) && strings.HasPrefix(call.Path, prefix) {
			n++
		}
	}
	return n
}

// Reset forgets all requests.
func (c *Counter) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = nil
}

func (c *Counter) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := &countingBody{ReadCloser: r.Body}
		if r.ContentLength != 0 {
			r.Body = body
		}
		rec := &recorder{ResponseWriter: w}
		call := &Call{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery}
		c.mu.Lock()
		c.calls = append(c.calls, call)
		c.mu.Unlock()
		defer func() { // even if the handler panics with http.ErrAbortHandler
			c.mu.Lock()
			defer c.mu.Unlock()
			call.Status, call.In, call.Out = rec.status, body.n.Load(), rec.n
		}()
		next.ServeHTTP(rec, r)
	})
}

// countingBody may still be read by the transport when the answer is complete.
type countingBody struct {
	io.ReadCloser
	n atomic.Int64
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

type recorder struct {
	http.ResponseWriter
	status int
	n      int64
}

func (r *recorder) WriteHeader(status int) {
	if status >= 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	n, err := r.ResponseWriter.Write(p)
	r.n += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

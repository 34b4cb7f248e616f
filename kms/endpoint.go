package kms

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// maxAnswer bounds the body of an answer of KES.
	maxAnswer = 1 << 20
	// idleTimeout is how long an idle connection is kept. KES closes its side
	// after 90 seconds.
	idleTimeout = 60 * time.Second
	// minDialTimeout bounds dialing, which goes on in the background after the
	// attempt that began it has given up.
	minDialTimeout = 2 * time.Second
)

// endpoint is one KES server with connections of its own.
type endpoint struct {
	url       string // https://host[:port]
	transport atomic.Pointer[http.Transport]
	counters  counters
	health    health // guarded by pool.mu
}

// dialFunc is Config.Dial.
type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// newTransport returns a transport that speaks HTTP/1.1: it is faster than
// HTTP/2 here, and an attempt that is given up takes its connection with it, so
// that no later call waits on the same dead connection. All connections that
// calls can have open at one time can be kept: a new one costs about ten times
// what a request does.
func newTransport(dial dialFunc, conf *tls.Config, attempt time.Duration) *http.Transport {
	dialTimeout := max(attempt, minDialTimeout)
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dial,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    dialTimeout,
		Protocols:              protocols,
		MaxIdleConns:           maxInFlight,
		MaxIdleConnsPerHost:    maxInFlight,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}
}

// reconnect makes every later attempt use a new connection, made as conf says.
// Those of before end with the request that uses them, or when they have been
// idle.
func (e *endpoint) reconnect(dial dialFunc, conf *tls.Config, attempt time.Duration) {
	if old := e.transport.Swap(newTransport(dial, conf, attempt)); old != nil {
		old.CloseIdleConnections()
	}
}

// send makes one attempt. Every error means that the endpoint gave no answer of
// use; a 5xx status is one too.
func (e *endpoint) send(ctx context.Context, c call, timeout time.Duration) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errNoAnswer)
	defer cancel()
	start := time.Now()
	ans, err := guarded(func() (answer, error) { return e.roundTrip(ctx, c) })
	ans.took = time.Since(start)
	if err == nil && ans.status >= http.StatusInternalServerError {
		err = fmt.Errorf("KES answered %d: %w", ans.status, ans.kesError())
	}
	if err != nil && errors.Is(context.Cause(ctx), errNoAnswer) {
		err = fmt.Errorf("%w (%s)", errNoAnswer, timeout.Round(time.Millisecond))
	}
	e.counters.count(c.op, ans, err)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", e.url, err)
	}
	return ans, nil
}

func (e *endpoint) roundTrip(ctx context.Context, c call) (answer, error) {
	var body io.Reader
	if c.body != nil {
		body = bytes.NewReader(c.body)
	}
	req, err := http.NewRequestWithContext(ctx, c.method, e.url+c.path, body)
	if err != nil {
		return answer{}, err
	}
	if c.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.op.idempotent() {
		req.Header["Idempotency-Key"] = nil // tells http.Transport, and is not sent
	}
	resp, err := e.transport.Load().RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, fmt.Errorf("reading the answer: %w", err)
	}
	if len(b) > maxAnswer {
		return answer{}, badAnswer("more than %d bytes", maxAnswer)
	}
	date, _ := http.ParseTime(resp.Header.Get("Date"))
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return answer{status: resp.StatusCode, date: date, json: mediaType == "application/json", body: b}, nil
}

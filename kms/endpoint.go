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
	// maxAnswer limits the body of an answer from KES, in bytes.
	maxAnswer = 1 << 20
	// idleTimeout is how long idle connections are kept. KES closes its side
	// after 90 seconds.
	idleTimeout = 60 * time.Second
	// minDialTimeout is the least time allowed for dialing. Dialing continues
	// in the background after its attempt has timed out.
	minDialTimeout = 2 * time.Second
)

// endpoint is one KES server, with its own connections.
type endpoint struct {
	url       string // https://host[:port]
	transport atomic.Pointer[http.Transport]
	counters  counters
	began     time.Time    // of the pool
	heard     atomic.Int64 // when it last answered a key operation, in nanoseconds since began
	health    health       // guarded by pool.mu
}

// dialFunc is the type of Config.Dial.
type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// newTransport returns a transport for HTTP/1.1. It is faster than HTTP/2 here,
// and an abandoned attempt closes its connection, so later calls do not wait on
// a dead one. The transport can keep as many idle connections as calls can use
// at a time, because a new connection costs about ten times as much as a
// request.
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
		MaxIdleConns:           MaxInFlight,
		MaxIdleConnsPerHost:    MaxInFlight,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}
}

// reconnect makes all later attempts use new connections, configured by conf,
// which it changes. They begin a new TLS session, so none has the identity of
// an earlier certificate. Old connections close after the request that uses
// them, or when idle.
func (e *endpoint) reconnect(dial dialFunc, conf *tls.Config, attempt time.Duration) {
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(1) // further connections resume the session of the first
	if old := e.transport.Swap(newTransport(dial, conf, attempt)); old != nil {
		old.CloseIdleConnections()
	}
}

// sendWithin makes one attempt of at most the given time.
func (e *endpoint) sendWithin(ctx context.Context, c call, timeout time.Duration) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%w (%s)", errNoAnswer, timeout.Round(time.Millisecond)))
	defer cancel()
	return e.send(ctx, c)
}

// sendUnlessSilent makes one attempt that lasts while the endpoint answers
// somebody at least every t.attempt, but no longer than t.patience.
func (e *endpoint) sendUnlessSilent(ctx context.Context, c call, t timeouts) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, t.patience, errOutlasted)
	defer cancel()
	ctx, stop := unlessSilent(ctx, t.attempt, e)
	defer stop()
	return e.send(ctx, c)
}

// send makes one attempt. An error means that the endpoint gave no usable
// answer; a 5xx status is such an error. If ctx ends for errNoAnswer, that is
// the error.
func (e *endpoint) send(ctx context.Context, c call) (answer, error) {
	start := time.Now()
	ans, err := guarded(func() (answer, error) { return e.roundTrip(ctx, c) })
	ans.took = time.Since(start)
	if err == nil && ans.status >= http.StatusInternalServerError {
		err = fmt.Errorf("KES answered %d: %w", ans.status, ans.kesError())
	}
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errNoAnswer) {
		err = cause
	}
	e.counters.count(c.op, ans, err)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", e.url, err)
	}
	if c.op != opVersion {
		e.answeredNow()
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
		req.Header["Idempotency-Key"] = nil // tells http.Transport that it may retry; not sent
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

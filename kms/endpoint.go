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

	"github.com/minio/kms-go/kes"
)

const (
	// maxAnswer bounds the body of an answer of KES.
	maxAnswer = 1 << 20
	// idleTimeout is how long an idle connection is kept. KES closes its side after 90 seconds.
	idleTimeout = 60 * time.Second
	// maxIdle bounds the idle connections to one endpoint. A new one costs about ten times what a request does.
	maxIdle = 128
	// minDialTimeout bounds dialing, which goes on in the background after the attempt that began it has given up.
	minDialTimeout = 2 * time.Second
)

// errNoAnswer is what an attempt that took too long fails with. It is not context.DeadlineExceeded, which would be the
// caller's deadline.
var errNoAnswer = errors.New("no answer in time")

// clockStart is the zero point of now.
var clockStart = time.Now()

// now reads a clock that only goes forward.
func now() time.Duration { return time.Since(clockStart) }

// endpoint is one KES server with connections of its own.
type endpoint struct {
	url       string // https://host[:port]
	transport *http.Transport

	// trialAt is when the endpoint, having failed, is to be asked first again, in nanoseconds of now; 0 means good health.
	trialAt atomic.Int64
}

// newEndpoint returns an endpoint that speaks HTTP/1.1: it is faster than HTTP/2 here, and an attempt that is given up
// takes its connection with it, so that no later call waits on the same dead connection.
func newEndpoint(url string, conf *tls.Config, attempt time.Duration) *endpoint {
	dialTimeout := max(attempt, minDialTimeout)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &endpoint{
		url: url,
		transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
			TLSClientConfig:        conf,
			TLSHandshakeTimeout:    dialTimeout,
			Protocols:              protocols,
			MaxIdleConns:           maxIdle,
			MaxIdleConnsPerHost:    maxIdle,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
		},
	}
}

// send makes one attempt. Every error means that the endpoint gave no answer of use; a 5xx status is one too.
func (e *endpoint) send(ctx context.Context, c call, timeout time.Duration) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errNoAnswer)
	defer cancel()
	ans, err := e.roundTrip(ctx, c)
	if err == nil && ans.status >= http.StatusInternalServerError {
		err = fmt.Errorf("KES answered %d: %w", ans.status, ans.kesError())
	}
	if err != nil {
		if errors.Is(context.Cause(ctx), errNoAnswer) {
			err = fmt.Errorf("%w (%s)", errNoAnswer, timeout.Round(time.Millisecond))
		}
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
	if c.idempotent {
		req.Header["Idempotency-Key"] = nil // tells http.Transport, and is not sent
	}
	resp, err := e.transport.RoundTrip(req)
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

// isTimeout reports whether an attempt failed for want of time.
func isTimeout(err error) bool { return errors.Is(err, errNoAnswer) }

// healthy reports whether the endpoint has not failed, or has answered since.
func (e *endpoint) healthy() bool { return e.trialAt.Load() == 0 }

// claimTrial reports whether the cooldown of a failed endpoint is over, to one caller; it begins again for all others.
func (e *endpoint) claimTrial(at time.Duration) bool {
	trialAt := e.trialAt.Load()
	return trialAt != 0 && int64(at) >= trialAt && e.trialAt.CompareAndSwap(trialAt, int64(at+cooldown))
}

// markFailed begins a cooldown and reports whether the endpoint was in good health before.
func (e *endpoint) markFailed(at time.Duration) bool {
	return e.trialAt.Swap(int64(at+cooldown)) == 0
}

// markHealthy ends any cooldown and reports whether there was one.
func (e *endpoint) markHealthy() bool {
	return e.trialAt.Load() != 0 && e.trialAt.Swap(0) != 0
}

// kesError returns the error of KES in an answer that is not 200. The message is KES's own where the body is what KES sends,
// made safe to print.
func (a answer) kesError() kes.Error {
	return kes.NewError(a.status, a.message())
}

package kms

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"time"
)

// EndpointStatus is what one endpoint said when it was asked for its version.
type EndpointStatus struct {
	Endpoint string        // https://host[:port]
	Online   bool          // whether it answered 200
	Version  string        // of KES, as it says
	Err      string        // why it is not online, one short line without secrets; empty when it is
	Latency  time.Duration // until the answer, or until it was given up
	Skew     time.Duration // how far its clock is ahead of ours, to about a second; 0 where it does not say
}

// Status asks each endpoint for its version, all at once, and returns an element for each in the order of Config.Endpoints,
// when all have answered, ctx has ended or four attempts' time has passed, which is two seconds unless configured. The version needs no certificate and no policy, so
// an endpoint that is online may still refuse this client: see Check.
func (c *Client) Status(ctx context.Context) []EndpointStatus {
	ctx, cancel := context.WithTimeout(ctx, c.pool.long)
	defer cancel()
	status := make([]EndpointStatus, len(c.pool.endpoints))
	var wg sync.WaitGroup
	for i, e := range c.pool.endpoints {
		wg.Go(func() { status[i] = c.pool.status(ctx, e) })
	}
	wg.Wait()
	return status
}

// status asks one endpoint for its version, and takes note for later calls of what comes of it.
func (p *pool) status(ctx context.Context, e *endpoint) EndpointStatus {
	start := time.Now()
	p.mu.Lock()
	era := e.health.era
	p.mu.Unlock()
	ans, err := e.send(ctx, versionCall, p.long)
	var r versionResponse
	switch {
	case err == nil:
		if ans.took <= p.probe { // a later one would not do for a probe
			p.well(e)
		}
		err = ans.decode(&r)
	case ctx.Err() == nil:
		p.failed(e, era, err)
	}
	s := EndpointStatus{Endpoint: e.url, Online: err == nil, Version: r.Version, Latency: time.Since(start)}
	if err != nil {
		s.Err = shortReason(err)
	}
	if !ans.date.IsZero() {
		// The date of an answer is cut to the second, so that half of one is missing on average.
		s.Skew = time.Until(ans.date.Add(time.Second / 2)).Round(time.Second)
	}
	return s
}

// shortReason returns the innermost description of err that still says what happened.
func shortReason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errNoAnswer) {
		return errNoAnswer.Error()
	}
	if u := errors.Unwrap(err); u != nil { // without the endpoint, which stands beside it
		err = u
	}
	var uerr *url.Error
	if errors.As(err, &uerr) {
		err = uerr.Err
	}
	msg := err.Error()
	return msg[:min(len(msg), maxMessage)]
}

package kms

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"time"
)

// EndpointStatus is the result of asking one endpoint for its version.
type EndpointStatus struct {
	Endpoint string        // https://host[:port]
	Online   bool          // whether it answered 200
	Version  string        // of KES
	Err      string        // why it is not online: one short line without secrets
	Latency  time.Duration // until the answer or the timeout
	Skew     time.Duration // how far its clock is ahead of ours, to about a second; 0 if unknown
}

// Status asks all endpoints for their version at the same time. It returns one
// element per endpoint, in the order of Config.Endpoints, when all have
// answered, when ctx ends, or after the time of four attempts (two seconds by
// default). The version needs no certificate and no policy, so an endpoint that
// is online may still refuse this client: see Check.
func (c *Client) Status(ctx context.Context) []EndpointStatus {
	ctx, cancel := context.WithTimeout(ctx, c.pool.timeouts.status)
	defer cancel()
	status := make([]EndpointStatus, len(c.pool.endpoints))
	var wg sync.WaitGroup
	for i, e := range c.pool.endpoints {
		wg.Go(func() { status[i] = c.pool.status(ctx, e) })
	}
	wg.Wait()
	return status
}

// status asks one endpoint for its version and updates its health.
func (p *pool) status(ctx context.Context, e *endpoint) EndpointStatus {
	start := time.Now()
	p.mu.Lock()
	era := e.health.era
	p.mu.Unlock()
	ans, err := e.sendWithin(ctx, versionCall, p.timeouts.status)
	var r versionResponse
	switch {
	case err == nil:
		if ans.took <= p.probe { // slower answers would fail as a probe
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
		// The date is truncated to seconds: half a second is missing on
		// average.
		s.Skew = time.Until(ans.date.Add(time.Second / 2)).Round(time.Second)
	}
	return s
}

// shortReason returns the innermost error text that still names the failure.
func shortReason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errNoAnswer) {
		return errNoAnswer.Error()
	}
	if u := errors.Unwrap(err); u != nil { // remove the endpoint, which the caller shows
		err = u
	}
	var uerr *url.Error
	if errors.As(err, &uerr) {
		err = uerr.Err
	}
	msg := err.Error()
	return msg[:min(len(msg), maxMessage)]
}

// Endpoints returns the state of each endpoint, in the order of
// Config.Endpoints.
func (c *Client) Endpoints() []EndpointState {
	p := c.pool
	states := make([]EndpointState, 0, len(p.endpoints))
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.endpoints {
		s := EndpointState{
			Endpoint: e.url,
			Open:     e.health.open,
			Requests: e.counters.requestCounts(),
			Latency:  e.counters.answers.latency(),
			Hedges:   e.counters.hedges.Load(),
			Strikes:  e.counters.strikes.Load(),
		}
		if s.Open {
			s.Err = shortReason(e.health.lastErr)
		}
		states = append(states, s)
	}
	return states
}

// Stats counts what the client has done since it was created.
type Stats struct {
	// Calls is the duration of all calls, answered or not, including time spent
	// waiting.
	Calls Latency

	CacheHits   uint64 // data keys found in the cache
	CacheMisses uint64 // data keys requested from KES, or joined to a request in progress
	Cached      int    // data keys in the cache
	SharedMade  uint64 // shared data keys generated
	SharedUsed  uint64 // uses of shared data keys
	Shared      int    // current shared data keys
}

// Stats returns the current statistics.
func (c *Client) Stats() Stats {
	return Stats{
		Calls:       c.pool.calls.latency(),
		CacheHits:   c.cache.hits.Load(),
		CacheMisses: c.cache.misses.Load(),
		Cached:      c.cache.keys.len(),
		SharedMade:  c.shared.made.Load(),
		SharedUsed:  c.shared.used.Load(),
		Shared:      c.shared.keys.len(),
	}
}

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

// Status asks each endpoint for its version, all at once, and returns an
// element for each in the order of Config.Endpoints, when all have answered,
// ctx has ended or four attempts' time has passed, which is two seconds unless
// configured. The version needs no certificate and no policy, so an endpoint
// that is online may still refuse this client: see Check.
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

// status asks one endpoint for its version, and takes note for later calls of
// what comes of it.
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
		// The date of an answer is cut to the second, so that half of one is
		// missing on average.
		s.Skew = time.Until(ans.date.Add(time.Second / 2)).Round(time.Second)
	}
	return s
}

// shortReason returns the innermost description of err that still says what
// happened.
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

// Stats is what the client has done, and with the data keys that it keeps.
type Stats struct {
	// Calls is how long calls took, with all that they waited for, whether KES
	// answered or not.
	Calls Latency

	CacheHits   uint64 // data keys opened without asking KES
	CacheMisses uint64 // data keys that KES was asked for, or that were being asked for
	Cached      int    // data keys kept for reading
	SharedMade  uint64 // shared data keys that KES made
	SharedUsed  uint64 // objects that were given one
	Shared      int    // shared data keys in use
}

// Stats returns counts since the client was made, and what it keeps.
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

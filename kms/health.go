package kms

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"
)

const (
	// strikeLimit is how many calls in a row an endpoint may lose to others
	// before it counts as failed.
	strikeLimit = 3
	// probeTimeout limits one probe, including connection and TLS handshake. It
	// is half the default time that an endpoint may be silent.
	probeTimeout = 250 * time.Millisecond
	// firstPause is the time from a failure to the first probe. Each failed
	// probe doubles it, up to lastPause.
	firstPause, lastPause = 200 * time.Millisecond, time.Second
	// lastSlowPause replaces lastPause for an endpoint that failed for being
	// slow. Probes stay fast if only key operations are slow, so each
	// successful probe lets a few calls through that find the endpoint slow
	// again.
	lastSlowPause = 5 * time.Second
	// firstRest is the minimum time between probes while callers wait. Each
	// time the endpoint fails soon after recovering, it doubles, up to
	// lastRest.
	firstRest, lastRest = 50 * time.Millisecond, 200 * time.Millisecond
	// settled is how long an endpoint must be up before its next failure counts
	// as a new one.
	settled = 10 * time.Second
)

// health is what a pool knows about an endpoint. It is a circuit breaker: it
// opens at the first failure and closes when a probe succeeds. While it is
// open, calls prefer other endpoints. If all are open, calls wait for the next
// probe. So a call fails only if every endpoint has failed it, or has failed a
// probe while the call waited. An endpoint that is down gets nothing but
// probes, however many callers there are.
type health struct {
	open     bool
	slow     bool          // opened by strikes, and no probe has failed since
	strikes  int           // calls lost in a row
	lastErr  error         // that opened the breaker, or of the last probe
	era      int           // how often the breaker has closed; results of attempts from earlier eras are ignored
	probes   int           // failed probes
	pause    time.Duration // before the next probe
	rest     time.Duration // minimum pause while a caller waits
	wanted   chan struct{} // capacity 1; a caller waits for a probe
	closedAt time.Time
	logged   bool // whether the failure was logged
}

// answered records an answer that came in time.
func (p *pool) answered(e *endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.health.strikes = 0
}

// failed opens the breaker after a failed attempt of the given era.
func (p *pool) failed(e *endpoint, era int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !e.health.open && e.health.era == era {
		e.health.slow = false
		p.open(e, err)
	}
}

// struck records a call that another endpoint answered first although it was
// asked later. It never opens the last closed breaker: if all endpoints are
// slow, none of them is at fault.
func (p *pool) struck(e *endpoint, era int) {
	e.counters.strikes.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &e.health
	if h.open || h.era != era {
		return
	}
	h.strikes++
	others := slices.ContainsFunc(p.endpoints, func(other *endpoint) bool { return other != e && !other.health.open })
	if h.strikes >= strikeLimit && others {
		h.slow = true
		p.open(e, fmt.Errorf("%s: slower than another endpoint %d times in a row", e.url, h.strikes))
	}
}

// open opens the breaker and starts probing. The caller holds p.mu.
func (p *pool) open(e *endpoint, err error) {
	if p.ctx.Err() != nil {
		return // the attempt was ended by Close
	}
	h := &e.health
	quiet := time.Since(h.closedAt) < settled
	if quiet {
		h.rest = min(2*h.rest, lastRest)
		h.pause = min(h.pause, h.lastPause())
	} else {
		h.pause, h.rest = firstPause, firstRest
	}
	h.open, h.strikes, h.lastErr, h.logged = true, 0, err, false
	if !quiet { // otherwise it is logged when a probe fails, too
		p.logFailure(e)
	}
	era := h.era
	p.background.Go(func() { p.probeUntilWell(e, era) })
}

// lastPause returns the longest pause between probes.
func (h *health) lastPause() time.Duration {
	if h.slow {
		return lastSlowPause
	}
	return lastPause
}

// probeUntilWell probes an endpoint whose breaker opened in the given era,
// until the era ends or the pool is closed.
func (p *pool) probeUntilWell(e *endpoint, era int) {
	for {
		// Idle connections may have died unnoticed.
		e.transport.Load().CloseIdleConnections()
		if !p.pause(e) {
			return
		}
		_, err := e.sendWithin(p.ctx, versionCall, p.probe)
		if p.judge(e, era, err) {
			return
		}
	}
}

// pause waits until the next probe is due. It returns false if the pool is
// closed first.
func (p *pool) pause(e *endpoint) bool {
	p.mu.Lock()
	rest, pause := e.health.rest, e.health.pause
	p.mu.Unlock()
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.ctx.Done():
		return false
	}
	timer.Reset(pause - rest)
	select {
	case <-timer.C:
	case <-e.health.wanted:
	case <-p.ctx.Done():
		return false
	}
	return true
}

// judge records the result of a probe and closes the breaker if it succeeded.
// It reports whether the era is over.
func (p *pool) judge(e *endpoint, era int, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &e.health
	if h.era != era { // a Status call succeeded
		return true
	}
	h.slow = h.slow && err == nil
	h.pause = min(2*h.pause, h.lastPause())
	if err == nil {
		p.close(e)
		return true
	}
	h.lastErr = err
	h.probes++
	if !h.logged {
		p.logFailure(e)
	}
	p.wakeCallers()
	return false
}

// well closes the breaker of an endpoint that has answered Status, unless it
// was opened for being slow: Status says nothing about the speed of key
// operations.
func (p *pool) well(e *endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.health.open && !e.health.slow {
		p.close(e)
	}
}

// close closes the breaker. The caller holds p.mu.
func (p *pool) close(e *endpoint) {
	h := &e.health
	h.open = false
	h.era++
	h.closedAt = time.Now()
	if h.logged {
		p.log.Info("KES endpoint answers again", zap.String("endpoint", e.url))
	}
	p.wakeCallers()
}

func (p *pool) logFailure(e *endpoint) {
	e.health.logged = true
	p.log.Warn("KES endpoint failed", zap.String("endpoint", e.url), zap.Error(e.health.lastErr))
}

// wakeCallers wakes the callers in await. The caller holds p.mu.
func (p *pool) wakeCallers() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// await returns the first of the endpoints whose breaker is closed, and waits
// for one if necessary. If a probe of each endpoint fails while it waits, it
// returns nil and their errors. It returns an error if ctx ends or the pool is
// closed.
func (p *pool) await(ctx context.Context, endpoints []*endpoint) (*endpoint, []error, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := make([]int, len(endpoints))
	for i, e := range endpoints {
		seen[i] = e.health.probes
	}
	for {
		if p.ctx.Err() != nil {
			return nil, nil, errClosed
		}
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if e := firstWell(endpoints); e != nil {
			return e, nil, nil
		}
		var failures []error
		for i, e := range endpoints {
			if e.health.probes != seen[i] {
				failures = append(failures, e.health.lastErr)
			} else {
				e.want()
			}
		}
		if len(failures) == len(endpoints) {
			return nil, failures, nil
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		case <-p.ctx.Done():
		}
		p.mu.Lock()
	}
}

// firstWell returns the first endpoint whose breaker is closed, or nil. The
// caller holds pool.mu.
func firstWell(endpoints []*endpoint) *endpoint {
	for _, e := range endpoints {
		if !e.health.open {
			return e
		}
	}
	return nil
}

// want requests a probe ahead of time.
func (e *endpoint) want() {
	select {
	case e.health.wanted <- struct{}{}:
	default:
	}
}

// versionCall is the request used for probes, because it needs no policy. Any
// answer below 500 counts as success.
var versionCall = call{op: opVersion, method: http.MethodGet, path: pathVersion}

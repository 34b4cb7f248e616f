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
	// strikeLimit is how many calls in a row an endpoint may lose to another
	// one before it counts as failed.
	strikeLimit = 3
	// probeTimeout bounds one probe, connection and TLS handshake included,
	// where an attempt may take twice as long at most.
	probeTimeout = 250 * time.Millisecond
	// firstPause is the time from a failure to the first probe. Each probe that
	// fails doubles it, up to lastPause.
	firstPause, lastPause = 200 * time.Millisecond, time.Second
	// lastSlowPause is the bound for an endpoint that was put aside for being
	// slow: probes are quick where it is keys that are slow, so that each good
	// one lets a few calls find that out again.
	lastSlowPause = 5 * time.Second
	// firstRest is the least time between probes that callers wait for. It
	// doubles, up to lastRest, each time the endpoint fails soon after a probe
	// found it well.
	firstRest, lastRest = 50 * time.Millisecond, 200 * time.Millisecond
	// settled is how long an endpoint has to be well for its next failure not
	// to count as the last one's.
	settled = 10 * time.Second
)

// health is what a pool knows about an endpoint. Its breaker is open from the
// first failure on until a probe is answered: calls then prefer other
// endpoints, and wait for the next probe where there is none. So a call fails
// only when every endpoint has failed it, or a probe that ended while it
// waited, and an endpoint that is down gets probes alone, however many callers
// there are.
type health struct {
	open     bool
	slow     bool          // it was opened by strikes, and no probe has failed since
	strikes  int           // calls lost in a row
	lastErr  error         // that opened the breaker, or of the last probe
	era      int           // how often the breaker was closed: what began in an earlier era says nothing about this one
	probes   int           // that have failed
	pause    time.Duration // before the next probe
	rest     time.Duration // the same while a caller waits
	wanted   chan struct{} // of capacity 1: a caller waits for a probe
	closedAt time.Time
	logged   bool // that it failed
}

// answered takes note of an answer that came in time.
func (p *pool) answered(e *endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.health.strikes = 0
}

// failed opens the breaker for an attempt of the given era that failed.
func (p *pool) failed(e *endpoint, era int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !e.health.open && e.health.era == era {
		e.health.slow = false
		p.open(e, err)
	}
}

// struck takes note of a call that another endpoint answered first, though it
// was asked later. The breaker of the last endpoint in good health is not
// opened for that: when all are slow, none is at fault.
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

// open opens the breaker and begins to probe. The caller holds p.mu.
func (p *pool) open(e *endpoint, err error) {
	if p.ctx.Err() != nil {
		return // attempts that Close ended
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
	if !quiet { // else it is logged once a probe fails too
		p.logFailure(e)
	}
	era := h.era
	p.background.Go(func() { p.probeUntilWell(e, era) })
}

// lastPause bounds the pause before a probe.
func (h *health) lastPause() time.Duration {
	if h.slow {
		return lastSlowPause
	}
	return lastPause
}

// probeUntilWell probes an endpoint whose breaker was opened in the given era,
// until the era ends or the pool is closed.
func (p *pool) probeUntilWell(e *endpoint, era int) {
	for {
		// Connections of before may be dead without anybody having noticed.
		e.transport.Load().CloseIdleConnections()
		if !p.pause(e) {
			return
		}
		_, err := e.send(p.ctx, versionCall, p.probe)
		if p.judge(e, era, err) {
			return
		}
	}
}

// pause waits until the endpoint is to be probed, and reports false when the
// pool is closed before.
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

// judge closes the breaker after a probe that was answered. It reports whether
// the era is over.
func (p *pool) judge(e *endpoint, era int, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &e.health
	if h.era != era { // Status was answered
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

// well closes the breaker of an endpoint that has answered Status. That says
// nothing where it is keys that are slow.
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

// wakeCallers lets those in await look again. The caller holds p.mu.
func (p *pool) wakeCallers() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// await returns the first of the given endpoints whose breaker is closed, nil
// and why when a probe of each has failed in the meantime, and an error when
// ctx ends or the pool is closed.
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

// want asks for a probe before it is due.
func (e *endpoint) want() {
	select {
	case e.health.wanted <- struct{}{}:
	default:
	}
}

// versionCall is what endpoints are probed with: it needs no policy. Any answer
// but a 5xx will do.
var versionCall = call{op: opVersion, method: http.MethodGet, path: pathVersion}

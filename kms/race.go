package kms

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// minHedge is the least time after which another endpoint is asked as well.
	minHedge = 25 * time.Millisecond
	// maxHedges bounds how often one call does so, and with it the load on a
	// cluster that is slow as a whole.
	maxHedges = 2
	// slowness is how many times the mean latency of the fastest endpoint an
	// attempt takes before it counts as slow.
	slowness = 4
)

// race is one call. It asks one endpoint, and the next at once when that fails;
// where the call is idempotent it asks another also when the first is slow, and
// takes the answer that comes first.
//
// Attempts are not the caller's: one that is under way when the race is over
// goes on until it is answered or its own time is up. So its connection stays
// of use, and its endpoint is judged by what it does, not by when callers
// leave.
type race struct {
	pool     *pool
	call     call
	left     []*endpoint // not asked yet
	running  []*attempt
	failures []error
	tries    int
	hedges   int
	results  chan result
	over     chan struct{} // closed when nobody waits for results
	holders  atomic.Int32  // of the slot: the caller, and each attempt that has not ended
}

// attempt is the call as sent to one endpoint.
type attempt struct {
	endpoint *endpoint
	era      int
	start    time.Time
	hedge    time.Duration // when to ask another
}

type result struct {
	attempt *attempt
	answer  answer
	err     error
}

func (r *race) run(ctx context.Context) (answer, error) {
	hedge := time.NewTimer(r.pool.attempt)
	hedge.Stop()
	defer hedge.Stop()
	for {
		if len(r.running) == 0 {
			e, err := r.next(ctx)
			if err != nil {
				return answer{}, err
			}
			if !r.start(e, hedge) {
				return answer{}, &unreachableError{causes: append(r.failures, errClosed)}
			}
		}
		select {
		case res := <-r.results:
			if res.err == nil {
				return r.won(res), nil
			}
			r.running = slices.DeleteFunc(r.running, func(a *attempt) bool { return a == res.attempt })
			r.failures = append(r.failures, res.err)
		case <-hedge.C:
			r.hedge(hedge)
		case <-ctx.Done():
			return answer{}, interrupted(ctx, r.failures)
		}
	}
}

// next returns the endpoint to ask when no attempt is under way.
func (r *race) next(ctx context.Context) (*endpoint, error) {
	if len(r.left) == 0 {
		return nil, &unreachableError{causes: r.failures}
	}
	e, failures, err := r.pool.await(ctx, r.left)
	switch {
	case errors.Is(err, errClosed):
		return nil, &unreachableError{causes: append(r.failures, err)}
	case err != nil:
		return nil, interrupted(ctx, r.failures)
	case e == nil:
		return nil, &unreachableError{causes: append(r.failures, failures...)}
	}
	return e, nil
}

// hedgeAfter is how long an attempt may take before another endpoint is asked:
// the longer, the slower the fastest endpoint in good health is. An endpoint
// does not earn time by being slow itself. The caller holds p.mu.
func (p *pool) hedgeAfter() time.Duration {
	fastest := p.attempt
	for _, e := range p.endpoints {
		if !e.health.open {
			fastest = min(fastest, time.Duration(e.counters.mean.Load()))
		}
	}
	return min(max(minHedge, slowness*fastest), max(p.attempt/2, minHedge))
}

// hedge asks another endpoint in good health. Where there is none left, it asks
// for a probe of those that have failed and comes back. Those that were put
// aside for being slow are of no help to a call that is slow.
func (r *race) hedge(timer *time.Timer) {
	if r.hedges == maxHedges {
		return
	}
	r.pool.mu.Lock()
	next := firstWell(r.left)
	if next == nil {
		for _, e := range r.left {
			if !e.health.slow {
				e.want()
			}
		}
	}
	r.pool.mu.Unlock()
	switch {
	case next != nil && r.start(next, timer):
		r.hedges++
		next.counters.hedges.Add(1)
	case len(r.left) > 0:
		timer.Reset(minHedge)
	}
}

// start makes an attempt and sets the timer to the time of the next. It reports
// false when the pool is closed.
func (r *race) start(e *endpoint, hedge *time.Timer) bool {
	p, c, results, over := r.pool, r.call, r.results, r.over
	a := &attempt{endpoint: e, start: time.Now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return false
	}
	a.era, a.hedge = e.health.era, p.hedgeAfter()
	r.tries++
	r.running = append(r.running, a)
	r.left = slices.DeleteFunc(r.left, func(other *endpoint) bool { return other == e })
	r.holders.Add(1)
	p.background.Go(func() {
		defer r.release()
		ans, err := e.send(p.ctx, c, p.attempt)
		if err != nil {
			p.failed(e, a.era, err)
		}
		select {
		case results <- result{a, ans, err}:
		case <-over:
			clear(ans.body) // it may hold a data key
		}
	})
	if c.op.idempotent() {
		hedge.Reset(a.hedge)
	}
	return true
}

// release gives the slot back with its last holder.
func (r *race) release() {
	if r.holders.Add(-1) == 0 {
		<-r.pool.slots
	}
}

// won takes the first answer. Those who were asked before, and long enough ago
// to have answered, have lost.
func (r *race) won(res result) answer {
	winner := res.attempt
	r.pool.answered(winner.endpoint)
	for _, a := range r.running {
		if a.start.Before(winner.start) && time.Since(a.start) >= a.hedge {
			r.pool.struck(a.endpoint, a.era)
		}
	}
	res.answer.tries = r.tries
	return res.answer
}

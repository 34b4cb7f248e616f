package kms

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// minHedge is the minimum delay before a second endpoint is asked.
	minHedge = 25 * time.Millisecond
	// maxHedges limits how often one call does so; see also hedgeBudget.
	maxHedges = 2
	// slowness is the factor by which an attempt must exceed the mean latency
	// of the fastest endpoint to count as slow.
	slowness = 4
)

// race is one call. It asks one endpoint and, if that fails, the next one at
// once. If the call is idempotent and the first endpoint is slow, it asks
// another one as well and takes the first answer. Asking a second endpoint
// while the first may still answer is a hedge, which hedgeBudget limits. Asking
// one after the first has failed is not.
//
// Attempts do not end with the call: an attempt in progress continues until it
// is answered or times out. So its connection can be reused, and its endpoint
// is judged by how it performs and not by when callers leave.
type race struct {
	pool     *pool
	call     call
	left     []*endpoint // not asked yet
	running  []*attempt
	failures []error
	tries    int
	hedges   int
	results  chan result
	over     chan struct{} // closed when results are no longer read
	holders  atomic.Int32  // of the slot: the caller and each running attempt
}

// attempt is the call as sent to one endpoint.
type attempt struct {
	endpoint *endpoint
	era      int
	start    time.Time
	hedge    time.Duration // delay before asking another endpoint
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

// next returns the endpoint to ask when no attempt is running.
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

// hedgeAfter returns how long an attempt may take before another endpoint is
// asked. It depends on the fastest endpoint whose breaker is closed, so a slow
// endpoint does not gain time by being slow. The caller holds p.mu.
func (p *pool) hedgeAfter() time.Duration {
	fastest := p.attempt
	for _, e := range p.endpoints {
		if !e.health.open {
			fastest = min(fastest, time.Duration(e.counters.mean.Load()))
		}
	}
	return min(max(minHedge, slowness*fastest), max(p.attempt/2, minHedge))
}

// hedge asks another endpoint whose breaker is closed. If there is none, it
// requests probes of the failed ones and tries again later. It ignores
// endpoints that failed for being slow, which cannot help a slow call. It also
// tries again later if the budget for hedges is used up: the endpoints that
// work on the call may have failed by then. If all endpoints were asked, it
// asks one again, because a request can get lost.
func (r *race) hedge(timer *time.Timer) {
	if r.hedges == maxHedges {
		return
	}
	r.pool.mu.Lock()
	next, lost := firstWell(r.left), r.lost()
	if len(r.left) == 0 {
		next = r.again()
	}
	if next == nil {
		for _, e := range r.left {
			if !e.health.slow {
				e.want()
			}
		}
	}
	r.pool.mu.Unlock()
	switch {
	case next != nil && (lost || r.pool.hedges.take()):
		if r.start(next, timer) {
			r.hedges++
		}
		if !lost {
			next.counters.hedges.Add(1)
		}
	case len(r.left) == 0 && len(r.running) > 0:
		last := r.running[len(r.running)-1]
		timer.Reset(max(minHedge, r.pool.attempt-time.Since(last.start)))
	case len(r.running) > 0:
		timer.Reset(minHedge)
	}
}

// again returns the endpoint that was asked last, if its breaker is closed and
// it has had the time of an attempt. The caller holds pool.mu.
func (r *race) again() *endpoint {
	if len(r.running) == 0 {
		return nil
	}
	last := r.running[len(r.running)-1]
	if last.endpoint.health.open || time.Since(last.start) < r.pool.attempt {
		return nil
	}
	return last.endpoint
}

// lost reports whether all endpoints that work on the call have failed others,
// and not for being slow. The caller holds pool.mu.
func (r *race) lost() bool {
	return !slices.ContainsFunc(r.running, func(a *attempt) bool {
		return !a.endpoint.health.open || a.endpoint.health.slow
	})
}

// start starts an attempt and sets the timer for the next one. It returns false
// if the pool is closed.
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
		ans, err := e.sendUnlessSilent(p.ctx, c, p.timeouts)
		if err != nil && !errors.Is(err, errOutlasted) {
			p.failed(e, a.era, err)
		}
		select {
		case results <- result{a, ans, err}:
		case <-over:
			clear(ans.body) // may contain a data key
		}
	})
	if c.op.idempotent() {
		hedge.Reset(a.hedge)
	}
	return true
}

// release frees the slot when its last holder releases it.
func (r *race) release() {
	if r.holders.Add(-1) == 0 {
		<-r.pool.slots
	}
}

// won takes the first answer. Endpoints that were asked earlier, and had enough
// time to answer, get a strike.
func (r *race) won(res result) answer {
	winner := res.attempt
	r.pool.answered(winner.endpoint)
	for _, a := range r.running {
		if a.endpoint != winner.endpoint && a.start.Before(winner.start) && time.Since(a.start) >= a.hedge {
			r.pool.struck(a.endpoint, a.era)
		}
	}
	res.answer.tries = r.tries
	return res.answer
}

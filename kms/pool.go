package kms

import (
	"context"
	"crypto/tls"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// cooldown is for how long an endpoint that failed is asked last. After it, one call asks it first to find out.
const cooldown = 5 * time.Second

// pool chooses the endpoint of each call. Health is no more than an order of preference: an endpoint that failed is still
// asked when the others fail too, so that no bookkeeping can make a cluster that works look unreachable.
type pool struct {
	endpoints []*endpoint
	attempt   time.Duration // how long one endpoint may take
	log       *zap.Logger

	turn atomic.Uint32 // which endpoint the next call starts with
}

// call is one request in a form that can be sent again.
type call struct {
	op     string // for the log
	method string
	path   string
	body   []byte // nil for none
	// idempotent says that sending it twice to one endpoint does no harm, so that a connection which turns out to have been
	// closed by KES while it was idle can be replaced without counting as a failure.
	idempotent bool
}

// answer is what an endpoint said: any status but a 5xx, and the whole body.
type answer struct {
	status int
	date   time.Time // by the clock of KES, zero when it did not say
	json   bool      // says its content type
	body   []byte
	tries  int // attempts that were made, this one included
}

func newPool(urls []string, conf *tls.Config, attempt time.Duration, log *zap.Logger) *pool {
	p := &pool{attempt: attempt, log: log}
	for _, url := range urls {
		p.endpoints = append(p.endpoints, newEndpoint(url, conf.Clone(), attempt))
	}
	return p
}

// close closes the connections that are idle.
func (p *pool) close() {
	for _, e := range p.endpoints {
		e.transport.CloseIdleConnections()
	}
}

// do sends c to one endpoint after the other until one answers, each at most once. The error is unreachableError when none
// did, and that of the caller's context when it ended first.
func (p *pool) do(ctx context.Context, c call) (answer, error) {
	var failures []error
	order := p.order(now())
	for i, e := range order {
		if ctx.Err() != nil {
			return answer{}, interrupted(ctx, failures)
		}
		timeout, full := p.share(ctx, len(order)-i)
		ans, err := e.send(ctx, c, timeout)
		if err == nil {
			p.recovered(e)
			ans.tries = i + 1
			return ans, nil
		}
		if ctx.Err() != nil {
			return answer{}, interrupted(ctx, failures)
		}
		failures = append(failures, err)
		if full || !isTimeout(err) {
			p.failed(e, c.op, err)
		}
	}
	return answer{}, &unreachableError{causes: failures}
}

// order returns every endpoint once: at most one whose cooldown is over, those in good health from a starting point that
// moves on with each call, then those that failed a short time ago.
func (p *pool) order(at time.Duration) []*endpoint {
	n := len(p.endpoints)
	start := int(p.turn.Add(1) % uint32(n))
	var trial, healthy, failed []*endpoint
	for i := range n {
		e := p.endpoints[(start+i)%n]
		switch {
		case e.healthy():
			healthy = append(healthy, e)
		case trial == nil && e.claimTrial(at):
			trial = append(trial, e)
		default:
			failed = append(failed, e)
		}
	}
	return slices.Concat(trial, healthy, failed)
}

// share returns how long the next of left endpoints may take: the attempt timeout, or its share of what is left of the
// caller's deadline where that is shorter. Only the full time, without an answer, counts against an endpoint.
func (p *pool) share(ctx context.Context, left int) (timeout time.Duration, full bool) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return p.attempt, true
	}
	share := time.Until(deadline) / time.Duration(left)
	return min(p.attempt, share), p.attempt <= share
}

func (p *pool) failed(e *endpoint, op string, err error) {
	if e.markFailed(now()) {
		p.log.Warn("KES endpoint failed", zap.String("endpoint", e.url), zap.String("op", op), zap.Error(err))
	}
}

func (p *pool) recovered(e *endpoint) {
	if e.markHealthy() {
		p.log.Info("KES endpoint answers again", zap.String("endpoint", e.url))
	}
}

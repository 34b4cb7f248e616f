package kms

import (
	"cmp"
	"context"
	"crypto/tls"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// MaxInFlight limits the calls in progress, and so the connections to one
// endpoint. A call counts until its last
// attempt has ended, because KES still works on requests that callers have
// abandoned. KES answers more than 10,000 requests per second; a higher limit
// would only move the queue.
const MaxInFlight = 64

// statusTimeout is the least time that Status takes at most.
const statusTimeout = 2 * time.Second

// timeouts are how long a pool waits.
type timeouts struct {
	silence  time.Duration // for the cluster to answer anybody
	attempt  time.Duration // for one endpoint to answer anybody
	probe    time.Duration // for the answer to one probe
	status   time.Duration // for the answers to Status
	patience time.Duration // for the answer of an endpoint that answers others; also for a merged call, see flights
}

func timeoutsOf(c Config) timeouts {
	silence := cmp.Or(c.Timeout, DefaultTimeout)
	attempt := silence * 5 / 9
	return timeouts{
		silence: silence, attempt: attempt, probe: max(probeTimeout, attempt/2), status: max(statusTimeout, 4*attempt),
		patience: max(silence, cmp.Or(c.Patience, DefaultPatience)),
	}
}

// pool chooses the endpoint for each call.
type pool struct {
	timeouts
	endpoints []*endpoint
	dial      dialFunc // nil for TCP
	log       *zap.Logger

	turn   atomic.Uint32 // index of the endpoint that the next call starts with
	slots  chan struct{} // holds one element per call in progress; see race.release
	hedges hedgeBudget
	calls  histogram // all calls, answered or not

	ctx        context.Context // for attempts and probes; ends with the pool
	cancel     context.CancelFunc
	background sync.WaitGroup // add only under mu and before cancel

	mu      sync.Mutex    // guards the health of all endpoints
	changed chan struct{} // closed and replaced when a probe has ended
}

func newPool(urls []string, dial dialFunc, conf *tls.Config, t timeouts, log *zap.Logger) *pool {
	p := &pool{timeouts: t, dial: dial, log: log, slots: make(chan struct{}, MaxInFlight), changed: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	began := time.Now()
	for _, url := range urls {
		e := &endpoint{url: url, began: began, health: health{wanted: make(chan struct{}, 1)}}
		p.endpoints = append(p.endpoints, e)
	}
	p.reconnect(conf)
	return p
}

// reconnect replaces all connections, using conf.
func (p *pool) reconnect(conf *tls.Config) {
	for _, e := range p.endpoints {
		e.reconnect(p.dial, conf.Clone(), p.attempt)
	}
}

// end ends all calls in progress and makes later ones fail.
func (p *pool) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel()
}

// shut ends the pool, waits for its goroutines and closes the connections.
func (p *pool) shut() {
	p.end()
	p.background.Wait()
	for _, e := range p.endpoints {
		e.transport.Load().CloseIdleConnections()
	}
}

// do sends c to one endpoint after another until one answers. If none answers,
// or if the cluster answers nobody for too long, it returns an
// unreachableError. If the caller's context ends first it returns the error of
// the context. Calls get their slots in the order in which they came: that is
// how a channel serves its senders.
func (p *pool) do(ctx context.Context, c call) (answer, error) {
	start := time.Now()
	defer func() { p.calls.observe(time.Since(start)) }()
	p.hedges.earn()
	ctx, stop := unlessSilent(ctx, p.silence, p.endpoints...)
	defer stop()
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return answer{}, interrupted(ctx, nil)
	}
	r := &race{
		pool:    p,
		call:    c,
		left:    p.order(),
		results: make(chan result),
		over:    make(chan struct{}),
	}
	r.holders.Store(1)
	defer r.release()
	defer close(r.over)
	return r.run(ctx)
}

// order returns all endpoints, starting with a different one for each call.
func (p *pool) order() []*endpoint {
	n := len(p.endpoints)
	start := int(p.turn.Add(1) % uint32(n))
	return append(append(make([]*endpoint, 0, n), p.endpoints[start:]...), p.endpoints[:start]...)
}

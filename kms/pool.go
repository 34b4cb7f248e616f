package kms

import (
	"context"
	"crypto/tls"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// maxInFlight bounds the calls under way, each until its last attempt has
// ended: what callers have left is still work for KES. KES answers more than
// 10,000 of them in a second, so more at one time only wait in another place.
const maxInFlight = 64

// longTimeout bounds a flight, whose callers may all have left, and Status,
// where an attempt may take a quarter of it at most.
const longTimeout = 2 * time.Second

// pool chooses the endpoint of each call.
type pool struct {
	endpoints []*endpoint
	dial      dialFunc      // nil for TCP
	attempt   time.Duration // how long one endpoint may take
	probe     time.Duration // how long a probe may take
	long      time.Duration // how long flights and Status may take
	log       *zap.Logger

	turn  atomic.Uint32 // which endpoint the next call starts with
	slots chan struct{} // one in it for each call under way, see race.release
	calls histogram     // of all, whether KES answered or not

	ctx        context.Context // of attempts and probes; ends with the pool
	cancel     context.CancelFunc
	background sync.WaitGroup // joined under mu, and not after cancel

	mu      sync.Mutex    // guards the health of all endpoints
	changed chan struct{} // closed, and replaced, when a probe has ended
}

func newPool(urls []string, dial dialFunc, conf *tls.Config, attempt time.Duration, log *zap.Logger) *pool {
	p := &pool{dial: dial, attempt: attempt, probe: max(probeTimeout, attempt/2), long: max(longTimeout, 4*attempt), log: log, slots: make(chan struct{}, maxInFlight), changed: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	for _, url := range urls {
		e := &endpoint{url: url, health: health{wanted: make(chan struct{}, 1)}}
		p.endpoints = append(p.endpoints, e)
	}
	p.reconnect(conf)
	return p
}

// reconnect makes new connections, as conf says, for all that is sent from now
// on.
func (p *pool) reconnect(conf *tls.Config) {
	for _, e := range p.endpoints {
		e.reconnect(p.dial, conf.Clone(), p.attempt)
	}
}

// end ends what is under way, and every later call.
func (p *pool) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel()
}

// shut ends the pool, waits for what was under way and closes the connections.
func (p *pool) shut() {
	p.end()
	p.background.Wait()
	for _, e := range p.endpoints {
		e.transport.Load().CloseIdleConnections()
	}
}

// do sends c until an endpoint answers, to each at most once. The error is
// unreachableError when none did, and that of the caller's context when it
// ended first.
func (p *pool) do(ctx context.Context, c call) (answer, error) {
	start := time.Now()
	defer func() { p.calls.observe(time.Since(start)) }()
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

// order returns every endpoint once, from a starting point that moves on with
// each call.
func (p *pool) order() []*endpoint {
	n := len(p.endpoints)
	start := int(p.turn.Add(1) % uint32(n))
	return append(append(make([]*endpoint, 0, n), p.endpoints[start:]...), p.endpoints[:start]...)
}

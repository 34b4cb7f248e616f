package kms

import (
	"context"
	"sync"
	"time"
)

// flights merges concurrent calls with the same key into one, whose result goes
// to all callers. The call does not depend on the context of the caller that
// started it: if that caller leaves, the others still get the result.
type flights[K comparable, V any] struct {
	wipe    func(*V)
	timeout time.Duration
	wait    sync.WaitGroup

	mu     sync.Mutex
	flying map[K]*flight[V]
	closed bool
}

type flight[V any] struct {
	done    chan struct{} // closed when value and err are set
	value   V
	err     error
	callers int // that have not copied the value yet; guarded by flights.mu
	landed  bool
}

func newFlights[K comparable, V any](timeout time.Duration, wipe func(*V)) *flights[K, V] {
	return &flights[K, V]{wipe: wipe, timeout: timeout, flying: make(map[K]*flight[V])}
}

// do returns the result of call, or of the call for k that is already in
// progress. Each caller gets a copy of the value. The original is wiped after
// the last copy.
func (g *flights[K, V]) do(ctx context.Context, k K, call func(context.Context) (V, error)) (V, error) {
	f := g.join(ctx, k, call, 1)
	select {
	case <-f.done:
	case <-ctx.Done():
		g.leave(f)
		var none V
		return none, interrupted(ctx, nil)
	}
	v := f.value
	g.leave(f)
	return v, f.err
}

// begin starts the call unless one for k is in progress. It does not wait.
func (g *flights[K, V]) begin(ctx context.Context, k K, call func(context.Context) (V, error)) {
	g.join(ctx, k, call, 0)
}

func (g *flights[K, V]) join(ctx context.Context, k K, call func(context.Context) (V, error), callers int) *flight[V] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f, ok := g.flying[k]; ok {
		f.callers += callers
		return f
	}
	f := &flight[V]{done: make(chan struct{}), callers: callers}
	if g.closed {
		f.err, f.landed = &unreachableError{causes: []error{errClosed}}, true
		close(f.done)
		return f
	}
	g.flying[k] = f
	g.wait.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.timeout)
		defer cancel()
		f.value, f.err = guarded(func() (V, error) { return call(ctx) })
		g.land(k, f)
	})
	return f
}

func (g *flights[K, V]) land(k K, f *flight[V]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.flying, k)
	f.landed = true
	close(f.done)
	if f.callers == 0 {
		g.wipe(&f.value)
	}
}

func (g *flights[K, V]) leave(f *flight[V]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.callers--; f.callers == 0 && f.landed {
		g.wipe(&f.value)
	}
}

// close makes all later calls fail and waits for those in progress.
func (g *flights[K, V]) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.wait.Wait()
}

package proxy

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// A panic ends the process unless its own goroutine recovers it. ServeHTTP does
// that for the goroutine of a request; what stands here is for all others.

// panicError is a panic in a goroutine that works for a request. The request
// fails with it.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("proxy: panic: %v", e.value) }

// PanicStack returns where the panic happened.
func (e *panicError) PanicStack() []byte { return e.stack }

// guarded runs f and returns a panic in it as an error.
func guarded(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return f()
}

// group runs functions at the same time. A panic in one is its error.
type group struct{ all *errgroup.Group }

// newGroup returns a group that runs at most limit functions at a time, and the
// context for them, which ends with the first error.
func newGroup(ctx context.Context, limit int) (group, context.Context) {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(limit)
	return group{all}, ctx
}

func (g group) Go(f func() error) { g.all.Go(func() error { return guarded(f) }) }

// Wait returns the first error when all functions have returned.
func (g group) Wait() error { return g.all.Wait() }

// guardedBody is the body of a request to the store, which the transport reads
// on a goroutine of its own.
type guardedBody struct {
	r        io.Reader
	panicked atomic.Pointer[panicError]
}

func (b *guardedBody) Read(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			e := &panicError{v, debug.Stack()}
			b.panicked.Store(e)
			n, err = 0, e
		}
	}()
	return b.r.Read(p)
}

func (b *guardedBody) Close() error { return nil }

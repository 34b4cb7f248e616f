// Package task runs work for requests and in the background, and limits it.
//
// Invariants:
//
//   - A panic does not end the process: [Guard] and [Group] return it as an
//     error.
//   - Requests without a credential cannot take the places and the memory of
//     those with one ([Places], [Share]).
//
// docs/ARCHITECTURE.md is the map.
package task

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// PanicError is a panic as an error.
type PanicError struct {
	Value any
	Stack []byte // of the goroutine, as debug.Stack formats it
}

func (e *PanicError) Error() string { return fmt.Sprintf("task: panic: %v", e.Value) }

// PanicStack returns the stack of the goroutine that panicked.
func (e *PanicError) PanicStack() []byte { return e.Stack }

// Guard runs f and returns its error. A panic in f is a [*PanicError].
func Guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{v, debug.Stack()}
		}
	}()
	return f()
}

// Group runs functions concurrently. A panic in one is a [*PanicError].
type Group struct{ all *errgroup.Group }

// NewGroup returns a group that runs at most limit functions at a time. The
// context is for the functions: it ends with the first error, and when Wait
// returns.
func NewGroup(ctx context.Context, limit int) (Group, context.Context) {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(limit)
	return Group{all}, ctx
}

// Go runs f in its own goroutine. It waits while limit functions are running.
func (g Group) Go(f func() error) { g.all.Go(func() error { return Guard(f) }) }

// Wait waits for all functions and returns their first error.
func (g Group) Wait() error { return g.all.Wait() }

// Each calls f for the numbers from 0 to n-1, for at most limit of them at a
// time, and returns the first error. The context of f ends with it. A goroutine
// makes one call after the other, because new goroutines would have to grow
// their stacks first.
func Each(ctx context.Context, limit, n int, f func(ctx context.Context, i int) error) error {
	g, ctx := NewGroup(ctx, limit)
	var last atomic.Int64
	for range min(limit, n) {
		g.Go(func() error {
			for i := last.Add(1); i <= int64(n); i = last.Add(1) {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err := f(ctx, int(i-1)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// Pause waits for d. It returns true after d, and false as soon as ctx ends.
func Pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

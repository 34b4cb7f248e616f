package task_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"ssegw/proxy/task"
)

// TestEach calls the function once for each number, for no more than limit at a
// time, and stops at the first error.
func TestEach(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 3, 4, 1000} {
		var now, most atomic.Int64
		calls := make([]atomic.Int64, n)
		err := task.Each(t.Context(), 4, n, func(_ context.Context, i int) error {
			for m, c := most.Load(), now.Add(1); c > m && !most.CompareAndSwap(m, c); m = most.Load() {
			}
			calls[i].Add(1)
			now.Add(-1)
			return nil
		})
		if err != nil || most.Load() > 4 {
			t.Errorf("%d: %v, %d at a time", n, err, most.Load())
		}
		for i := range calls {
			if got := calls[i].Load(); got != 1 {
				t.Errorf("%d calls for %d of %d", got, i, n)
			}
		}
	}

	errFirst := errors.New("first")
	var calls atomic.Int64
	err := task.Each(t.Context(), 4, 1000, func(ctx context.Context, i int) error {
		calls.Add(1)
		if i == 2 {
			return errFirst
		}
		<-ctx.Done() // waits for ever if the error does not end ctx
		return context.Cause(ctx)
	})
	if !errors.Is(err, errFirst) || calls.Load() > 4 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}

	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errFirst)
	if err := task.Each(ended, 4, 3, func(context.Context, int) error { return nil }); !errors.Is(err, errFirst) {
		t.Errorf("with an ended context: %v", err)
	}
	var p *task.PanicError
	if err := task.Each(t.Context(), 2, 5, func(context.Context, int) error { return explode() }); !errors.As(err, &p) {
		t.Errorf("a panic: %v", err)
	}
}

package kms

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// answeredNow records that an endpoint has answered a key operation. Probes do
// not count: KES answers them even if its key store hangs.
func (e *endpoint) answeredNow() { e.heard.Store(int64(time.Since(e.began))) }

// unlessSilent returns a context that ends as soon as none of the endpoints,
// which are not empty, has answered anybody for limit since the call. The cause
// is then errNoAnswer. The caller calls stop when it is done.
func unlessSilent(ctx context.Context, limit time.Duration, endpoints ...*endpoint) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	began := endpoints[0].began
	start := time.Since(began)
	var mu sync.Mutex // guards timer until it is set
	var timer *time.Timer
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(limit, func() {
		heard := start
		for _, e := range endpoints {
			heard = max(heard, time.Duration(e.heard.Load()))
		}
		left := heard + limit - time.Since(began)
		switch {
		case left <= 0:
			cancel(fmt.Errorf("%w (%s)", errNoAnswer, limit.Round(time.Millisecond)))
		case ctx.Err() == nil:
			mu.Lock()
			defer mu.Unlock()
			timer.Reset(left)
		}
	})
	return ctx, func() {
		timer.Stop()
		cancel(context.Canceled)
	}
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// A load sends requests for some time and counts what comes of them. Each
// attempt of a request counts by itself, as the server sees it.
type load struct {
	do    func(context.Context) error
	tries int // attempts of one request, after SlowDown; 1: clients do not try again

	mu      sync.Mutex
	start   time.Time
	length  time.Duration
	answers map[string]int  // by status and code
	served  []time.Duration // latencies of attempts that were served
	goodput int             // attempts that were served before the end
	unsent  int             // requests that had no connection left; see maxOpen
}

// newLoad returns a load of length length.
func newLoad(length time.Duration, tries int, do func(context.Context) error) *load {
	return &load{do: do, tries: tries, length: length, answers: make(map[string]int)}
}

// closed runs clients that send one request after the other.
func (l *load) closed(ctx context.Context, clients int) {
	l.start = time.Now()
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for ctx.Err() == nil && time.Since(l.start) < l.length {
				l.request(ctx)
			}
		})
	}
	wg.Wait()
}

// maxOpen limits the requests in progress of an open load, because each has a
// connection.
const maxOpen = 8192

// open sends rate requests a second, in random intervals, however many are
// still in progress up to maxOpen. It returns when the last one has ended.
func (l *load) open(ctx context.Context, rate float64) {
	l.start = time.Now()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // equal arrivals in each run
	places := make(chan struct{}, maxOpen)
	var wg sync.WaitGroup
	for at := time.Duration(0); at < l.length && ctx.Err() == nil; at += time.Duration(random.ExpFloat64() / rate * float64(time.Second)) {
		time.Sleep(time.Until(l.start.Add(at)))
		if len(places) == maxOpen {
			l.mu.Lock()
			l.unsent++
			l.mu.Unlock()
			continue
		}
		places <- struct{}{}
		wg.Go(func() { l.request(ctx); <-places })
	}
	wg.Wait()
}

// request sends a request, and again after SlowDown as SDKs do in their
// standard mode: after what Retry-After tells, or a random part of an interval
// that doubles.
func (l *load) request(ctx context.Context) {
	for try := 1; ; try++ {
		begin := time.Now()
		err := l.do(ctx)
		l.count(begin, err)
		var refusal *answerError
		if !errors.As(err, &refusal) || refusal.code != "SlowDown" {
			return
		}
		if try >= l.tries {
			return
		}
		backoff := time.Duration(rand.Int64N(int64(time.Second << (try - 1)))) //nolint:gosec // no secret
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(refusal.after, backoff)):
		}
	}
}

// count counts an attempt.
func (l *load) count(begin time.Time, err error) {
	end := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers[answerName(err)]++
	if err != nil {
		return
	}
	l.served = append(l.served, end.Sub(begin))
	if end.Sub(l.start) < l.length {
		l.goodput++
	}
}

// answerName is the status and the code of an answer.
func answerName(err error) string {
	var refusal *answerError
	switch {
	case err == nil:
		return "served"
	case errors.As(err, &refusal):
		return fmt.Sprintf("%d %s", refusal.status, cmp.Or(refusal.code, "without a code"))
	default:
		return "no answer"
	}
}

// rate returns the requests served a second.
func (l *load) rate() float64 { return float64(l.goodput) / l.length.Seconds() }

// percentile returns the latency that p percent of the served attempts do not
// exceed.
func (l *load) percentile(p float64) time.Duration { return percentile(l.served, p) }

const slowDown = "503 SlowDown"

// percentile returns the element of all, in order, that p percent do not
// exceed; 0 if there is none.
func percentile(all []time.Duration, p float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(int(float64(len(sorted))*p/100), len(sorted)-1)]
}

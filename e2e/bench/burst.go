package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// Bursts of uploads come all at once, on new connections, while nothing else
// happens.
var (
	burstUploads = []int{200, 1000}
	burstSizes   = []int64{4 << 10, 64 << 10}
)

// measureBursts prints what becomes of bursts of uploads with a data key for
// each object. It returns an error if one was refused.
func (r *rig) measureBursts(ctx context.Context) error {
	fmt.Fprintf(r.out, "\n### Bursts of uploads, %s, %d each\n\n", sseKMS, r.options.rounds)
	fmt.Fprint(r.out, "| protocol | uploads at once | size | served | not served | p50 ms | p99 ms | all served after ms |\n|---|--:|--:|--:|--:|--:|--:|--:|\n")
	refused := 0
	for _, n := range burstUploads {
		for _, size := range burstSizes {
			for _, tls := range []bool{false, true} {
				s, err := r.side(ctx, tls)
				if err != nil {
					return err
				}
				fmt.Fprintf(os.Stderr, "bursts: %d uploads of %d KiB, %s\n", n, size>>10, protocol(tls))
				l := s.bursts(ctx, n, size)
				fmt.Fprintf(r.out, "| %s | %d | %d KiB | %d | %s | %s | %s | %s |\n", protocol(tls), n, size>>10, len(l.served), l.refusals(),
					milliseconds(l.percentile(50)), milliseconds(l.percentile(99)), milliseconds(l.length))
				refused += n*r.options.rounds - len(l.served)
			}
		}
	}
	if refused > 0 {
		return fmt.Errorf("%w: %d uploads of bursts were not served", errLimit, refused)
	}
	return ctx.Err()
}

// bursts uploads n objects at once, once in each round. The length of the load
// is the median of what a burst took.
func (s *side) bursts(ctx context.Context, n int, size int64) *load {
	body := newContent(size)
	client := s.through().client
	l := newLoad(0, 1, func(ctx context.Context) error {
		return client.put(ctx, request{bucket: sseKMS.bucket(), key: discarded + "burst"}, body)
	})
	var took []time.Duration
	for range s.options.rounds {
		client.transport.CloseIdleConnections()
		l.start = time.Now()
		gate := make(chan struct{})
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() { <-gate; l.request(ctx) })
		}
		close(gate)
		wg.Wait()
		took = append(took, time.Since(l.start))
	}
	l.length = percentile(took, 50)
	return l
}

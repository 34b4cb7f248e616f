package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// A workload is a number of equal requests, some of them in parallel.
type workload struct {
	name     string
	size     int64 // bytes of each object, or of its part that is read
	whole    int64 // bytes of the object whose part is read; 0: all is read
	requests int   // of one batch
	parallel int
	ops      []operation
}

var (
	large = workload{name: "64 MiB", size: 64 << 20, requests: 12, parallel: 2, ops: []operation{opPut, opGet}}
	small = workload{name: "4 KiB", size: 4 << 10, requests: 4000, parallel: 8, ops: []operation{opPut, opGet, opHead}}
	parts = workload{name: "1 MiB of 64 MiB", size: 1 << 20, whole: 64 << 20, requests: 400, parallel: 4, ops: []operation{opRange}}
)

// quickly returns w with few requests.
func (w workload) quickly() workload {
	w.requests = max(w.requests/2, 2*w.parallel)
	return w
}

// readSize is the size in bytes of the object that is read.
func (w workload) readSize() int64 { return max(w.size, w.whole) }

// An operation is what the requests of a batch do.
type operation string

const (
	opPut   operation = "PUT"
	opGet   operation = "GET"
	opRange operation = "GET, range"
	opHead  operation = "HEAD"
	opCold  operation = "LIST, cold"
	opWarm  operation = "LIST, warm"
)

// A batch holds the measurements of one workload's requests to one target.
type batch struct {
	wall      time.Duration
	cpu       time.Duration // of the process in the middle
	latencies []time.Duration
	calls     calls // made meanwhile
}

// A result holds all batches of one operation and target.
type result struct {
	op      operation
	target  string
	batches []batch
}

// measure runs the workload on all targets in turns. It runs rounds rounds
// after one that does not count. Results are in the order of
// the operations and then of the targets.
func (r *side) measure(ctx context.Context, w workload, rounds int) ([]*result, error) {
	body := newContent(w.size)
	var results []*result
	for _, op := range w.ops {
		for _, t := range r.targets {
			results = append(results, &result{op: op, target: t.name})
		}
	}
	for _, t := range r.targets {
		if err := t.client.put(ctx, t.readKey(w), newContent(w.readSize())); err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
	}
	for round := range rounds + 1 {
		fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", w.name, round, rounds)
		for i, res := range results {
			b, err := r.targets[i%len(r.targets)].run(ctx, w, res.op, body)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", res.target, res.op, err)
			}
			if round > 0 { // the first round fills pools, caches and connections
				res.batches = append(res.batches, b)
			}
		}
	}
	return results, nil
}

// readKey is the object that the target's GETs of a workload read.
func (t *target) readKey(w workload) request {
	return request{bucket: sseKMS.bucket(), key: fmt.Sprintf("get/%s/%d", strings.NewReplacer(" ", "-", ",", "", "/", "").Replace(t.name), w.readSize())}
}

// run makes one batch of requests.
func (t *target) run(ctx context.Context, w workload, op operation, body content) (batch, error) {
	before, err := t.used(ctx)
	if err != nil {
		return batch{}, err
	}
	b := batch{latencies: make([]time.Duration, w.requests)}
	var next atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	start := time.Now()
	for worker := range w.parallel {
		g.Go(func() error {
			for i := next.Add(1) - 1; i < int64(w.requests); i = next.Add(1) - 1 {
				begin := time.Now()
				if err := t.do(gctx, w, op, worker, body); err != nil {
					return err
				}
				b.latencies[i] = time.Since(begin)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return batch{}, err
	}
	b.wall = time.Since(start)
	after, err := t.used(ctx)
	b.cpu, b.calls = after.cpu-before.cpu, after.calls.minus(before.calls)
	return b, err
}

func (t *target) do(ctx context.Context, w workload, op operation, worker int, body content) error {
	switch op {
	case opGet:
		return t.client.get(ctx, t.readKey(w), body)
	case opRange:
		r := t.readKey(w)
		r.header = middle(w.whole, w.size)
		return t.client.get(ctx, r, body)
	case opHead:
		r := t.readKey(w)
		r.method = http.MethodHead
		return t.client.call(ctx, r)
	}
	return t.client.put(ctx, request{bucket: sseKMS.bucket(), key: fmt.Sprintf("%s%s/%d-%d", discarded, t.client.credentials.AccessKeyID, w.size, worker)}, body)
}

// used returns what the process in the middle has used so far.
func (t *target) used(ctx context.Context) (u batch, err error) {
	if t.calls != nil {
		if u.calls, err = t.calls(ctx); err != nil {
			return u, err
		}
	}
	if t.cpu != nil {
		u.cpu, err = t.cpu()
	}
	return u, err
}

// median returns the median of f over the batches.
func (r *result) median(f func(batch) float64) float64 {
	values := make([]float64, len(r.batches))
	for i, b := range r.batches {
		values[i] = f(b)
	}
	slices.Sort(values)
	if n := len(values); n%2 == 0 {
		return (values[n/2-1] + values[n/2]) / 2
	}
	return values[len(values)/2]
}

// percentile returns the latency that p percent of all requests do not exceed.
func (r *result) percentile(p float64) time.Duration {
	var all []time.Duration
	for _, b := range r.batches {
		all = append(all, b.latencies...)
	}
	slices.Sort(all)
	return all[min(int(float64(len(all))*p/100), len(all)-1)]
}

// middle returns the Range header for length bytes in the middle of an object,
// from a multiple of the content's block on.
func middle(size, length int64) http.Header {
	first := size / 2 / int64(len(block)) * int64(len(block))
	return http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", first, first+length-1)}}
}

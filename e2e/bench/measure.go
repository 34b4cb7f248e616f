package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// A batch holds the measurements of a workload's requests to one target.
type batch struct {
	wall      time.Duration
	latencies []time.Duration
	used      usage // by the process in the middle
}

// A result holds all batches of one workload and target.
type result struct {
	workload
	target  string
	batches []batch
}

// measureCost measures the groups round by round: each round runs every
// workload through every target in turn. Round 0 does not count: it fills
// pools, caches and connections.
func (r *rig) measureCost(ctx context.Context) error {
	all := groups()
	if r.options.quick {
		all = slices.DeleteFunc(all, func(g group) bool { return !g.quick })
	}
	results := make([][]*result, len(all))
	for i, g := range all {
		for _, w := range g.workloads {
			of, err := r.prepare(ctx, w)
			if err != nil {
				return err
			}
			results[i] = append(results[i], of...)
		}
	}
	for round := range r.options.rounds + 1 {
		if err := r.fillPages(ctx, round); err != nil {
			return err
		}
		for i, g := range all {
			fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", g.name, round, r.options.rounds)
			for _, res := range results[i] {
				if err := r.runBatch(ctx, res, round); err != nil {
					return fmt.Errorf("%s, %s, %s: %w", res.name(), protocol(res.tls), res.target, err)
				}
			}
		}
	}
	for i, g := range all {
		fmt.Fprint(r.out, costTable(g.name, results[i]))
	}
	r.results = slices.Concat(results...)
	fmt.Fprint(r.out, ratioTable(r.results))
	if r.options.profile == "" {
		return nil
	}
	s, err := r.side(ctx, false)
	if err != nil {
		return err
	}
	return s.profile(ctx, r.options.profile)
}

// prepare stores what the workload reads, and returns its empty results.
func (r *rig) prepare(ctx context.Context, w workload) ([]*result, error) {
	s, err := r.sideOf(ctx, w.store, w.tls)
	if err != nil {
		return nil, err
	}
	var results []*result
	for _, name := range w.ways {
		t := s.target(name)
		if t == nil {
			continue // this side does not have it
		}
		if err := t.prepare(ctx, w); err != nil {
			return nil, fmt.Errorf("%s, %s: %w", w.name(), name, err)
		}
		results = append(results, &result{workload: w, target: name})
	}
	return results, nil
}

// runBatch adds a batch to a result, unless the round is 0.
func (r *rig) runBatch(ctx context.Context, res *result, round int) error {
	s, err := r.sideOf(ctx, res.store, res.tls)
	if err != nil {
		return err
	}
	length := res.length(r.options.quick)
	if res.op.name == opCold.name {
		length = 0 // only the first listing of a page is cold
	}
	b, err := s.target(res.target).run(ctx, res.workload, round, length)
	if err == nil && round > 0 {
		res.batches = append(res.batches, b)
	}
	return err
}

// run makes requests for some time, at least one of each worker.
func (t *target) run(ctx context.Context, w workload, round int, length time.Duration) (b batch, err error) {
	size := w.size
	if w.op.part > 0 {
		size = w.op.part
	}
	body := contentOf(size)
	before, err := t.usage(ctx, true)
	if err != nil {
		return b, err
	}
	took := make([][]time.Duration, w.parallel)
	var over atomic.Bool
	g, gctx := errgroup.WithContext(ctx)
	start := time.Now()
	timer := time.AfterFunc(length, func() { over.Store(true) })
	defer timer.Stop()
	for worker := range w.parallel {
		g.Go(func() error {
			for {
				begin := time.Now()
				if err := w.op.do(gctx, job{t, w, worker, body, round}); err != nil {
					return err
				}
				took[worker] = append(took[worker], time.Since(begin))
				if length == 0 || over.Load() {
					return nil
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		return b, err
	}
	b.wall, b.latencies = time.Since(start), slices.Concat(took...)
	after, err := t.usage(ctx, false)
	b.used = after.since(before)
	return b, err
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
	return percentile(all, p)
}

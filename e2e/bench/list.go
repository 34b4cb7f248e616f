package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"ssegw/e2e/stack"
)

// Listings are of one page.
const (
	listed    = 1000
	listSize  = 100 // bytes of each object
	listsWarm = 20  // listings of a page that was listed before, in each round
)

var lists = workload{name: fmt.Sprintf("pages of %d objects", listed), size: listSize, parallel: 1}

// measureLists lists pages of sealed objects. Another gateway writes them, a
// bucket for each round, so a first listing is cold: the measured gateway has
// never seen the objects.
func (r *side) measureLists(ctx context.Context, rounds int) ([]*result, error) {
	writer, err := r.startWriter(ctx)
	if err != nil {
		return nil, err
	}
	ways := []*target{r.targets[0], r.bare(), r.through()}
	var results []*result
	for _, op := range []operation{opCold, opWarm} {
		for _, t := range ways {
			results = append(results, &result{op: op, target: t.name})
		}
	}
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", lists.name, round+1, rounds)
		name := fmt.Sprintf("list-%d", round)
		if err := r.through().makeBucket(ctx, name, schemes[2].rule); err != nil {
			return nil, err
		}
		if err := fill(ctx, writer, name); err != nil {
			return nil, err
		}
		for i, res := range results {
			n := listsWarm
			if res.op == opCold {
				n = 1
			}
			b, err := ways[i%len(ways)].list(ctx, name, n)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", res.target, res.op, err)
			}
			res.batches = append(res.batches, b)
		}
	}
	return results, nil
}

// startWriter starts a gateway like the measured one.
func (r *side) startWriter(ctx context.Context) (*client, error) {
	g, err := r.stack.StartGateway(ctx, stack.GatewayOptions{Like: r.gateway})
	if err != nil {
		return nil, err
	}
	return newClient(g.Endpoint, g.AccessKey, g.SecretKey, g.CAFile, false)
}

// fill writes the objects of a page.
func fill(ctx context.Context, c *client, bucket string) error {
	body := newContent(listSize)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(small.parallel)
	for i := range listed {
		g.Go(func() error { return c.put(ctx, request{bucket: bucket, key: fmt.Sprintf("o%04d", i)}, body) })
	}
	return g.Wait()
}

// list lists a bucket n times.
func (t *target) list(ctx context.Context, bucket string, n int) (batch, error) {
	before, err := t.used(ctx)
	if err != nil {
		return batch{}, err
	}
	b := batch{}
	start := time.Now()
	for range n {
		begin := time.Now()
		if err := t.client.list(ctx, bucket, listed); err != nil {
			return b, err
		}
		b.latencies = append(b.latencies, time.Since(begin))
	}
	b.wall = time.Since(start)
	after, err := t.used(ctx)
	b.cpu, b.calls = after.cpu-before.cpu, after.calls.minus(before.calls)
	return b, err
}

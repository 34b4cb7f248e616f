package main

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"ssegw/e2e/stack"
)

const listedSize = 100 // bytes of each object of a page

// listBucket is the bucket of the page that a round lists.
func listBucket(round int) string { return fmt.Sprintf("list-%d", round) }

// fillPages makes the pages of a round. Another gateway writes the objects of
// each side, so a first listing is cold: the measured gateway has never seen
// them.
func (r *rig) fillPages(ctx context.Context, round int) error {
	for _, s := range r.sides {
		if s.writer == nil {
			g, err := s.stack.StartGateway(ctx, stack.GatewayOptions{Like: s.gateway})
			if err != nil {
				return err
			}
			c, err := newClient(g.Endpoint, g.AccessKey, g.SecretKey, g.CAFile, false)
			if err != nil {
				return err
			}
			s.writer = &target{client: c}
		}
		for _, t := range []*target{s.writer, s.target(nameOther)} {
			if t == nil {
				continue
			}
			if err := t.fillPage(ctx, listBucket(round), bucketKeys.rule()); err != nil {
				return err
			}
		}
	}
	return nil
}

// fillPage writes the objects of a page into a new bucket.
func (t *target) fillPage(ctx context.Context, bucket, rule string) error {
	if err := t.makeBucket(ctx, bucket, rule); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(inFlight(listedSize))
	for i := range listedKeys {
		g.Go(func() error {
			return t.client.put(ctx, request{bucket: bucket, key: fmt.Sprintf("o%04d", i)}, contentOf(listedSize))
		})
	}
	return g.Wait()
}

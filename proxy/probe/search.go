package probe

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"ssegw/proxy/task"
	"ssegw/proxy/upstream"
)

// Search finds out everything that Capabilities describe. It remembers what it
// has found.
type Search struct {
	Prober
	mu    sync.Mutex
	found map[string]bool
}

// attempts is how often something is probed while the store fails.
const attempts = 3

// Run probes what is not known yet, all at the same time, for at most timeout.
// It returns the names of what is still not known, in order. For that the store
// counts as one that can do least. Run can be called again to find it. Run
// returns an error if the store does not answer at all.
func (s *Search) Run(ctx context.Context, timeout time.Duration) (left []string, err error) {
	finders := map[string]func(context.Context) error{
		"headers": s.allHeaders, "metadata": s.MetaValue, "framing": s.Framing, "conditions": s.Conditions, "copies": s.Copies, "tags of uploads": s.UploadTags,
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	group, limited := task.NewGroup(limited, len(finders))
	var mu sync.Mutex
	var failure error
	for name, find := range finders {
		if s.knows(name) {
			continue
		}
		group.Go(func() error {
			err := task.Guard(func() error { return try(limited, find) })
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				s.remember(name)
				return nil
			}
			left, failure = append(left, name), err
			return nil // the others go on
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	slices.Sort(left)
	if failure == nil {
		return nil, nil
	}
	if _, err := s.Exec(ctx, upstream.Request{Method: http.MethodHead, Bucket: s.Bucket}); err != nil {
		return left, failure
	}
	return left, nil
}

// allHeaders finds out which headers the store alters in any write.
func (s *Search) allHeaders(ctx context.Context) error {
	s.Store().Learn(func(c *upstream.Capabilities) { c.Altered = allAlterations }) // until all is known
	var found upstream.Alterations
	inUploads := &allAlterations
	var failure error // in the uploads
	g, probing := task.NewGroup(ctx, 2)
	g.Go(func() (err error) {
		found, err = s.alterations(probing)
		return err
	})
	g.Go(func() error {
		failure = try(probing, func(ctx context.Context) error {
			known, err := s.uploadAlterations(ctx)
			if err == nil {
				inUploads = known
			}
			return err
		})
		return nil // what the other one finds is worth knowing
	})
	if err := g.Wait(); err != nil {
		return err
	}
	s.Store().Learn(func(c *upstream.Capabilities) { c.Altered = both(found, inUploads) })
	return failure
}

// try probes one thing.
func try(ctx context.Context, find func(context.Context) error) (err error) {
	for range attempts {
		if err = find(ctx); err == nil || ctx.Err() != nil {
			break
		}
	}
	return err
}

// knows reports whether something is known.
func (s *Search) knows(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.found[name]
}

// remember notes that something is known.
func (s *Search) remember(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.found == nil {
		s.found = map[string]bool{}
	}
	s.found[name] = true
}

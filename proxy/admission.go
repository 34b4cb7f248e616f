package proxy

import (
	"context"

	"ssegw/proxy/s3"
	"ssegw/proxy/task"
)

// The requests served at one time, and the memory they hold, are bounded. Each
// bound has a smaller part for requests without a verified credential, which
// includes form uploads until their policy is verified. Such requests cannot
// take what clients with credentials need.

// withLookup runs f, which makes requests for one entry of a page, as soon as
// the client's share of lookups has room.
func (c *call) withLookup(ctx context.Context, f func() error) error {
	lookups := c.gw.lookups.Of(c.credential == nil)
	if err := lookups.Acquire(ctx, 1); err != nil {
		return context.Cause(ctx)
	}
	defer lookups.Release(1)
	return f()
}

// reserve takes n bytes of a share, and waits for them up to
// Server.reserveTimeout. The caller calls free when it no longer needs them.
// The error is s3.ErrSlowDown.
func (c *call) reserve(s task.Share, n int64) (free func(), err error) {
	bytes := s.Of(c.credential == nil)
	free = func() { bytes.Release(n) }
	if bytes.TryAcquire(n) {
		return free, nil // without a look at the deadline, which Acquire would check first
	}
	ctx, cancel := context.WithTimeout(c.ctx(), c.gw.reserveTimeout)
	defer cancel()
	if err := bytes.Acquire(ctx, n); err != nil {
		return nil, s3.ErrSlowDown.With(err)
	}
	return free, nil
}

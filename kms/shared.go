package kms

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// maxShared bounds the shared data keys that are kept: one for each KES key and context, which is a bucket.
	maxShared = 4096
	// renewPause is the least time between attempts to replace a shared key ahead of time.
	renewPause = time.Second
)

// sharedKeys keeps data keys that many objects are sealed with.
type sharedKeys struct {
	interval time.Duration
	uses     int
	keys     *expiring[sharedID, sharedKey]
	flights  *flights[sharedID, struct{}]
	made     atomic.Uint64
	used     atomic.Uint64
}

// sharedID says what a shared data key is for.
type sharedID struct{ name, context string }

type sharedKey struct {
	DataKey
	left    int       // uses
	renewAt time.Time // a use from then on replaces it ahead of time
}

func newSharedKeys(interval time.Duration, uses int) *sharedKeys {
	return &sharedKeys{
		interval: interval,
		uses:     uses,
		keys:     newExpiring[sharedID](interval, maxShared, func(k *sharedKey) { k.Plaintext.Wipe() }),
		flights:  newFlights[sharedID](func(*struct{}) {}),
	}
}

// GenerateShared returns the same as Generate, but the same data key to all who ask for the name and context within
// Config.SharedInterval, up to Config.SharedUses of them. After that KES must answer, or there is an error. A key is replaced
// ahead of time by a use in its last fifth, so that nobody waits for KES. The caller wipes its copy of the plaintext and
// leaves the sealed form as it is.
func (c *Client) GenerateShared(ctx context.Context, name string, kctx Context) (DataKey, error) {
	id := sharedID{name, string(kctx.Canonical())}
	generate := func(ctx context.Context) (struct{}, error) { return struct{}{}, c.newShared(ctx, id, kctx) }
	for {
		dk, renew, ok := c.shared.take(id)
		if renew {
			c.shared.flights.begin(ctx, id, generate)
		}
		if ok {
			return dk, nil
		}
		if ctx.Err() != nil {
			return DataKey{}, interrupted(ctx, nil)
		}
		if _, err := c.shared.flights.do(ctx, id, generate); err != nil {
			return DataKey{}, err
		}
	}
}

// take uses the key of id once more, if there is one. Whoever gets renew replaces it.
func (s *sharedKeys) take(id sharedID) (dk DataKey, renew, ok bool) {
	s.keys.use(id, func(k *sharedKey) {
		now := time.Now()
		if renew = !now.Before(k.renewAt); renew {
			k.renewAt = now.Add(renewPause)
		}
		if k.left == 0 {
			return
		}
		if k.left--; k.left == s.uses/5 {
			renew = true
		}
		dk, ok = k.DataKey, true
	})
	if ok {
		s.used.Add(1)
	}
	return dk, renew, ok
}

// newShared gets a data key and puts it in the place of the one that id had. It is kept for reading, too.
func (c *Client) newShared(ctx context.Context, id sharedID, kctx Context) error {
	dk, err := c.Generate(ctx, id.name, kctx)
	if err != nil {
		return err
	}
	c.shared.made.Add(1)
	c.cache.keys.put(newCacheKey(id.name, dk.Sealed, kctx), dk.Plaintext)
	c.shared.keys.put(id, sharedKey{DataKey: dk, left: c.shared.uses, renewAt: time.Now().Add(c.shared.interval / 5 * 4)})
	dk.Plaintext.Wipe()
	return nil
}

// Stats is what the client has done, and with the data keys that it keeps.
type Stats struct {
	// Calls is how long calls took, with all that they waited for, whether KES answered or not.
	Calls Latency

	CacheHits   uint64 // data keys opened without asking KES
	CacheMisses uint64 // data keys that KES was asked for, or that were being asked for
	Cached      int    // data keys kept for reading
	SharedMade  uint64 // shared data keys that KES made
	SharedUsed  uint64 // objects that were given one
	Shared      int    // shared data keys in use
}

// Stats returns counts since the client was made, and what it keeps.
func (c *Client) Stats() Stats {
	return Stats{
		Calls:       c.pool.calls.latency(),
		CacheHits:   c.cache.hits.Load(),
		CacheMisses: c.cache.misses.Load(),
		Cached:      c.cache.keys.len(),
		SharedMade:  c.shared.made.Load(),
		SharedUsed:  c.shared.used.Load(),
		Shared:      c.shared.keys.len(),
	}
}

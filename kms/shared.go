package kms

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// maxShared limits the number of shared data keys. There is one per KES key
	// and context, which means per bucket.
	maxShared = 4096
	// renewPause is the minimum time between attempts to replace a shared key
	// ahead of time.
	renewPause = time.Second
)

// sharedKeys holds data keys that each seal many objects.
type sharedKeys struct {
	interval time.Duration
	uses     int
	keys     *expiring[keyID, sharedKey]
	flights  *flights[keyID, struct{}]
	made     atomic.Uint64
	used     atomic.Uint64
}

type sharedKey struct {
	DataKey
	left    int       // remaining uses
	renewAt time.Time // the first use after this time replaces it
}

func newSharedKeys(interval time.Duration, uses int, timeout time.Duration) *sharedKeys {
	return &sharedKeys{
		interval: interval,
		uses:     uses,
		keys:     newExpiring[keyID](interval, maxShared, func(k *sharedKey) { k.Plaintext.Wipe() }),
		flights:  newFlights[keyID](timeout, func(*struct{}) {}),
	}
}

// get returns the data key for id. If there is none it calls generate.
func (s *sharedKeys) get(ctx context.Context, id keyID, generate func(context.Context) (DataKey, error)) (DataKey, error) {
	replace := func(ctx context.Context) (struct{}, error) {
		dk, err := generate(ctx)
		if err == nil {
			s.put(id, dk)
			dk.Plaintext.Wipe()
		}
		return struct{}{}, err
	}
	fill := func(ctx context.Context) (struct{}, error) {
		if s.has(id) {
			return struct{}{}, nil // another flight ended since take found none
		}
		return replace(ctx)
	}
	for {
		dk, renew, ok := s.take(id)
		if renew {
			s.flights.begin(ctx, id, replace)
		}
		if ok {
			return dk, nil
		}
		if ctx.Err() != nil {
			return DataKey{}, interrupted(ctx, nil)
		}
		if _, err := s.flights.do(ctx, id, fill); err != nil {
			return DataKey{}, err
		}
	}
}

// has reports whether there is a key for id that can be used.
func (s *sharedKeys) has(id keyID) (ok bool) {
	s.keys.use(id, func(k *sharedKey) { ok = k.left > 0 })
	return ok
}

// put stores a new data key for id and replaces the previous one.
func (s *sharedKeys) put(id keyID, dk DataKey) {
	s.made.Add(1)
	s.keys.put(id, sharedKey{DataKey: dk, left: s.uses, renewAt: time.Now().Add(s.interval / 5 * 4)})
}

// take uses the key for id once, if there is one. If renew is true the caller
// must replace it.
func (s *sharedKeys) take(id keyID) (dk DataKey, renew, ok bool) {
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

// drop removes the data keys of a KES key and returns their keys in the read
// cache.
func (s *sharedKeys) drop(name string) []cacheKey {
	var dropped []cacheKey
	s.keys.drop(func(id keyID, k *sharedKey) bool {
		if id.name == name {
			dropped = append(dropped, newCacheKey(id, k.Sealed))
		}
		return id.name == name
	})
	return dropped
}

package kms

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"
	"time"
)

// maxCached bounds how many data keys are cached for reading: about 10 MiB.
const maxCached = 32_768

// keyID identifies what a data key is sealed under: the name of a KES key and a
// context in canonical form.
type keyID struct{ name, context string }

func newKeyID(name string, kctx Context) keyID {
	return keyID{name, string(kctx.Canonical())}
}

// cacheKey identifies a sealed data key: a digest of the name of the KES key,
// the context and the sealed form.
type cacheKey [sha256.Size]byte

func newCacheKey(id keyID, sealed []byte) cacheKey {
	h := sha256.New()
	for _, b := range [][]byte{[]byte(id.name), []byte(id.context), sealed} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		h.Write(b)
	}
	return cacheKey(h.Sum(nil))
}

// keyCache caches data keys that KES has opened. It does not cache errors.
type keyCache struct {
	keys    *expiring[cacheKey, Secret]
	flights *flights[cacheKey, Secret]
	hits    atomic.Uint64
	misses  atomic.Uint64
}

func newKeyCache(ttl, timeout time.Duration) *keyCache {
	return &keyCache{
		keys:    newExpiring[cacheKey](ttl, maxCached, (*Secret).Wipe),
		flights: newFlights[cacheKey](timeout, (*Secret).Wipe),
	}
}

// get returns the data key for k, from the cache if it is there and from unseal
// otherwise. Concurrent calls for the same k share one call of unseal, whose
// result is cached.
func (c *keyCache) get(ctx context.Context, k cacheKey, unseal func(context.Context) (Secret, error)) (key Secret, cached bool, err error) {
	if c.keys.use(k, func(s *Secret) { key = *s }) {
		c.hits.Add(1)
		return key, true, nil
	}
	c.misses.Add(1)
	if ctx.Err() != nil {
		return key, false, interrupted(ctx, nil)
	}
	key, err = c.flights.do(ctx, k, func(ctx context.Context) (Secret, error) {
		var key Secret
		if c.keys.use(k, func(s *Secret) { key = *s }) {
			return key, nil // another flight ended since the first look
		}
		key, err := unseal(ctx)
		if err == nil {
			c.keys.put(k, key)
		}
		return key, err
	})
	return key, false, err
}

package kms

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"
	"time"
)

// maxCached bounds the data keys that are kept for reading, in about 10 MiB.
const maxCached = 32_768

// cacheKey is what a sealed data key opens with: a digest of the KES key's name, the context and the sealed form.
type cacheKey [sha256.Size]byte

func newCacheKey(name string, sealed []byte, kctx Context) cacheKey {
	h := sha256.New()
	for _, b := range [][]byte{[]byte(name), kctx.Canonical(), sealed} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		h.Write(b)
	}
	return cacheKey(h.Sum(nil))
}

// keyCache keeps data keys that KES has opened. Errors are not kept.
type keyCache struct {
	keys    *expiring[cacheKey, Secret]
	flights *flights[cacheKey, Secret]
	hits    atomic.Uint64
	misses  atomic.Uint64
}

func newKeyCache(ttl time.Duration) *keyCache {
	return &keyCache{
		keys:    newExpiring[cacheKey](ttl, maxCached, (*Secret).Wipe),
		flights: newFlights[cacheKey]((*Secret).Wipe),
	}
}

// UnsealCached returns the same as Unseal, for reading objects: where the data key was opened less than Config.CacheTTL ago,
// KES is not asked, and cached is true. Calls for one data key that come while KES is asked for it share the answer; so KES
// may go on being asked, for up to four attempts, when ctx has ended. The caller wipes the key.
func (c *Client) UnsealCached(ctx context.Context, name string, sealed []byte, kctx Context) (key Secret, cached bool, err error) {
	k := newCacheKey(name, sealed, kctx)
	if c.cache.keys.use(k, func(s *Secret) { key = *s }) {
		c.cache.hits.Add(1)
		return key, true, nil
	}
	c.cache.misses.Add(1)
	if ctx.Err() != nil {
		return key, false, interrupted(ctx, nil)
	}
	key, err = c.cache.flights.do(ctx, k, func(ctx context.Context) (Secret, error) {
		key, err := c.Unseal(ctx, name, sealed, kctx)
		if err == nil {
			c.cache.keys.put(k, key)
		}
		return key, err
	})
	return key, false, err
}

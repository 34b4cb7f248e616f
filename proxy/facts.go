package proxy

import (
	"net/http"
	"strings"

	"github.com/maypok86/otter/v2"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// Bounds of the caches of what was authenticated about objects.
const (
	cachedFacts = 200_000 // objects
	cachedParts = 100_000 // entries of part tables
)

// factsKey names one state of one object: another PUT has another ETag.
type factsKey struct {
	bucket, key, version, etag string
	stored                     int64 // bytes upstream
}

// factsCache remembers the plaintext sizes of objects, which are all that a
// listing needs. It holds no secrets.
type factsCache struct{ sizes *otter.Cache[factsKey, int64] }

func newFactsCache() *factsCache {
	return &factsCache{otter.Must(&otter.Options[factsKey, int64]{MaximumSize: cachedFacts})}
}

func (f *factsCache) add(k factsKey, size int64)   { f.sizes.Set(k, size) }
func (f *factsCache) get(k factsKey) (int64, bool) { return f.sizes.GetIfPresent(k) }

// trailerKey names a trailer: of one state of an object, and of one body.
type trailerKey struct {
	factsKey
	id sealer.ID
}

// trailersCache remembers opened trailers: with one, a range of a multipart
// object costs a single request more. Part nonces and digests are in it, no keys.
type trailersCache struct {
	trailers *otter.Cache[trailerKey, *sealer.Trailer]
}

func newTrailersCache() *trailersCache {
	return &trailersCache{otter.Must(&otter.Options[trailerKey, *sealer.Trailer]{
		MaximumWeight: cachedParts,
		Weigher: func(_ trailerKey, t *sealer.Trailer) uint32 {
			if t.Parts == nil {
				return 1
			}
			return uint32(len(t.Parts.Parts))
		},
	})}
}

func (t *trailersCache) add(k trailerKey, trailer *sealer.Trailer) { t.trailers.Set(k, trailer) }
func (t *trailersCache) get(k trailerKey) (*sealer.Trailer, bool) {
	return t.trailers.GetIfPresent(k)
}

// factsKey names the object that an upstream's answer is about.
func (c *call) factsKey(answer http.Header, stored int64) factsKey {
	return factsKey{c.req.Bucket, c.req.Key, answer.Get(s3.HeaderVersionID), strings.Trim(answer.Get("ETag"), `"`), stored}
}

// remember keeps the plaintext size of an object that was just written, under
// the names that listings with and without versions have for it.
func (c *call) remember(answer http.Header, stored, size int64) {
	k := c.factsKey(answer, stored)
	c.facts.add(k, size)
	if k.version != "" {
		k.version = ""
		c.facts.add(k, size)
	}
}

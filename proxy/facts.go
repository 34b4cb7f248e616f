package proxy

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"slices"
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

// factsKey names one state of one object: the start of a SHA-256, so that entries
// have one size however long keys are.
type factsKey [16]byte

// factsKeyOf returns the name of an object whose upstream length is stored and whose
// upstream ETag, quoted or not, is etag. Another PUT has another ETag, also if it
// makes another version. Only empty objects are alike, sealed or not: modified,
// their time in listings, tells them apart, and is left out for others.
func factsKeyOf(bucket, key, etag string, stored int64, modified string) factsKey {
	if stored > 0 {
		modified = ""
	}
	b := make([]byte, 0, 256)
	for _, s := range [...]string{bucket, key, strings.Trim(etag, `"`), modified} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(stored))
	sum := sha256.Sum256(b)
	return factsKey(sum[:])
}

// factsKey names the object that an upstream's answer is about.
func (c *reader) factsKey(answer http.Header, stored int64) factsKey {
	return factsKeyOf(c.req.Bucket, c.req.Key, answer.Get("ETag"), stored, "")
}

// entryFacts are what a listing shows of an object.
type entryFacts struct {
	size       int64  // plaintext bytes, or one of the words below
	algorithms uint16 // bit n: there is a checksum of the sealer.Algorithm n
	composite  bool   // their type is COMPOSITE
}

// Sizes that are none.
const (
	notSealed    = -1 // the object is not sealed
	unknownFacts = -2 // it is sealed, but its facts do not open
	notSeen      = -3 // the store does not let us look at it
)

// entryFactsOf is what listings show of an object with these checksums.
func entryFactsOf(size int64, sums []sealer.Checksum) entryFacts {
	f := entryFacts{size: size}
	for _, s := range sums {
		f.add(s.Algorithm, s.Composite)
	}
	return f
}

// entryFacts are what listings show of o. Of a trailer that was not read the facts
// announce the checksum.
func (o *sealedObject) entryFacts() entryFacts {
	f := entryFactsOf(o.size, append(slices.Clone(o.facts.Checksums), o.sums...))
	f.add(o.facts.Announced.Algorithm, o.facts.Announced.Composite)
	return f
}

func (f *entryFacts) add(a sealer.Algorithm, composite bool) {
	if a != 0 {
		f.algorithms |= 1 << a
		f.composite = f.composite || composite
	}
}

// checksums are the checksum fields of an entry.
func (f entryFacts) checksums() *s3.Checksums {
	shown := &s3.Checksums{}
	for a := sealer.ChecksumCRC32; a <= sealer.ChecksumXXHASH128; a++ {
		if f.algorithms&(1<<a) != 0 {
			shown.Algorithms = append(shown.Algorithms, a.String())
			shown.Type = checksumType(sealer.Checksum{Composite: f.composite})
		}
	}
	return shown
}

// factsCache remembers what listings show. It holds no secrets.
type factsCache struct {
	entries *otter.Cache[factsKey, entryFacts]
}

func newFactsCache() *factsCache {
	return &factsCache{otter.Must(&otter.Options[factsKey, entryFacts]{MaximumSize: cachedFacts})}
}

func (f *factsCache) add(k factsKey, facts entryFacts)           { f.entries.Set(k, facts) }
func (f *factsCache) get(k factsKey) (facts entryFacts, ok bool) { return f.entries.GetIfPresent(k) }

// remember keeps what listings will show of the request's object, which was just
// written. An empty one is looked at when it is listed, for its time is not known here.
func (c *call) remember(etag string, stored int64, facts entryFacts) {
	if stored > 0 {
		c.facts.add(factsKeyOf(c.req.Bucket, c.req.Key, etag, stored, ""), facts)
	}
}

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

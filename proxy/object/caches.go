package object

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/maypok86/otter/v2"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// Bounds of the caches of what was authenticated about objects.
const (
	cachedFacts    = 200_000  // objects; each takes about 100 bytes, however long its key is
	cachedTrailers = 16 << 20 // bytes
)

// Caches remember what was authenticated about objects. They hold no secrets:
// what listings show, part nonces and digests.
type Caches struct {
	entries  *otter.Cache[stateKey, Entry]
	trailers *otter.Cache[trailerKey, *sealer.Trailer] // with one, a range of a multipart object costs a single request more
	unsaved  atomic.Int64                              // entries that listings have shown and no snapshot is known to have
}

// NewCaches returns empty caches.
func NewCaches() *Caches {
	return &Caches{
		entries: otter.Must(&otter.Options[stateKey, Entry]{MaximumSize: cachedFacts}),
		trailers: otter.Must(&otter.Options[trailerKey, *sealer.Trailer]{
			MaximumWeight: cachedTrailers,
			Weigher:       func(_ trailerKey, t *sealer.Trailer) uint32 { return weight(t) },
		}),
	}
}

// weight returns how many bytes a trailer takes in the cache, about.
func weight(t *sealer.Trailer) uint32 {
	const entry, checksum, part = 256, 48, 64 // without digests
	n := entry
	for i := range t.Checksums {
		n += checksum + len(t.Checksums[i].Digest)
	}
	if t.Parts != nil {
		for i := range t.Parts.Parts {
			n += part + len(t.Parts.Parts[i].Digest)
		}
	}
	return uint32(n)
}

// stateKey names one state of one object. It is the start of a SHA-256, so
// entries have one size however long keys are.
type stateKey [16]byte

// stateOf returns the name of the object that has stored bytes in the store and
// the store's ETag, quoted or not. Every PUT makes another ETag, also if it
// makes another version. Only empty objects are alike, sealed or not: modified,
// their time in listings, tells them apart. It is left out for others.
func stateOf(bucket, key, etag string, stored int64, modified string) stateKey {
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
	return stateKey(sum[:])
}

// trailerKey names a trailer: that of one state of an object, with one body.
type trailerKey struct {
	stateKey
	id sealer.ID
}

func trailerKeyOf(name sealer.Binding, answer http.Header, stored int64, h *sealer.Header) trailerKey {
	return trailerKey{stateOf(name.Bucket, name.Key, answer.Get("ETag"), stored, ""), h.ObjectID}
}

// Remember keeps what listings will show of an object that was just written,
// with stored bytes and the store's ETag. An empty object is looked at when it
// is listed, because its time is not known here.
func (c *Caches) Remember(name sealer.Binding, etag string, stored int64, e Entry) {
	if stored > 0 && etag != "" {
		c.entries.Set(stateOf(name.Bucket, name.Key, etag, stored, ""), e)
	}
}

// RememberTrailer keeps the trailer of an object that was just written. answer
// has the store's ETag.
func (c *Caches) RememberTrailer(name sealer.Binding, answer http.Header, stored int64, h *sealer.Header, t *sealer.Trailer) {
	c.trailers.Set(trailerKeyOf(name, answer, stored, h), t)
}

// Entry is what a listing shows of an object.
type Entry struct {
	size       int64  // plaintext bytes, or one of the constants below
	algorithms uint16 // bit n: there is a checksum of the sealer.Algorithm n
	composite  bool   // the type of the checksums is COMPOSITE
	counted    bool   // in Caches.unsaved, or not worth it
}

// Sizes of entries that have none.
const (
	notSealed    = -1 // the object is not sealed
	unknownFacts = -2 // it is sealed, and its facts do not open
	notSeen      = -3 // the store does not show it to the client
)

// Plaintext is the entry of an object that is not sealed.
var Plaintext = Entry{size: notSealed}

// EntryOf is what listings show of an object of size plaintext bytes with these
// checksums.
func EntryOf(size int64, sums []sealer.Checksum) Entry {
	e := Entry{size: size}
	for _, s := range sums {
		e.add(s.Algorithm, s.Composite)
	}
	return e
}

// Entry is what listings show of o. The facts announce the checksum of a
// trailer that was not read.
func (o *Object) Entry() Entry {
	e := EntryOf(o.Size, append(slices.Clone(o.Facts.Checksums), o.sums...))
	e.add(o.Facts.Announced.Algorithm, o.Facts.Announced.Composite)
	return e
}

func (e *Entry) add(a sealer.Algorithm, composite bool) {
	if a != 0 {
		e.algorithms |= 1 << a
		e.composite = e.composite || composite
	}
}

// checksums are the checksum fields of the entry.
func (e Entry) checksums() *s3.Checksums {
	shown := &s3.Checksums{}
	for a := sealer.ChecksumCRC32; a <= sealer.ChecksumXXHASH128; a++ {
		if e.algorithms&(1<<a) != 0 {
			shown.Algorithms = append(shown.Algorithms, a.String())
			shown.Type = ChecksumType(sealer.Checksum{Composite: e.composite})
		}
	}
	return shown
}

// Edit makes an entry of the store's page show e.
func (e Entry) Edit(listed *s3.Entry) s3.Edit {
	if e.size == notSealed || e.size == notSeen {
		return s3.Edit{}
	}
	tag := s3.ETagShown(listed.ETag, true)
	edit := s3.Edit{ETag: &tag, Checksums: e.checksums()}
	if e.size >= 0 {
		edit.Size = &e.size
	}
	return edit
}

// Listed returns what is known of an entry in a page of a bucket.
func (c *Caches) Listed(bucket string, e *s3.Entry) (Entry, bool) {
	if !isUnique(e) {
		return Entry{}, false
	}
	name := stateOf(bucket, e.Key, e.ETag, e.Size, e.LastModified)
	found, ok := c.entries.GetIfPresent(name)
	if ok && !found.counted {
		found.counted = true
		c.entries.Set(name, found)
		c.unsaved.Add(1)
	}
	return found, ok
}

package object

import (
	"encoding/binary"
	"errors"
	"fmt"

	"ssegw/sealer"
)

// A snapshot is what listings know, as a document that outlives the process
// (docs/FORMAT.md, section 14.3). It has no names of buckets and keys, and
// nothing about content.
const (
	snapshotVersion = 2              // 1 could have the facts of an object that had replaced the listed one
	snapshotEntry   = 16 + 1 + 2 + 8 // bytes of an entry
	maxSnapshot     = 1 + cachedFacts*snapshotEntry
)

// Flags of an entry of a snapshot.
const (
	entrySealed    = 1 << iota // the object is sealed
	entryComposite             // the type of its checksums is COMPOSITE
)

// A snapshot is due if listings have shown this many entries that no snapshot
// is known to have, and if they are this share of all entries. Below that share
// a snapshot of a full cache would cost more bytes than the lookups that it
// saves.
const (
	dueEntries = 200
	dueShare   = 50
)

// errSnapshot is returned for a document that is not a snapshot that this
// version understands.
var errSnapshot = errors.New("object: not a snapshot of this version")

// Due reports whether a snapshot is worth writing. If last is true, there will
// be no later one, and one new entry is enough. After Due has returned true, it
// counts from zero again.
func (c *Caches) Due(last bool) bool {
	n := c.unsaved.Load()
	enough := n >= dueEntries && n >= int64(c.entries.EstimatedSize()/dueShare)
	if !enough && (!last || n == 0) {
		return false
	}
	c.unsaved.Add(-n)
	return true
}

// Encode returns a snapshot. It has at most 5,400,001 bytes.
func (c *Caches) Encode() []byte {
	b := make([]byte, 1, 1+min(c.entries.EstimatedSize(), cachedFacts)*snapshotEntry)
	b[0] = snapshotVersion
	for name, e := range c.entries.All() {
		if len(b) == maxSnapshot {
			break // the cache may exceed its bound for a moment
		}
		b = e.append(append(b, name[:]...))
	}
	return b
}

// append appends e in the form of a snapshot.
func (e Entry) append(b []byte) []byte {
	var flags byte
	size := uint64(0)
	if e.size != notSealed {
		flags, size = entrySealed, uint64(e.size)
	}
	if e.composite {
		flags |= entryComposite
	}
	b = binary.BigEndian.AppendUint16(append(b, flags), e.algorithms)
	return binary.BigEndian.AppendUint64(b, size)
}

// Merge adds the entries of a snapshot that are not in the cache yet, while
// there is room: what other replicas list does not displace what this one
// lists. It adds nothing if the document is not a snapshot.
func (c *Caches) Merge(document []byte) error {
	if len(document) == 0 || document[0] != snapshotVersion || len(document) > maxSnapshot || len(document)%snapshotEntry != 1 {
		return fmt.Errorf("%w: %d bytes", errSnapshot, len(document))
	}
	entries := document[1:]
	for b := entries; len(b) > 0; b = b[snapshotEntry:] {
		if _, ok := parseEntry(b); !ok {
			return fmt.Errorf("%w: an entry that no gateway writes", errSnapshot)
		}
	}
	room := cachedFacts - c.entries.EstimatedSize()
	for b := entries; len(b) > 0 && room > 0; b = b[snapshotEntry:] {
		e, _ := parseEntry(b)
		if _, isNew := c.entries.SetIfAbsent(stateKey(b[:16]), e); isNew {
			room--
		}
	}
	return nil
}

// parseEntry reads the entry of a snapshot that b begins with.
func parseEntry(b []byte) (Entry, bool) {
	flags, algorithms, size := b[16], binary.BigEndian.Uint16(b[17:]), binary.BigEndian.Uint64(b[19:])
	if flags&entrySealed == 0 {
		e := Plaintext
		e.counted = true
		return e, flags == 0 && algorithms == 0 && size == 0
	}
	const known = 1<<(sealer.ChecksumXXHASH128+1) - 1<<sealer.ChecksumCRC32
	composite := flags&entryComposite != 0
	e := Entry{size: int64(size), algorithms: algorithms, composite: composite, counted: true}
	return e, flags&^(entrySealed|entryComposite) == 0 && algorithms&^known == 0 && size <= 1<<62
}

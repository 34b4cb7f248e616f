package object

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strconv"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// listedEntry is the entry of an object in a store's page.
func listedEntry(i int) *s3.Entry {
	return &s3.Entry{Key: strconv.Itoa(i), ETag: `"d41d8cd98f00b204e9800998ecf8427e"`, Size: int64(i) + 33}
}

// learn fills caches with n sealed objects that a gateway wrote.
func learn(c *Caches, n int) {
	for i := range n {
		e := listedEntry(i)
		c.Remember(sealer.Binding{Bucket: "bucket", Key: e.Key}, e.ETag, e.Size, EntryOf(int64(i), nil))
	}
}

// TestSnapshot: a snapshot keeps all that listings show.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	entries := []Entry{
		Plaintext,
		{size: 0},
		{size: 1<<48 + 1, algorithms: 1<<sealer.ChecksumCRC32 | 1<<sealer.ChecksumXXHASH128},
		{size: 7, algorithms: 1 << sealer.ChecksumSHA256, composite: true},
	}
	c := NewCaches()
	for i, e := range entries {
		listed := listedEntry(i)
		c.Remember(sealer.Binding{Bucket: "bucket", Key: listed.Key}, listed.ETag, listed.Size, e)
	}
	document := c.Encode()
	if len(document) != 1+27*len(entries) {
		t.Errorf("%d bytes", len(document))
	}
	other := NewCaches()
	if err := other.Merge(document); err != nil {
		t.Fatal(err)
	}
	for i, want := range entries {
		got, ok := other.Listed("bucket", listedEntry(i))
		got.counted = false
		if !ok || got != want {
			t.Errorf("%d: %+v %t, want %+v", i, got, ok, want)
		}
		if _, ok := other.Listed("another", listedEntry(i)); ok {
			t.Errorf("%d is known in another bucket", i)
		}
	}
	if other.Due(true) {
		t.Error("what was read is to be written")
	}
}

// TestSnapshotFormat pins a document, which other versions read (FORMAT.md
// 14.3).
func TestSnapshotFormat(t *testing.T) {
	t.Parallel()
	name := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return string(sum[:16])
	}
	const etag = "d41d8cd98f00b204e9800998ecf8427e"
	for want, e := range map[string]Entry{
		"\x02" + name("\x00\x00\x00\x06bucket\x00\x00\x00\x010\x00\x00\x00\x20"+etag+"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x21") +
			"\x03\x00\x20\x00\x00\x00\x00\x00\x00\x00\x01": {size: 1, algorithms: 1 << sealer.ChecksumSHA256, composite: true},
		"\x02" + name("\x00\x00\x00\x06bucket\x00\x00\x00\x010\x00\x00\x00\x20"+etag+"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x21") +
			"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00": Plaintext,
	} {
		c := NewCaches()
		listed := listedEntry(0)
		c.Remember(sealer.Binding{Bucket: "bucket", Key: listed.Key}, listed.ETag, listed.Size, e)
		if got := string(c.Encode()); got != want {
			t.Errorf("\n got %x\nwant %x", got, want)
		}
	}
}

// TestSnapshotBounded: a snapshot of a full cache has the documented size, and
// a longer one is refused.
func TestSnapshotBounded(t *testing.T) {
	t.Parallel()
	c := NewCaches()
	learn(c, cachedFacts+5000)
	c.entries.CleanUp()
	document := c.Encode()
	if len(document) > 5_400_001 || len(document) < 5_000_000 {
		t.Errorf("%d bytes", len(document))
	}
	other := NewCaches()
	if err := other.Merge(document); err != nil {
		t.Fatal(err)
	}
	full := append([]byte{snapshotVersion}, make([]byte, cachedFacts*snapshotEntry)...)
	if err := other.Merge(full); err != nil {
		t.Error(err)
	}
	if err := other.Merge(append(full, make([]byte, snapshotEntry)...)); !errors.Is(err, errSnapshot) {
		t.Errorf("one entry more: %v", err)
	}
}

// TestSnapshotDue: new entries that listings show count once, and a full cache
// is not written for a few of them.
func TestSnapshotDue(t *testing.T) {
	t.Parallel()
	c := NewCaches()
	show := func(from, to int) {
		for i := from; i < to; i++ {
			if _, ok := c.Listed("bucket", listedEntry(i)); !ok {
				t.Fatalf("%d is not known", i)
			}
		}
	}
	learn(c, 20_000)
	if c.Due(true) {
		t.Error("due, but nothing was listed")
	}
	show(0, 399)
	show(0, 399)
	if c.Due(false) {
		t.Error("due for less than a fiftieth")
	}
	show(399, 400)
	if !c.Due(false) || c.Due(false) || c.Due(true) {
		t.Error("not due once")
	}
	show(0, 401)
	if c.Due(false) || !c.Due(true) || c.Due(true) {
		t.Error("one entry is not due at the end only")
	}
}

// FuzzSnapshot: any document is refused or encodes to the same entries.
func FuzzSnapshot(f *testing.F) {
	c := NewCaches()
	learn(c, 3)
	f.Add(c.Encode())
	f.Add([]byte{})
	f.Add([]byte{snapshotVersion})
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, document []byte) {
		c := NewCaches()
		if err := c.Merge(document); err != nil {
			if c.entries.EstimatedSize() != 0 {
				t.Error("entries of a refused document")
			}
			return
		}
		again := NewCaches()
		if err := again.Merge(c.Encode()); err != nil {
			t.Fatal(err)
		}
		for name, e := range c.entries.All() {
			if got, ok := again.entries.GetIfPresent(name); !ok || got != e || !bytes.Contains(document, e.append(name[:])) {
				t.Errorf("%x: %+v, want %+v", name, got, e)
			}
		}
	})
}

// BenchmarkSnapshot writes and reads a snapshot of a full cache.
func BenchmarkSnapshot(b *testing.B) {
	c := NewCaches()
	learn(c, cachedFacts)
	for b.Loop() {
		if err := NewCaches().Merge(c.Encode()); err != nil {
			b.Fatal(err)
		}
	}
}

// TestMillionObjects: what a gateway keeps of a million objects that it has
// listed, in memory and in the state bucket, is what it keeps of cachedFacts.
func TestMillionObjects(t *testing.T) {
	t.Parallel()
	c := NewCaches()
	learn(c, 1_000_000)
	c.entries.CleanUp()
	if n := c.entries.EstimatedSize(); n > cachedFacts {
		t.Errorf("%d entries are cached, want at most %d", n, cachedFacts)
	}
	const most = 27*cachedFacts + 100 // bytes, see docs/PERFORMANCE.md
	if n := len(c.Encode()); n > most {
		t.Errorf("the snapshot has %d bytes, want at most %d", n, most)
	}
}

// TestSnapshotFull: the snapshot of another replica displaces nothing of a
// cache that is full, and fills one that is not.
func TestSnapshotFull(t *testing.T) {
	t.Parallel()
	other := NewCaches()
	for i := range cachedFacts {
		other.Remember(sealer.Binding{Bucket: "other", Key: listedEntry(i).Key}, listedEntry(i).ETag, listedEntry(i).Size, EntryOf(1, nil))
	}
	document := other.Encode()
	for _, own := range []int{cachedFacts, cachedFacts / 2} {
		c := NewCaches()
		learn(c, own)
		for range 3 {
			if err := c.Merge(document); err != nil {
				t.Fatal(err)
			}
		}
		c.entries.CleanUp()
		known := 0
		for i := range own {
			if _, ok := c.Listed("bucket", listedEntry(i)); ok {
				known++
			}
		}
		if known < own*99/100 { // the cache's bound is not exact
			t.Errorf("of %d own entries %d are left", own, known)
		}
		if n := c.entries.EstimatedSize(); n < cachedFacts*98/100 {
			t.Errorf("%d entries", n)
		}
	}
}

package object

import (
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"ssegw/sealer"
)

// BenchmarkCaches fills the cache of entries and reports what an entry takes.
func BenchmarkCaches(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		cache := NewCaches()
		for i := range cachedFacts {
			cache.Remember(sealer.Binding{Bucket: "bucket", Key: strings.Repeat("long key ", 50) + strconv.Itoa(i)}, "d41d8cd98f00b204e9800998ecf8427e", 1, Entry{size: 1})
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/cachedFacts, "B/entry")
		runtime.KeepAlive(cache)
	}
}

// TestCachedTrailers checks that the cache of trailers is bounded by what they
// take: few with many parts, or many with few.
func TestCachedTrailers(t *testing.T) {
	t.Parallel()
	trailer := func(parts int) *sealer.Trailer {
		table := &sealer.PartTable{Algorithm: sealer.ChecksumSHA256, Parts: make([]sealer.Part, parts)}
		for i := range table.Parts {
			table.Parts[i].Digest = make([]byte, 32)
		}
		return &sealer.Trailer{Parts: table, Checksums: []sealer.Checksum{{Algorithm: sealer.ChecksumSHA256, Digest: make([]byte, 32)}}}
	}
	for _, parts := range []int{1, 10_000} {
		c, full := NewCaches(), cachedTrailers/int(weight(trailer(parts)))
		for i := range 2 * full {
			c.RememberTrailer(sealer.Binding{Bucket: "b", Key: strconv.Itoa(i)}, http.Header{}, 1, &sealer.Header{}, trailer(parts))
		}
		c.trailers.CleanUp()
		if n, bytes := c.trailers.EstimatedSize(), c.trailers.WeightedSize(); n > full || n < full*9/10 || bytes > cachedTrailers {
			t.Errorf("trailers of %d parts: %d of %d in %d bytes", parts, n, full, bytes)
		}
	}
}

// TestWeight compares the weight of a trailer with what it takes.
func TestWeight(t *testing.T) {
	trailers := make([]*sealer.Trailer, 100)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range trailers {
		table := &sealer.PartTable{Parts: make([]sealer.Part, 1000)}
		for j := range table.Parts {
			table.Parts[j].Digest = make([]byte, 32)
		}
		trailers[i] = &sealer.Trailer{Parts: table}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	taken, weighed := float64(after.HeapAlloc-before.HeapAlloc), float64(weight(trailers[0]))*float64(len(trailers))
	if taken > 1.2*weighed || taken < weighed/2 {
		t.Errorf("they take %.0f bytes and weigh %.0f", taken, weighed)
	}
	runtime.KeepAlive(trailers)
}

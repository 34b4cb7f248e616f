package object

import (
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

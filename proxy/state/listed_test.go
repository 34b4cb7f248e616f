package state

import (
	"strconv"
	"strings"
	"testing"
)

// TestListedCacheIsBounded checks that uploads with long IDs leave room for
// fewer of them.
func TestListedCacheIsBounded(t *testing.T) {
	t.Parallel()
	for _, length := range []int{30, 1000} {
		c := NewListedCache()
		for i := range 60_000 {
			c.Add(&Upload{Bucket: "b", Key: strconv.Itoa(i), ID: strings.Repeat("x", length)})
		}
		c.uploads.CleanUp()
		n, bytes := c.uploads.EstimatedSize(), c.uploads.WeightedSize()
		if bytes > cachedUploads || n*(300+length) > cachedUploads || n < 5000 {
			t.Errorf("%d uploads with IDs of %d bytes, %d bytes in all", n, length, bytes)
		}
	}
}

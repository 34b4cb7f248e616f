package proxy

import (
	"testing"

	"ssegw/proxy/s3"
)

// BenchmarkSmall writes and reads a sealed object of 4 KiB. Its client and its
// store run in the same process and count, too.
func BenchmarkSmall(b *testing.B) {
	g := newGateway(b)
	body := pattern(4<<10, 1)
	b.Run("put", func(b *testing.B) {
		for b.Loop() {
			g.put("/bucket/o", body, s3.HeaderSSE, s3.AWSKMS).want(b, 200, "")
		}
	})
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			g.get("/bucket/o").want(b, 200, "")
		}
	})
}

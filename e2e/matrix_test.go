package e2e

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"

	"ssegw/e2e/stack"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30
)

// matrixSizes are around the limits of the format: the empty object, a package
// (64 KiB), and the largest body that is read whole (1 MiB). Objects of 1 GiB
// are removed after reading, so that the disk holds one at a time.
var matrixSizes = []int64{0, 1, 64*kib - 1, 64 * kib, 64*kib + 1, mib - 1, mib, mib + 1, 64 * mib, gib}

// TestMatrix stores and reads objects with each client, over http and https,
// with each scheme and size, in one PutObject request each. Then it examines
// the bucket from both sides.
func TestMatrix(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, transport := range []string{"http", "https"} {
		g := r.gateway(t, transport == "https")
		clients := newClients(t, r.stack, g)
		for _, name := range slices.Sorted(maps.Keys(clients)) {
			t.Run(name+"/"+transport, func(t *testing.T) {
				matrixOf(t, r, g, name+"/"+transport, clients[name])
			})
		}
		if runtime.GOOS == "linux" {
			wantBoundedMemory(t, g)
		}
	}
}

// maxRSS limits the gateway's memory in bytes, for objects of any size.
const maxRSS = 256 * mib

// wantBoundedMemory checks the gateway's peak memory.
func wantBoundedMemory(t *testing.T, g *stack.Gateway) {
	t.Helper()
	u := must(g.Usage())(t)
	t.Logf("%s: at most %d MiB resident, %v of CPU", g.Name(), u.PeakRSS/mib, u.CPU)
	if u.PeakRSS > maxRSS {
		t.Errorf("%s used up to %d MiB, want at most %d", g.Name(), u.PeakRSS/mib, maxRSS/mib)
	}
}

// matrixOf runs one client against one gateway.
func matrixOf(t *testing.T, r *rig, g *stack.Gateway, name string, c client) {
	bucket := fmt.Sprintf("matrix-%d", hash(name)%1_000_000)
	makeBucket(t, sdkOf(t, g), bucket)
	want := make(map[string]int64)
	schemes := []scheme{sseS3, sseKMS}
	if g.CAFile != "" {
		schemes = append(schemes, sseC)
	}
	for _, s := range schemes {
		for _, size := range matrixSizes {
			key := fmt.Sprintf("%s/%d", s, size)
			want[key] = size
			if !t.Run(key, func(t *testing.T) {
				if size == gib {
					long(t)
				}
				roundTrip(t, c, bucket, key, s, content{seed: hash(name + key), size: size}, g.KeyName)
			}) || size == gib && testing.Short() {
				delete(want, key)
				continue
			}
			if size == gib {
				if found, err := readsMarker(t.Context(), r.direct(t), bucket, key); err != nil || found {
					t.Errorf("%s upstream: plaintext %v, error %v", key, found, err)
				}
				removeObject(t, sdkOf(t, g), bucket, key)
				delete(want, key)
			}
		}
	}
	if got, err := c.list(t.Context(), bucket); err != nil || !maps.Equal(got, want) {
		t.Errorf("LIST: %v, error %v\nwant %v", got, err, want)
	}
	wantSealedUpstream(t, sdkOf(t, g), r.direct(t), bucket)
}

// roundTrip puts, heads and gets one object.
func roundTrip(t *testing.T, c client, bucket, key string, s scheme, body content, keyName string) {
	t.Helper()
	if err := c.put(t.Context(), bucket, key, s, body); err != nil {
		t.Fatal("PUT:", err)
	}
	if got, err := c.head(t.Context(), bucket, key, s); err != nil || got != wantFacts(s, body.size, keyName) {
		t.Errorf("HEAD: %+v, error %v; want %+v", got, err, wantFacts(s, body.size, keyName))
	}
	v := &verifier{want: body}
	if err := c.get(t.Context(), bucket, key, s, v); err != nil {
		t.Fatalf("GET: %v after %d of %d bytes", err, v.off, body.size)
	}
	if err := v.complete(); err != nil {
		t.Errorf("GET: a clean end after %d of %d bytes", v.off, body.size)
	}
}

// hash is FNV-1a. It makes a seed or a name from a string.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

package payload

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"slices"
	"testing"

	"ssegw/proxy/sigv4"
	"ssegw/sealer"
)

var combining = []sealer.Algorithm{sealer.ChecksumCRC32, sealer.ChecksumCRC32C, sealer.ChecksumCRC64NVME}

// partsWith cuts body at the given offsets and hashes each piece.
func partsWith(t testing.TB, a sealer.Algorithm, body []byte, cuts []int) (parts []sealer.Part) {
	t.Helper()
	begin := 0
	for i, end := range append(slices.Clone(cuts), len(body)) {
		parts = append(parts, sealer.Part{Number: i + 1, Size: int64(end - begin), Digest: digestOf(t, a, body[begin:end])})
		begin = end
	}
	return parts
}

func digestOf(t testing.TB, a sealer.Algorithm, b []byte) []byte {
	t.Helper()
	h, ok := sigv4.NewHash(a.String())
	if !ok {
		t.Fatalf("no hash for %s", a)
	}
	h.Write(b)
	return h.Sum(nil)
}

func wantCombined(t testing.TB, a sealer.Algorithm, body []byte, cuts []int) {
	t.Helper()
	sum, err := Combine(a, false, partsWith(t, a, body, cuts))
	if err != nil {
		t.Fatal(err)
	}
	if want := digestOf(t, a, body); !bytes.Equal(sum.Digest, want) || sum.Algorithm != a || sum.Composite {
		t.Fatalf("%s of %d bytes cut at %v: %x, want %x", a, len(body), cuts, sum.Digest, want)
	}
}

// TestCombine splits bodies at random and compares the combined CRC with that
// of the whole body.
func TestCombine(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, a := range combining {
		wantCombined(t, a, nil, nil)
		wantCombined(t, a, nil, []int{0, 0})
		wantCombined(t, a, []byte("123456789"), []int{0, 4, 9})
		for range 300 {
			body := randomBytes(r.IntN(100_000), byte(r.IntN(256)))
			var cuts []int
			for range r.IntN(8) {
				cuts = append(cuts, r.IntN(len(body)+1))
			}
			slices.Sort(cuts)
			wantCombined(t, a, body, cuts)
		}
	}
}

// TestCombineLong shifts CRCs by more bytes than a test could hash. One long
// shift must equal several shorter ones.
func TestCombineLong(t *testing.T) {
	t.Parallel()
	for _, a := range combining {
		c := Combinable[a]
		const first, n = 0x12345678, int64(5<<40 + 12345)
		steps := uint64(first)
		for _, d := range []int64{1 << 40, 2 << 40, 12345, 2 << 40} {
			steps = c.combine(steps, 0, d)
		}
		if got := c.combine(first, 0, n); got != steps || got == first {
			t.Errorf("%s: %x in one step, %x in four", a, got, steps)
		}
	}
}

func FuzzCombine(f *testing.F) {
	f.Add([]byte("123456789"), uint16(4), uint16(5))
	f.Add([]byte{}, uint16(0), uint16(0))
	f.Add(bytes.Repeat([]byte{0}, 300), uint16(1), uint16(255))
	f.Fuzz(func(t *testing.T, body []byte, x, y uint16) {
		cuts := []int{int(x) % (len(body) + 1), int(y) % (len(body) + 1)}
		slices.Sort(cuts)
		for _, a := range combining {
			wantCombined(t, a, body, cuts)
		}
	})
}

// TestComposite computes the checksum of the parts' checksums. A SHA-256 of the
// whole object does not follow from them.
func TestComposite(t *testing.T) {
	t.Parallel()
	body := randomBytes(1000, 1)
	parts := partsWith(t, sealer.ChecksumSHA256, body, []int{300, 700})
	sum, err := Combine(sealer.ChecksumSHA256, true, parts)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, p := range [][]byte{body[:300], body[300:700], body[700:]} {
		d := sha256.Sum256(p)
		all = append(all, d[:]...)
	}
	want := sha256.Sum256(all)
	if !bytes.Equal(sum.Digest, want[:]) {
		t.Errorf("%x, want %x", sum.Digest, want)
	}
	if _, err := Combine(sealer.ChecksumSHA256, false, parts); err == nil {
		t.Error("SHA-256 checksums were combined")
	}
}

// randomBytes returns size bytes that do not compress and differ between seeds.
func randomBytes(size int, seed byte) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

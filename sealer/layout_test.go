package sealer

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/sio"
)

func TestSizes(t *testing.T) {
	t.Parallel()
	tests := []struct{ size, sealed int64 }{
		{0, 0}, {1, 33}, {65535, 65567}, {65536, 65568}, {65537, 65601}, {131072, 131136}, {131073, 131169},
		{5 << 40, 5<<40 + 5<<24*32}, {MaxSize - 1, MaxSize - 1 + 1<<32*32}, {MaxSize, MaxSize + 1<<32*32},
	}
	for _, test := range tests {
		if got := SealedSize(test.size); got != test.sealed {
			t.Errorf("SealedSize(%d) = %d, want %d", test.size, got, test.sealed)
		}
		if want, err := sio.EncryptedSize(uint64(test.size)); err != nil || int64(want) != test.sealed {
			t.Errorf("sio seals %d to %d, %v", test.size, want, err)
		}
	}
	for _, size := range []int64{-1, MaxSize + 1, math.MinInt64, math.MaxInt64} {
		if got := SealedSize(size); got != -1 {
			t.Errorf("SealedSize(%d) = %d", size, got)
		}
	}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	const s = sealedPackageSize
	tests := []struct {
		size, offset, length int64
		want                 Extent
	}{
		{0, 0, 0, Extent{}},
		{100, 50, 0, Extent{}},
		{100, 100, 0, Extent{}},
		{100, 0, 100, Extent{Sealed: 132, Length: 100}},
		{100, 99, 1, Extent{Sealed: 132, Skip: 99, Length: 1}},
		{200000, 0, 1, Extent{Sealed: s, Length: 1}},
		{200000, 65535, 1, Extent{Sealed: s, Skip: 65535, Length: 1}},
		{200000, 65536, 1, Extent{Offset: s, Sealed: s, Sequence: 1, Length: 1}},
		{200000, 65535, 2, Extent{Sealed: 2 * s, Skip: 65535, Length: 2}},
		{200000, 199999, 1, Extent{Offset: 3 * s, Sealed: 3424, Sequence: 3, Skip: 3391, Length: 1}},
		{200000, 70000, 130000, Extent{Offset: s, Sealed: 2*s + 3424, Sequence: 1, Skip: 4464, Length: 130000}},
		{131072, 65536, 65536, Extent{Offset: s, Sealed: s, Sequence: 1, Length: 65536}},
		{MaxSize, MaxSize - 1, 1, Extent{Offset: (1<<32 - 1) * s, Sealed: s, Sequence: 1<<32 - 1, Skip: 65535, Length: 1}},
	}
	for _, test := range tests {
		got, err := Locate(test.size, test.offset, test.length)
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("Locate(%d, %d, %d): %v (-want +got):\n%s", test.size, test.offset, test.length, err, diff)
		}
	}
	refused := []struct {
		size, offset, length int64
		want                 error
	}{
		{100, 0, 101, ErrRange}, {100, 101, 0, ErrRange}, {100, -1, 1, ErrRange}, {100, 0, -1, ErrRange}, {-1, 0, 0, ErrRange},
		{100, 1, math.MaxInt64, ErrRange}, {100, math.MaxInt64, math.MaxInt64, ErrRange}, {MaxSize + 1, 0, 1, ErrTooLarge},
	}
	for _, test := range refused {
		if e, err := Locate(test.size, test.offset, test.length); !errors.Is(err, test.want) {
			t.Errorf("Locate(%d, %d, %d) = %+v, %v, want %v", test.size, test.offset, test.length, e, err, test.want)
		}
	}
}

func TestLocateUnknown(t *testing.T) {
	t.Parallel()
	const s = sealedPackageSize
	tests := []struct{ offset, last, first, lastSealed int64 }{
		{0, 0, 0, s - 1},
		{0, 65535, 0, s - 1},
		{0, 65536, 0, 2*s - 1},
		{65536, 65536, s, 2*s - 1},
		{70000, 200000, s, 4*s - 1},
		{0, -1, 0, -1},
		{70000, -1, s, -1},
		{-5, 10, 0, s - 1},
		{0, math.MaxInt64, 0, (1<<32+1)*s - 1},
		{math.MaxInt64, math.MaxInt64, 1 << 32 * s, (1<<32+1)*s - 1},
		{math.MaxInt64, -1, 1 << 32 * s, -1},
	}
	for _, test := range tests {
		first, last := LocateUnknown(test.offset, test.last)
		if first != test.first || last != test.lastSealed {
			t.Errorf("LocateUnknown(%d, %d) = %d, %d, want %d, %d", test.offset, test.last, first, last, test.first, test.lastSealed)
		}
	}
}

package sealer

import "fmt"

// Sizes of a body in bytes (section 5).
const (
	// PackageSize is the plaintext in every package of a stream but the last.
	PackageSize = 64 << 10
	// PackageOverhead is what sealing adds to each package.
	PackageOverhead = 32
	// MaxSize is the most plaintext in one stream: DARE counts packages in 32
	// bits.
	MaxSize = 1 << 48

	sealedPackageSize = PackageSize + PackageOverhead
)

// SealedSize returns the sealed bytes of a stream of size plaintext bytes, the
// trailer not counted: 0 for 0. It returns -1 if size is negative or over
// MaxSize.
func SealedSize(size int64) int64 {
	if size < 0 || size > MaxSize {
		return -1
	}
	packages := (size + PackageSize - 1) / PackageSize
	return size + packages*PackageOverhead
}

// Extent is the part of a sealed stream that holds a range of its plaintext:
// whole packages (section 8). All values are bytes but Sequence.
type Extent struct {
	Offset   int64  // of the first package in the stream
	Sealed   int64  // to read from there
	Sequence uint32 // number of the first package, from 0
	Skip     int64  // plaintext of the first package before the range
	Length   int64  // plaintext of the range
}

// Locate returns the extent of length plaintext bytes from offset on, in a
// stream of size plaintext bytes. A length of 0 gives an extent of nothing. It
// returns ErrRange unless 0 <= offset, 0 <= length and offset+length <= size,
// and ErrTooLarge for a size over MaxSize.
func Locate(size, offset, length int64) (Extent, error) {
	if size > MaxSize {
		return Extent{}, fmt.Errorf("%w: stream of %d bytes", ErrTooLarge, size)
	}
	if size < 0 || offset < 0 || length < 0 || offset > size || length > size-offset {
		return Extent{}, fmt.Errorf("%w: %d bytes from %d on of %d", ErrRange, length, offset, size)
	}
	if length == 0 {
		return Extent{}, nil
	}
	first := offset / PackageSize
	last := (offset + length - 1) / PackageSize
	begin := first * sealedPackageSize
	end := min((last+1)*sealedPackageSize, SealedSize(size))
	return Extent{
		Offset:   begin,
		Sealed:   end - begin,
		Sequence: uint32(first),
		Skip:     offset % PackageSize,
		Length:   length,
	}, nil
}

// LocateUnknown returns the first and the last sealed byte, both inclusive, of
// the whole packages that hold the plaintext bytes offset to last, both
// inclusive, of a single PUT whose size is not known yet. A last before offset
// means "to the end": lastSealed is -1 then. Positions past MaxSize are taken
// as MaxSize, where no stream has bytes. Once the size is known, [Locate] says
// what of the answer is to be opened: its extent starts at the same first byte.
func LocateUnknown(offset, last int64) (first, lastSealed int64) {
	offset = min(max(offset, 0), MaxSize)
	first = offset / PackageSize * sealedPackageSize
	if last < offset {
		return first, -1
	}
	last = min(last, MaxSize)
	return first, (last/PackageSize+1)*sealedPackageSize - 1
}

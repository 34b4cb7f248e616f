package sealer

import "fmt"

// Sizes of a body in bytes (section 5).
const (
	// PackageSize is the plaintext size of each package of a stream except the
	// last.
	PackageSize = 64 << 10
	// PackageOverhead is the number of bytes that sealing adds to a package.
	PackageOverhead = 32
	// MaxSize is the maximum plaintext size of one stream. DARE counts packages
	// in 32 bits.
	MaxSize = 1 << 48

	sealedPackageSize = PackageSize + PackageOverhead
)

// SealedSize returns the sealed size of a stream of size plaintext bytes,
// without a trailer. For 0 it returns 0. If size is negative or exceeds MaxSize
// it returns -1.
func SealedSize(size int64) int64 {
	if size < 0 || size > MaxSize {
		return -1
	}
	packages := (size + PackageSize - 1) / PackageSize
	return size + packages*PackageOverhead
}

// Extent is the part of a sealed stream that contains a range of its plaintext,
// in whole packages (section 8). All fields but Sequence are in bytes.
type Extent struct {
	Offset   int64  // position of the first package in the stream
	Sealed   int64  // length of the packages
	Sequence uint32 // number of the first package, from 0
	Skip     int64  // plaintext to skip in the first package
	Length   int64  // plaintext in the range
}

// Locate returns the extent of length plaintext bytes starting at offset, in a
// stream of size plaintext bytes. If length is 0 the extent is empty. It
// returns ErrRange unless 0 <= offset, 0 <= length and offset+length <= size,
// and ErrTooLarge if size exceeds MaxSize.
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
// the packages that contain the plaintext bytes offset to last, both inclusive,
// of a single PUT whose size is not known yet. If last is less than offset the
// range extends to the end, and lastSealed is -1. Positions beyond MaxSize are
// treated as MaxSize, where no stream has bytes. When the size is known, call
// [Locate] to learn what to open: its extent starts at the same byte.
func LocateUnknown(offset, last int64) (first, lastSealed int64) {
	offset = min(max(offset, 0), MaxSize)
	first = offset / PackageSize * sealedPackageSize
	if last < offset {
		return first, -1
	}
	last = min(last, MaxSize)
	return first, (last/PackageSize+1)*sealedPackageSize - 1
}

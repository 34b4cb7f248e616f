package sealer

import (
	"cmp"
	"fmt"
	"slices"
)

// Algorithm is a checksum algorithm of S3. Its value is its number in the
// format (section 6.1).
type Algorithm uint8

// The algorithms. Zero means no algorithm.
const (
	ChecksumCRC32 Algorithm = iota + 1
	ChecksumCRC32C
	ChecksumCRC64NVME
	ChecksumSHA1
	ChecksumSHA256
	ChecksumSHA512
	ChecksumMD5
	ChecksumXXHASH64
	ChecksumXXHASH3
	ChecksumXXHASH128
)

// algorithms holds names and digest lengths in bytes, by number.
var algorithms = [...]struct {
	name string
	size int
}{
	ChecksumCRC32:     {"CRC32", 4},
	ChecksumCRC32C:    {"CRC32C", 4},
	ChecksumCRC64NVME: {"CRC64NVME", 8},
	ChecksumSHA1:      {"SHA1", 20},
	ChecksumSHA256:    {"SHA256", 32},
	ChecksumSHA512:    {"SHA512", 64},
	ChecksumMD5:       {"MD5", 16},
	ChecksumXXHASH64:  {"XXHASH64", 8},
	ChecksumXXHASH3:   {"XXHASH3", 8},
	ChecksumXXHASH128: {"XXHASH128", 16},
}

// maxChecksums is the encoded length of one digest of each algorithm.
const maxChecksums = 10*2 + 4 + 4 + 8 + 20 + 32 + 64 + 16 + 8 + 8 + 16

// ParseAlgorithm returns the algorithm with the given S3 name, in upper case as
// in x-amz-checksum-algorithm.
func ParseAlgorithm(name string) (Algorithm, bool) {
	for a := ChecksumCRC32; a <= ChecksumXXHASH128; a++ {
		if algorithms[a].name == name {
			return a, true
		}
	}
	return 0, false
}

// String returns the name in S3, such as "CRC64NVME".
func (a Algorithm) String() string {
	if !a.valid() {
		return fmt.Sprintf("Algorithm(%d)", uint8(a))
	}
	return algorithms[a].name
}

// Size returns the length of a digest in bytes, or 0 for an unknown algorithm.
func (a Algorithm) Size() int {
	if !a.valid() {
		return 0
	}
	return algorithms[a].size
}

func (a Algorithm) valid() bool { return a >= ChecksumCRC32 && a <= ChecksumXXHASH128 }

// Checksum is a digest of a plaintext. If Composite is set it is the digest of
// the parts' digests (COMPOSITE in S3), otherwise that of the whole plaintext
// (FULL_OBJECT).
type Checksum struct {
	Algorithm Algorithm
	Composite bool
	Digest    []byte // Algorithm.Size() bytes
}

// sortChecksums returns a copy of cs in the order of the format. It returns
// ErrParams if an algorithm is unknown or occurs twice, or if a digest has the
// wrong length.
func sortChecksums(cs []Checksum) ([]Checksum, error) {
	sorted := slices.Clone(cs)
	slices.SortFunc(sorted, func(a, b Checksum) int { return cmp.Compare(a.Algorithm, b.Algorithm) })
	for i, c := range sorted {
		switch {
		case !c.Algorithm.valid():
			return nil, fmt.Errorf("%w: unknown checksum algorithm %d", ErrParams, c.Algorithm)
		case len(c.Digest) != c.Algorithm.Size():
			return nil, fmt.Errorf("%w: %v digest of %d bytes", ErrParams, c.Algorithm, len(c.Digest))
		case i > 0 && sorted[i-1].Algorithm == c.Algorithm:
			return nil, fmt.Errorf("%w: two %v checksums", ErrParams, c.Algorithm)
		}
	}
	return sorted, nil
}

// checksums appends a list of checksums returned by sortChecksums.
func (e encoder) checksums(cs []Checksum) encoder {
	e = e.u8(uint8(len(cs)))
	for _, c := range cs {
		e = e.u8(uint8(c.Algorithm)).flag(c.Composite).bytes(c.Digest)
	}
	return e
}

func (e encoder) flag(b bool) encoder {
	if b {
		return e.u8(1)
	}
	return e.u8(0)
}

// flag reads a byte that MUST be 0 or 1.
func (d *decoder) flag() bool {
	v := d.u8()
	if v > 1 {
		d.fail("flag %d", v)
	}
	return v == 1
}

// checksums reads a list of checksums. Algorithms must be known, in ascending
// order and unique.
func (d *decoder) checksums() []Checksum {
	n := int(d.u8())
	var cs []Checksum
	for range n {
		a := Algorithm(d.u8())
		if d.err == nil && (!a.valid() || len(cs) > 0 && a <= cs[len(cs)-1].Algorithm) {
			d.fail("checksum algorithm %d", uint8(a))
		}
		c := Checksum{Algorithm: a, Composite: d.flag(), Digest: d.clone(a.Size())}
		if d.err != nil {
			return nil
		}
		cs = append(cs, c)
	}
	return cs
}

// DefaultAlgorithm is the checksum of an object whose client sends none, of the
// whole object, as on Amazon S3.
const DefaultAlgorithm = ChecksumCRC64NVME

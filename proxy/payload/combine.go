package payload

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"ssegw/proxy/sigv4"
	"ssegw/sealer"
)

// Combinable has the algorithms whose checksum of an object follows from those
// of its parts, with the width in bits and the reflected polynomial of the CRC.
var Combinable = map[sealer.Algorithm]crc{
	sealer.ChecksumCRC32:     {32, crc32.IEEE},
	sealer.ChecksumCRC32C:    {32, crc32.Castagnoli},
	sealer.ChecksumCRC64NVME: {64, 0x9a6c9329ac4bc9b5},
}

// Combine returns the checksum of an object from the digests of its parts,
// which are all of algorithm a. A composite checksum is the digest of the
// parts' digests. Any other is that of the whole object, and an error if a is
// not in [Combinable].
func Combine(a sealer.Algorithm, isComposite bool, parts []sealer.Part) (sealer.Checksum, error) {
	sum := sealer.Checksum{Algorithm: a, Composite: isComposite}
	if isComposite {
		h, ok := sigv4.NewHash(a.String())
		if !ok {
			return sum, fmt.Errorf("payload: no hash for %s", a)
		}
		for _, p := range parts {
			h.Write(p.Digest)
		}
		sum.Digest = h.Sum(nil)
		return sum, nil
	}
	c, ok := Combinable[a]
	if !ok {
		return sum, fmt.Errorf("payload: %s checksums cannot be combined", a)
	}
	var whole uint64
	for _, p := range parts {
		whole = c.combine(whole, bigEndian(p.Digest), p.Size)
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], whole)
	sum.Digest = slices.Clone(b[8-c.width/8:])
	return sum, nil
}

// bigEndian decodes up to eight big-endian bytes.
func bigEndian(b []byte) (v uint64) {
	for _, x := range b {
		v = v<<8 | uint64(x)
	}
	return v
}

// crc is a reflected CRC whose initial and final values are inverted, like all
// CRCs of S3.
type crc struct {
	width      int    // bits
	polynomial uint64 // reflected
}

// combine returns the CRC of a message from the CRCs of its first part and of
// its second, which has n bytes. It shifts the first CRC by n zero bytes and
// adds the second. A CRC is linear over GF(2), so the shift is a multiplication
// by x^(8n) modulo the polynomial.
func (c crc) combine(first, second uint64, n int64) uint64 {
	return c.multiply(c.power(uint64(n)*8), first) ^ second
}

// power returns x^n modulo the polynomial, in reflected bit order.
func (c crc) power(n uint64) uint64 {
	result := uint64(1) << (c.width - 1) // x^0
	square := uint64(1) << (c.width - 2) // x^1
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			result = c.multiply(result, square)
		}
		square = c.multiply(square, square)
	}
	return result
}

// multiply returns a*b modulo the polynomial, in reflected bit order.
func (c crc) multiply(a, b uint64) uint64 {
	var product uint64
	for bit := uint64(1) << (c.width - 1); bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		if b&1 == 1 {
			b = b>>1 ^ c.polynomial
		} else {
			b >>= 1
		}
	}
	return product
}

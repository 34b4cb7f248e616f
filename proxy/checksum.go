package proxy

import (
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"slices"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/sealer"
)

// Types of the checksum of a multipart object.
const (
	fullObject = "FULL_OBJECT"
	composite  = "COMPOSITE"
)

// errAlgorithm refuses an algorithm that nobody knows.
var errAlgorithm = s3.ErrInvalidRequest.Msg("Checksum algorithm provided is unsupported. Please try again with any of the valid types: " +
	"[CRC32, CRC32C, CRC64NVME, MD5, SHA1, SHA256, SHA512, XXHASH128, XXHASH3, XXHASH64]")

// combinable are the algorithms whose checksum of a whole follows from those of
// its parts, with the width and the reflected polynomial of the CRC.
var combinable = map[sealer.Algorithm]crc{
	sealer.ChecksumCRC32:     {32, crc32.IEEE},
	sealer.ChecksumCRC32C:    {32, crc32.Castagnoli},
	sealer.ChecksumCRC64NVME: {64, 0x9a6c9329ac4bc9b5},
}

// checkChecksums completes and checks what a Create announces.
func (u *upload) checkChecksums() error {
	if u.Type != "" && u.Type != fullObject && u.Type != composite {
		return s3.ErrInvalidRequest.Msg("Value for x-amz-checksum-type header is invalid.")
	}
	if u.Algorithm == "" {
		if u.Type != "" {
			return s3.ErrInvalidRequest.Msg("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
		}
		return nil
	}
	a, ok := sealer.ParseAlgorithm(u.Algorithm)
	if !ok {
		return errAlgorithm
	}
	_, combines := combinable[a]
	switch {
	case u.Type == "" && a == sealer.ChecksumCRC64NVME:
		u.Type = fullObject
	case u.Type == "":
		u.Type = composite
	case u.Type == fullObject && !combines, u.Type == composite && a == sealer.ChecksumCRC64NVME:
		return s3.ErrInvalidRequest.Msg("The %s checksum type cannot be used with the %s checksum algorithm.", u.Type, strings.ToLower(a.String()))
	}
	return nil
}

// objectChecksum is the checksum of an object of these parts, all of which have
// a digest of algorithm a.
func objectChecksum(a sealer.Algorithm, isComposite bool, parts []sealer.Part) (sealer.Checksum, error) {
	sum := sealer.Checksum{Algorithm: a, Composite: isComposite}
	if isComposite {
		h, ok := sigv4.NewHash(a.String())
		if !ok {
			return sum, fmt.Errorf("proxy: no hash for %s", a)
		}
		for _, p := range parts {
			h.Write(p.Digest)
		}
		sum.Digest = h.Sum(nil)
		return sum, nil
	}
	c, ok := combinable[a]
	if !ok {
		return sum, fmt.Errorf("proxy: %s does not combine", a)
	}
	var whole uint64
	for _, p := range parts {
		whole = c.combine(whole, be(p.Digest), p.Size)
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], whole)
	sum.Digest = slices.Clone(b[8-c.width/8:])
	return sum, nil
}

// checksumValue is a checksum as clients see it: one over the checksums of n
// parts says so.
func checksumValue(s sealer.Checksum, n int) string {
	if s.Composite {
		return fmt.Sprintf("%s-%d", checksumText(s.Digest), n)
	}
	return checksumText(s.Digest)
}

func checksumType(s sealer.Checksum) string {
	if s.Composite {
		return composite
	}
	return fullObject
}

// be reads up to eight big-endian bytes.
func be(b []byte) (v uint64) {
	for _, x := range b {
		v = v<<8 | uint64(x)
	}
	return v
}

// crc is a reflected CRC with inverted start and end, as all of S3's are.
type crc struct {
	width      int
	polynomial uint64 // reflected
}

// combine returns the CRC of a message from those of its first part and of its
// second, which is n bytes long: the first is moved past n bytes of zeros and
// added. A CRC is linear over GF(2), so moving is a multiplication by x^(8n)
// modulo the polynomial.
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

// withChecksum returns the body of a part with the checksum that the upload
// announced: the client's, or one that is computed on the way. One of another
// algorithm is refused, as on Amazon S3: the parts' would not make the object's.
func (u *upload) withChecksum(body plaintext) (plaintext, error) {
	if u.Algorithm == "" || strings.EqualFold(body.TrailerAlgorithm(), u.Algorithm) {
		return body, nil
	}
	sent := body.TrailerAlgorithm()
	for _, sum := range body.Declared() {
		if strings.EqualFold(sum.Algorithm, u.Algorithm) {
			return body, nil
		}
		sent = sum.Algorithm
	}
	if sent != "" {
		return nil, s3.ErrInvalidRequest.Msg("Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s", u.Algorithm, sent)
	}
	h, ok := sigv4.NewHash(u.Algorithm)
	if !ok {
		return nil, fmt.Errorf("proxy: no hash for %s", u.Algorithm)
	}
	return &summedBody{body, u.Algorithm, h}, nil
}

// summedBody computes a checksum of what is read of it.
type summedBody struct {
	plaintext
	algorithm string
	sum       hash.Hash
}

func (b *summedBody) Read(p []byte) (int, error) {
	n, err := b.plaintext.Read(p)
	b.sum.Write(p[:n])
	return n, err
}

// Checksums returns the computed one. It is known to nobody before the end.
func (b *summedBody) Checksums() []sigv4.Checksum {
	return []sigv4.Checksum{{Algorithm: b.algorithm, Value: b.sum.Sum(nil)}}
}

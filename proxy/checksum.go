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

// defaultAlgorithm is the checksum of an object whose client sends none, of the
// whole object, as on Amazon S3.
const defaultAlgorithm = sealer.ChecksumCRC64NVME

// withDefault returns a body that has a checksum: the client's or the default one.
func withDefault(body plaintext) plaintext {
	if announced(body).Algorithm != 0 {
		return body
	}
	return withChecksum(body, defaultAlgorithm)
}

// announced is the checksum of a whole body, before it is read; none where it has
// none.
func announced(body plaintext) sealer.Announcement {
	name := body.TrailerAlgorithm()
	if sums := body.Declared(); name == "" && len(sums) > 0 {
		name = sums[0].Algorithm
	}
	a, _ := sealer.ParseAlgorithm(name)
	return sealer.Announcement{Algorithm: a}
}

// withChecksum returns a body that has a checksum of the algorithm: the client's,
// or one that is computed on the way.
func withChecksum(body plaintext, a sealer.Algorithm) plaintext {
	if announced(body).Algorithm == a {
		return body
	}
	h, _ := sigv4.NewHash(a.String())
	return &summedBody{body, a.String(), h}
}

// isComputed reports whether the checksum of a body of withChecksum is not the client's.
func isComputed(body plaintext) bool {
	_, computed := body.(*summedBody)
	return computed
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

// TrailerAlgorithm returns the computed one: it is known to nobody before the end.
func (b *summedBody) TrailerAlgorithm() string { return b.algorithm }

// Checksums returns those of the body, and the computed one.
func (b *summedBody) Checksums() []sigv4.Checksum {
	return append(b.plaintext.Checksums(), sigv4.Checksum{Algorithm: b.algorithm, Value: b.sum.Sum(nil)})
}

// announced is the checksum of the object that the upload makes: the one that the
// client chose at its Create, or the default.
func (u *upload) announced() sealer.Announcement {
	a, ok := sealer.ParseAlgorithm(u.Algorithm)
	if !ok {
		return sealer.Announcement{Algorithm: defaultAlgorithm}
	}
	return sealer.Announcement{Algorithm: a, Composite: u.Type == composite}
}

// checkPart refuses a part whose checksum would not make the object's, as on
// Amazon S3: one of another algorithm, or none where the checksums of the parts
// are the object's.
func (u *upload) checkPart(body plaintext) error {
	if u.Algorithm == "" {
		return nil
	}
	want, sent := u.announced(), announced(body)
	if sent.Algorithm == want.Algorithm || sent.Algorithm == 0 && !want.Composite {
		return nil
	}
	name := "null"
	if sent.Algorithm != 0 {
		name = sent.Algorithm.String()
	}
	return s3.ErrInvalidRequest.Msg("Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s", want.Algorithm, name)
}

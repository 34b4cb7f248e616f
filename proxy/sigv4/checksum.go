package sigv4

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/minio/crc64nvme"
	"github.com/zeebo/xxh3"
)

// Checksum is a digest of a body's decoded bytes.
type Checksum struct {
	// Algorithm is the S3 name in upper case: CRC32, CRC32C, CRC64NVME, SHA1,
	// SHA256, SHA512, MD5, XXHASH64, XXHASH3 or XXHASH128.
	Algorithm string
	// Value is the digest. Integers are big-endian.
	Value []byte
}

const checksumPrefix = "x-amz-checksum-"

const (
	algorithmMD5    = "MD5"
	algorithmSHA256 = "SHA256"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var hashes = map[string]func() hash.Hash{
	"CRC32":         func() hash.Hash { return crc32.NewIEEE() },
	"CRC32C":        func() hash.Hash { return crc32.New(castagnoli) },
	"CRC64NVME":     func() hash.Hash { return crc64nvme.New() },
	"SHA1":          sha1.New,
	algorithmSHA256: sha256.New,
	"SHA512":        sha512.New,
	algorithmMD5:    md5.New,
	"XXHASH64":      func() hash.Hash { return xxhash.New() },
	"XXHASH3":       func() hash.Hash { return xxh3.New() },
	"XXHASH128":     func() hash.Hash { return xxh3.New128() },
}

// NewHash returns a hash for an S3 checksum algorithm, named in upper case. ok
// is false for unknown names. Its Sum is the digest as S3 encodes it, before
// base64.
func NewHash(algorithm string) (h hash.Hash, ok bool) {
	construct, ok := hashes[algorithm]
	if !ok {
		return nil, false
	}
	return construct(), true
}

// HeaderName returns the name of the header and trailer for an S3 checksum
// algorithm, such as "x-amz-checksum-crc32" for "CRC32".
func HeaderName(algorithm string) string { return checksumPrefix + strings.ToLower(algorithm) }

// checksumAlgorithm returns the algorithm for the lower-case name of a checksum
// header.
func checksumAlgorithm(header string) (algorithm string, ok bool) {
	name, found := strings.CutPrefix(header, checksumPrefix)
	if !found {
		return "", false
	}
	algorithm = strings.ToUpper(name)
	_, ok = hashes[algorithm]
	return algorithm, ok
}

// DecodeChecksum decodes the base64 digest of a known algorithm. ok is false
// for invalid base64 and wrong lengths.
func DecodeChecksum(algorithm, value string) (digest []byte, ok bool) {
	digest, err := base64.StdEncoding.Strict().DecodeString(value)
	if err != nil || strings.ContainsAny(value, "\r\n") {
		return nil, false
	}
	h, known := NewHash(algorithm)
	return digest, known && len(digest) == h.Size()
}

package s3op

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"strings"
)

// Sum is a checksum as answers show it.
type Sum struct {
	Algorithm string // "": the next answer will tell
	Value     string // that of parts ends in their number
}

// DefaultSum is the algorithm of sealed objects whose client chose none.
const DefaultSum = "CRC64NVME"

// algorithms make checksums.
var algorithms = map[string]func() hash.Hash{
	"CRC32":    func() hash.Hash { return crc32.NewIEEE() },
	"CRC32C":   func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	DefaultSum: func() hash.Hash { return crc64.New(nvme) },
	"SHA1":     sha1.New,
	"SHA256":   sha256.New,
}

var nvme = crc64.MakeTable(0x9a6c9329ac4bc9b5)

// Digest is a checksum of some bytes.
func Digest(algorithm string, b []byte) []byte {
	h := algorithms[algorithm]()
	h.Write(b)
	return h.Sum(nil)
}

// SumOf returns the checksum of a body, as a header has it.
func SumOf(algorithm string, body []byte) string {
	return base64.StdEncoding.EncodeToString(Digest(algorithm, body))
}

// RightSums checks checksums of a whole body, whatever their algorithms.
func RightSums(shown map[string]string, body []byte) error {
	for algorithm, value := range shown {
		if !strings.Contains(value, "-") && value != SumOf(algorithm, body) {
			return fmt.Errorf("the %s is not %s", algorithm, value)
		}
	}
	return nil
}

// MD5 returns the ETag of a body in plaintext.
func MD5(body []byte) string {
	sum := md5.Sum(body) //nolint:gosec // S3's ETag
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// Composite is the checksum of an object that is made of those of its parts.
func Composite(algorithm string, parts []*Part) Sum {
	var all []byte
	for _, p := range parts {
		all = append(all, Digest(algorithm, p.Body)...)
	}
	return Sum{Algorithm: algorithm, Value: fmt.Sprintf("%s-%d", SumOf(algorithm, all), len(parts))}
}

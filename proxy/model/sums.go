package model

import (
	"crypto/md5"  //nolint:gosec // S3's ETag
	"crypto/sha1" //nolint:gosec // a checksum of S3
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

// digest is a checksum of some bytes.
func digest(algorithm string, b []byte) []byte {
	h := algorithms[algorithm]()
	h.Write(b)
	return h.Sum(nil)
}

// SumOf returns the checksum of a body, as a header has it.
func SumOf(algorithm string, body []byte) string {
	return base64.StdEncoding.EncodeToString(digest(algorithm, body))
}

// whole is the checksum of an object. A sealed object always has one; of others
// the store decides.
func whole(o *Object, algorithm string) Sum {
	if o.Scheme == Plain {
		return Sum{}
	}
	if algorithm == "" {
		algorithm = DefaultSum
	}
	return Sum{algorithm, SumOf(algorithm, o.Body)}
}

// composite is the checksum of an object that is made of those of its parts.
func composite(algorithm string, parts []*Part) Sum {
	var all []byte
	for _, p := range parts {
		all = append(all, digest(algorithm, p.Body)...)
	}
	return Sum{algorithm, fmt.Sprintf("%s-%d", SumOf(algorithm, all), len(parts))}
}

// sums checks the checksums that an answer shows of an object. A sealed object
// has exactly one. Those of others are the store's, and right.
func (o *Object) sums(shown map[string]string) error {
	if o.Scheme != Plain && o.Sum.Algorithm != "" {
		if len(shown) != 1 || shown[o.Sum.Algorithm] != o.Sum.Value {
			return fmt.Errorf("checksums %v, not %v", shown, o.Sum)
		}
		return nil
	}
	if err := rightSums(shown, o.Body); err != nil || o.Scheme == Plain {
		return err
	}
	for algorithm, value := range shown {
		o.Sum = Sum{algorithm, value}
	}
	if len(shown) != 1 {
		return fmt.Errorf("%d checksums", len(shown))
	}
	return nil
}

// rightSums checks checksums of a whole body, whatever their algorithms.
func rightSums(shown map[string]string, body []byte) error {
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

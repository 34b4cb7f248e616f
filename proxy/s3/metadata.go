package s3

import (
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"ssegw/proxy/field"
)

const (
	// DefaultContentType is what Amazon S3 stores for an object without a type.
	DefaultContentType = "binary/octet-stream"

	// MaxUserMetadata is Amazon S3's bound on the bytes of all user metadata
	// names (without the prefix) and values of one object.
	MaxUserMetadata = 2048
)

// ContentHeaders are the headers that a store keeps with an object and gives
// back, next to user metadata. Names are in lower case.
var ContentHeaders = []string{
	"cache-control", "content-disposition", "content-encoding", "content-language",
	"content-type", "expires", "x-amz-website-redirect-location",
}

// IsStored reports whether a store keeps the header with an object.
func IsStored(name string) bool {
	lower := field.Lower(name)
	return strings.HasPrefix(lower, MetaPrefix) || slices.Contains(ContentHeaders, lower)
}

// UserMetadataSize is the number of bytes that Amazon S3 counts for the user
// metadata in h: names without the prefix, and values.
func UserMetadataSize(h http.Header) int {
	n := 0
	for name, values := range h {
		if len(name) > len(MetaPrefix) && strings.EqualFold(name[:len(MetaPrefix)], MetaPrefix) {
			n += len(name) - len(MetaPrefix) + len(strings.Join(values, ","))
		}
	}
	return n
}

// EncodedWords matches a value that consists of RFC 2047 encoded words alone.
var EncodedWords = regexp.MustCompile(`^=\?[^? \t]+\?[bBqQ]\?[^? \t]*\?=([ \t]+=\?[^? \t]+\?[bBqQ]\?[^? \t]*\?=)*$`)

// DecodeWords decodes the encoded words of a value, which stays as it is where
// one has an unknown charset.
func DecodeWords(v string) string {
	if plain, err := new(mime.WordDecoder).DecodeHeader(v); err == nil {
		return plain
	}
	return v
}

// EncodeWords writes a text in encoded words, in the shorter of the two
// encodings.
func EncodeWords(v string) string {
	q, b := mime.QEncoding.Encode("UTF-8", v), mime.BEncoding.Encode("UTF-8", v)
	if len(b) < len(q) {
		return b
	}
	return q
}

func IsASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// WireValue returns the value of a header as it is sent. User metadata that is
// not printable ASCII becomes encoded words, as with Amazon S3 and MinIO.
// Content headers are for browsers, which do not know encoded words. They stay
// as they are, unless they have control characters.
func WireValue(name, v string) string {
	isMeta := strings.HasPrefix(name, MetaPrefix)
	odd := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f || isMeta && r > '~' }
	if strings.ContainsFunc(v, odd) {
		return EncodeWords(v)
	}
	return v
}

// Types of the checksum of a multipart object.
const (
	FullObject = "FULL_OBJECT"
	Composite  = "COMPOSITE"
)

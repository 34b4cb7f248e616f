package sealer

import (
	"crypto/sha256"
	"maps"
	"mime"
	"regexp"
	"slices"
	"strings"
)

// metadataPrefix starts the names of user metadata.
const metadataPrefix = "x-amz-meta-"

// contentHeaders are the content headers in the headers digest (section 6.2).
var contentHeaders = []string{
	"cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires",
}

// Content is what is stored with the body of an object: content headers and
// user metadata. Names are in lower case. Each has one value, in the form that
// the headers digest is computed from (section 6.2), which is also the form to
// return to clients.
type Content map[string]string

// NewContent returns the content of a new object. headers are those sent to the
// store with it; names are case-insensitive. key and size are those of the
// object.
func NewContent(headers map[string][]string, key string, size int64) Content {
	return contentIn(writtenValue, headers, key, size)
}

// OpenContent returns the content of an object from the headers that the store
// returns, in the form whose digest equals that in the facts, [Facts].Headers.
// It returns ErrNotAuthentic if no form has that digest, together with the
// content in the form of [NewContent], which must not be trusted.
func OpenContent(headers map[string][]string, key string, size int64, digest [32]byte) (Content, error) {
	for _, form := range []valueForm{writtenValue, RewrittenValue, earlierValue} {
		if c := contentIn(form, headers, key, size); c.Digest() == digest {
			return c, nil
		}
	}
	return NewContent(headers, key, size), ErrNotAuthentic
}

// InContent reports whether a header is part of the content of an object, if
// it is not a piece of the sealed header ([HeaderNames]). Left out are the
// sealed header, the Content-Type of an empty object whose key ends in a slash,
// because file systems have their own for it, and
// x-amz-website-redirect-location, because stores that do not serve websites
// drop it.
func InContent(name, key string, size int64) bool {
	name = strings.ToLower(name)
	switch {
	case name == MetadataKey:
		return false
	case name == "content-type" && size == 0 && strings.HasSuffix(key, "/"):
		return false
	}
	return strings.HasPrefix(name, metadataPrefix) || slices.Contains(contentHeaders, name)
}

// Digest returns the headers digest: the SHA-256 of all names and values, each
// after its length, in the order of the names.
func (c Content) Digest() [32]byte {
	names := slices.AppendSeq(make([]string, 0, len(c)), maps.Keys(c))
	slices.Sort(names)
	e := make(encoder, 0, 256)
	for _, name := range names {
		e = e.lp(name).lp(c[name])
	}
	return sha256.Sum256(e)
}

// contentIn returns the content of an object, with values in the given form.
func contentIn(form valueForm, headers map[string][]string, key string, size int64) Content {
	c := Content{}
	own := HeaderNames(headers)
	for name, lines := range headers {
		if !mayBeContent(name) {
			continue
		}
		name = strings.ToLower(name)
		if slices.Contains(own, name) || !InContent(name, key, size) {
			continue
		}
		if v := form(name, strings.Join(lines, ",")); v != "" {
			c[name] = v
		}
	}
	return c
}

// mayBeContent is true for user metadata and content headers. Unlike InContent
// it allocates nothing, and most headers are neither.
func mayBeContent(name string) bool {
	isMetadata := len(name) >= len(metadataPrefix) && strings.EqualFold(name[:len(metadataPrefix)], metadataPrefix)
	return isMetadata || slices.ContainsFunc(contentHeaders, func(h string) bool { return strings.EqualFold(h, name) })
}

// valueForm brings the value of a header into one of the forms of section 6.2.
// The name is in lower case.
type valueForm func(name, value string) string

// writtenValue returns the value as a writer sends it: without spaces and tabs
// at the ends.
func writtenValue(_, value string) string { return strings.Trim(value, " \t") }

// encodedWords matches values that consist of encoded words only (RFC 2047).
var encodedWords = regexp.MustCompile(`^=\?[^? \t]+\?[bBqQ]\?[^? \t]*\?=([ \t]+=\?[^? \t]+\?[bBqQ]\?[^? \t]*\?=)*$`)

// RewrittenValue undoes what stores do to text outside ASCII, which some decode
// and others encode in their own way. It returns the value as a writer sends
// it: user metadata in encoded words, content headers as text. The name must be
// in lower case.
func RewrittenValue(name, value string) string {
	plain := writtenValue(name, value)
	if encodedWords.MatchString(plain) {
		if decoded := decodeWords(plain); !isASCII(decoded) {
			plain = decoded
		}
	}
	if strings.HasPrefix(name, metadataPrefix) && !isASCII(plain) {
		return EncodeWords(plain)
	}
	return plain
}

// earlierValue returns the value in the form of earlier gateways: without any
// white space at the ends, and with all encoded words decoded.
func earlierValue(_, value string) string { return decodeWords(strings.TrimSpace(value)) }

// decodeWords decodes the encoded words in s. If one has an unknown charset it
// returns s.
func decodeWords(s string) string {
	if decoded, err := new(mime.WordDecoder).DecodeHeader(s); err == nil {
		return decoded
	}
	return s
}

// EncodeWords returns s as encoded words (RFC 2047), in the shorter of the
// encodings Q and B, or Q if both are equally long. ASCII stays as it is.
func EncodeWords(s string) string {
	q, b := mime.QEncoding.Encode("UTF-8", s), mime.BEncoding.Encode("UTF-8", s)
	if len(b) < len(q) {
		return b
	}
	return q
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

package proxy

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// content is what is kept with an object beside its body: the content headers and
// the user metadata, by lower-case names, each as one value in the one form that
// the headers digest is over (docs/FORMAT.md, "Headers digest"). A client gets
// this form: the same header in other clothes, which a store can give back, is
// never what it sees.
type content map[string]string

// contentOf collects the content of an object from its headers. form is that of
// its values.
// The type of a directory object, an empty one whose key ends in a slash, is left
// out: stores on file systems have a type of their own for those. So is the
// website redirect: stores that serve no websites do not keep it.
func contentOf(h http.Header, key string, size int64, form valueForm) content {
	found := content{}
	for name, values := range h {
		lower := strings.ToLower(name)
		if lower == sealer.MetadataKey || !isStored(lower) || isUncovered(lower, key, size) {
			continue
		}
		if v := form(lower, strings.Join(values, ",")); v != "" {
			found[lower] = v
		}
	}
	return found
}

// isUncovered reports whether a content header is not part of the digest.
func isUncovered(lower, key string, size int64) bool {
	isDirectory := size == 0 && strings.HasSuffix(key, "/")
	return lower == s3.HeaderWebsiteRedirect || isDirectory && lower == "content-type"
}

// digest is the SHA-256 over the content: in the order of the names, of each name
// and value with its length before it.
func (c content) digest() [sha256.Size]byte {
	d := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(c)) {
		for _, s := range [2]string{name, c[name]} {
			var n [4]byte
			binary.BigEndian.PutUint32(n[:], uint32(len(s)))
			d.Write(n[:])
			d.Write([]byte(s))
		}
	}
	return [sha256.Size]byte(d.Sum(nil))
}

// headersDigest is the digest of the headers that are sent to the store with an
// object.
func headersDigest(h http.Header, key string, size int64) [sha256.Size]byte {
	return contentOf(h, key, size, trimmedValue).digest()
}

// storedForms are the forms in which a store's headers can be those of a digest, in
// the order in which they are tried: as they were written; with encoded words that
// the store has written in another way, or has decoded; and the form of earlier
// gateways, which decoded all words.
var storedForms = []valueForm{trimmedValue, rewrittenValue, decodedValue}

// valueForm brings the value of a header (name in lower case) into one form.
type valueForm func(name, v string) string

// authenticContent returns the content of an object as the store gives it back,
// and whether it is that of the digest. It is the form that the digest is over.
func authenticContent(stored http.Header, key string, size int64, digest [sha256.Size]byte) (content, bool) {
	for _, form := range storedForms {
		if found := contentOf(stored, key, size, form); found.digest() == digest {
			return found, true
		}
	}
	return contentOf(stored, key, size, trimmedValue), false
}

// trimmedValue is a header value without the spaces and tabs around it.
func trimmedValue(_, v string) string { return strings.Trim(v, " \t") }

// encodedWords matches a value that consists of RFC 2047 encoded words alone.
var encodedWords = regexp.MustCompile(`^=\?[^? \t]+\?[bBqQ]\?[^? \t]*\?=([ \t]+=\?[^? \t]+\?[bBqQ]\?[^? \t]*\?=)*$`)

// rewrittenValue is what the gateway writes for text outside ASCII, whichever way
// the store writes it, as it is or in encoded words of its own: encoded words
// in metadata, the text itself in content headers.
func rewrittenValue(name, v string) string {
	plain := trimmedValue(name, v)
	if encodedWords.MatchString(plain) {
		if decoded := decodeWords(plain); !isASCII(decoded) {
			plain = decoded
		}
	}
	if strings.HasPrefix(name, metaPrefix) && !isASCII(plain) {
		return encodeWords(plain)
	}
	return plain
}

// decodedValue is a value without any white space around it, and with all its
// encoded words decoded.
func decodedValue(_, v string) string { return decodeWords(strings.TrimSpace(v)) }

// decodeWords decodes the encoded words of a value, which stays as it is where
// one has an unknown charset.
func decodeWords(v string) string {
	if plain, err := new(mime.WordDecoder).DecodeHeader(v); err == nil {
		return plain
	}
	return v
}

// encodeWords writes a text in encoded words, in the shorter of the two encodings.
func encodeWords(v string) string {
	q, b := mime.QEncoding.Encode("UTF-8", v), mime.BEncoding.Encode("UTF-8", v)
	if len(b) < len(q) {
		return b
	}
	return q
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// set writes the content into an answer's headers, or into those of a request to
// the store.
func (c content) set(h http.Header) {
	for name, value := range c {
		h.Set(name, wireValue(name, value))
	}
}

// wireValue is a value as it travels. User metadata that is not printable ASCII is
// in encoded words, as Amazon S3 and MinIO send it. Content headers are for
// browsers, which do not know these: they stay as they are, but for control
// characters.
func wireValue(name, v string) string {
	isMeta := strings.HasPrefix(name, metaPrefix)
	odd := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f || isMeta && r > '~' }
	if strings.ContainsFunc(v, odd) {
		return encodeWords(v)
	}
	return v
}

// setUncovered writes the content headers that no digest covers as the store has
// them: those that are not part of it, and empty ones.
func setUncovered(h, stored http.Header, key string, size int64) {
	for name, values := range stored {
		lower := strings.ToLower(name)
		if lower == sealer.MetadataKey || !isStored(lower) {
			continue
		}
		v := strings.Trim(strings.Join(values, ","), " \t")
		if v == "" || isUncovered(lower, key, size) {
			h.Set(lower, v)
		}
	}
}

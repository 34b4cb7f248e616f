package proxy

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"mime"
	"net/http"
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

// contentOf collects the content of an object from its headers. normal is the
// form of values.
// The type of a directory object, an empty one whose key ends in a slash, is left
// out: stores on file systems have a type of their own for those. So is the
// website redirect: stores that serve no websites do not keep it.
func contentOf(h http.Header, key string, size int64, normal func(string) string) content {
	found := content{}
	for name, values := range h {
		lower := strings.ToLower(name)
		if lower == sealer.MetadataKey || !isStored(lower) || isUncovered(lower, key, size) {
			continue
		}
		if v := normal(strings.Join(values, ",")); v != "" {
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

// headersDigest is the digest of what a client stores with an object.
func headersDigest(h http.Header, key string, size int64) [sha256.Size]byte {
	return contentOf(h, key, size, normalValue).digest()
}

// authenticContent returns the content of an object as the store gives it back,
// and whether it is that of the digest. Gateways before the form of normalValue
// sealed digests over that of decodedValue.
func authenticContent(stored http.Header, key string, size int64, digest [sha256.Size]byte) (content, bool) {
	found := contentOf(stored, key, size, normalValue)
	if found.digest() == digest {
		return found, true
	}
	if old := contentOf(stored, key, size, decodedValue); old.digest() == digest {
		return old, true
	}
	return found, false
}

// normalValue is a header value in the form of the digest: without the spaces and
// tabs around it, and decoded where it has RFC 2047 encoded words and the result
// is not ASCII alone. Those words are how stores give back what is not ASCII;
// they have no reason to encode anything else.
func normalValue(v string) string {
	v = strings.Trim(v, " \t")
	if plain := decodeWords(v); !isASCII(plain) {
		return plain
	}
	return v
}

// decodedValue is the form of earlier gateways: without any white space around
// it, and with all its encoded words decoded.
func decodedValue(v string) string { return decodeWords(strings.TrimSpace(v)) }

// decodeWords decodes the encoded words of a value, which stays as it is where
// one has an unknown charset.
func decodeWords(v string) string {
	if plain, err := new(mime.WordDecoder).DecodeHeader(v); err == nil {
		return plain
	}
	return v
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
// encoded as Amazon S3 and MinIO do it, which of the two encodings as MinIO
// chooses it. Content headers are for browsers, which do not know encoded words:
// they stay as they are, except control characters.
func wireValue(name, v string) string {
	isMeta := strings.HasPrefix(name, metaPrefix)
	odd := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f || isMeta && r > '~' }
	if !strings.ContainsFunc(v, odd) {
		return v
	}
	if strings.ContainsAny(v, "\"#$%&'(),.:;<>@[]^`{|}~") {
		return mime.BEncoding.Encode("UTF-8", v)
	}
	return mime.QEncoding.Encode("UTF-8", v)
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

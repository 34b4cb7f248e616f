package kms

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"unicode/utf8"
)

// MaxContextLen is the longest encryption context that a client may send, in
// bytes of JSON, as sent and in canonical form.
const MaxContextLen = 1024

// Context is what a data key is bound to: it opens only for an equal context.
type Context map[string]string

// ObjectContext returns the context of a data key of one object: the client's
// own, which may be nil, and an entry that maps the bucket to "bucket/key". The
// key is taken byte for byte, not cleaned like a path. It returns
// ErrContextConflict when the client's context has an entry for the bucket,
// which would take the place of ours, and ErrInvalidContext when bucket or key
// is not UTF-8, which JSON would change.
func ObjectContext(bucket, key string, client Context) (Context, error) {
	if !utf8.ValidString(bucket) || !utf8.ValidString(key) {
		return nil, fmt.Errorf("%w: bucket and key must be UTF-8", ErrInvalidContext)
	}
	if _, ok := client[bucket]; ok {
		return nil, fmt.Errorf("%w: %q", ErrContextConflict, bucket)
	}
	c := make(Context, len(client)+1)
	maps.Copy(c, client)
	c[bucket] = bucket + "/" + key
	return c, nil
}

// BucketContext returns the context of a data key that the objects of one
// bucket share. It never equals that of an object.
func BucketContext(bucket string) Context {
	return Context{bucket: bucket}
}

// ParseContext parses the value of x-amz-server-side-encryption-context: base64
// (RFC 4648 section 4, padded, strict) of a JSON object whose values are
// strings, no name twice, and no more than MaxContextLen bytes. It returns the
// context and its canonical form, which is what S3 answers show. Anything else
// is ErrInvalidContext.
func ParseContext(base64JSON string) (Context, []byte, error) {
	if len(base64JSON) > base64.StdEncoding.EncodedLen(MaxContextLen) {
		return nil, nil, fmt.Errorf("%w: more than %d bytes", ErrInvalidContext, MaxContextLen)
	}
	if strings.ContainsAny(base64JSON, "\r\n") { // which the decoder would skip
		return nil, nil, fmt.Errorf("%w: not base64", ErrInvalidContext)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(base64JSON)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: not base64", ErrInvalidContext)
	}
	if len(raw) > MaxContextLen {
		return nil, nil, fmt.Errorf("%w: more than %d bytes", ErrInvalidContext, MaxContextLen)
	}
	c, err := parseObject(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrInvalidContext, err)
	}
	canonical := c.Canonical()
	if len(canonical) > MaxContextLen {
		return nil, nil, fmt.Errorf("%w: more than %d bytes in canonical form", ErrInvalidContext, MaxContextLen)
	}
	return c, canonical, nil
}

var errNotStrings = errors.New("not a JSON object of strings")

// parseObject parses a JSON object of strings. It is stricter than
// json.Unmarshal, which takes the last of two equal names, null for an empty
// string, and replaces what is not UTF-8.
func parseObject(raw []byte) (Context, error) {
	if !utf8.Valid(raw) {
		return nil, errors.New("not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, errNotStrings
	}
	c := make(Context)
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, errNotStrings
		}
		value, err := dec.Token()
		if err != nil {
			return nil, errNotStrings
		}
		n, ok := name.(string)
		v, isString := value.(string)
		if !ok || !isString {
			return nil, errNotStrings
		}
		if _, twice := c[n]; twice {
			return nil, fmt.Errorf("entry %q is there twice", n)
		}
		c[n] = v
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, errNotStrings
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotStrings
	}
	return c, nil
}

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

// MaxContextLen is the maximum length of an encryption context from a client,
// in bytes of JSON. It applies to the JSON as sent and to its canonical form.
const MaxContextLen = 1024

// Context is an encryption context. A data key opens only with a context equal
// to the one it was generated with.
type Context map[string]string

// ObjectContext returns the context for the data key of one object: a copy of
// the client's context, which may be nil, with an entry that maps bucket to
// "bucket/key". The key is used byte for byte and not cleaned like a path. It
// returns ErrContextConflict if the client's context already has an entry for
// the bucket, and ErrInvalidContext if bucket or key is not valid UTF-8, which
// JSON cannot represent.
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

// BucketContext returns the context for a data key shared by the objects of one
// bucket. It never equals the context of an object.
func BucketContext(bucket string) Context {
	return Context{bucket: bucket}
}

// ParseContext parses the value of x-amz-server-side-encryption-context: a JSON
// object of strings, in base64 (RFC 4648 section 4, padded, strict). Names must
// be unique, and the JSON must not exceed MaxContextLen bytes. It returns the
// context and its canonical form, which S3 responses show. All errors wrap
// ErrInvalidContext.
func ParseContext(base64JSON string) (Context, []byte, error) {
	if len(base64JSON) > base64.StdEncoding.EncodedLen(MaxContextLen) {
		return nil, nil, fmt.Errorf("%w: more than %d bytes", ErrInvalidContext, MaxContextLen)
	}
	if strings.ContainsAny(base64JSON, "\r\n") { // the decoder would ignore them
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
// json.Unmarshal, which accepts duplicate names, accepts null as an empty
// string and replaces invalid UTF-8.
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
			return nil, fmt.Errorf("duplicate entry %q", n)
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

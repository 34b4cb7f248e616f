// Package rescue opens whole sealed objects with their data key alone: it needs
// no root, no state bucket and no running gateway.
//
// Open reads an object in the order of docs/FORMAT.md, section 10. What it
// writes is authentic, but only a return without an error makes it complete.
// Content headers and user metadata are not verified: only a root can do that.
//
// docs/ARCHITECTURE.md is the map.
package rescue

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// ErrKey means that a file or a text does not hold a key.
var ErrKey = errors.New("rescue: not a key: want 32 bytes, or these in base64")

// ParseKey returns the key in the content of a file: 32 bytes, or these in
// base64 with or without padding, with white space around it. The error is
// ErrKey.
func ParseKey(content []byte) (sealer.Key, error) {
	if len(content) == len(sealer.Key{}) {
		return sealer.Key(content), nil
	}
	text := strings.TrimRight(string(bytes.TrimSpace(content)), "=")
	b, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != len(sealer.Key{}) {
		return sealer.Key{}, ErrKey
	}
	return sealer.Key(b), nil
}

// FormatKey returns the key in base64, with a line end. [ParseKey] reads it.
func FormatKey(k sealer.Key) []byte {
	return append(base64.StdEncoding.AppendEncode(nil, k[:]), '\n')
}

// Metadata returns the metadata that holds a sealed header, as a person copies
// it from a store's client. Each text is "NAME: VALUE", "NAME=VALUE" or VALUE.
// Names are as in the store, with or without "x-amz-meta-", in any case. Texts
// without a name are the values of a header in their order.
func Metadata(texts []string) http.Header {
	h := http.Header{}
	for i, text := range texts {
		name, value := sealer.HeaderName(i+1), text
		if at := strings.IndexAny(text, ":="); at >= 0 {
			name, value = strings.ToLower(strings.TrimSpace(text[:at])), text[at+1:]
		}
		if !strings.HasPrefix(name, s3.MetaPrefix) {
			name = s3.MetaPrefix + name
		}
		h.Set(name, strings.TrimSpace(value))
	}
	return h
}

// Object is a stored object that may be sealed.
type Object struct {
	Name   sealer.Binding // that it was sealed under
	Header *sealer.Parsed // not authentic
	Stored Source         // nil if only the header is known
}

// Open writes the plaintext of o, whose data key is key, and returns its header
// and its plaintext size in bytes. It gives w nothing before a package is
// authentic. After an error that is not of w, what w has is authentic, but it
// is not the whole object. The errors of sealer tell why: ErrWrongKey for
// another key or name, ErrNotAuthentic and ErrMalformed.
func (o Object) Open(ctx context.Context, key sealer.Key, w io.Writer) (*sealer.Header, int64, error) {
	h, k, err := o.Header.Open(o.Name, key)
	if err != nil {
		return nil, 0, err
	}
	defer k.Wipe()
	proven := &object.Object{Header: h, Facts: k.Facts(), Size: h.Size}
	defer proven.Facts.Wipe()
	if err := o.measure(ctx, proven); err != nil {
		return nil, 0, err
	}
	span, err := proven.SpanOf(0, proven.Size)
	if err != nil {
		return nil, 0, fmt.Errorf("rescue: %w", err)
	}
	body := io.NopCloser(strings.NewReader(""))
	if !span.Empty() {
		if body, err = o.Stored.Range(ctx, span.Begin, span.End); err != nil {
			return nil, 0, err
		}
	}
	defer func() { _ = body.Close() }()
	plain, err := proven.Open(k, body, span, span.Begin)
	if err != nil {
		return nil, 0, fmt.Errorf("rescue: %w", err)
	}
	_, err = io.Copy(w, plain)
	return h, proven.Size, err
}

// measure finds size and parts of the object, and compares its stored size with
// the one that it must have. It opens the trailer, if the object has one.
func (o Object) measure(ctx context.Context, proven *object.Object) error {
	h, size := proven.Header, o.Stored.Size()
	if !h.Multipart && h.StoredSize(nil) != size {
		return wrongSize(size, h.StoredSize(nil))
	}
	if !h.Trailer {
		return nil
	}
	t, err := o.trailer(ctx, proven)
	if err != nil || !h.Multipart {
		return err
	}
	if h.StoredSize(t) != size {
		return wrongSize(size, h.StoredSize(t))
	}
	proven.Size, proven.Parts = t.Size, t.Parts
	return nil
}

func wrongSize(size, want int64) error {
	return fmt.Errorf("rescue: %w: %d bytes are stored instead of %d", sealer.ErrNotAuthentic, size, want)
}

// trailer opens the trailer at the end of the object.
func (o Object) trailer(ctx context.Context, proven *object.Object) (*sealer.Trailer, error) {
	tail, err := o.tail(ctx, sealer.FooterSize)
	if err != nil {
		return nil, err
	}
	footer, err := sealer.ParseFooter(tail)
	if err != nil {
		return nil, err
	}
	if tail, err = o.tail(ctx, footer.Size()); err != nil {
		return nil, err
	}
	return proven.Facts.OpenTrailer(proven.Header, tail)
}

// tail reads the last n bytes of the object.
func (o Object) tail(ctx context.Context, n int64) ([]byte, error) {
	size := o.Stored.Size()
	if n > size {
		return nil, fmt.Errorf("rescue: %w: %d bytes are stored, and the trailer alone has %d", sealer.ErrNotAuthentic, size, n)
	}
	r, err := o.Stored.Range(ctx, size-n, size)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	tail := make([]byte, n)
	if _, err := io.ReadFull(r, tail); err != nil {
		return nil, fmt.Errorf("rescue: reading the trailer: %w", err)
	}
	return tail, nil
}

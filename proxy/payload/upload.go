package payload

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"ssegw/proxy/sigv4"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// Upload is a multipart upload that one request begins and completes at the
// store. It needs no record. It carries bodies of unknown length, and bodies
// too long for one PUT.
type Upload struct {
	Store   upstream.Client // with the client's rights
	Framing upstream.Framing
	Name    upstream.UploadName
	Header  *sealer.Header // nil: the object is not sealed
	Key     *sealer.ObjectKey
	Under   http.Header // of the Complete, with its conditions

	Parts  []upstream.SentPart // as the store has them
	Table  sealer.PartTable
	Sums   []sealer.Checksum // of the object, once the last part is sealed
	Stored int64             // sealed bytes at the store so far
}

// SendEnd stores the rest of body, of n bytes, in one part with the part table.
// It is for a rest that is too small for a part in the middle.
func (b *Upload) SendEnd(ctx context.Context, body Plaintext, n int64) error {
	rest, err := io.ReadAll(io.LimitReader(body, n+1))
	if err != nil {
		return err
	}
	return b.Send(ctx, &Copied{R: bytes.NewReader(rest), Length: n}, true, body.Checksums())
}

// Send stores the bytes of body as the next part. The last part of a sealed
// object ends in the part table, with the checksums of the object. Its body may
// be empty.
func (b *Upload) Send(ctx context.Context, body Plaintext, last bool, sums []sigv4.Checksum) error {
	if b.Header == nil && body.Size() == 0 {
		return nil
	}
	number := len(b.Parts) + 1
	o := upstream.Request{
		Method: http.MethodPut, Bucket: b.Name.Bucket, Key: b.Name.Key, Header: http.Header{},
		Query: b.Name.Query(number),
	}
	if b.Header == nil {
		FramePlain(&o, b.Framing, body)
	} else {
		src, size, err := b.sealPart(number, body, last, sums)
		if err != nil {
			return fmt.Errorf("proxy: sealing a part: %w", err)
		}
		b.Stored += size
		o.Frame(src, size, b.Framing, nil)
	}
	answer, err := Send(ctx, b.Store, o, body)
	if err != nil {
		return err
	}
	b.Add(answer.Get("ETag"))
	return nil
}

// Add records a part that the store has.
func (b *Upload) Add(etag string) {
	b.Parts = append(b.Parts, upstream.SentPart{Number: len(b.Parts) + 1, Etag: strings.Trim(etag, `"`)})
}

// sealPart returns the sealed bytes of a part, and their length.
func (b *Upload) sealPart(number int, body Plaintext, last bool, sums []sigv4.Checksum) (io.Reader, int64, error) {
	sealed, size := io.Reader(http.NoBody), body.Size()
	if size > 0 {
		p := sealer.Part{Number: number, Size: size, Nonce: sealer.NewPartNonce()}
		b.Table.Parts = append(b.Table.Parts, p)
		var err error
		if sealed, err = b.Key.SealPart(number, p.Nonce, body, size); err != nil {
			return nil, 0, err
		}
	}
	length := sealer.SealedSize(size)
	if !last {
		return sealed, length, nil
	}
	key := b.Key.TrailerKey()
	defer key.Wipe()
	b.Sums = Stored(sums)
	tail, err := b.Header.SealPartTable(key, b.Sums, &b.Table)
	if err != nil {
		return nil, 0, err
	}
	return io.MultiReader(sealed, bytes.NewReader(tail)), length + int64(len(tail)), nil
}

// Complete completes the upload. It returns the headers of the store's answer,
// with the object's ETag.
func (b *Upload) Complete(ctx context.Context) (http.Header, error) {
	etag, header, err := b.Store.CompleteUpload(ctx, b.Name, b.Parts, b.Under)
	if err != nil {
		return nil, err
	}
	// The type is that of the answer's document.
	header.Del("Content-Type")
	header.Set("ETag", etag)
	return header, nil
}

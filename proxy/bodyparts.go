package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"ssegw/proxy/object"
	"ssegw/proxy/payload"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/sse"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// bodyUpload is a multipart upload that one request begins and completes at the
// store. It needs no record. It carries bodies of unknown length, and bodies
// too long for one PUT.
type bodyUpload struct {
	store   upstream.Client // with the client's rights
	framing upstream.Framing
	upload  upstream.UploadName
	header  *sealer.Header // nil: the object is not sealed
	key     *sealer.ObjectKey
	table   sealer.PartTable
	parts   []upstream.SentPart // as the store has them
	under   http.Header         // of the Complete, with its conditions
	sums    []sealer.Checksum   // of the object, once the last part is sealed
	stored  int64               // sealed bytes at the store so far
}

// storeParts stores an object in parts, which send adds with bodyUpload.send or
// bodyUpload.add. The object is sealed unless s is nil, and sum announces its
// checksum. The conditions in header, already translated for the store, apply
// to the Complete. storeParts returns the headers of the store's answer, with
// the object's ETag.
//
// If send fails, the upload is aborted. A body that fails its verification,
// even at its end, never becomes an object.
func storeParts(c *call, s *sse.Sealing, header http.Header, sum sealer.Announcement, send func(*bodyUpload) error) (http.Header, error) {
	b := &bodyUpload{store: c.store(), framing: framing(c, 1), under: uploadHeader(c)}
	if s != nil {
		var err error
		if b.header, b.key, err = newMultipart(c, s, header, sum); err != nil {
			return nil, err
		}
		defer b.key.Wipe()
	}
	upstream.PassHeaders(b.under, header, "If-Match", "If-None-Match")
	header = header.Clone()
	header.Del("If-Match")
	header.Del("If-None-Match")
	created, err := b.store.BeginUpload(c.ctx(), c.req.Bucket, c.req.Key, header)
	if err != nil {
		return nil, err
	}
	b.upload = created.UploadName
	err = send(b)
	var answer http.Header
	if err == nil {
		err = holdConditions(c, b.under)
	}
	if err == nil {
		answer, err = b.complete(c.ctx())
	}
	if err != nil {
		abandonUpload(c, b.upload)
		return nil, err
	}
	if b.header != nil {
		c.gw.caches.Remember(c.name(), answer.Get("ETag"), b.stored, object.EntryOf(b.table.Size(), b.sums))
	}
	return answer, nil
}

// putParts seals a body that, when sealed, is too long for one PUT.
func putParts(c *call, s *sse.Sealing, header http.Header, body payload.Plaintext) (http.Header, error) {
	return storeParts(c, s, header, payload.Announced(body), func(b *bodyUpload) error {
		for left := body.Size(); left > 0; {
			p := &payload.Copied{R: body, Length: min(left, c.gw.bounds.putPart)}
			if left -= p.Length; left > 0 {
				p.R = io.LimitReader(body, p.Length) // the last part reads to the verified end of the body
			}
			if err := b.send(c.ctx(), p, false, nil); err != nil {
				return err
			}
		}
		return b.send(c.ctx(), &payload.Copied{R: http.NoBody}, true, body.Checksums())
	})
}

// send stores the bytes of body as the next part. The last part of a sealed
// object ends in the part table, with the checksums of the object. Its body may
// be empty.
func (b *bodyUpload) send(ctx context.Context, body payload.Plaintext, last bool, sums []sigv4.Checksum) error {
	if b.header == nil && body.Size() == 0 {
		return nil
	}
	number := len(b.parts) + 1
	o := upstream.Request{
		Method: http.MethodPut, Bucket: b.upload.Bucket, Key: b.upload.Key, Header: http.Header{},
		Query: b.upload.Query(number),
	}
	if b.header == nil {
		framePlain(&o, b.framing, body)
	} else {
		src, size, err := b.sealPart(number, body, last, sums)
		if err != nil {
			return fmt.Errorf("proxy: sealing a part: %w", err)
		}
		b.stored += size
		o.Frame(src, size, b.framing, nil)
	}
	answer, err := payload.Send(ctx, b.store, o, body)
	if err != nil {
		return err
	}
	b.add(answer.Get("ETag"))
	return nil
}

// add records a part that the store has.
func (b *bodyUpload) add(etag string) {
	b.parts = append(b.parts, upstream.SentPart{Number: len(b.parts) + 1, Etag: strings.Trim(etag, `"`)})
}

// sealPart returns the sealed bytes of a part, and their length.
func (b *bodyUpload) sealPart(number int, body payload.Plaintext, last bool, sums []sigv4.Checksum) (io.Reader, int64, error) {
	sealed, size := io.Reader(http.NoBody), body.Size()
	if size > 0 {
		p := sealer.Part{Number: number, Size: size, Nonce: sealer.NewPartNonce()}
		b.table.Parts = append(b.table.Parts, p)
		var err error
		if sealed, err = b.key.SealPart(number, p.Nonce, body, size); err != nil {
			return nil, 0, err
		}
	}
	length := sealer.SealedSize(size)
	if !last {
		return sealed, length, nil
	}
	key := b.key.TrailerKey()
	defer key.Wipe()
	b.sums = payload.Stored(sums)
	tail, err := b.header.SealPartTable(key, b.sums, &b.table)
	if err != nil {
		return nil, 0, err
	}
	return io.MultiReader(sealed, bytes.NewReader(tail)), length + int64(len(tail)), nil
}

// complete completes the upload. It returns the headers of the store's answer,
// with the object's ETag.
func (b *bodyUpload) complete(ctx context.Context) (http.Header, error) {
	etag, header, err := b.store.CompleteUpload(ctx, b.upload, b.parts, b.under)
	if err != nil {
		return nil, err
	}
	// The type is that of the answer's document.
	header.Del("Content-Type")
	header.Set("ETag", etag)
	return header, nil
}

package proxy

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"ssegw/proxy/sigv4"
	"ssegw/sealer"
)

// bodyUpload is a multipart upload upstream that one request begins and ends, so
// that nothing about it has to be recorded: for a body whose length nobody says,
// or that is too long for one request.
type bodyUpload struct {
	*call
	upload *upload
	header *sealer.Header // of the object; nil if it is not to be sealed
	key    *sealer.ObjectKey
	table  sealer.PartTable
	parts  []*part           // as the upstream has them
	under  http.Header       // the conditions of the upload's end
	sums   []sealer.Checksum // of the whole, once the last part is sealed
	stored int64             // bytes upstream so far
}

// storeParts stores the object that send sends part by part, sealed unless s is nil,
// with the checksum that is announced here. The conditions in header, in the
// store's terms, are those of the upload's end. It returns the headers of the upstream's
// answer, with the object's ETag. Where send fails there is no object: a body that
// fails to verify, at its end too, is never completed.
func (c *call) storeParts(s *sealing, header http.Header, sum sealer.Announcement, send func(*bodyUpload) error) (http.Header, error) {
	b := &bodyUpload{call: c, under: http.Header{}}
	if s != nil {
		var err error
		if b.header, b.key, err = c.newMultipart(s, header, sum); err != nil {
			return nil, err
		}
		defer b.key.Wipe()
	}
	passHeaders(b.under, header, "If-Match", "If-None-Match")
	header = header.Clone()
	header.Del("If-Match")
	header.Del("If-None-Match")
	created, err := c.createUpstream(header)
	if err != nil {
		return nil, err
	}
	b.upload = &upload{Bucket: c.req.Bucket, Key: c.req.Key, ID: created.ID}
	err = send(b)
	var answer http.Header
	if err == nil {
		answer, err = b.complete()
	}
	if err != nil {
		c.abandon(b.upload)
		return nil, err
	}
	return answer, nil
}

// putParts seals a body that is too long, when sealed, for one request.
func (c *call) putParts(s *sealing, header http.Header, body plaintext) (http.Header, error) {
	return c.storeParts(s, header, announced(body), func(b *bodyUpload) error {
		for left := body.Size(); left > 0; {
			p := &copiedBody{r: body, size: min(left, c.bounds.putPart)}
			if left -= p.size; left > 0 {
				p.r = io.LimitReader(body, p.size) // the last part ends with the body itself: verified
			}
			if err := b.send(p, false, nil); err != nil {
				return err
			}
		}
		return b.send(&copiedBody{r: http.NoBody}, true, body.Checksums())
	})
}

// createdUpload is the upstream's answer to a CreateMultipartUpload.
type createdUpload struct {
	ID     string `xml:"UploadId"` // the store's
	header http.Header
	doc    []byte
}

// createUpstream begins a multipart upload of the request's object.
func (c *call) createUpstream(header http.Header) (*createdUpload, error) {
	resp, err := c.Upstream.expect(c.ctx(), outgoing{
		method: http.MethodPost, bucket: c.req.Bucket, key: c.req.Key, query: url.Values{"uploads": {""}}, header: header,
		as: c.caller(),
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	doc, err := readListing(resp.Body)
	if err != nil {
		return nil, err
	}
	created := &createdUpload{header: resp.Header, doc: doc}
	if err := xml.Unmarshal(doc, created); err != nil || created.ID == "" {
		return nil, fmt.Errorf("%w: answer to CreateMultipartUpload without an upload ID: %w", errUpstream, err)
	}
	return created, nil
}

// send stores the bytes of body as the next part. The last one can be empty: behind
// it comes the part table, with the checksums of the whole.
func (b *bodyUpload) send(body plaintext, last bool, sums []sigv4.Checksum) error {
	if b.header == nil && body.Size() == 0 {
		return nil
	}
	number := len(b.parts) + 1
	o := outgoing{
		method: http.MethodPut, bucket: b.upload.Bucket, key: b.upload.Key, header: http.Header{}, as: b.caller(),
		query: b.upload.query(number),
	}
	if b.header == nil {
		b.framePlain(&o, body)
	} else {
		src, size, err := b.sealPart(number, body, last, sums)
		if err != nil {
			return fmt.Errorf("proxy: sealing a part: %w", err)
		}
		b.stored += size
		b.Upstream.frame(&o, src, size, b.framing(), nil)
	}
	resp, err := b.call.send(o, body)
	if err != nil {
		return err
	}
	discard(resp)
	b.add(resp.Header.Get("ETag"))
	return nil
}

// add takes note of a part that the upstream has.
func (b *bodyUpload) add(etag string) {
	b.parts = append(b.parts, &part{number: len(b.parts) + 1, PartRecord: sealer.PartRecord{ETag: strings.Trim(etag, `"`)}})
}

// sealPart returns what goes upstream for a part of the body, and its length.
func (b *bodyUpload) sealPart(number int, body plaintext, last bool, sums []sigv4.Checksum) (io.Reader, int64, error) {
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
	b.sums = storedChecksums(sums)
	tail, err := b.header.SealPartTable(key, b.sums, &b.table)
	if err != nil {
		return nil, 0, err
	}
	return io.MultiReader(sealed, bytes.NewReader(tail)), length + int64(len(tail)), nil
}

// complete ends the upload.
func (b *bodyUpload) complete() (http.Header, error) {
	end := b.parts[len(b.parts)-1]
	etag, header, err := b.completeUpstream(b.upload, b.parts[:len(b.parts)-1], end.number, end.ETag, b.under)
	if err != nil {
		return nil, err
	}
	// What is left of them describes the document of a Complete.
	header.Del("Content-Type")
	header.Set("ETag", etag)
	if b.header != nil {
		b.remember(etag, b.stored, entryFactsOf(b.table.Size(), b.sums))
	}
	return header, nil
}

// lentBytes reads memory that is used again afterwards. net/http may read a
// request's body after its answer has come.
type lentBytes struct {
	mu    sync.Mutex
	left  []byte
	taken bool
}

func (l *lentBytes) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.taken:
		return 0, io.ErrUnexpectedEOF
	case len(l.left) == 0:
		return 0, io.EOF
	}
	n := copy(p, l.left)
	l.left = l.left[n:]
	return n, nil
}

// takeBack ends the use of the memory.
func (l *lentBytes) takeBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left, l.taken = nil, true
}

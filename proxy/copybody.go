package proxy

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"ssegw/proxy/object"
	"ssegw/proxy/payload"
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/sse"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// copyBody sends the source's body through the gateway: from plaintext to
// sealed, or to compute a checksum that the source does not have.
func copyBody(c *call, src *copySource, s *sse.Sealing, header http.Header) error {
	if src.size() > maxPut {
		return s3.ErrInvalidRequest.Msg("The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxPut))
	}
	if takesAltered(c, src) && src.object.Factless {
		return errUnverified
	}
	if takesAltered(c, src) {
		return src.Tampered("content headers", errAltered) // sealing them again would vouch for them
	}
	plain, err := src.read(c.ctx(), 0, src.size())
	if err != nil {
		return err
	}
	defer func() { _ = plain.Close() }()
	body, err := copyChecksums(c, src, &payload.Copied{R: plain, Length: src.size(), Fail: src.BodyError})
	if err != nil {
		return err
	}
	if err := restateTags(c, src, header); err != nil {
		return err
	}
	var answer http.Header
	if s != nil {
		body = payload.WithDefault(body)
		answer, err = storeSealed(c, s, header, body)
	} else {
		answer, err = storePlain(c, nil, header, body)
	}
	if err != nil {
		return src.guardError(err)
	}
	result := &upstream.CopyResult{
		XMLName: xml.Name{Local: "CopyObjectResult"}, ETag: answer.Get("ETag"),
		LastModified: s3.FormatTime(time.Now()),
	}
	for _, sum := range body.Checksums() {
		result.SumType = s3.FullObject
		result.Sums = append(result.Sums, s3.NewChecksumElement(sum.Algorithm, s3.ChecksumText(sum.Value)))
	}
	return answerCopy(c, answer, s, result, src)
}

// copyChecksums returns the body of a copy with its checksum: the one that the
// request asks for, or those of the whole source.
func copyChecksums(c *call, src *copySource, body *payload.Copied) (payload.Plaintext, error) {
	if a, ok := sealer.ParseAlgorithm(strings.ToUpper(c.req.Header.Get(s3.HeaderAlgorithm))); ok {
		return payload.WithChecksum(body, a), nil
	}
	if src.object == nil {
		return body.KeepStored(src.stored), nil
	}
	sums, err := src.Checksums(c.ctx(), src.object, 0)
	if err != nil {
		return nil, err
	}
	for _, sum := range sums {
		if !sum.Composite {
			body.Sums = append(body.Sums, sigv4.Checksum{Algorithm: sum.Algorithm.String(), Value: sum.Digest})
		}
	}
	return body, nil
}

// uploadPartCopy is UploadPartCopy. The range passes the gateway, because every
// part has its own key.
func uploadPartCopy(c *call) error {
	u, number, err := partOf(c)
	if err != nil {
		return err
	}
	from, err := chooseSource(c)
	if err != nil {
		return err
	}
	return retryChanged(func() error { return copyPart(c, u, number, from) })
}

// copyPart reads the source's headers and copies a range of that very object.
// If it has changed meanwhile, the error is object.ErrChanged.
func copyPart(c *call, u *state.Upload, number int, from s3.CopySource) error {
	src, err := openSource(c, from)
	if err != nil {
		return err
	}
	defer src.wipe()
	offset, length, err := sourceRange(c, src.size())
	if err != nil {
		return err
	}
	if u.Plain && src.object != nil {
		return errSealedIntoPlain
	}
	if u.Plain {
		header := upstream.RequestHeader(c.req.Header)
		upstream.PassHeaders(header, c.req.Header, s3.HeaderCopySourceRange)
		answer, result, err := copyAtStore(c, src, c.req.Query, header)
		if err != nil {
			return err
		}
		return answerCopy(c, answer, nil, result, src)
	}
	if sealer.SealedSize(length) > maxPut {
		return s3.ErrEntityTooLarge
	}
	plain, err := src.read(c.ctx(), offset, length)
	if err != nil {
		return err
	}
	defer func() { _ = plain.Close() }()
	return storeCopiedPart(c, u, number, &payload.Copied{R: plain, Length: length, Fail: src.BodyError}, src)
}

// errSealedIntoPlain refuses to store a sealed source in plaintext. CopyObject
// would seal such a copy, but a part cannot be sealed in a plaintext upload.
var errSealedIntoPlain = s3.ErrInvalidRequest.Msg("The source is encrypted: begin the upload with encryption.")

// sourceRange returns the range of the source to copy, in bytes. Unlike a GET's
// range it must lie within the object.
func sourceRange(c *call, size int64) (offset, length int64, err error) {
	text := c.req.Header.Get(s3.HeaderCopySourceRange)
	if text == "" {
		return 0, size, nil
	}
	r, err := s3.ParseRange(text)
	if err != nil || r == nil || r.Suffix() || strings.HasSuffix(text, "-") {
		return 0, 0, s3.ErrInvalidArgument.Msg("The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
	}
	if r.Last() >= size {
		return 0, 0, s3.ErrInvalidArgument.Msg("Range specified is not valid for source object of size: %d", size)
	}
	return r.First(), r.Last() - r.First() + 1, nil
}

// storeCopiedPart seals a range of the source as a part, and answers.
func storeCopiedPart(c *call, u *state.Upload, number int, body *payload.Copied, src *copySource) error {
	result := &upstream.CopyResult{XMLName: xml.Name{Local: "CopyPartResult"}, LastModified: s3.FormatTime(time.Now())}
	p, s, err := storePart(c, u, number, payload.WithChecksum(body, u.Announced().Algorithm))
	if err != nil {
		return err
	}
	result.ETag = p.Shown()
	if sum := p.ClientSum(u); sum != nil {
		result.Sums = []s3.ChecksumElement{s3.NewChecksumElement(sum.Algorithm.String(), s3.ChecksumText(sum.Digest))}
	}
	return answerCopy(c, http.Header{}, s, result, src)
}

// read returns a plaintext range of the source. offset and length are in bytes.
// The caller closes the reader.
func (s *copySource) read(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	span := object.Span{Offset: offset, Length: length, Begin: offset, End: offset + length}
	var k *sealer.ObjectKey
	if s.object != nil {
		var err error
		if k, err = s.KeyOf(ctx, s.object); err != nil {
			return nil, err // also of an empty object: the client needs the right key
		}
		s.opened = append(s.opened, k)
		if span, err = s.object.SpanOf(offset, length); err != nil {
			return nil, err
		}
	}
	if length == 0 {
		return http.NoBody, nil
	}
	resp, err := s.Fetch(ctx, object.Request{Range: span.Range(), Guard: s.stored.Get("ETag")})
	if err != nil {
		return nil, err
	}
	_, first := object.TotalSize(resp)
	if s.object == nil {
		if object.IsOther(resp.Header, s.stored) {
			_ = resp.Body.Close()
			return nil, object.ErrChanged
		}
		if first != span.Begin {
			_ = resp.Body.Close()
			return nil, fmt.Errorf("%w: the store ignores ranges", upstream.ErrUnavailable)
		}
		return &payload.Exact{R: resp.Body, Closer: resp.Body, Left: length}, nil
	}
	plain, err := s.object.Open(k, resp.Body, span, first)
	if err != nil {
		_ = resp.Body.Close()
		return nil, s.BodyError(err)
	}
	return &payload.Exact{R: plain, Closer: resp.Body, Left: length}, nil
}

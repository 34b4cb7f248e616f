package proxy

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/sealer"
)

// copiedBody is the plaintext of a source on its way into a copy.
type copiedBody struct {
	r        io.Reader
	src      *copySource
	size     int64
	declared []sigv4.Checksum      // what is known of the whole source
	failed   atomic.Pointer[error] // the transport reads on its own goroutine
}

func (b *copiedBody) Size() int64                 { return b.size }
func (b *copiedBody) Declared() []sigv4.Checksum  { return b.declared }
func (b *copiedBody) TrailerAlgorithm() string    { return "" }
func (b *copiedBody) Checksums() []sigv4.Checksum { return slices.Clone(b.declared) }

var errSourceChecksum = fmt.Errorf("the checksum that the store has for it: %w", errMismatch)

// keepStored returns the body with the checksum that the store knows of a source
// that is not sealed. The store's word is checked; where it is about parts, the
// checksum of the whole is computed.
func (b *copiedBody) keepStored(stored http.Header) plaintext {
	for name := range stored {
		algorithm, _ := strings.CutPrefix(strings.ToLower(name), s3.ChecksumPrefix)
		a, ok := sealer.ParseAlgorithm(strings.ToUpper(algorithm))
		if !ok {
			continue
		}
		digest, ok := sigv4.DecodeChecksum(a.String(), stored.Get(name))
		if !ok || stored.Get(s3.HeaderChecksumType) == composite {
			return withChecksum(b, a)
		}
		b.declared = []sigv4.Checksum{{Algorithm: a.String(), Value: digest}}
		h, _ := sigv4.NewHash(a.String())
		b.r = &checkedReader{b.r, h, digest}
		break
	}
	return b
}

// checkedReader ends cleanly only if the digest of what was read is the right one.
type checkedReader struct {
	r    io.Reader
	sum  hash.Hash
	want []byte
}

func (c *checkedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.sum.Write(p[:n])
	if err == io.EOF && !bytes.Equal(c.sum.Sum(nil), c.want) {
		err = errSourceChecksum
	}
	return n, err
}

// failure is what the client is told: that the source is not authentic, or that
// it stopped coming, rather than that the store got too little.
func (b *copiedBody) failure() error {
	if err := b.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (b *copiedBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		if b.src != nil {
			err = b.src.bodyError(err)
		}
		b.failed.Store(&err)
	}
	return n, err
}

// read returns the plaintext of a range of the source. The caller closes it.
func (s *copySource) read(offset, length int64) (io.ReadCloser, error) {
	if length == 0 {
		return http.NoBody, nil
	}
	begin, end := offset, offset+length
	if s.object != nil {
		var err error
		if begin, end, err = s.object.extent(offset, length); err != nil {
			return nil, fmt.Errorf("proxy: locating a range: %w", err)
		}
	}
	resp, err := s.fetch(lookup{span: fmt.Sprintf("bytes=%d-%d", begin, end-1), guard: s.stored.Get("ETag")})
	if err != nil {
		return nil, err
	}
	_, first := totalSize(resp)
	if s.object == nil {
		if isOther(resp.Header, s.stored) {
			_ = resp.Body.Close()
			return nil, errChanged
		}
		if first != begin {
			_ = resp.Body.Close()
			return nil, fmt.Errorf("%w: the store ignores ranges", errUpstream)
		}
		return &exactBody{resp.Body, resp.Body, length}, nil
	}
	k, err := s.keyOf(s.object)
	if err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	plain, err := s.object.open(k, resp.Body, offset, length, first)
	if err != nil {
		_ = resp.Body.Close()
		return nil, s.bodyError(err)
	}
	return &exactBody{plain, resp.Body, length}, nil
}

// exactBody is length bytes of r and then its clean end, or an error.
type exactBody struct {
	r io.Reader
	io.Closer
	left int64
}

func (e *exactBody) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if err == io.EOF && e.left > 0 {
		err = fmt.Errorf("%w: the source of a copy ended early", errUpstream)
	}
	return n, err
}

// copyBody streams the source through the gateway: between plaintext and sealed,
// or for a checksum that the source does not have.
func (c *call) copyBody(src *copySource, s *sealing, header http.Header) error {
	if src.size() > maxPut {
		return s3.ErrInvalidRequest.Msg("The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxPut))
	}
	if c.takesAltered(src) && src.object.factless {
		return errUnverified
	}
	if c.takesAltered(src) {
		return c.integrity("content headers", errMismatch) // the copy's would be sealed as they are
	}
	plain, err := src.read(0, src.size())
	if err != nil {
		return err
	}
	defer func() { _ = plain.Close() }()
	body, err := c.copyChecksums(src, &copiedBody{r: plain, size: src.size(), src: src})
	if err != nil {
		return err
	}
	if err := c.restateTags(src, header); err != nil {
		return err
	}
	var answer http.Header
	if s != nil {
		body = withDefault(body)
		answer, err = c.storeSealed(s, header, body)
	} else {
		answer, err = c.storePlain(header, body)
	}
	if err != nil {
		return src.settled(err)
	}
	result := &copyResult{
		XMLName: xml.Name{Local: "CopyObjectResult"}, ETag: answer.Get("ETag"),
		LastModified: time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
	}
	for _, sum := range body.Checksums() {
		result.SumType = fullObject
		result.Sums = append(result.Sums, checksumXML{xml.Name{Local: "Checksum" + sum.Algorithm}, checksumText(sum.Value)})
	}
	return c.answerCopy(answer, s, result, src)
}

// copyChecksums returns the body of a copy with the source's checksums of the whole, or
// with the one asked for.
func (c *call) copyChecksums(src *copySource, body *copiedBody) (plaintext, error) {
	if a, ok := sealer.ParseAlgorithm(strings.ToUpper(c.req.Header.Get(s3.HeaderAlgorithm))); ok {
		return withChecksum(body, a), nil
	}
	if src.object == nil {
		return body.keepStored(src.stored), nil
	}
	sums, err := src.checksums(src.object, 0)
	if err != nil {
		return nil, err
	}
	for _, sum := range sums {
		if !sum.Composite {
			body.declared = append(body.declared, sigv4.Checksum{Algorithm: sum.Algorithm.String(), Value: sum.Digest})
		}
	}
	return body, nil
}

// copyTags restates the source's tags, which a PUT does not take over.
func (c *call) copyTags(src *copySource, header http.Header) error {
	if c.replaces(s3.HeaderTaggingDirective) || src.stored.Get("X-Amz-Tagging-Count") == "" {
		return nil
	}
	query := src.versionQuery()
	query.Set("tagging", "")
	resp, err := c.Upstream.expect(c.ctx(), outgoing{
		method: http.MethodGet, bucket: src.req.Bucket, key: src.req.Key, query: query, as: c.caller(),
	})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	var tags struct {
		Tags []struct {
			Key   string `xml:"Key"`
			Value string `xml:"Value"`
		} `xml:"TagSet>Tag"`
	}
	if err := xml.NewDecoder(io.LimitReader(resp.Body, maxDocument)).Decode(&tags); err != nil {
		return fmt.Errorf("%w: reading tags: %w", errUpstream, err)
	}
	encoded := url.Values{}
	for _, t := range tags.Tags {
		encoded.Set(t.Key, t.Value)
	}
	header.Set(s3.HeaderTagging, encodeQuery(encoded))
	return nil
}

// errSealedIntoPlain refuses what CopyObject would seal of its own accord, and a part
// of an upload that is not sealed cannot be.
var errSealedIntoPlain = s3.ErrInvalidRequest.Msg("The source is encrypted: begin the upload with encryption.")

// uploadPartCopy is UploadPartCopy: a range of an object becomes a part. It
// streams, because a part has a key of its own.
func (c *call) uploadPartCopy() error {
	u, number, err := c.partOf()
	if err != nil {
		return err
	}
	if err := c.chooseSource(); err != nil {
		return err
	}
	return again(func() error { return c.copyPart(u, number) })
}

// copyPart looks at the source and makes a part of that, or of nothing.
func (c *call) copyPart(u *upload, number int) error {
	src, err := c.source()
	if err != nil {
		return err
	}
	offset, length, err := c.sourceRange(src.size())
	if err != nil {
		return err
	}
	if u.Plain && src.object != nil {
		return errSealedIntoPlain
	}
	if u.Plain {
		header := upstreamHeader(c.req.Header)
		passHeaders(header, c.req.Header, s3.HeaderCopySourceRange)
		answer, result, err := c.copyUpstream(src, header)
		if err != nil {
			return err
		}
		return c.answerCopy(answer, nil, result, src)
	}
	if sealer.SealedSize(length) > maxPut {
		return s3.ErrEntityTooLarge
	}
	plain, err := src.read(offset, length)
	if err != nil {
		return err
	}
	defer func() { _ = plain.Close() }()
	return c.storeCopiedPart(u, number, &copiedBody{r: plain, size: length, src: src}, src)
}

// storeCopiedPart seals a range of a source as a part, and answers.
func (c *call) storeCopiedPart(u *upload, number int, body *copiedBody, src *copySource) error {
	result := &copyResult{XMLName: xml.Name{Local: "CopyPartResult"}, LastModified: time.Now().UTC().Format("2006-01-02T15:04:05.000Z")}
	p, s, err := c.storePart(u, number, withChecksum(body, u.announced().Algorithm))
	if err != nil {
		return err
	}
	result.ETag = p.shown()
	if sum := p.clientSum(u); sum != nil {
		result.Sums = []checksumXML{{xml.Name{Local: "Checksum" + sum.Algorithm.String()}, checksumText(sum.Digest)}}
	}
	return c.answerCopy(http.Header{}, s, result, src)
}

// sourceRange is the range of the source that becomes a part. Unlike a GET's it
// must lie within the object.
func (c *call) sourceRange(size int64) (offset, length int64, err error) {
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

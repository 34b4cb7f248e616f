package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// sealedObject is what an upstream answer says of a sealed object, after it was
// found to be what a gateway stored.
type sealedObject struct {
	header  *sealer.Header
	facts   *sealer.Facts
	sealing *sealing
}

// integrity records that the upstream returned something else than what was
// stored, and returns the one error that all such failures become.
func (c *call) integrity(reason string, err error) error {
	c.metrics.integrity.WithLabelValues(reason).Inc()
	return fmt.Errorf("%w: %s: %w", errIntegrity, reason, err)
}

var errMismatch = errors.New("differs from what was sealed")

// inspect authenticates what an answer says of a sealed object whose upstream
// length is total: its header, size, facts and content headers. No KMS is asked.
func (c *call) inspect(stored http.Header, total int64) (*sealedObject, error) {
	h, err := sealer.ParseHeader(stored.Get(sealer.MetadataKey))
	if err != nil {
		return nil, c.integrity("header", err)
	}
	if h.Multipart {
		return nil, s3.ErrNotImplemented
	}
	s, err := c.storedSealing(h)
	if err != nil {
		return nil, err
	}
	facts, err := h.OpenFacts(c.binding(), c.State.Root())
	if err != nil {
		return nil, c.integrity("facts", err)
	}
	if total != h.StoredSize(nil) {
		return nil, c.integrity("size", errMismatch)
	}
	if headersDigest(stored) != facts.Headers {
		err := c.integrity("content headers", errMismatch)
		if !c.WarnHeaderDigest {
			return nil, err
		}
		c.log.Warn("the store changed content headers", zap.Error(err))
	}
	if err := c.readConditions().check(shownTag(stored)); err != nil {
		return nil, c.refuseRead(err, stored)
	}
	return &sealedObject{header: h, facts: facts, sealing: s}, nil
}

// serveSealed opens the object in an upstream's answer and sends the wanted
// range of it. The first package is verified before the answer begins; after
// that a failure breaks the connection.
func (c *call) serveSealed(resp *http.Response, want *s3.Range) error {
	total, first := totalSize(resp)
	o, err := c.inspect(resp.Header, total)
	if err != nil {
		return err
	}
	defer o.facts.Wipe()
	offset, length, status, err := c.resolve(want, o.header.Size)
	if err != nil {
		return err
	}
	k, err := c.openKey(o.header, o.sealing)
	if err != nil {
		if errors.Is(err, errIntegrity) {
			c.metrics.integrity.WithLabelValues("object key").Inc()
		}
		return err
	}
	defer k.Wipe()
	plain, err := openRange(k, resp.Body, o.header.Size, offset, length, first)
	if err != nil {
		return c.integrity("body", err)
	}
	buf := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buf)
	n, err := readFirst(plain, buf[:])
	if err != nil && err != io.EOF {
		return c.bodyError(err)
	}
	if err := c.setObjectHeaders(o, resp.Header, offset, length, status); err != nil {
		return err
	}
	c.w.WriteHeader(status)
	w := c.rollingWriter()
	if _, err := w.Write(buf[:n]); err != nil {
		return fmt.Errorf("proxy: writing to the client: %w", err)
	}
	if err == io.EOF {
		return nil
	}
	if _, err := copyBody(w, plain); err != nil {
		return c.bodyError(err)
	}
	return nil
}

// openRange returns the plaintext of a range, from a body whose first byte is
// the sealed object's byte first.
func openRange(k *sealer.ObjectKey, body io.Reader, size, offset, length, first int64) (io.Reader, error) {
	e, err := sealer.Locate(size, offset, length)
	if err != nil {
		return nil, err
	}
	if e.Offset < first {
		return nil, errMismatch
	}
	if _, err := io.CopyN(io.Discard, body, e.Offset-first); err != nil {
		return nil, err
	}
	return k.OpenBody(body, e)
}

// readFirst reads until there is something to send or nothing to come.
func readFirst(r io.Reader, p []byte) (int, error) {
	for {
		n, err := r.Read(p)
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// bodyError tells a body that was changed from one that stopped coming.
func (c *call) bodyError(err error) error {
	if errors.Is(err, sealer.ErrNotAuthentic) {
		return c.integrity("body", err)
	}
	return fmt.Errorf("%w: %w", errUpstream, err)
}

// setObjectHeaders writes the headers of a GET's or HEAD's answer.
func (c *call) setObjectHeaders(o *sealedObject, stored http.Header, offset, length int64, status int) error {
	h := c.w.Header()
	copyAnswer(h, stored, true)
	h.Del("Content-Range")
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	h.Set("ETag", shownTag(stored))
	if status == http.StatusPartialContent {
		h.Set("Content-Range", s3.ContentRange(offset, length, o.header.Size))
	}
	o.sealing.setHeaders(h)
	if status == http.StatusOK && strings.EqualFold(c.req.Header.Get(s3.HeaderChecksumMode), "ENABLED") {
		sums, err := c.checksums(o, stored.Get("ETag"))
		if err != nil {
			return err
		}
		for _, s := range sums {
			h.Set(s3.ChecksumPrefix+strings.ToLower(s.Algorithm.String()), checksumText(s.Digest))
			h.Set(s3.HeaderChecksumType, "FULL_OBJECT")
		}
	}
	c.overrides(h)
	return nil
}

// checksums are those of the header's facts and of the trailer, which costs one
// more request where there is one.
func (c *call) checksums(o *sealedObject, etag string) ([]sealer.Checksum, error) {
	key, ok := o.facts.TrailerKey()
	if !ok {
		return o.facts.Checksums, nil
	}
	defer key.Wipe()
	resp, err := c.fetch(fmt.Sprintf("bytes=%d-", sealer.SealedSize(o.header.Size)), etag)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	sealed, err := io.ReadAll(io.LimitReader(resp.Body, sealer.SingleTrailerSize+1))
	if err != nil {
		return nil, fmt.Errorf("%w: reading the trailer: %w", errUpstream, err)
	}
	trailer, err := sealer.OpenTrailer(o.header, key, sealed)
	if err != nil {
		return nil, c.integrity("trailer", err)
	}
	return append(o.facts.Checksums, trailer.Checksums...), nil
}

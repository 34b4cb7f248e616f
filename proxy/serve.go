package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// serveSealed sends what is wanted of an object whose sealed bytes, from byte
// first of the object on, are in body. The first package is verified before the
// answer begins; after that a failure breaks the connection.
func (c *call) serveSealed(o *sealedObject, want wanted, body io.Reader, first int64) error {
	defer o.wipe()
	offset, length, status, err := o.resolve(want)
	if err != nil {
		return err
	}
	k, err := c.keyOf(o)
	if err != nil {
		return err
	}
	defer k.Wipe()
	plain, err := o.open(k, body, offset, length, first)
	if err != nil {
		return c.bodyError(err)
	}
	if o.whole && o.header.Trailer && o.parts == nil {
		plain = &trailedReader{plain, body, o}
	}
	buf := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buf)
	n, err := readFirst(plain, buf[:])
	if err != nil && err != io.EOF {
		return c.bodyError(err)
	}
	ended := err == io.EOF
	if err := c.setObjectHeaders(o, want, offset, length, status); err != nil {
		return err
	}
	c.w.WriteHeader(status)
	w := c.w
	if _, err := w.Write(buf[:n]); err != nil {
		return fmt.Errorf("proxy: writing to the client: %w", err)
	}
	if ended {
		return nil
	}
	if _, err := copyBody(w, plain); err != nil {
		return c.bodyError(err)
	}
	return nil
}

// trailedReader is the plaintext of a whole single PUT that has a trailer, which it
// verifies before it gives out the last bytes (docs/FORMAT.md, section 10).
type trailedReader struct {
	plain io.Reader
	rest  io.Reader // what follows the body, once plain has ended
	o     *sealedObject
}

func (t *trailedReader) Read(p []byte) (int, error) {
	n, err := t.plain.Read(p)
	if err != io.EOF {
		return n, err
	}
	tail := make([]byte, sealer.SingleTrailerSize)
	if _, err := io.ReadFull(t.rest, tail); err != nil {
		return 0, fmt.Errorf("reading a trailer: %w", err)
	}
	if _, err := t.o.facts.OpenTrailer(t.o.header, tail); err != nil {
		return 0, err
	}
	return n, io.EOF
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
func (c *reader) bodyError(err error) error {
	if errors.Is(err, sealer.ErrNotAuthentic) || errors.Is(err, sealer.ErrMalformed) || errors.Is(err, errMismatch) {
		return c.integrity("body", err)
	}
	return fmt.Errorf("%w: %w", errUpstream, err)
}

// setObjectHeaders writes the headers of a GET's or HEAD's answer.
func (c *call) setObjectHeaders(o *sealedObject, want wanted, offset, length int64, status int) error {
	var sums []sealer.Checksum
	if want.span == nil && strings.EqualFold(c.req.Header.Get(s3.HeaderChecksumMode), "ENABLED") {
		var err error
		if sums, err = c.checksums(o, want.part); err != nil {
			return err
		}
	}
	h := c.w.Header()
	copyAnswer(h, o.stored, true)
	setUncovered(h, o.stored, c.req.Key, o.header.Size)
	o.content.set(h)
	h.Del(s3.HeaderPartsCount)
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	h.Set("ETag", shownTag(o.stored))
	if status == http.StatusPartialContent {
		h.Set("Content-Range", s3.ContentRange(offset, length, o.size))
	}
	if want.part > 0 && o.parts != nil {
		h.Set(s3.HeaderPartsCount, strconv.Itoa(len(o.parts.Parts)))
	}
	o.warn(h)
	o.sealing.setHeaders(h)
	for _, s := range sums {
		h.Set(s3.ChecksumPrefix+strings.ToLower(s.Algorithm.String()), checksumValue(s, o.partCount()))
		h.Set(s3.HeaderChecksumType, checksumType(s))
	}
	c.overrides(h)
	return nil
}

// headerWarning tells a client that the gateway cannot vouch for all of an answer.
const headerWarning = "x-ssegw-warning"

func (o *sealedObject) warn(h http.Header) {
	if o.warning != "" {
		h.Set(headerWarning, o.warning)
	}
}

// overrides sets the headers that a client asks for with response-* parameters.
func (c *call) overrides(h http.Header) {
	for name, values := range c.req.Query {
		if header, ok := strings.CutPrefix(name, "response-"); ok {
			h.Set(header, cleanHeader(values[0]))
		}
	}
}

// cleanHeader drops control characters, which net/http would turn into spaces.
func cleanHeader(v string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, v)
}

// servePlain answers with an object that is not sealed. body is nil for HEAD.
func (c *call) servePlain(stored http.Header, status int, body io.Reader) error {
	if err := c.allowPlain(); err != nil {
		return err
	}
	if err := c.readConditions().check(shownTag(stored)); err != nil {
		return c.refuseRead(err, stored)
	}
	h := c.w.Header()
	copyObject(h, stored)
	c.overrides(h)
	c.w.WriteHeader(status)
	if body == nil {
		return nil
	}
	_, err := copyBody(c.w, body)
	return err
}

// allowPlain refuses objects that are not sealed where only sealed ones belong,
// and customer keys for objects that have none.
func (c *reader) allowPlain() error {
	if customer, err := c.customerSealing(c.req.Header); err != nil || customer != nil {
		if err != nil {
			return err
		}
		return s3.ErrSSENotApplicable
	}
	only, err := c.sealedOnly()
	if err == nil && only {
		c.metrics.integrity.WithLabelValues("not sealed").Inc()
		err = errNotSealed
	}
	return err
}

// sealedOnly reports whether only sealed objects belong into the bucket.
func (c *reader) sealedOnly() (bool, error) {
	if c.SealedOnly == SealedOnlyNever {
		return false, nil
	}
	rule, ok, err := c.State.rule(c.ctx(), c.req.Bucket)
	ruled := ok && rule.Algorithm != "" || c.AutoEncryption != 0
	return ok && rule.SealedOnly || ruled && c.SealedOnly == SealedOnlyAlways, err
}

// totalSize is the length of the whole upstream object behind a GET's answer,
// and the offset of the answer's first byte. -1 says that it is not known.
func totalSize(resp *http.Response) (total, first int64) {
	if resp.StatusCode != http.StatusPartialContent {
		return resp.ContentLength, 0
	}
	span, size, ok := strings.Cut(strings.TrimPrefix(resp.Header.Get("Content-Range"), "bytes "), "/")
	begin, _, ok2 := strings.Cut(span, "-")
	total, err := strconv.ParseInt(size, 10, 64)
	first, err2 := strconv.ParseInt(begin, 10, 64)
	if !ok || !ok2 || err != nil || err2 != nil {
		return -1, 0
	}
	return total, first
}

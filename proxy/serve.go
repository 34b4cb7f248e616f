package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"ssegw/proxy/field"
	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// serveSealed answers with the wanted part of an object, read from the stored
// bytes in body. It verifies the first package before it sends the status.
// After that a failure breaks the connection.
func serveSealed(c *call, r *object.Reader, o *object.Object, want object.Wanted, body sealedBytes, span object.Span) error {
	k, err := r.KeyOf(c.ctx(), o)
	if err != nil {
		return err
	}
	defer k.Wipe()
	var plain io.Reader
	if body.whole {
		plain, err = o.OpenWhole(k, body, span)
	} else {
		plain, err = o.Open(k, body, span, body.first)
	}
	if err != nil {
		return r.BodyError(err)
	}
	buf := upstream.CopyBuffers.Get().(*[upstream.CopySize]byte)
	free := sync.OnceFunc(func() { upstream.CopyBuffers.Put(buf) })
	defer free()
	n, err := readFirst(plain, buf[:])
	if err != nil && err != io.EOF {
		return r.BodyError(err)
	}
	ended := err == io.EOF
	if err := setObjectHeaders(c, r, o, want, span); err != nil {
		return err
	}
	c.w.WriteHeader(span.Status)
	if _, err := c.w.Write(buf[:n]); err != nil {
		return fmt.Errorf("proxy: writing to the client: %w", err)
	}
	free() // the client may be slow
	if ended {
		return nil
	}
	if _, err := upstream.CopyBody(c.w, plain); err != nil {
		return r.BodyError(err)
	}
	return nil
}

// sealedBytes reads stored bytes of a sealed object.
type sealedBytes struct {
	io.Reader
	first int64 // offset of the first byte in the stored object
	whole bool  // all stored bytes, with the trailer
}

// readFirst reads until it has at least one byte or an error.
func readFirst(r io.Reader, p []byte) (int, error) {
	for {
		n, err := r.Read(p)
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// setObjectHeaders sets the headers of a GET's or HEAD's answer for a sealed
// object.
func setObjectHeaders(c *call, r *object.Reader, o *object.Object, want object.Wanted, span object.Span) error {
	var sums []sealer.Checksum
	if want.Range == nil && strings.EqualFold(field.Get(c.req.Header, s3.HeaderChecksumMode), "ENABLED") {
		var err error
		if sums, err = r.Checksums(c.ctx(), o, want.Part); err != nil {
			return err
		}
	}
	h := c.w.Header()
	upstream.CopyAnswer(h, o.Stored, true)
	object.SetUncovered(h, o.Stored, c.req.Key, o.Header.Size)
	object.SetContent(h, o.Content)
	delete(h, field.Canonical(s3.HeaderPartsCount))
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", strconv.FormatInt(span.Length, 10))
	h.Set("ETag", object.ShownTag(o.Stored))
	if span.Status == http.StatusPartialContent {
		h.Set("Content-Range", s3.ContentRange(span.Offset, span.Length, o.Size))
	}
	if want.Part > 0 && o.Parts != nil {
		h.Set(s3.HeaderPartsCount, strconv.Itoa(len(o.Parts.Parts)))
	}
	setWarning(h, o)
	o.Sealing.SetHeaders(h)
	for _, s := range sums {
		h.Set(s3.ChecksumPrefix+strings.ToLower(s.Algorithm.String()), object.ChecksumValue(s, o.PartCount()))
		h.Set(s3.HeaderChecksumType, object.ChecksumType(s))
	}
	setOverrides(c, h)
	return nil
}

// headerWarning tells a client which part of an answer the gateway cannot vouch
// for.
const headerWarning = "x-ssegw-warning"

// setWarning sets headerWarning if o needs it.
func setWarning(h http.Header, o *object.Object) {
	if o.Warning != "" {
		h.Set(headerWarning, o.Warning)
	}
}

// setOverrides sets the headers that the client asks for with response-*
// parameters.
func setOverrides(c *call, h http.Header) {
	for name, values := range c.req.Query {
		if header, ok := strings.CutPrefix(name, "response-"); ok {
			h.Set(header, cleanHeader(values[0]))
		}
	}
}

// cleanHeader drops control characters. net/http would replace them with
// spaces.
func cleanHeader(v string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, v)
}

// servePlain checks an object that is not sealed, and answers with it. body is
// nil for a HEAD.
func servePlain(c *call, stored http.Header, status int, body io.Reader) error {
	if err := checkPlain(c, stored); err != nil {
		return err
	}
	return sendPlain(c, stored, status, body)
}

// checkPlain refuses an object that is not sealed as allowPlain does, or if the
// client's conditions do not hold.
func checkPlain(c *call, stored http.Header) error {
	r := c.object()
	if err := allowPlain(c, r); err != nil {
		return err
	}
	return r.CheckConditions(c.ctx(), stored)
}

// sendPlain answers with an object that is not sealed and that checkPlain has
// passed.
func sendPlain(c *call, stored http.Header, status int, body io.Reader) error {
	h := c.w.Header()
	upstream.CopyObject(h, stored)
	setOverrides(c, h)
	c.w.WriteHeader(status)
	if body == nil {
		return nil
	}
	_, err := upstream.CopyBody(c.w, body)
	return err
}

// allowPlain refuses an object that is not sealed if its bucket is sealed-only,
// or if the client sent a key for it.
func allowPlain(c *call, r *object.Reader) error {
	if customer, err := r.Encryption().Customer(); err != nil || customer != nil {
		if err != nil {
			return err
		}
		return s3.ErrSSENotApplicable
	}
	only, err := sealedOnly(c, r.Name.Bucket)
	if err == nil && only {
		err = r.Tampered("not sealed", errNotSealed)
	}
	return err
}

// sealedOnly reports whether a bucket's unsealed objects are refused
// (Config.SealedOnly).
func sealedOnly(c *call, bucket string) (bool, error) {
	if c.gw.SealedOnly == SealedOnlyNever {
		return false, nil
	}
	rule, ok, err := c.gw.State.Rule(c.ctx(), bucket)
	ruled := ok && rule.Algorithm != "" || c.gw.AutoEncryption != 0
	return ok && rule.SealedOnly || ruled && c.gw.SealedOnly == SealedOnlyAlways, err
}

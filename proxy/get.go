package proxy

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

// getObject is GetObject.
func getObject(c *call) error {
	if err := checkRead(c); err != nil {
		return err
	}
	want, err := wantedOf(c)
	if err != nil {
		return err
	}
	return retryChanged(func() error { return getOnce(c, want) })
}

// checkRead checks what GET and HEAD have in common: the headers of SSE-C, the
// body, and response-* parameters, which anonymous clients may not use.
func checkRead(c *call) error {
	if _, err := c.encryption().Customer(); err != nil {
		return err
	}
	if c.in.ContentLength != 0 {
		// The body has no meaning, but it must be authentic, and net/http needs
		// it read.
		if _, _, err := openDocument(c); err != nil {
			return err
		}
	}
	if c.auth.Anonymous() {
		for name := range c.req.Query {
			if strings.HasPrefix(name, "response-") {
				return s3.ErrInvalidRequest.Msg("Request specific response headers cannot be used for anonymous GET requests.")
			}
		}
	}
	return nil
}

// wantedOf reads the range and the part number of a GET or HEAD.
func wantedOf(c *call) (w object.Wanted, err error) {
	if w.Range, err = s3.ParseRange(c.req.Header.Get("Range")); err != nil {
		return w, err
	}
	if w.Range != nil {
		w.IfRange = c.req.Header.Get("If-Range")
	}
	if text, ok := c.req.Query["partNumber"]; ok {
		if w.Part, err = strconv.Atoi(text[0]); err != nil || w.Part < 1 || w.Part > upstream.MaxPartNumber {
			return w, errPartNumber(text[0], upstream.MaxPartNumber)
		}
		if w.Range != nil {
			return w, s3.ErrInvalidRequest.Msg("Cannot specify both Range header and partNumber query parameter")
		}
	}
	return w, nil
}

// maxReads is how often a read is tried if the object changes between two of
// its requests to the store.
const maxReads = 3

// retryChanged repeats read, up to maxReads times in all, while it fails with
// object.ErrChanged.
func retryChanged(read func() error) (err error) {
	for range maxReads {
		if err = read(); !errors.Is(err, object.ErrChanged) {
			return err
		}
	}
	return err
}

// getOnce serves a GetObject. The sealed range of "bytes=a-b" in a single PUT
// follows from the package size, so the usual GET takes one request to the
// store, sent before anything is known about the object.
func getOnce(c *call, want object.Wanted) error {
	if want.Part > 0 || want.IfRange != "" || want.Range != nil && want.Range.Suffix() {
		return getKnown(c, want)
	}
	r := c.object()
	resp, err := r.Fetch(c.ctx(), object.Request{Range: object.SealedRange(want.Range)})
	if err != nil {
		if upstream.StatusOf(err) == http.StatusRequestedRangeNotSatisfiable {
			// The range is one of sealed bytes. It proves nothing about an
			// object that is empty or not sealed.
			return getKnown(c, want)
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	isSealed := object.IsSealed(resp.Header)
	if want.Whole() && !isSealed {
		return servePlain(c, resp.Header, resp.StatusCode, resp.Body)
	}
	if !isSealed {
		_ = resp.Body.Close() // the range was meant for a sealed object
		return getKnown(c, want)
	}
	total, first := object.TotalSize(resp)
	o, err := r.Inspect(c.ctx(), resp.Header, total)
	if err != nil {
		return err
	}
	defer o.Wipe()
	if o.Parts != nil && !want.Whole() {
		_ = resp.Body.Close() // the range was meant for a single PUT
		return getSealed(c, r, o, want)
	}
	span, err := o.Locate(want)
	if err != nil {
		return err
	}
	return serveSealed(c, r, o, want, sealedBytes{resp.Body, first, want.Whole()}, span)
}

// getKnown is GetObject with a HEAD first: for ranges that depend on the size,
// and for objects that are not sealed.
func getKnown(c *call, want object.Wanted) error {
	r := c.object()
	head, err := r.Head(c.ctx(), object.Request{})
	if err != nil {
		return r.Explain(c.ctx(), err)
	}
	want = want.Of(head.Header)
	if head.Sealed() {
		o, err := r.Inspect(c.ctx(), head.Header, head.Size)
		if err != nil {
			return err
		}
		defer o.Wipe()
		return getSealed(c, r, o, want)
	}
	if err := checkPlain(c, head.Header); err != nil {
		return err
	}
	resp, err := r.Fetch(c.ctx(), want.Plain(head.Header.Get("ETag")))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if object.IsOther(resp.Header, head.Header) {
		return object.ErrChanged
	}
	return sendPlain(c, resp.Header, resp.StatusCode, resp.Body)
}

// getSealed fetches the stored bytes for what is wanted of a known object, and
// serves it.
func getSealed(c *call, r *object.Reader, o *object.Object, want object.Wanted) error {
	span, err := o.Locate(want)
	if err != nil {
		return err
	}
	if span.Empty() {
		return serveSealed(c, r, o, want, sealedBytes{http.NoBody, span.Begin, false}, span)
	}
	resp, err := r.Fetch(c.ctx(), object.Request{Range: span.Range(), Guard: o.Stored.Get("ETag")})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if !o.SameHeader(resp.Header) {
		return object.ErrChanged // new header on the same body, which may keep the ETag
	}
	_, first := object.TotalSize(resp)
	return serveSealed(c, r, o, want, sealedBytes{resp.Body, first, false}, span)
}

// headObject is HeadObject. It needs no KMS unless the object's root is
// unknown.
func headObject(c *call) error {
	if err := checkRead(c); err != nil {
		return err
	}
	want, err := wantedOf(c)
	if err != nil {
		return err
	}
	return retryChanged(func() error { return headOnce(c, want) })
}

// headOnce serves a HeadObject.
func headOnce(c *call, want object.Wanted) error {
	r := c.object()
	head, err := r.Head(c.ctx(), object.Request{})
	if err != nil {
		return err
	}
	want = want.Of(head.Header)
	if !head.Sealed() {
		if !want.Whole() {
			looked := head.Header
			if head, err = r.Head(c.ctx(), want.Plain(looked.Get("ETag"))); err != nil {
				return err
			}
			if object.IsOther(head.Header, looked) {
				return object.ErrChanged
			}
		}
		return servePlain(c, head.Header, head.Status, nil)
	}
	o, err := r.Inspect(c.ctx(), head.Header, head.Size)
	if err != nil {
		return err
	}
	defer o.Wipe()
	if err := r.CheckCustomerKey(c.ctx(), o); err != nil {
		return err
	}
	span, err := o.Locate(want)
	if err != nil {
		return err
	}
	if err := setObjectHeaders(c, r, o, want, span); err != nil {
		return err
	}
	c.w.WriteHeader(span.Status)
	return nil
}

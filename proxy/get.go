package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// lookAgain bounds how often a read starts over because the object changed
// between two of its upstream requests.
const lookAgain = 3

// getObject is GetObject. The sealed range of "bytes=a-b" follows from the
// package size, so the usual case is one upstream request, made before anything
// is known about the object.
func (c *call) getObject() error {
	if err := c.checkRead(); err != nil {
		return err
	}
	want, err := c.wantedRange()
	if err != nil {
		return err
	}
	if want != nil && want.Suffix() {
		return c.getKnown(want)
	}
	resp, err := c.fetch(sealedRange(want), "")
	if err != nil {
		if statusOf(err) == http.StatusRequestedRangeNotSatisfiable {
			// It proves nothing for an object that is not sealed, or an empty one.
			return c.getKnown(want)
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.Header.Get(sealer.MetadataKey) != "" {
		return c.serveSealed(resp, want)
	}
	if want == nil {
		return c.servePlain(resp.Header, resp.StatusCode, resp.Body)
	}
	_ = resp.Body.Close() // the range was meant for a sealed object
	again, err := c.fetch(want.String(), resp.Header.Get("ETag"))
	if statusOf(err) == http.StatusPreconditionFailed {
		return c.getKnown(want)
	}
	if err != nil {
		return err
	}
	defer func() { _ = again.Body.Close() }()
	return c.servePlain(again.Header, again.StatusCode, again.Body)
}

// getKnown is a ranged GetObject that looks at the object first: for a range
// whose place depends on the size.
func (c *call) getKnown(want *s3.Range) error {
	for range lookAgain {
		head, err := c.head("", "")
		if err != nil {
			return err
		}
		if err := c.readConditions().check(shownTag(head.header)); err != nil {
			return c.refuseRead(err, head.header)
		}
		span := want.String()
		if head.header.Get(sealer.MetadataKey) != "" {
			if span, err = c.knownRange(head, want); err != nil {
				return err
			}
		} else if err := c.allowPlain(); err != nil {
			return err
		}
		resp, err := c.fetch(span, head.header.Get("ETag"))
		if statusOf(err) == http.StatusPreconditionFailed {
			continue // it changed after the look: the guard failed, not the client's condition
		}
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.Header.Get(sealer.MetadataKey) != "" {
			return c.serveSealed(resp, want)
		}
		return c.servePlain(resp.Header, resp.StatusCode, resp.Body)
	}
	return s3.ErrOperationAborted
}

// knownRange is the Range header for the sealed bytes of a plaintext range, in
// the sealed object behind a HEAD's answer. Also "not satisfiable" says
// something of the object: it is authenticated first.
func (c *call) knownRange(head *headAnswer, want *s3.Range) (string, error) {
	o, err := c.inspect(head.header, head.size)
	if err != nil {
		return "", err
	}
	o.facts.Wipe()
	offset, length, _, err := c.resolve(want, o.header.Size)
	if err != nil {
		return "", err
	}
	e, err := sealer.Locate(o.header.Size, offset, length)
	if err != nil {
		return "", fmt.Errorf("proxy: locating a range: %w", err)
	}
	return fmt.Sprintf("bytes=%d-%d", e.Offset, e.Offset+e.Sealed-1), nil
}

// checkRead refuses what no GET or HEAD may carry.
func (c *call) checkRead() error {
	for _, name := range [...]string{s3.HeaderSSE, s3.HeaderSSEKeyID, s3.HeaderSSEContext} {
		if _, sent := single(c.req.Header, name); sent {
			return s3.ErrInvalidArgument.Msg("The header %s does not apply to this operation.", name)
		}
	}
	if _, err := c.customerSealing(c.req.Header); err != nil {
		return err
	}
	if c.req.Query.Has("partNumber") {
		return s3.ErrNotImplemented
	}
	if c.in.ContentLength != 0 {
		// A body means nothing here, but is verified and out of the way of the answer.
		if _, _, err := c.document(); err != nil {
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

// wantedRange is the client's range, or nil for the whole object. With If-Range
// it is the whole object too, which RFC 9110 (section 14.2) always allows.
func (c *call) wantedRange() (*s3.Range, error) {
	if c.req.Header.Get("If-Range") != "" {
		return nil, nil
	}
	return s3.ParseRange(c.req.Header.Get("Range"))
}

// sealedRange is the Range header for the sealed bytes that hold a plaintext range.
func sealedRange(want *s3.Range) string {
	if want == nil {
		return ""
	}
	first, last := sealer.LocateUnknown(want.First(), want.Last())
	if want.Last() >= sealer.MaxSize || last < 0 {
		return fmt.Sprintf("bytes=%d-", first)
	}
	return fmt.Sprintf("bytes=%d-%d", first, last)
}

// fetch is the upstream's GetObject of a range ("": the whole object). With a
// guard, the ETag of a look before, the client's own conditions are not sent
// again. A status of 300 or above is an error.
func (c *call) fetch(span, guard string) (*http.Response, error) {
	return c.read(http.MethodGet, span, guard)
}

// headAnswer is the answer to a HEAD.
type headAnswer struct {
	header http.Header
	status int
	size   int64 // Content-Length, -1 if absent
}

// head is the upstream's HeadObject.
func (c *call) head(span, guard string) (*headAnswer, error) {
	resp, err := c.read(http.MethodHead, span, guard)
	if err != nil {
		return nil, err
	}
	return &headAnswer{resp.Header, resp.StatusCode, resp.ContentLength}, resp.Body.Close()
}

func (c *call) read(method, span, guard string) (*http.Response, error) {
	conditions := c.readConditions()
	send := func(literal bool) (*http.Response, error) {
		h := upstreamHeader(c.req.Header)
		if guard != "" {
			for _, name := range [...]string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
				h.Del(name)
			}
			h.Set("If-Match", guard)
		} else {
			conditions.set(h, literal)
		}
		if span != "" {
			h.Set("Range", span)
		}
		return c.Upstream.expect(c.ctx(), outgoing{
			method: method, bucket: c.req.Bucket, key: c.req.Key, query: c.versionQuery(), header: h, anonymous: c.auth.Anonymous(),
		})
	}
	resp, err := send(false)
	if statusOf(err) == http.StatusPreconditionFailed && guard == "" && conditions.ambiguous() {
		resp, err = send(true)
	}
	if statusOf(err) == http.StatusNotModified && guard == "" {
		return nil, c.notModified(err)
	}
	return resp, err
}

// notModified makes the 304's ETag the one that clients know: the one that was
// asked with or, where none was, the one that another look at the object gives.
func (c *call) notModified(err error) error {
	var up *upstreamError
	if !errors.As(err, &up) {
		return err
	}
	h := c.w.Header()
	if m := up.header.Get("Last-Modified"); m != "" {
		h.Set("Last-Modified", m)
	}
	if list := c.readConditions().noneMatch; len(list) == 1 && list[0] != "*" {
		h.Set("ETag", `"`+list[0]+`"`)
	} else if tag := up.header.Get("ETag"); tag != "" {
		// A 304 does not say whether the object is sealed. Without an answer it has no tag.
		if head, err := c.head("", tag); err == nil {
			h.Set("ETag", shownTag(head.header))
		}
	}
	return s3.ErrNotModified
}

// refuseRead answers a condition that the gateway found not to hold.
func (c *call) refuseRead(err error, stored http.Header) error {
	if errors.Is(err, s3.ErrNotModified) {
		c.w.Header().Set("ETag", shownTag(stored))
		c.w.Header().Set("Last-Modified", stored.Get("Last-Modified"))
	}
	return err
}

// shownTag is the ETag that a client sees for an upstream answer.
func shownTag(h http.Header) string {
	return s3.ETagShown(h.Get("ETag"), h.Get(sealer.MetadataKey) != "")
}

// versionQuery is the query of a read upstream: which version, nothing else.
func (c *call) versionQuery() url.Values {
	q := url.Values{}
	if v, ok := c.req.Query["versionId"]; ok {
		q["versionId"] = v
	}
	return q
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
	copyAnswer(h, stored, false)
	c.overrides(h)
	c.w.WriteHeader(status)
	if body == nil {
		return nil
	}
	_, err := copyBody(c.rollingWriter(), body)
	return err
}

// allowPlain refuses objects that are not sealed where only sealed ones belong,
// and customer keys for objects that have none.
func (c *call) allowPlain() error {
	if customer, err := c.customerSealing(c.req.Header); err != nil || customer != nil {
		if err != nil {
			return err
		}
		return s3.ErrSSENotApplicable
	}
	if c.SealedOnly == SealedOnlyNever {
		return nil
	}
	rule, ok, err := c.State.rule(c.ctx(), c.req.Bucket)
	if err != nil {
		return err
	}
	ruled := ok && rule.Algorithm != "" || c.AutoEncryption != 0
	if ok && rule.SealedOnly || ruled && c.SealedOnly == SealedOnlyAlways {
		c.metrics.integrity.WithLabelValues("not sealed").Inc()
		return errNotSealed
	}
	return nil
}

// headObject is HeadObject. It never calls the KMS.
func (c *call) headObject() error {
	if err := c.checkRead(); err != nil {
		return err
	}
	want, err := c.wantedRange()
	if err != nil {
		return err
	}
	head, err := c.head("", "")
	if err != nil {
		return err
	}
	if head.header.Get(sealer.MetadataKey) == "" {
		if want != nil {
			if head, err = c.head(want.String(), head.header.Get("ETag")); err != nil {
				return err
			}
		}
		return c.servePlain(head.header, head.status, nil)
	}
	o, err := c.inspect(head.header, head.size)
	if err != nil {
		return err
	}
	if o.header.Scheme == sealer.SSEC {
		k, err := c.openKey(o.header, o.sealing)
		if err != nil {
			return err
		}
		k.Wipe()
	}
	offset, length, status, err := c.resolve(want, o.header.Size)
	if err != nil {
		return err
	}
	if err := c.setObjectHeaders(o, head.header, offset, length, status); err != nil {
		return err
	}
	c.w.WriteHeader(status)
	return nil
}

// resolve places a range in the plaintext and returns the answer's status.
func (c *call) resolve(want *s3.Range, size int64) (offset, length int64, status int, err error) {
	if want == nil {
		return 0, size, http.StatusOK, nil
	}
	offset, length, err = want.Resolve(size)
	if err != nil {
		c.w.Header().Set("Content-Range", s3.ContentRange(0, 0, size))
		return 0, 0, 0, err
	}
	return offset, length, http.StatusPartialContent, nil
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

// rollingWriter gives every Write of an answer its own deadline, so that a
// client which stops reading does not hold an upstream connection.
func (c *call) rollingWriter() *rollingWriter {
	return &rollingWriter{c.w, http.NewResponseController(c.w.ResponseWriter), c.IdleTimeout}
}

type rollingWriter struct {
	w       *answer
	control *http.ResponseController
	idle    time.Duration
}

func (r *rollingWriter) Write(p []byte) (int, error) {
	// A connection without deadlines (in tests) has none to renew.
	_ = r.control.SetWriteDeadline(time.Now().Add(r.idle))
	return r.w.Write(p)
}

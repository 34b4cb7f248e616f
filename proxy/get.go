package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// lookAgain bounds how often a read starts over because the object changed
// between two of its upstream requests.
const lookAgain = 3

// wanted is what a GET or HEAD asks for of an object.
type wanted struct {
	span    *s3.Range // nil: no range
	ifRange string    // the If-Range header: what the range is a range of; "": of whatever is there
	part    int       // 0: no part number
}

// whole reports whether all of the object is asked for.
func (w wanted) whole() bool { return w.span == nil && w.part == 0 }

// wanted reads the request's range or part number.
func (c *call) wanted() (w wanted, err error) {
	if w.span, err = s3.ParseRange(c.req.Header.Get("Range")); err != nil {
		return w, err
	}
	if w.span != nil {
		w.ifRange = c.req.Header.Get("If-Range")
	}
	if text, ok := c.req.Query["partNumber"]; ok {
		if w.part, err = strconv.Atoi(text[0]); err != nil || w.part < 1 || w.part > 10000 {
			return w, errPartNumber(text[0], maxPartNumber)
		}
		if w.span != nil {
			return w, s3.ErrInvalidRequest.Msg("Cannot specify both Range header and partNumber query parameter")
		}
	}
	return w, nil
}

// of is what is wanted of the object that an upstream's answer is about: the
// range, or all of it where If-Range is about another one. Validators are compared
// as RFC 9110, section 13.1.5, has it: tags strongly, dates exactly.
func (w wanted) of(stored http.Header) wanted {
	if w.ifRange == "" {
		return w
	}
	same := w.ifRange == shownTag(stored)
	if at, err := http.ParseTime(w.ifRange); err == nil {
		modified, err := http.ParseTime(stored.Get("Last-Modified"))
		same = err == nil && modified.Equal(at)
	}
	w.ifRange = ""
	if !same {
		w.span = nil
	}
	return w
}

// getObject is GetObject. The sealed range of "bytes=a-b" follows from the
// package size, so the usual case is one upstream request, made before anything
// is known about the object.
func (c *call) getObject() error {
	if err := c.checkRead(); err != nil {
		return err
	}
	want, err := c.wanted()
	if err != nil {
		return err
	}
	return again(func() error { return c.get(want) })
}

// again repeats a read whose object changed in the middle.
func again(read func() error) (err error) {
	for range lookAgain {
		if err = read(); !errors.Is(err, errChanged) {
			return err
		}
	}
	return err
}

func (c *call) get(want wanted) error {
	if want.part > 0 || want.ifRange != "" || want.span != nil && want.span.Suffix() {
		return c.getKnown(want)
	}
	resp, err := c.fetch(lookup{span: sealedRange(want.span)})
	if err != nil {
		if statusOf(err) == http.StatusRequestedRangeNotSatisfiable {
			// It proves nothing for an object that is not sealed, or an empty one.
			return c.getKnown(want)
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	isSealed := resp.Header.Get(sealer.MetadataKey) != ""
	if want.whole() && !isSealed {
		return c.servePlain(resp.Header, resp.StatusCode, resp.Body)
	}
	if !isSealed {
		_ = resp.Body.Close() // the range was meant for a sealed object
		return c.getKnown(want)
	}
	total, first := totalSize(resp)
	o, err := c.inspect(resp.Header, total)
	if err != nil {
		return err
	}
	if o.parts != nil && !want.whole() {
		_ = resp.Body.Close() // the range was meant for a single PUT
		return c.getSealed(o, want)
	}
	o.whole = want.whole()
	return c.serveSealed(o, want, resp.Body, first)
}

// getKnown is a GetObject that looks at the object first: for a range whose
// place depends on the size, and for objects that are not sealed.
func (c *call) getKnown(want wanted) error {
	head, err := c.head(lookup{})
	if err != nil {
		return err
	}
	want = want.of(head.header)
	if head.header.Get(sealer.MetadataKey) != "" {
		o, err := c.inspect(head.header, head.size)
		if err != nil {
			return err
		}
		return c.getSealed(o, want)
	}
	if err := c.readConditions().check(shownTag(head.header)); err != nil {
		return c.refuseRead(err, head.header)
	}
	if err := c.allowPlain(); err != nil {
		return err
	}
	resp, err := c.fetch(want.plain(head.header.Get("ETag")))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if isOther(resp.Header, head.header) {
		return errChanged
	}
	return c.servePlain(resp.Header, resp.StatusCode, resp.Body)
}

// getSealed fetches the sealed bytes of what is wanted of a known object.
func (c *call) getSealed(o *sealedObject, want wanted) error {
	offset, length, _, err := o.resolve(want)
	if err != nil {
		return err
	}
	begin, end, err := o.extent(offset, length)
	if err != nil {
		return fmt.Errorf("proxy: locating a range: %w", err)
	}
	if begin == end {
		return c.serveSealed(o, want, http.NoBody, begin)
	}
	resp, err := c.fetch(lookup{span: fmt.Sprintf("bytes=%d-%d", begin, end-1), guard: o.stored.Get("ETag")})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.Header.Get(sealer.MetadataKey) != o.stored.Get(sealer.MetadataKey) {
		return errChanged // sealed anew in place, which may keep the ETag
	}
	_, first := totalSize(resp)
	return c.serveSealed(o, want, resp.Body, first)
}

// isOther reports whether an answer with a plain object is about another object
// than the look before it, at a store that does not honour If-Match.
func isOther(answer, looked http.Header) bool {
	return answer.Get("ETag") != looked.Get("ETag") || answer.Get(sealer.MetadataKey) != ""
}

// plain is the look at the wanted bytes of an object that is not sealed.
func (w wanted) plain(guard string) lookup {
	l := lookup{guard: guard, part: w.part > 0}
	if w.span != nil {
		l.span = w.span.String()
	}
	return l
}

// checkRead refuses what no GET or HEAD may carry.
func (c *call) checkRead() error {
	if _, err := c.customerSealing(c.req.Header); err != nil {
		return err
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

// lookup is a read of the request's object upstream.
type lookup struct {
	span  string // Range header; "": the whole object
	guard string // ETag of a look before; the client's own conditions are then not sent again
	part  bool   // with the client's part number
	bare  bool   // without the client's conditions, as with a guard
}

// fetch is the upstream's GetObject. A status of 300 or above is an error.
func (c *reader) fetch(l lookup) (*http.Response, error) { return c.read(http.MethodGet, l) }

// headAnswer is the answer to a HEAD.
type headAnswer struct {
	header http.Header
	status int
	size   int64 // Content-Length, -1 if absent
}

// head is the upstream's HeadObject.
func (c *reader) head(l lookup) (*headAnswer, error) {
	resp, err := c.read(http.MethodHead, l)
	if err != nil {
		return nil, err
	}
	return &headAnswer{resp.Header, resp.StatusCode, resp.ContentLength}, resp.Body.Close()
}

func (c *reader) read(method string, l lookup) (*http.Response, error) {
	conditions := c.readConditions()
	send := func(literal bool) (*http.Response, error) {
		h := upstreamHeader(c.req.Header)
		if l.bare || l.guard != "" {
			for _, name := range [...]string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
				h.Del(name)
			}
		} else {
			conditions.set(h, literal)
		}
		if l.guard != "" {
			h.Set("If-Match", l.guard)
		}
		if l.span != "" {
			h.Set("Range", l.span)
		}
		query := c.versionQuery()
		if l.part {
			query["partNumber"] = c.req.Query["partNumber"]
		}
		return c.Upstream.expect(c.ctx(), outgoing{
			method: method, bucket: c.req.Bucket, key: c.req.Key, query: query, header: h, as: c.caller(),
		})
	}
	resp, err := send(false)
	if statusOf(err) == http.StatusPreconditionFailed && l.guard == "" && conditions.ambiguous() {
		resp, err = send(true)
	}
	if statusOf(err) == http.StatusPreconditionFailed && l.guard != "" {
		return nil, fmt.Errorf("%w: %w", errChanged, err)
	}
	if status := statusOf(err); status == http.StatusNotModified || status == http.StatusPreconditionFailed {
		return nil, c.conditionFailed(err)
	}
	return resp, err
}

// shownTag is the ETag that a client sees for an upstream answer.
func shownTag(h http.Header) string {
	return s3.ETagShown(h.Get("ETag"), h.Get(sealer.MetadataKey) != "")
}

// versionQuery is the query of a read upstream: which version, nothing else.
func (c *reader) versionQuery() url.Values {
	q := url.Values{}
	if v, ok := c.req.Query["versionId"]; ok {
		q["versionId"] = v
	}
	return q
}

// headObject is HeadObject. It never calls the KMS.
func (c *call) headObject() error {
	if err := c.checkRead(); err != nil {
		return err
	}
	want, err := c.wanted()
	if err != nil {
		return err
	}
	return again(func() error { return c.answerHead(want) })
}

func (c *call) answerHead(want wanted) error {
	head, err := c.head(lookup{})
	if err != nil {
		return err
	}
	want = want.of(head.header)
	if head.header.Get(sealer.MetadataKey) == "" {
		if !want.whole() {
			looked := head.header
			if head, err = c.head(want.plain(looked.Get("ETag"))); err != nil {
				return err
			}
			if isOther(head.header, looked) {
				return errChanged
			}
		}
		return c.servePlain(head.header, head.status, nil)
	}
	o, err := c.inspect(head.header, head.size)
	if err != nil {
		return err
	}
	defer o.wipe()
	if err := c.checkCustomerKey(o); err != nil {
		return err
	}
	offset, length, status, err := o.resolve(want)
	if err != nil {
		return err
	}
	if err := c.setObjectHeaders(o, want, offset, length, status); err != nil {
		return err
	}
	c.w.WriteHeader(status)
	return nil
}

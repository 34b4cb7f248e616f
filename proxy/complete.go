package proxy

import (
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// completeRequest is the document of CompleteMultipartUpload.
type completeRequest struct {
	XMLName xml.Name        `xml:"CompleteMultipartUpload"`
	Parts   []completedPart `xml:"Part"`
}

type completedPart struct {
	Number *int   `xml:"PartNumber"`
	ETag   string `xml:"ETag"`
	Other  []struct {
		XMLName xml.Name
		Value   string `xml:",chardata"`
	} `xml:",any"` // checksums
}

// completeAnswer is the answer of CompleteMultipartUpload.
type completeAnswer struct {
	XMLName  xml.Name      `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUploadResult"`
	Location string        `xml:"Location"`
	Bucket   string        `xml:"Bucket"`
	Key      string        `xml:"Key"`
	ETag     string        `xml:"ETag"`
	Sums     []checksumXML `xml:",any"`
	SumType  string        `xml:"ChecksumType,omitempty"`
}

// checksumXML is an element such as ChecksumCRC32.
type checksumXML struct {
	XMLName xml.Name
	Value   string `xml:",chardata"`
}

// MarshalXML leaves the element in the namespace of the document, where a name
// without one would be put into none.
func (c checksumXML) MarshalXML(e *xml.Encoder, _ xml.StartElement) error {
	return e.EncodeElement(c.Value, xml.StartElement{Name: xml.Name{Local: c.XMLName.Local}})
}

// completeMultipartUpload is CompleteMultipartUpload. That of an upload which is no
// more may have succeeded before.
func (c *call) completeMultipartUpload() error {
	doc, body, err := c.document()
	if err != nil {
		return err
	}
	err = c.complete(doc, body)
	if !mayBeDone(err) {
		return err
	}
	d, again := c.doneBefore(doc, isNoUpload(err))
	switch {
	case again == nil:
		return c.giveAgain(d)
	case errors.Is(again, s3.ErrNoSuchUpload):
		return err
	}
	return again
}

// complete completes the upload. The part table goes upstream as the last part, then
// the upstream completes.
func (c *call) complete(doc []byte, body *clientBody) error {
	u, err := c.uploadOf()
	if err != nil {
		return err
	}
	if err := c.checkCompleteSSE(u); err != nil {
		return err
	}
	if u.Plain {
		if err := c.allowPlainUpload(); err != nil {
			return err
		}
		return c.completePlain(u, doc, body)
	}
	var request completeRequest
	if err := xml.Unmarshal(doc, &request); err != nil || len(request.Parts) == 0 {
		return s3.ErrMalformedXML.With(err)
	}
	claimed, err := readClaims(c.req.Header)
	if err != nil {
		return err
	}
	recorded, err := c.State.parts(c.ctx(), u)
	if err != nil {
		return err
	}
	chosen, err := c.choose(u, recorded, request.Parts)
	if err != nil {
		return err
	}
	table, sum, err := c.tableOf(u, chosen)
	if err != nil {
		return err
	}
	if err := claimed.check(u, table, sum); err != nil {
		return err
	}
	tail, err := c.sealTable(u, table, sum)
	if err != nil {
		return err
	}
	etag, header, err := c.finishAgain(u, chosen, freeNumber(recorded, chosen[len(chosen)-1]), tail)
	if isNoUpload(err) {
		etag, header, err = c.completedBefore(u, table, err)
	}
	if err != nil {
		return err
	}
	c.remember(etag, table.SealedSize()+int64(len(tail)), entryFactsOf(table.Size(), []sealer.Checksum{sum}))
	return c.answerComplete(u, doc, etag, header, sum, len(chosen))
}

// freeNumber is the upstream's number for the part that ends an object: the first,
// from that of the last part on, under which the upstream has no attempt of a
// part. A Complete that is refused then costs the upload nothing.
func freeNumber(recorded map[int][]*part, last *part) int {
	n := last.number
	for slices.ContainsFunc(recorded[n], func(p *part) bool { return !p.Staged }) {
		n++
	}
	return n
}

// finishUpload sends the part table under a free number and completes upstream. It
// returns the object's ETag and the upstream's headers.
func (c *call) finishUpload(u *upload, chosen []*part, number int, tail []byte) (string, http.Header, error) {
	last := chosen[len(chosen)-1]
	etag, err := c.uploadTail(u, last, number, tail)
	if err != nil {
		return "", nil, err
	}
	if last.Staged {
		chosen = chosen[:len(chosen)-1]
	}
	under := http.Header{}
	passHeaders(under, c.req.Header, "If-Match", "If-None-Match")
	if err := c.translateConditions(under); err != nil {
		return "", nil, err
	}
	return c.completeUpstream(u, chosen, number, etag, under)
}

// isNoUpload reports whether the upstream does not know an upload.
func isNoUpload(err error) bool { return isCode(err, s3.ErrNoSuchUpload) }

// isCode reports whether an error is the upstream's, with the code of e.
func isCode(err error, e *s3.Error) bool {
	var up *upstreamError
	return errors.As(err, &up) && up.code == e.Code
}

// completePlain completes an upload that is not sealed.
func (c *call) completePlain(u *upload, doc []byte, body *clientBody) error {
	o := outgoing{
		method: http.MethodPost, bucket: u.Bucket, key: u.Key, query: c.req.Query, header: upstreamHeader(c.req.Header),
		as: c.caller(), copies: true,
	}
	if err := c.translateConditions(o.header); err != nil {
		return err
	}
	setDocument(&o, doc, body.Checksums())
	for name := range c.req.Header {
		// They are of the object, not of the document.
		if lower := strings.ToLower(name); strings.HasPrefix(lower, s3.ChecksumPrefix) || lower == s3.HeaderMPObjectSize {
			passHeaders(o.header, c.req.Header, name)
		}
	}
	resp, err := c.Upstream.expect(c.ctx(), o)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := readListing(resp.Body)
	if err != nil {
		return err
	}
	if _, err := completedTag(resp, answer); err != nil {
		return err
	}
	if answer, err = s3.ReplaceText(answer, "CompleteMultipartUploadResult", "Location", c.location()); err != nil {
		return fmt.Errorf("%w: %w", errUpstream, err)
	}
	shown := http.Header{}
	copyAnswer(shown, resp.Header, false)
	shown.Del("Content-Length")
	return c.finishComplete(u, &done{Parts: hexSHA256(doc), Answer: answer, Header: flat(shown)})
}

// location is the address of the request's object at the gateway.
func (c *call) location() string {
	scheme, path := "http", s3.EscapePath(c.req.Bucket, c.req.Key)
	if c.secure() {
		scheme = "https"
	}
	if c.req.VirtualHost {
		path = strings.TrimPrefix(path, "/"+c.req.Bucket)
	}
	return scheme + "://" + c.in.Host + path
}

// completedTag reads the ETag out of the upstream's answer to a Complete, or the
// error that can follow a status of 200.
func completedTag(resp *http.Response, body []byte) (string, error) {
	var answer struct {
		XMLName xml.Name
		ETag    string `xml:"ETag"`
	}
	if err := xml.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("%w: answer to CompleteMultipartUpload: %w", errUpstream, err)
	}
	if answer.XMLName.Local == "Error" {
		return "", lateError(resp.Header, body)
	}
	return answer.ETag, nil
}

// choose finds the attempts that the client lists, by number and ETag.
func (c *call) choose(u *upload, recorded map[int][]*part, listed []completedPart) ([]*part, error) {
	var chosen []*part
	for i := range listed {
		l := &listed[i]
		if err := l.check(); err != nil {
			return nil, err
		}
		if i > 0 && *l.Number <= *listed[i-1].Number {
			return nil, s3.ErrInvalidPartOrder
		}
		found := findPart(recorded[*l.Number], l.ETag)
		if found == nil {
			return nil, u.invalidPart(l)
		}
		if found.Size < c.bounds.minPart && i < len(listed)-1 {
			return nil, s3.ErrEntityTooSmall
		}
		if err := l.checkSums(u, found); err != nil {
			return nil, err
		}
		chosen = append(chosen, found)
	}
	return chosen, nil
}

// findPart returns the one attempt whose shown ETag is given, with or without quotes.
func findPart(attempts []*part, etag string) *part {
	return theOne(attempts, func(p *part) bool { return strings.Trim(p.shown(), `"`) == strings.Trim(etag, `"`) })
}

// theOne returns the only attempt of a kind. It is nil if there is none, and if there
// are more: which one is meant must not be up to the order of a listing.
func theOne(attempts []*part, is func(*part) bool) (one *part) {
	for _, p := range attempts {
		if !is(p) {
			continue
		}
		if one != nil {
			return nil
		}
		one = p
	}
	return one
}

// check refuses an entry that no part can have.
func (l *completedPart) check() error {
	switch {
	case l.ETag == "" || l.Number == nil:
		return s3.ErrMalformedXML
	case *l.Number < 1:
		return s3.ErrArgument("PartNumber", strconv.Itoa(*l.Number), "PartNumber must be >= 1")
	}
	return nil
}

// sealTable seals the part table under the trailer key, which the root opens.
func (c *call) sealTable(u *upload, table *sealer.PartTable, sum sealer.Checksum) ([]byte, error) {
	facts, err := u.header.OpenFacts(c.binding(), c.State.Root())
	if err != nil {
		return nil, c.integrity("upload", err)
	}
	defer facts.Wipe()
	key, ok := facts.TrailerKey()
	if !ok || facts.Announced != u.announced() {
		return nil, c.integrity("upload", errMismatch)
	}
	defer key.Wipe()
	tail, err := u.header.SealPartTable(key, []sealer.Checksum{sum}, table)
	if err != nil {
		return nil, fmt.Errorf("proxy: sealing the part table: %w", err)
	}
	return tail, nil
}

// completeUpstream completes the upload upstream, under the conditions given, and
// returns the object's ETag. An upstream can answer 200 and then an error.
func (c *call) completeUpstream(u *upload, chosen []*part, tail int, etag string, under http.Header) (string, http.Header, error) {
	var doc strings.Builder
	doc.WriteString("<CompleteMultipartUpload>")
	for _, p := range chosen {
		fmt.Fprintf(&doc, `<Part><PartNumber>%d</PartNumber><ETag>"%s"</ETag></Part>`, p.number, p.ETag)
	}
	fmt.Fprintf(&doc, `<Part><PartNumber>%d</PartNumber><ETag>"%s"</ETag></Part></CompleteMultipartUpload>`, tail, etag)

	header := c.uploadHeader()
	maps.Copy(header, under)
	o := outgoing{
		method: http.MethodPost, bucket: u.Bucket, key: u.Key, header: header, as: c.caller(),
		query: u.query(0), copies: true,
	}
	setDocument(&o, []byte(doc.String()), nil)
	resp, err := c.Upstream.expect(c.ctx(), o)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := readListing(resp.Body)
	if err != nil {
		return "", nil, err
	}
	tag, err := completedTag(resp, body)
	return tag, resp.Header, err
}

// answerComplete makes the answer for a sealed object.
func (c *call) answerComplete(u *upload, request []byte, etag string, stored http.Header, sum sealer.Checksum, parts int) error {
	a := completeAnswer{
		Location: c.location(),
		Bucket:   u.Bucket, Key: u.Key, ETag: s3.ETagShown(etag, true),
		SumType: checksumType(sum),
		Sums:    []checksumXML{{xml.Name{Local: "Checksum" + sum.Algorithm.String()}, checksumValue(sum, parts)}},
	}
	doc, err := xml.Marshal(a)
	if err != nil {
		return fmt.Errorf("proxy: encoding an answer: %w", err)
	}
	d := done{Parts: hexSHA256(request), Answer: append([]byte(xml.Header), doc...), Header: map[string]string{}}
	if v := stored.Get(s3.HeaderVersionID); v != "" {
		d.Header[s3.HeaderVersionID] = v
	}
	shown := http.Header{}
	sealingOf(u.header).setHeaders(shown)
	maps.Copy(d.Header, flat(shown))
	return c.finishComplete(u, &d)
}

package proxy

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/sealer"
)

// completeRequest is the document of CompleteMultipartUpload.
type completeRequest struct {
	XMLName xml.Name        `xml:"CompleteMultipartUpload"`
	Parts   []completedPart `xml:"Part"`
}

type completedPart struct {
	Number int    `xml:"PartNumber"`
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

// done is what is kept of a Complete, so that it can be given again.
type done struct {
	Parts  string            `json:"parts"` // digest of the request's document
	Answer []byte            `json:"answer"`
	Header map[string]string `json:"header,omitempty"`
}

// completeMultipartUpload is CompleteMultipartUpload. The part table goes
// upstream as the last part, then the upstream completes.
func (c *call) completeMultipartUpload() error {
	doc, body, err := c.document()
	if err != nil {
		return err
	}
	u, err := c.uploadOf()
	if errors.Is(err, s3.ErrNoSuchUpload) {
		return c.answerAgain(doc)
	}
	if err != nil {
		return err
	}
	if u.Plain {
		return c.completePlain(u, doc, body)
	}
	var request completeRequest
	if err := xml.Unmarshal(doc, &request); err != nil || len(request.Parts) == 0 {
		return s3.ErrMalformedXML.With(err)
	}
	chosen, err := c.choose(u, request.Parts)
	if err != nil {
		return err
	}
	table, sums, err := c.tableOf(u, chosen)
	if err != nil {
		return err
	}
	if err := c.checkWhole(sums, table.Size()); err != nil {
		return err
	}
	tail, err := c.sealTable(u, table, sums)
	if err != nil {
		return err
	}
	number, etag, err := c.uploadTail(u, chosen[len(chosen)-1], tail)
	if err != nil {
		return err
	}
	stored, header, err := c.completeUpstream(u, chosen, number, etag)
	if err != nil {
		return err
	}
	return c.answerComplete(u, doc, stored, header, sums, len(chosen))
}

// completePlain completes an upload that is not sealed.
func (c *call) completePlain(u *upload, doc []byte, body *clientBody) error {
	o := outgoing{
		method: http.MethodPost, bucket: u.Bucket, key: u.Key, query: c.req.Query, header: upstreamHeader(c.req.Header),
		anonymous: c.auth.Anonymous(),
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
	if err := c.sendDocument(resp, answer); err != nil {
		return err
	}
	if err := c.State.forget(c.ctx(), u); err != nil {
		c.log.Warn("upload records left behind", zap.Error(err))
	}
	return nil
}

// choose finds the attempts that the client lists, by number and ETag.
func (c *call) choose(u *upload, listed []completedPart) ([]*part, error) {
	recorded, err := c.State.parts(c.ctx(), u)
	if err != nil {
		return nil, err
	}
	var chosen []*part
	for i, l := range listed {
		if i > 0 && l.Number <= listed[i-1].Number {
			return nil, s3.ErrInvalidPartOrder
		}
		found := findPart(recorded[l.Number], l.ETag)
		if found == nil || !l.agrees(found) {
			return nil, s3.ErrInvalidPart
		}
		if found.Size < minPart && i < len(listed)-1 {
			return nil, s3.ErrEntityTooSmall
		}
		chosen = append(chosen, found)
	}
	return chosen, nil
}

// findPart returns the attempt whose shown ETag is given, with or without quotes.
func findPart(attempts []*part, etag string) *part {
	for _, p := range attempts {
		if strings.Trim(p.shown(), `"`) == strings.Trim(etag, `"`) {
			return p
		}
	}
	return nil
}

// agrees reports whether the checksums that the client lists for a part are
// those of its attempt.
func (l *completedPart) agrees(p *part) bool {
	for _, o := range l.Other {
		name, ok := strings.CutPrefix(o.XMLName.Local, "Checksum")
		if !ok {
			continue
		}
		if a, known := sealer.ParseAlgorithm(name); known && (p.Checksum == nil || p.Checksum.Algorithm != a || checksumText(p.Checksum.Digest) != o.Value) {
			return false
		}
	}
	return true
}

// tableOf returns the part table and the object's checksums. Parts have
// checksums in the table when all have one of the same algorithm.
func (c *call) tableOf(u *upload, chosen []*part) (*sealer.PartTable, []sealer.Checksum, error) {
	table := &sealer.PartTable{}
	same := chosen[0].Checksum != nil
	for _, p := range chosen {
		same = same && p.Checksum != nil && p.Checksum.Algorithm == chosen[0].Checksum.Algorithm
		table.Parts = append(table.Parts, sealer.Part{Number: p.number, Size: p.Size, Nonce: p.Nonce})
	}
	if !same {
		return table, nil, nil
	}
	for i, p := range chosen {
		table.Parts[i].Digest = p.Checksum.Digest
	}
	table.Algorithm = chosen[0].Checksum.Algorithm
	_, combines := combinable[table.Algorithm]
	table.Composite = u.Type == composite || u.Type == "" && !combines
	if u.Type == "" {
		return table, nil, nil // no checksum of the whole was asked for
	}
	sum, err := objectChecksum(table.Algorithm, table.Composite, table.Parts)
	if err != nil {
		return nil, nil, err
	}
	return table, []sealer.Checksum{sum}, nil
}

// checkWhole holds what the client says of the whole object against what it uploaded.
func (c *call) checkWhole(sums []sealer.Checksum, size int64) error {
	h := c.req.Header
	if v := h.Get(s3.HeaderMPObjectSize); v != "" && v != strconv.FormatInt(size, 10) {
		return s3.ErrInvalidRequest.Msg("The provided 'x-amz-mp-object-size' header does not match the size of the uploaded parts.")
	}
	for _, sum := range sums {
		v := h.Get(sigv4.HeaderName(sum.Algorithm.String()))
		if v, _, _ = strings.Cut(v, "-"); v != "" && v != checksumText(sum.Digest) {
			return s3.ErrBadDigest
		}
	}
	return nil
}

// sealTable seals the part table under the trailer key, which the root opens.
func (c *call) sealTable(u *upload, table *sealer.PartTable, sums []sealer.Checksum) ([]byte, error) {
	facts, err := u.header.OpenFacts(c.binding(), c.State.Root())
	if err != nil {
		return nil, c.integrity("upload", err)
	}
	defer facts.Wipe()
	key, ok := facts.TrailerKey()
	if !ok {
		return nil, c.integrity("upload", errMismatch)
	}
	defer key.Wipe()
	tail, err := u.header.SealPartTable(key, sums, table)
	if err != nil {
		return nil, fmt.Errorf("proxy: sealing the part table: %w", err)
	}
	return tail, nil
}

// completeUpstream completes the upload upstream, conditions included, and
// returns the object's ETag. An upstream can answer 200 and then an error.
func (c *call) completeUpstream(u *upload, chosen []*part, tail int, etag string) (string, http.Header, error) {
	var doc strings.Builder
	doc.WriteString("<CompleteMultipartUpload>")
	for _, p := range chosen {
		if !p.Staged {
			fmt.Fprintf(&doc, `<Part><PartNumber>%d</PartNumber><ETag>"%s"</ETag></Part>`, p.number, p.ETag)
		}
	}
	fmt.Fprintf(&doc, `<Part><PartNumber>%d</PartNumber><ETag>"%s"</ETag></Part></CompleteMultipartUpload>`, tail, etag)

	header := http.Header{}
	passHeaders(header, c.req.Header, "If-Match", "If-None-Match", s3.HeaderExpectedOwner, s3.HeaderRequestPayer)
	if err := c.translateConditions(header); err != nil {
		return "", nil, err
	}
	o := outgoing{
		method: http.MethodPost, bucket: u.Bucket, key: u.Key, header: header, anonymous: c.auth.Anonymous(),
		query: url.Values{"uploadId": {u.ID}},
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
	var answer struct {
		XMLName xml.Name
		ETag    string `xml:"ETag"`
		Code    string `xml:"Code"`
	}
	if err := xml.Unmarshal(body, &answer); err != nil {
		return "", nil, fmt.Errorf("%w: answer to CompleteMultipartUpload: %w", errUpstream, err)
	}
	if answer.XMLName.Local == "Error" {
		e := s3.ErrorByCode(answer.Code)
		return "", nil, &upstreamError{status: e.Status, header: resp.Header, body: body, code: answer.Code}
	}
	return answer.ETag, resp.Header, nil
}

// answerComplete answers, and keeps the answer for a client that asks again.
func (c *call) answerComplete(u *upload, request []byte, etag string, stored http.Header, sums []sealer.Checksum, parts int) error {
	scheme := "http"
	if c.secure() {
		scheme = "https"
	}
	a := completeAnswer{
		Location: (&url.URL{Scheme: scheme, Host: c.in.Host, Path: "/" + u.Bucket + "/" + u.Key}).String(),
		Bucket:   u.Bucket, Key: u.Key, ETag: s3.ETagShown(etag, true),
	}
	for _, s := range sums {
		a.SumType = checksumType(s)
		a.Sums = append(a.Sums, checksumXML{xml.Name{Local: "Checksum" + s.Algorithm.String()}, checksumValue(s, parts)})
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
	(&sealing{scheme: u.header.Scheme, keyName: u.header.KeyName, encoded: u.header.Context}).setHeaders(shown)
	for name := range shown {
		if v := shown.Get(name); v != "" {
			d.Header[name] = v
		}
	}
	// The object is there: what fails from here on costs a retry its answer, or
	// leaves records to the sweep, and must not fail the request.
	if plain, err := json.Marshal(d); err == nil {
		err = c.State.save(c.ctx(), u.prefix()+doneRecord, plain)
		if err == nil {
			err = c.State.forget(c.ctx(), u)
		}
		if err != nil {
			c.log.Warn("upload records left behind", zap.Error(err))
		}
	}
	return c.give(&d)
}

func (c *call) give(d *done) error {
	h := c.w.Header()
	for name, value := range d.Header {
		h.Set(name, value)
	}
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(d.Answer)))
	_, err := c.w.Write(d.Answer)
	return err
}

// answerAgain gives the answer of a Complete that succeeded before, to the same
// request.
func (c *call) answerAgain(request []byte) error {
	u := &upload{Bucket: c.req.Bucket, Key: c.req.Key, ID: c.req.Query.Get("uploadId")}
	plain, err := c.State.load(c.ctx(), u.prefix()+doneRecord, maxUpload)
	if statusOf(err) == http.StatusNotFound {
		return s3.ErrNoSuchUpload
	}
	if err != nil {
		return err
	}
	var d done
	if err := json.Unmarshal(plain, &d); err != nil {
		return fmt.Errorf("%w: record of a Complete: %w", errIntegrity, err)
	}
	if d.Parts != hexSHA256(request) {
		return s3.ErrNoSuchUpload
	}
	return c.give(&d)
}

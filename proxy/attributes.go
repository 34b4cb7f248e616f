package proxy

import (
	"cmp"
	"encoding/xml"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// getObjectAttributes is GetObjectAttributes, with plaintext sizes.
func getObjectAttributes(c *call) error {
	asked, err := askedAttributes(c)
	if err != nil {
		return err
	}
	r := c.object()
	head, err := r.Head(c.ctx(), object.Request{})
	if err != nil {
		return refusedAttributes(c, r, err)
	}
	if !head.Sealed() {
		if err := allowPlain(c, r); err != nil {
			return err
		}
		return plainAttributes(c, head, asked)
	}
	if len(asked) == 0 {
		return s3.ErrInvalidRequest.Msg("The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty")
	}
	o, err := r.Inspect(c.ctx(), head.Header, head.Size)
	if err != nil {
		return err
	}
	defer o.Wipe()
	if err := r.CheckCustomerKey(c.ctx(), o); err != nil {
		return err
	}
	answer, err := attributes(c, r, o, asked)
	if err != nil {
		return err
	}
	h := c.w.Header()
	for _, name := range [...]string{"Last-Modified", s3.HeaderVersionID, s3.HeaderDeleteMarker} {
		upstream.PassHeaders(h, o.Stored, name)
	}
	setWarning(h, o)
	return c.w.sendXML(http.StatusOK, answer)
}

// plainAttributes answers for an object that is not sealed. A store that does
// not know the operation refuses it, or answers with the object.
func plainAttributes(c *call, head *object.Stored, asked []string) error {
	resp, err := sendOn(c, outgoing(c))
	if err != nil && !upstream.IsUnknown(err) {
		return err
	}
	if err == nil {
		defer func() { _ = resp.Body.Close() }()
		doc, err := upstream.ReadDocument(resp.Body)
		if err == nil && s3.HasRoot(doc, "GetObjectAttributesResponse") {
			return passAnswer(c, resp, doc, "application/xml")
		}
	}
	upstream.PassHeaders(c.w.Header(), head.Header, "Last-Modified", s3.HeaderVersionID)
	return c.w.sendXML(http.StatusOK, mainAttributes(head.Header, head.Size, asked))
}

// askedAttributes reads x-amz-object-attributes.
func askedAttributes(c *call) ([]string, error) {
	var asked []string
	for name := range strings.SplitSeq(c.req.Header.Get(s3.HeaderObjectAttributes), ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		if !slices.Contains(attributeNames, name) {
			return nil, s3.ErrArgument(s3.HeaderObjectAttributes, name, "Invalid attribute name specified.")
		}
		asked = append(asked, name)
	}
	return asked, nil
}

// attributeNames are the attributes that a client can ask for.
var attributeNames = []string{"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}

// refusedAttributes returns the store's error for GetObjectAttributes itself,
// after the store refused a HEAD with err. That of a store without the
// operation would tell nothing about the object.
func refusedAttributes(c *call, r *object.Reader, err error) error {
	if upstream.StatusOf(err) < 400 {
		return err
	}
	resp, refused := sendOn(c, outgoing(c))
	switch {
	case refused == nil:
		_ = resp.Body.Close() // it was created meanwhile; this answer would show its sealed size
		return err
	case upstream.IsUnknown(refused) && upstream.StatusOf(refused) != upstream.StatusOf(err):
		return r.Explain(c.ctx(), err)
	}
	return refused
}

// mainAttributes returns the requested attributes that an object's headers and
// plaintext size hold.
func mainAttributes(stored http.Header, size int64, asked []string) *attributesAnswer {
	answer := &attributesAnswer{}
	if slices.Contains(asked, "ETag") {
		answer.ETag = strings.Trim(object.ShownTag(stored), `"`)
	}
	if slices.Contains(asked, "ObjectSize") {
		answer.ObjectSize = &size
	}
	if slices.Contains(asked, "StorageClass") {
		answer.StorageClass = cmp.Or(stored.Get(s3.HeaderStorageClass), "STANDARD")
	}
	return answer
}

// attributes returns the requested attributes of a sealed object.
func attributes(c *call, r *object.Reader, o *object.Object, asked []string) (*attributesAnswer, error) {
	answer := mainAttributes(o.Stored, o.Size, asked)
	if slices.Contains(asked, "Checksum") {
		sums, err := r.Checksums(c.ctx(), o, 0)
		if err != nil {
			return nil, err
		}
		for i, s := range sums {
			if i == 0 {
				answer.Checksum = &checksumsOf{Type: object.ChecksumType(s)}
			}
			// Without the number of parts, which ObjectParts has.
			answer.Checksum.Sums = append(answer.Checksum.Sums, s3.NewChecksumElement(s.Algorithm.String(), s3.ChecksumText(s.Digest)))
		}
	}
	if slices.Contains(asked, "ObjectParts") && o.Parts != nil {
		parts, err := attributeParts(c, o.Parts)
		if err != nil {
			return nil, err
		}
		answer.ObjectParts = parts
	}
	return answer, nil
}

// attributeParts returns the page of parts that the request asks for.
func attributeParts(c *call, table *sealer.PartTable) (*partsOf, error) {
	page := &partsOf{Total: len(table.Parts), MaxParts: maxPartsPage}
	for name, n := range map[string]*int{s3.HeaderPartNumberMarker: &page.Marker, s3.HeaderMaxParts: &page.MaxParts} {
		text := c.req.Header.Get(name)
		if text == "" {
			continue
		}
		v, err := strconv.Atoi(text)
		if err != nil || v < 0 {
			return nil, s3.ErrInvalidArgument.Msg("Argument %s must be an integer between 0 and 2147483647", name)
		}
		*n = v
	}
	page.MaxParts = min(page.MaxParts, maxPartsPage)
	for _, p := range table.Parts {
		if p.Number <= page.Marker {
			continue
		}
		if len(page.Parts) == page.MaxParts {
			page.IsTruncated = true
			break
		}
		x := attributesPart{Number: p.Number, Size: p.Size}
		if table.Algorithm != 0 {
			x.Sums = []s3.ChecksumElement{s3.NewChecksumElement(table.Algorithm.String(), s3.ChecksumText(p.Digest))}
		}
		page.Parts = append(page.Parts, x)
		page.NextMarker = p.Number
	}
	return page, nil
}

// attributesAnswer is the document that answers GetObjectAttributes.
type attributesAnswer struct {
	XMLName      xml.Name     `xml:"http://s3.amazonaws.com/doc/2006-03-01/ GetObjectAttributesResponse"`
	ETag         string       `xml:"ETag,omitempty"`
	Checksum     *checksumsOf `xml:"Checksum"`
	ObjectParts  *partsOf     `xml:"ObjectParts"`
	StorageClass string       `xml:"StorageClass,omitempty"`
	ObjectSize   *int64       `xml:"ObjectSize"`
}

type checksumsOf struct {
	Sums []s3.ChecksumElement `xml:",any"`
	Type string               `xml:"ChecksumType,omitempty"`
}

type partsOf struct {
	Total       int              `xml:"PartsCount"`
	Marker      int              `xml:"PartNumberMarker"`
	NextMarker  int              `xml:"NextPartNumberMarker"`
	MaxParts    int              `xml:"MaxParts"`
	IsTruncated bool             `xml:"IsTruncated"`
	Parts       []attributesPart `xml:"Part"`
}

type attributesPart struct {
	Number int                  `xml:"PartNumber"`
	Size   int64                `xml:"Size"`
	Sums   []s3.ChecksumElement `xml:",any"`
}

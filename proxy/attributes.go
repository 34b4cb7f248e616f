package proxy

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// attributesAnswer is the answer of GetObjectAttributes.
type attributesAnswer struct {
	XMLName      xml.Name     `xml:"http://s3.amazonaws.com/doc/2006-03-01/ GetObjectAttributesResponse"`
	ETag         string       `xml:"ETag,omitempty"`
	Checksum     *checksumsOf `xml:"Checksum"`
	ObjectParts  *partsOf     `xml:"ObjectParts"`
	StorageClass string       `xml:"StorageClass,omitempty"`
	ObjectSize   *int64       `xml:"ObjectSize"`
}

type checksumsOf struct {
	Sums []checksumXML `xml:",any"`
	Type string        `xml:"ChecksumType,omitempty"`
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
	Number int           `xml:"PartNumber"`
	Size   int64         `xml:"Size"`
	Sums   []checksumXML `xml:",any"`
}

// attributeNames are the attributes that can be asked for.
var attributeNames = []string{"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}

// getObjectAttributes is GetObjectAttributes, with plaintext sizes throughout.
func (c *call) getObjectAttributes() error {
	asked, err := c.askedAttributes()
	if err != nil {
		return err
	}
	head, err := c.head(lookup{})
	if err != nil {
		return c.refusedAttributes(err)
	}
	if head.header.Get(sealer.MetadataKey) == "" {
		if err := c.allowPlain(); err != nil {
			return err
		}
		return c.forward()
	}
	if len(asked) == 0 {
		return s3.ErrInvalidRequest.Msg("The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty")
	}
	o, err := c.inspect(head.header, head.size)
	if err != nil {
		return err
	}
	defer o.wipe()
	if err := c.checkCustomerKey(o); err != nil {
		return err
	}
	answer, err := c.attributes(o, asked)
	if err != nil {
		return err
	}
	doc, err := xml.Marshal(answer)
	if err != nil {
		return fmt.Errorf("proxy: encoding an answer: %w", err)
	}
	doc = append([]byte(xml.Header), doc...)
	h := c.w.Header()
	for _, name := range [...]string{"Last-Modified", s3.HeaderVersionID, s3.HeaderDeleteMarker} {
		passHeaders(h, o.stored, name)
	}
	o.warn(h)
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(doc)))
	c.w.WriteHeader(http.StatusOK)
	_, err = c.w.Write(doc)
	return err
}

// refusedAttributes returns what the upstream says of this very operation, when
// it refused to show the object.
func (c *call) refusedAttributes(err error) error {
	if statusOf(err) < 400 {
		return err
	}
	resp, refused := c.forwarded()
	if refused == nil {
		_ = resp.Body.Close() // it has come to be since: its size would be the sealed one
		return err
	}
	return refused
}

// askedAttributes reads x-amz-object-attributes.
func (c *call) askedAttributes() ([]string, error) {
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

// attributes collects what is asked for of a sealed object.
func (c *call) attributes(o *sealedObject, asked []string) (*attributesAnswer, error) {
	answer := &attributesAnswer{}
	if slices.Contains(asked, "ETag") {
		answer.ETag = strings.Trim(shownTag(o.stored), `"`)
	}
	if slices.Contains(asked, "ObjectSize") {
		answer.ObjectSize = &o.size
	}
	if slices.Contains(asked, "StorageClass") {
		answer.StorageClass = o.stored.Get(s3.HeaderStorageClass)
		if answer.StorageClass == "" {
			answer.StorageClass = "STANDARD"
		}
	}
	if slices.Contains(asked, "Checksum") {
		sums, err := c.checksums(o, 0)
		if err != nil {
			return nil, err
		}
		for i, s := range sums {
			if i == 0 {
				answer.Checksum = &checksumsOf{Type: checksumType(s)}
			}
			// Without the count of parts, which ObjectParts tells.
			answer.Checksum.Sums = append(answer.Checksum.Sums, checksumXML{xml.Name{Local: "Checksum" + s.Algorithm.String()}, checksumText(s.Digest)})
		}
	}
	if slices.Contains(asked, "ObjectParts") && o.parts != nil {
		parts, err := c.attributeParts(o.parts)
		if err != nil {
			return nil, err
		}
		answer.ObjectParts = parts
	}
	return answer, nil
}

// attributeParts is the page of parts that the request's headers ask for.
func (c *call) attributeParts(table *sealer.PartTable) (*partsOf, error) {
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
			x.Sums = []checksumXML{{xml.Name{Local: "Checksum" + table.Algorithm.String()}, checksumText(p.Digest)}}
		}
		page.Parts = append(page.Parts, x)
		page.NextMarker = p.Number
	}
	return page, nil
}

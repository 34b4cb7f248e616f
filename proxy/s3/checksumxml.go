package s3

import (
	"encoding/base64"
	"encoding/xml"
)

// ChecksumElement is an element such as ChecksumCRC32 in a document.
type ChecksumElement struct {
	XMLName xml.Name
	Value   string `xml:",chardata"` // the digest in base64
}

// NewChecksumElement returns the element for a checksum of an algorithm, named
// as S3 names it ("CRC32"). value is the text of the element.
func NewChecksumElement(algorithm, value string) ChecksumElement {
	return ChecksumElement{xml.Name{Local: "Checksum" + algorithm}, value}
}

// MarshalXML leaves the element in the namespace of the document. By default
// encoding/xml puts a name without a namespace outside every namespace.
func (c ChecksumElement) MarshalXML(e *xml.Encoder, _ xml.StartElement) error {
	return e.EncodeElement(c.Value, xml.StartElement{Name: xml.Name{Local: c.XMLName.Local}})
}

// ChecksumText is a digest as checksum headers carry it.
func ChecksumText(digest []byte) string { return base64.StdEncoding.EncodeToString(digest) }

package s3

import (
	"bytes"
	"encoding/xml"
	"strings"
)

// DefaultRegion is the region that a document names by an empty
// LocationConstraint, or by none.
const DefaultRegion = "us-east-1"

// Location returns the answer to GetBucketLocation for a region.
func Location(region string) []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header + `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
	if region != DefaultRegion {
		_ = xml.EscapeText(&b, []byte(region)) // a buffer takes everything
	}
	b.WriteString("</LocationConstraint>")
	return b.Bytes()
}

const createRoot = "CreateBucketConfiguration"

// Relocate returns the document of a CreateBucket that names the region from,
// with the region to instead. The default region needs no document. Any other
// document stays.
func Relocate(doc []byte, from, to string) []byte {
	var c struct {
		XMLName  xml.Name
		Location string `xml:"LocationConstraint"`
		Others   []struct {
			XMLName xml.Name
		} `xml:",any"`
	}
	err := xml.Unmarshal(doc, &c)
	switch {
	case err != nil || c.XMLName.Local != createRoot || strings.TrimSpace(c.Location) != from || from == to:
		return doc
	case to == DefaultRegion && len(c.Others) == 0:
		return nil
	}
	relocated, err := ReplaceText(doc, createRoot, "LocationConstraint", to)
	if err != nil {
		return doc
	}
	return relocated
}

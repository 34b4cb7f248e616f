package s3

import (
	"bytes"
	"encoding/xml"
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Limits of the tags of an object, as Amazon S3 has them. Lengths are in
// characters.
const (
	maxTags     = 10
	maxTagKey   = 128
	maxTagValue = 256
)

var errRepeatedTag = ErrInvalidTag.Msg("Cannot provide multiple Tags with the same key")

// ParseTags parses a value of x-amz-tagging. Errors: InvalidArgument if it is
// not in the form of a query; InvalidTag for keys that repeat, and for keys and
// values with a wrong length; BadRequest for more than 10 tags.
func ParseTags(header string) (url.Values, error) {
	tags, err := url.ParseQuery(header)
	if err != nil {
		return nil, ErrArgument(HeaderTagging, header, "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
	}
	if len(tags) > maxTags {
		return nil, ErrBadRequest.Msg("Object tags cannot be greater than %d", maxTags)
	}
	for key, values := range tags {
		switch n := utf8.RuneCountInString(key); {
		case len(values) > 1:
			return nil, errRepeatedTag
		case n == 0 || n > maxTagKey:
			return nil, ErrInvalidTag.Msg("The TagKey you have provided is invalid")
		case utf8.RuneCountInString(values[0]) > maxTagValue:
			return nil, ErrInvalidTag.Msg("The TagValue you have provided is invalid")
		}
	}
	return tags, nil
}

// TagsDocument returns the document of a PutObjectTagging.
func TagsDocument(tags url.Values) []byte {
	var doc bytes.Buffer
	doc.WriteString("<Tagging><TagSet>")
	for key := range tags {
		doc.WriteString("<Tag><Key>")
		_ = xml.EscapeText(&doc, []byte(key)) // a buffer takes everything
		doc.WriteString("</Key><Value>")
		_ = xml.EscapeText(&doc, []byte(tags.Get(key)))
		doc.WriteString("</Value></Tag>")
	}
	doc.WriteString("</TagSet></Tagging>")
	return doc.Bytes()
}

// tagsHeader returns a Tagging document as a value of x-amz-tagging.
func tagsHeader(doc string) (string, error) {
	var tagging struct {
		XMLName xml.Name `xml:"Tagging"`
		Sets    []struct {
			Tags []struct {
				Keys   []string `xml:"Key"`
				Values []string `xml:"Value"`
			} `xml:"Tag"`
		} `xml:"TagSet"`
	}
	if err := xml.Unmarshal([]byte(doc), &tagging); err != nil || len(tagging.Sets) != 1 {
		return "", ErrMalformedXML.With(err)
	}
	tags := url.Values{}
	for _, t := range tagging.Sets[0].Tags {
		switch {
		case len(t.Keys) != 1 || len(t.Values) != 1:
			return "", ErrMalformedXML.With(errors.New("s3: a tag needs one key and one value"))
		case tags.Has(t.Keys[0]):
			return "", errRepeatedTag
		}
		tags.Set(t.Keys[0], t.Values[0])
	}
	return strings.ReplaceAll(tags.Encode(), "+", "%20"), nil
}

package s3

import (
	"bytes"
	"encoding/xml"
	"errors"
	"net/url"
	"regexp"
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
// not in the form of a query of UTF-8; InvalidTag for keys that repeat or begin
// with aws:, and for keys and values with a wrong length or with characters
// that no document can hold; BadRequest for more than 10 tags.
func ParseTags(header string) (url.Values, error) {
	tags, err := url.ParseQuery(header)
	if text, _ := url.QueryUnescape(header); err != nil || !utf8.ValidString(text) {
		return nil, ErrArgument(HeaderTagging, header, "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
	}
	if len(tags) > maxTags {
		return nil, ErrBadRequest.Msg("Object tags cannot be greater than %d", maxTags)
	}
	for key, values := range tags {
		switch n := utf8.RuneCountInString(key); {
		case len(values) > 1:
			return nil, errRepeatedTag
		case n == 0 || n > maxTagKey || !isText(key):
			return nil, ErrInvalidTag.Msg("The TagKey you have provided is invalid")
		case strings.HasPrefix(key, "aws:"):
			return nil, ErrInvalidTag.Msg("System tags cannot be added/updated by requester")
		case utf8.RuneCountInString(values[0]) > maxTagValue || !isText(values[0]):
			return nil, ErrInvalidTag.Msg("The TagValue you have provided is invalid")
		}
	}
	return tags, nil
}

// isText reports whether an XML 1.0 document can hold the characters of v.
func isText(v string) bool {
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(v)) // a builder takes everything
	return strings.Count(escaped.String(), "\uFFFD") == strings.Count(v, "\uFFFD")
}

// AreCommon reports whether each store that has tags takes these ones, as all
// their characters are among those that Amazon S3 documents, and each is a
// byte.
func AreCommon(tags url.Values) bool {
	for key, values := range tags {
		if !commonTag.MatchString(key) || !commonTag.MatchString(values[0]) {
			return false
		}
	}
	return true
}

var commonTag = regexp.MustCompile(`^[A-Za-z0-9+=._:/@-]([A-Za-z0-9 +=._:/@-]*[A-Za-z0-9+=._:/@-])?$`)

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

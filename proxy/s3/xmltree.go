package s3

import (
	"bytes"
	"encoding/xml"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrDocument means that a document of the upstream cannot be understood.
var ErrDocument = errors.New("s3: unexpected XML document")

// span is a half-open interval of bytes in a document.
type span struct{ start, end int }

func (s span) of(doc []byte) []byte { return doc[s.start:s.end] }

// element is the position of an element in a document: with its tags, and the
// content between them. The content of a self-closing element is empty and at
// its end.
type element struct {
	name         string // without namespace
	whole, inner span
}

// selfClosing reports whether e is written as <Name/>.
func (e element) selfClosing() bool { return e.inner.end == e.whole.end }

// maskControls returns doc with everything masked, byte for byte, that XML 1.0
// cannot hold but stores send for keys with odd characters: control characters,
// references to them, and bytes that are not UTF-8. Offsets stay the same.
func maskControls(doc []byte) []byte {
	var masked []byte
	for i := 0; i < len(doc); {
		r, n := rune(doc[i]), 1
		switch {
		case r == '&':
			if r, n = reference(doc[i:]); n == 0 {
				r, n = '&', 1
			}
		case r >= utf8.RuneSelf:
			if r, n = utf8.DecodeRune(doc[i:]); n == 1 {
				r = 0 // not UTF-8
			}
		}
		if !isXMLChar(r) {
			if masked == nil {
				masked = slices.Clone(doc)
			}
			for k := i; k < i+n; k++ {
				masked[k] = '*' // '*' is not markup
			}
		}
		i += n
	}
	if masked == nil {
		return doc
	}
	return masked
}

// maxReference is the longest character reference that is decoded, in bytes.
const maxReference = 16

// reference decodes the numeric character reference at the start of s, which
// begins with '&'. n is its length, or 0 if there is none.
func reference(s []byte) (r rune, n int) {
	end := bytes.IndexByte(s[:min(len(s), maxReference)], ';')
	if end < 3 || s[1] != '#' {
		return 0, 0
	}
	digits, base := string(s[2:end]), 10
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	v, err := strconv.ParseUint(digits, base, 31)
	if err != nil {
		return 0, 0
	}
	return rune(v), end + 1
}

// isXMLChar reports whether r is a Char of XML 1.0, section 2.2.
func isXMLChar(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= ' ' && r <= 0xD7FF ||
		r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= utf8.MaxRune
}

// entities are the named references of XML without a document type.
var entities = [...]struct {
	reference []byte
	character rune
}{
	{[]byte("&quot;"), '"'}, {[]byte("&amp;"), '&'}, {[]byte("&lt;"), '<'}, {[]byte("&gt;"), '>'}, {[]byte("&apos;"), '\''},
}

// text returns the character data of an element that contains no other
// elements. It also decodes references to control characters, which XML 1.0
// forbids.
func text(content []byte) string {
	if bytes.IndexByte(content, '<') >= 0 {
		return markedText(content)
	}
	if bytes.IndexByte(content, '&') < 0 {
		return string(content)
	}
	b := make([]byte, 0, len(content))
	for {
		i := bytes.IndexByte(content, '&')
		if i < 0 {
			return string(append(b, content...))
		}
		b, content = append(b, content[:i]...), content[i:]
		r, n := reference(content)
		if n == 0 {
			r, n = namedReference(content)
		}
		b, content = utf8.AppendRune(b, r), content[n:]
	}
}

// namedReference decodes the named reference of XML without a document type at
// the start of s, which begins with '&'. n is its length.
func namedReference(s []byte) (r rune, n int) {
	for _, e := range entities {
		if bytes.HasPrefix(s, e.reference) {
			return e.character, len(e.reference)
		}
	}
	return '&', 1 // unreachable for documents that walk has accepted
}

// markedText is text for content with comments or CDATA sections.
func markedText(content []byte) string {
	var b strings.Builder
	d := xml.NewDecoder(bytes.NewReader(maskControls(content)))
	for {
		tok, err := d.Token()
		if err != nil {
			return b.String()
		}
		if chars, ok := tok.(xml.CharData); ok {
			b.Write(chars)
		}
	}
}

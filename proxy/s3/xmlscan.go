package s3

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// scanner parses the markup of a document without copying the text, which may
// be long. It knows the constructs of XML 1.0 except document types. It accepts
// less than the standard allows, never more: a document that a client might
// read differently than the gateway is refused.
type scanner struct {
	doc   []byte
	pos   int // position of the next byte
	limit int // largest depth of nesting
	open  []opened
	ended bool // the root element has ended
	names map[string]string
	visit func(depth int, e element) error
}

// opened is an element whose end has not been read yet.
type opened struct {
	element
	raw []byte // the name, including its namespace prefix
}

var (
	errSyntax = fmt.Errorf("%w: syntax", ErrDocument)
	errActive = fmt.Errorf("%w: markup that a browser runs", ErrDocument)

	byteOrderMark = []byte("\xef\xbb\xbf")
	whiteSpace    = []byte(" \t\r\n")
	declaration   = regexp.MustCompile(`^xml[ \t\r\n]+version=["']1\.0["']([ \t\r\n]+encoding=["'](?i:utf-8)["'])?([ \t\r\n]+standalone=["'](yes|no)["'])?[ \t\r\n]*$`)
)

// CheckDocument returns an error unless doc is a well-formed XML document
// without a document type and without content that a browser would run.
func CheckDocument(doc []byte) error {
	return walk(doc, maxCheckedDepth, func(depth int, e element) error {
		if depth == 0 && strings.EqualFold(e.name, "html") {
			return errActive
		}
		return nil
	})
}

// maxCheckedDepth limits the nesting of documents that are only checked.
const maxCheckedDepth = 64

// walk calls visit for each element of doc when it ends, with the number of
// elements around it. Children come before their parents. visit may stop the
// walk by returning an error. Nesting deeper than limit, a document type and
// trailing elements are errors.
func walk(doc []byte, limit int, visit func(depth int, e element) error) error {
	s := &scanner{doc: maskControls(doc), limit: limit, names: map[string]string{}, visit: visit}
	if bytes.HasPrefix(s.doc, byteOrderMark) {
		s.pos = len(byteOrderMark)
	}
	for first := s.pos; s.pos < len(s.doc); {
		if err := s.next(s.pos == first); err != nil {
			return fmt.Errorf("%w before byte %d", err, s.pos)
		}
	}
	if !s.ended {
		return fmt.Errorf("%w: incomplete", ErrDocument)
	}
	return nil
}

// next reads text up to the next markup, and that markup.
func (s *scanner) next(first bool) error {
	rest := s.doc[s.pos:]
	length := bytes.IndexByte(rest, '<')
	if length < 0 {
		length = len(rest)
	}
	if length > 0 {
		s.pos += length
		return s.characters(rest[:length])
	}
	switch {
	case bytes.HasPrefix(rest, []byte("<!--")):
		comment, err := s.until(4, "-->")
		if err == nil && (bytes.Contains(comment, []byte("--")) || bytes.HasSuffix(comment, []byte("-"))) {
			return errSyntax
		}
		return err
	case bytes.HasPrefix(rest, []byte("<![CDATA[")) && len(s.open) > 0:
		_, err := s.until(9, "]]>")
		return err
	case bytes.HasPrefix(rest, []byte("<?")):
		return s.instruction(first)
	case bytes.HasPrefix(rest, []byte("</")):
		return s.endTag()
	default:
		return s.startTag()
	}
}

// instruction reads a processing instruction, or the XML declaration if it is
// first in the document.
func (s *scanner) instruction(first bool) error {
	b, err := s.until(2, "?>")
	if err != nil {
		return err
	}
	n := nameLength(append(b[:len(b):len(b)], '?'))
	switch {
	case n == 0, n < len(b) && bytes.IndexByte(whiteSpace, b[n]) < 0:
		return errSyntax
	case bytes.EqualFold(b[:n], []byte("xml")) && (!first || !declaration.Match(b)):
		return errSyntax
	case len(b) > 3 && bytes.EqualFold(b[:4], []byte("xml-")):
		return errActive
	}
	return nil
}

// until skips bytes and returns what follows up to mark. It moves past the
// mark.
func (s *scanner) until(skip int, mark string) ([]byte, error) {
	rest := s.doc[s.pos+skip:]
	n := bytes.Index(rest, []byte(mark))
	if n < 0 {
		return nil, errSyntax
	}
	s.pos += skip + n + len(mark)
	return rest[:n], nil
}

// characters checks text.
func (s *scanner) characters(b []byte) error {
	if len(s.open) == 0 && len(bytes.TrimLeft(b, string(whiteSpace))) > 0 || bytes.Contains(b, []byte("]]>")) {
		return errSyntax
	}
	return checkReferences(b)
}

// checkReferences refuses every '&' that does not begin a reference that text
// decodes.
func checkReferences(b []byte) error {
	for {
		i := bytes.IndexByte(b, '&')
		if i < 0 {
			return nil
		}
		b = b[i:]
		_, n := reference(b)
		if n == 0 {
			switch n = bytes.IndexByte(b, ';') + 1; string(b[:n]) {
			case "&lt;", "&gt;", "&quot;", "&apos;", "&amp;":
			default:
				return errSyntax
			}
		}
		b = b[n:]
	}
}

// startTag reads a start tag or an empty-element tag.
func (s *scanner) startTag() error {
	start := s.pos
	s.pos++
	n := nameLength(s.doc[s.pos:])
	if n == 0 || s.ended || len(s.open) == s.limit {
		return errSyntax
	}
	raw := s.doc[s.pos : s.pos+n]
	s.pos += n
	for {
		spaces := s.spaces()
		rest := s.doc[s.pos:]
		switch {
		case bytes.HasPrefix(rest, []byte(">")):
			s.pos++
			s.open = append(s.open, opened{element{name: s.local(raw), whole: span{start: start}, inner: span{start: s.pos}}, raw})
			return nil
		case bytes.HasPrefix(rest, []byte("/>")):
			s.pos += 2
			s.open = append(s.open, opened{element{name: s.local(raw), whole: span{start: start}, inner: span{start: s.pos}}, raw})
			return s.end(s.pos)
		case spaces == 0:
			return errSyntax
		}
		if err := s.attribute(); err != nil {
			return err
		}
	}
}

// attribute reads an attribute. Only namespaces have a meaning here.
func (s *scanner) attribute() error {
	n := nameLength(s.doc[s.pos:])
	name := s.doc[s.pos : s.pos+n]
	s.pos += n
	s.spaces()
	if n == 0 || !bytes.HasPrefix(s.doc[s.pos:], []byte("=")) {
		return errSyntax
	}
	s.pos++
	s.spaces()
	rest := s.doc[s.pos:]
	if len(rest) == 0 || rest[0] != '"' && rest[0] != '\'' {
		return errSyntax
	}
	value, err := s.until(1, string(rest[:1]))
	if err != nil || bytes.IndexByte(value, '<') >= 0 {
		return errSyntax
	}
	if err := checkReferences(value); err != nil {
		return err
	}
	if isNamespace := bytes.Equal(name, []byte("xmlns")) || bytes.HasPrefix(name, []byte("xmlns:")); isNamespace && isActive(text(value)) {
		return errActive
	}
	return nil
}

// isActive reports whether a browser may run elements of namespace, such as the
// scripts of XHTML and SVG. S3 uses one namespace of the W3C, that of xsi:type.
func isActive(namespace string) bool {
	namespace = strings.ToLower(strings.TrimSpace(namespace))
	return strings.Contains(namespace, "w3.org/") && !strings.HasSuffix(namespace, "/xmlschema-instance")
}

// endTag reads an end tag.
func (s *scanner) endTag() error {
	start := s.pos
	s.pos += 2
	n := nameLength(s.doc[s.pos:])
	if len(s.open) == 0 || !bytes.Equal(s.doc[s.pos:s.pos+n], s.open[len(s.open)-1].raw) {
		return errSyntax
	}
	s.pos += n
	s.spaces()
	if !bytes.HasPrefix(s.doc[s.pos:], []byte(">")) {
		return errSyntax
	}
	s.pos++
	return s.end(start)
}

// end closes the innermost element, whose content ends at inner, and visits it.
func (s *scanner) end(inner int) error {
	depth := len(s.open) - 1
	e := s.open[depth].element
	s.open = s.open[:depth]
	e.inner.end, e.whole.end = inner, s.pos
	s.ended = depth == 0
	return s.visit(depth, e)
}

// spaces skips white space and returns its length.
func (s *scanner) spaces() int {
	from := s.pos
	for s.pos < len(s.doc) && bytes.IndexByte(whiteSpace, s.doc[s.pos]) >= 0 {
		s.pos++
	}
	return s.pos - from
}

// local returns a name without its prefix. It interns names, since a document
// has few.
func (s *scanner) local(raw []byte) string {
	if i := bytes.IndexByte(raw, ':'); i >= 0 {
		raw = raw[i+1:]
	}
	name, ok := s.names[string(raw)]
	if !ok {
		name = string(raw)
		s.names[name] = name
	}
	return name
}

// nameLength returns the length of the name at the start of b: ASCII letters,
// digits, '_', '-' and '.', with at most one colon, inside. It returns 0 if
// there is no name.
func nameLength(b []byte) int {
	start, n := 0, 0 // start is where the part after the colon begins
	for ; n < len(b); n++ {
		switch c := b[n]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
		case (c >= '0' && c <= '9' || c == '-' || c == '.') && n > start:
		case c == ':' && n > 0 && start == 0:
			start = n + 1
		default:
			if n == start {
				return 0
			}
			return n
		}
	}
	return 0 // a document does not end with a name
}

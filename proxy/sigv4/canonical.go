package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"ssegw/proxy/field"
)

// canonicalRequest builds the canonical request from the decoded request ("Task
// 1" of the specification). signed holds the names of the signed headers, lower
// case and sorted. payload is the last line. text normalises white space in
// free-text values.
func canonicalRequest(r *Request, signed []string, payload string, text func(string) string) (string, error) {
	var b strings.Builder
	b.Grow(1024)
	b.WriteString(r.Method)
	b.WriteByte('\n')
	b.WriteString(canonicalURI(r.Path))
	b.WriteByte('\n')
	b.WriteString(canonicalQuery(r.Query))
	b.WriteByte('\n')
	for _, name := range signed {
		form := collapse
		if isText(name) {
			form = text
		}
		value, ok := canonicalHeader(r, name, form)
		if !ok {
			return "", errSignature()
		}
		b.WriteString(name)
		b.WriteByte(':')
		b.WriteString(value)
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	b.WriteString(strings.Join(signed, ";"))
	b.WriteByte('\n')
	b.WriteString(payload)
	return b.String(), nil
}

// stringToSign returns the string to sign of a request ("Task 2").
func stringToSign(c *credential, canonical string) string {
	sum := sha256.Sum256([]byte(canonical))
	b := make([]byte, 0, 256)
	for _, part := range [...]string{algorithmV4, "\n", c.time, "\n", c.scope.date, "/", c.scope.region, "/", c.scope.service, "/", scopeTerminal, "\n"} {
		b = append(b, part...)
	}
	return string(hex.AppendEncode(b, sum[:]))
}

// canonicalURI encodes the decoded path once. S3 neither cleans the path nor
// encodes it twice.
func canonicalURI(path string) string {
	if path == "" {
		return "/"
	}
	var b strings.Builder
	b.Grow(len(path) + 16)
	for segment := range strings.SplitAfterSeq(path, "/") {
		name, found := strings.CutSuffix(segment, "/")
		escape(&b, name)
		if found {
			b.WriteByte('/')
		}
	}
	return b.String()
}

// canonicalQuery encodes all parameters except X-Amz-Signature, sorted by
// encoded name and then value.
func canonicalQuery(query url.Values) string {
	pairs := make([][2]string, 0, len(query))
	for name, values := range query {
		if name == paramSignature {
			continue
		}
		encoded := escaped(name)
		for _, value := range values {
			pairs = append(pairs, [2]string{encoded, escaped(value)})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	var b strings.Builder
	for i, pair := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(pair[0])
		b.WriteByte('=')
		b.WriteString(pair[1])
	}
	return b.String()
}

// canonicalHeader returns the canonical value of a signed header. ok is false
// if the request has no such header: a hop that removed a signed header must
// not go unnoticed. net/http removes some headers from the map; their values
// follow from the request. form normalises white space.
func canonicalHeader(r *Request, name string, form func(string) string) (value string, ok bool) {
	switch name {
	case "host":
		return form(r.Host), r.Host != ""
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10), r.ContentLength >= 0
	}
	values := field.Values(r.Header, name)
	if len(values) == 0 {
		values = r.moved(name)
	}
	if len(values) > 0 {
		collapsed := make([]string, len(values))
		for i, v := range values {
			collapsed[i] = form(v)
		}
		return strings.Join(collapsed, ","), true
	}
	switch name {
	case "transfer-encoding":
		return "chunked", r.ContentLength < 0
	case "expect":
		return "100-continue", true
	}
	return "", false
}

// moved returns the values of a header that a presigner moved into the query.
func (r *Request) moved(name string) []string {
	if values := field.Values(r.Moved, name); len(values) > 0 || !strings.HasPrefix(name, amzPrefix) {
		return values
	}
	for parameter, values := range r.Query {
		if strings.EqualFold(parameter, name) {
			return values
		}
	}
	return nil
}

// collapse trims a header value and collapses inner runs of spaces.
func collapse(value string) string {
	value = strings.Trim(value, " \t")
	if !strings.Contains(value, "  ") {
		return value
	}
	var b strings.Builder
	b.Grow(len(value))
	for i := range len(value) {
		if value[i] == ' ' && i > 0 && value[i-1] == ' ' {
			continue
		}
		b.WriteByte(value[i])
	}
	return b.String()
}

// canonicalRequests returns the canonical requests that signers may have made
// of r. There is one, or up to three if a free-text value contains white space
// other than the space, because signers disagree on it.
func canonicalRequests(r *Request, signed []string, payload string) ([]string, error) {
	usual, err := canonicalRequest(r, signed, payload, collapse)
	if err != nil {
		return nil, err
	}
	all := []string{usual}
	if !slices.ContainsFunc(signed, func(name string) bool { return isText(name) && hasOddSpace(r, name) }) {
		return all, nil
	}
	for _, form := range [...]func(string) string{joinFields, trimmed} {
		other, err := canonicalRequest(r, signed, payload, form)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(all, other) {
			all = append(all, other)
		}
	}
	return all, nil
}

// isText reports whether a header (name in lower case) may hold free text. The
// values of other headers are keywords, numbers and names. Changing their white
// space would change the value.
func isText(name string) bool {
	return strings.HasPrefix(name, amzPrefix+"meta-") || !strings.HasPrefix(name, amzPrefix) && name != "host"
}

// hasOddSpace reports whether the forms of a signed header differ.
func hasOddSpace(r *Request, name string) bool {
	usual, _ := canonicalHeader(r, name, collapse)
	other, _ := canonicalHeader(r, name, joinFields)
	return usual != other
}

// joinFields is the form of minio-go, mc, boto3 and the SDKs for Java and
// JavaScript: all white space counts as spaces. Only some of them include
// Unicode white space.
func joinFields(value string) string { return strings.Join(strings.Fields(value), " ") }

// trimmed is the form of the SDK for Go: collapse, and then no Unicode white
// space at the ends.
func trimmed(value string) string { return strings.TrimSpace(collapse(value)) }

// parseSignedHeaders returns the sorted, lower-case names of a SignedHeaders
// list. It returns false if the list is malformed.
func parseSignedHeaders(list string) ([]string, bool) {
	names := strings.Split(strings.ToLower(list), ";")
	slices.Sort(names)
	if names[0] == "" || len(slices.Compact(slices.Clone(names))) != len(names) {
		return nil, false
	}
	return names, true
}

// checkSigned refuses a request unless its host and all guarded headers are
// signed.
func checkSigned(r *Request, signed []string) error {
	isSigned := func(name string) bool {
		_, found := slices.BinarySearch(signed, name)
		return found
	}
	var unsigned []string
	if !isSigned("host") {
		unsigned = append(unsigned, "host")
	}
	for name := range r.Header {
		if lower := field.Lower(name); isGuarded(lower) && !isSigned(lower) && !r.hasNoEffect(lower) {
			unsigned = append(unsigned, lower)
		}
	}
	if len(unsigned) > 0 {
		slices.Sort(unsigned)
		return errUnsignedHeaders(unsigned)
	}
	return nil
}

// isGuarded reports whether a header (name in lower case) must be signed.
// MinIO's extension headers change the meaning of a request as much as x-amz-*
// headers do, and its clients sign them.
func isGuarded(name string) bool {
	return strings.HasPrefix(name, amzPrefix) || strings.HasPrefix(name, "x-minio-")
}

func escaped(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 8)
	escape(&b, s)
	return b.String()
}

// escape percent-encodes every byte other than A-Z a-z 0-9 - . _ ~ with
// upper-case digits.
func escape(b *strings.Builder, s string) {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
}

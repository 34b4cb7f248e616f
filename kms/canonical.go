package kms

import (
	"maps"
	"slices"
	"unicode/utf8"
)

// Canonical returns the one JSON form of c (docs/FORMAT.md, section 4.1.1):
// names ascending by their bytes, no white space, and nothing escaped but the
// quotation mark, the backslash, control characters below U+0020, '<', '>',
// '&', U+2028 and U+2029. It is never empty: a context without entries is "{}".
// c is UTF-8, as ObjectContext and ParseContext see to.
func (c Context) Canonical() []byte {
	b := []byte{'{'}
	for i, name := range slices.Sorted(maps.Keys(c)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, name), ':')
		b = appendString(b, c[name])
	}
	return append(b, '}')
}

// shortEscapes are the characters that follow a backslash in short escapes.
var shortEscapes = map[rune]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

// appendString appends the JSON string of s.
func appendString(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		short, hasShort := shortEscapes[r]
		switch {
		case hasShort:
			b = append(b, '\\', short)
		case r < ' ', r == '<', r == '>', r == '&', r == '\u2028', r == '\u2029':
			b = append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

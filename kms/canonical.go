package kms

import (
	"maps"
	"slices"
	"unicode/utf8"
)

// Canonical returns the canonical JSON form of c (docs/FORMAT.md, section
// 4.1.1): names sorted by their bytes, no white space, and only these
// characters escaped: the quotation mark, the backslash, control characters
// below U+0020, '<', '>', '&', U+2028 and U+2029. It is never empty: a context
// without entries is "{}". c must be valid UTF-8, which ObjectContext and
// ParseContext guarantee.
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

// shortEscapes maps the characters with a short escape to the character that
// follows the backslash.
var shortEscapes = map[rune]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

// appendString appends s as a JSON string.
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

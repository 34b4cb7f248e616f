package s3

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxKeyLength is the longest key, in bytes of UTF-8.
const maxKeyLength = 1024

// CheckBucket returns InvalidBucketName unless s is a bucket name under
// Amazon's current rules: 3 to 63 lower-case letters, digits, dots and hyphens,
// with a letter or digit at both ends and around dots, and not an IP address.
func CheckBucket(s string) error {
	if len(s) < 3 || len(s) > 63 || !isLowerAlphanumeric(s[0]) || !isLowerAlphanumeric(s[len(s)-1]) {
		return ErrInvalidBucketName
	}
	for i := range len(s) {
		if c := s[i]; !isLowerAlphanumeric(c) && c != '.' && c != '-' {
			return ErrInvalidBucketName
		}
	}
	if strings.Contains(s, "..") {
		return ErrInvalidBucketName
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return ErrInvalidBucketName
	}
	return nil
}

// CheckKey returns an error unless every store can keep s byte for byte: 1 to
// 1,024 bytes of UTF-8 without NUL. The error is KeyTooLongError or InvalidURI.
// Segments "." and ".." are refused because stores on file systems resolve
// them. Empty segments are allowed.
func CheckKey(s string) error {
	switch {
	case s == "":
		return ErrInvalidURI
	case len(s) > maxKeyLength:
		return ErrKeyTooLong.Detail("Size", strconv.Itoa(len(s))).Detail("MaxSizeAllowed", strconv.Itoa(maxKeyLength))
	case !utf8.ValidString(s), strings.IndexByte(s, 0) >= 0:
		return ErrInvalidURI
	}
	for segment := range strings.SplitSeq(s, "/") {
		if segment == "." || segment == ".." {
			return ErrInvalidURI
		}
	}
	return nil
}

// EscapePath returns the path of a path-style URL for bucket and key. It keeps
// A-Z a-z 0-9 - . _ ~ and / and percent-encodes all other bytes in upper case,
// as signatures require. Without key the result is "/bucket", without both it
// is "/".
func EscapePath(bucket, key string) string {
	var b strings.Builder
	b.Grow(len(bucket) + len(key) + 2)
	b.WriteByte('/')
	escapeTo(&b, bucket)
	if key != "" {
		b.WriteByte('/')
		escapeTo(&b, key)
	}
	return b.String()
}

func escapeTo(b *strings.Builder, s string) {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if isAlphanumeric(c) || strings.IndexByte("-._~/", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
}

func isLowerAlphanumeric(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

func isAlphanumeric(c byte) bool { return isLowerAlphanumeric(c) || 'A' <= c && c <= 'Z' }

// MatchesAny reports whether one of the patterns is name or, if it ends in *,
// its beginning.
func MatchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		prefix, isPrefix := strings.CutSuffix(p, "*")
		return p == name || isPrefix && strings.HasPrefix(name, prefix)
	})
}

// FormatTime is a time as S3 writes it in documents: in UTC, with milliseconds.
func FormatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

package s3

import (
	"math"
	"strconv"
	"strings"
)

// Range is a single byte range as the client requests it, before the size of
// the object is known.
type Range struct {
	first, last int64 // inclusive; last is math.MaxInt64 if the end is open
	length      int64 // length of a suffix in bytes
	suffix      bool
}

// maxRangeHeader limits a Range header, in bytes. One range needs 45.
const maxRangeHeader = 1024

// ParseRange parses a Range header: "bytes=a-b", "bytes=a-" or "bytes=-n" (RFC
// 9110, section 14.1.2). It returns nil for everything that S3 ignores: no
// header, another unit, several ranges, or not a range. A number that overflows
// counts as the largest int64. The error is InvalidArgument for a header over 1
// KiB.
func ParseRange(h string) (*Range, error) {
	if len(h) > maxRangeHeader {
		return nil, ErrInvalidArgument.Msg("The Range header is too long.")
	}
	unit, spec, ok := strings.Cut(h, "=")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return nil, nil
	}
	from, to, ok := strings.Cut(spec, "-")
	if !ok {
		return nil, nil
	}
	first, firstOK := parseDigits(from)
	last, lastOK := parseDigits(to)
	switch {
	case from == "" && lastOK:
		return &Range{suffix: true, length: last}, nil
	case firstOK && to == "":
		return &Range{first: first, last: math.MaxInt64}, nil
	case firstOK && lastOK && first <= last:
		return &Range{first: first, last: last}, nil
	}
	return nil, nil
}

// parseDigits parses a decimal number that consists only of digits. A number
// that overflows becomes the largest int64.
func parseDigits(s string) (int64, bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	if s == "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return math.MaxInt64, true // the only possible error is overflow
	}
	return n, true
}

// Suffix reports whether r asks for the last bytes, so that its offset depends
// on the size.
func (r *Range) Suffix() bool { return r.suffix }

// First returns the first byte position. It is 0 for a suffix.
func (r *Range) First() int64 { return r.first }

// Last returns the last byte position, inclusive, or math.MaxInt64 if the end
// is open. For a suffix it returns its length minus one.
func (r *Range) Last() int64 {
	if r.suffix {
		return r.length - 1
	}
	return r.last
}

// Resolve returns the bytes that r selects from an object of the given size;
// length is at least 1. The error is InvalidRange if there are none: r begins
// at or after the end, is a suffix of zero bytes, or the object is empty.
func (r *Range) Resolve(size int64) (offset, length int64, err error) {
	if r.suffix {
		n := min(r.length, size)
		if n <= 0 {
			return 0, 0, ErrInvalidRange
		}
		return size - n, n, nil
	}
	if r.first >= size {
		return 0, 0, ErrInvalidRange
	}
	return r.first, min(r.last, size-1) - r.first + 1, nil
}

// String returns r as a value of the Range header.
func (r *Range) String() string {
	switch {
	case r.suffix:
		return "bytes=-" + strconv.FormatInt(r.length, 10)
	case r.last == math.MaxInt64:
		return "bytes=" + strconv.FormatInt(r.first, 10) + "-"
	default:
		return "bytes=" + strconv.FormatInt(r.first, 10) + "-" + strconv.FormatInt(r.last, 10)
	}
}

// ContentRange returns the Content-Range for length bytes at offset of an
// object of size bytes. A length of 0 gives the header of a 416 answer.
func ContentRange(offset, length, size int64) string {
	total := strconv.FormatInt(size, 10)
	if length <= 0 {
		return "bytes */" + total
	}
	return "bytes " + strconv.FormatInt(offset, 10) + "-" + strconv.FormatInt(offset+length-1, 10) + "/" + total
}

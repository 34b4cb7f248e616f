package sealer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxHeaderValues is the largest number of values of a header (section 3.2).
const maxHeaderValues = 16

// splitVersion begins the first value of a split header.
const splitVersion = "2."

// HeaderValues returns the user metadata that holds an encoded header, as names
// in lower case and values. The header is split (section 3.2) if it is longer
// than limit, the longest value in bytes that the store takes; 0 means that
// there is no limit. It returns ErrTooLarge if the header does not fit in the
// largest number of such values.
func HeaderValues(encoded string, limit int) (map[string]string, error) {
	if limit == 0 || len(encoded) <= limit {
		return map[string]string{MetadataKey: encoded}, nil
	}
	size := limit - len(splitVersion+"16.")
	if size < 1 || len(encoded) > maxHeaderValues*size {
		return nil, fmt.Errorf("%w: a header of %d characters in values of %d bytes", ErrTooLarge, len(encoded), limit)
	}
	values := map[string]string{}
	n := 0
	for piece := range slices.Chunk([]byte(encoded), size) {
		n++
		values[HeaderName(n)] = string(piece)
	}
	values[MetadataKey] = splitVersion + strconv.Itoa(n) + "." + values[MetadataKey]
	return values, nil
}

// HeaderOf returns the encoded header in the metadata of an object, and "" if
// there is no header. Names are case-insensitive. It returns ErrMalformed if
// the header is split in a way that section 3.2 forbids.
func HeaderOf(headers map[string][]string) (string, error) {
	first := valueOf(headers, MetadataKey)
	if !strings.Contains(first, ".") {
		return first, nil
	}
	n, piece := splitInto(first)
	if n == 0 {
		return "", fmt.Errorf("joining header: %w: not a split header", ErrMalformed)
	}
	joined := piece
	for i := 2; i <= n; i++ {
		next := valueOf(headers, HeaderName(i))
		if next == "" || len(next) > len(piece) || i < n && len(next) < len(piece) {
			return "", fmt.Errorf("joining header: %w: value %d of %d has %d characters", ErrMalformed, i, n, len(next))
		}
		joined += next
	}
	return joined, nil
}

// ParseHeader strictly parses the header in the metadata of an object, which
// may be split. Names are case-insensitive. The errors are ErrNotSealed and
// ErrMalformed.
func ParseHeader(headers map[string][]string) (*Parsed, error) {
	encoded, err := HeaderOf(headers)
	if err != nil {
		return nil, err
	}
	return Parse(encoded)
}

// HasHeader reports whether the metadata of an object has the encoded header,
// split or not.
func HasHeader(headers map[string][]string, encoded string) bool {
	found, err := HeaderOf(headers)
	return err == nil && found == encoded
}

// HeaderNames returns the names of the metadata in headers that holds the
// header, in lower case: [MetadataKey] and the pieces of a split header. All
// other metadata is the client's.
func HeaderNames(headers map[string][]string) []string {
	names := []string{MetadataKey}
	n, _ := splitInto(valueOf(headers, MetadataKey))
	for i := 2; i <= n; i++ {
		names = append(names, HeaderName(i))
	}
	return names
}

// IsPieceName reports whether split headers can use the name for a piece after
// the first one. New objects must not have client's metadata of such a name.
// The name must be in lower case.
func IsPieceName(name string) bool {
	number, ok := strings.CutPrefix(name, MetadataKey+"-")
	return ok && pieceNumber(number) > 0
}

// HeaderName returns the name of the metadata that holds value i of a header,
// counted from 1.
func HeaderName(i int) string {
	if i == 1 {
		return MetadataKey
	}
	return MetadataKey + "-" + strconv.Itoa(i)
}

// splitInto returns the number of values of a split header and its first piece.
// It returns 0 if first is not the first value of a split header.
func splitInto(first string) (n int, piece string) {
	rest, ok := strings.CutPrefix(first, splitVersion)
	number, piece, found := strings.Cut(rest, ".")
	if !ok || !found {
		return 0, ""
	}
	return pieceNumber(number), piece
}

// pieceNumber returns the number of a value after the first one. It returns 0
// for any other text.
func pieceNumber(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 2 || n > maxHeaderValues || strconv.Itoa(n) != text {
		return 0
	}
	return n
}

// valueOf returns the value of a header, the first line if it has several. name
// is in lower case.
func valueOf(headers map[string][]string, name string) string {
	for other, lines := range headers {
		if len(lines) > 0 && strings.EqualFold(other, name) {
			return lines[0]
		}
	}
	return ""
}

// Package assembly makes an object of the recorded parts of an upload.
//
// Each upload of a part is an attempt with its own record. A Complete lists the
// attempts that it means. This package finds them, makes the part table and the
// object's checksum, and checks what the client claims about the object.
//
// Invariants:
//
//   - An attempt is chosen only if the client's part number and ETag leave one.
//   - A claim that cannot be verified is refused, never ignored.
//   - Nothing here sends a request.
//
// docs/ARCHITECTURE.md is the map.
package assembly

import (
	"encoding/xml"
	"slices"
	"strconv"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
)

// Request is the document of CompleteMultipartUpload.
type Request struct {
	XMLName xml.Name     `xml:"CompleteMultipartUpload"`
	Parts   []ListedPart `xml:"Part"`
}

// ListedPart is an entry of [Request].
type ListedPart struct {
	Number *int   `xml:"PartNumber"`
	ETag   string `xml:"ETag"`
	Other  []struct {
		XMLName xml.Name
		Value   string `xml:",chardata"`
	} `xml:",any"` // checksums
}

// FreeNumber returns the number under which the part table is uploaded: the
// first, from that of the last part on, under which the store has no attempt.
// The table then overwrites no part, and the client can try again after a
// failed Complete.
func FreeNumber(recorded map[int][]*state.Part, last *state.Part) int {
	n := last.Number
	for slices.ContainsFunc(recorded[n], func(p *state.Part) bool { return !p.Staged }) {
		n++
	}
	return n
}

// Choose returns the attempts that the client lists, by number and ETag. Every
// part except the last must have at least minPart bytes. The errors are those
// of Amazon S3: an entry that fits no attempt, or more than one, is
// InvalidPart.
func Choose(u *state.Upload, recorded map[int][]*state.Part, listed []ListedPart, minPart int64) ([]*state.Part, error) {
	var chosen []*state.Part
	for i := range listed {
		l := &listed[i]
		if err := l.check(); err != nil {
			return nil, err
		}
		if i > 0 && *l.Number <= *listed[i-1].Number {
			return nil, s3.ErrInvalidPartOrder
		}
		found := findPart(recorded[*l.Number], l.ETag)
		if found == nil {
			return nil, l.invalid(u)
		}
		if found.Size < minPart && i < len(listed)-1 {
			return nil, s3.ErrEntityTooSmall
		}
		if err := l.checkSums(u, found); err != nil {
			return nil, err
		}
		chosen = append(chosen, found)
	}
	return chosen, nil
}

// findPart returns the only attempt with an ETag as shown to clients, or nil.
// The quotes of etag are optional.
func findPart(attempts []*state.Part, etag string) *state.Part {
	return Only(attempts, func(p *state.Part) bool { return strings.Trim(p.Shown(), `"`) == strings.Trim(etag, `"`) })
}

// Only returns the only attempt for which is returns true. It returns nil if
// there are none or several: the order of a listing must not decide.
func Only(attempts []*state.Part, is func(*state.Part) bool) (one *state.Part) {
	for _, p := range attempts {
		if !is(p) {
			continue
		}
		if one != nil {
			return nil
		}
		one = p
	}
	return one
}

// check returns an S3 error for an entry without number or ETag, or with a
// number below 1.
func (l *ListedPart) check() error {
	switch {
	case l.ETag == "" || l.Number == nil:
		return s3.ErrMalformedXML
	case *l.Number < 1:
		return s3.ErrArgument("PartNumber", strconv.Itoa(*l.Number), "PartNumber must be >= 1")
	}
	return nil
}

package s3

import (
	"regexp"
	"slices"
	"strings"
)

// maxDetails limits the additional elements of an upstream's error document.
const maxDetails = 16

var (
	errorCode  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:._-]{0,127}$`)
	detailName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)

	// notDetails lists elements that describe the upstream itself or that
	// WriteError writes.
	notDetails = []string{"Resource", "RequestId", "HostId", "Endpoint"}
)

// ParseError parses an S3 error document of the upstream. Details gets the
// additional elements that contain only text. Header stays nil. ParseError
// returns nil if doc is not an S3 error.
func ParseError(doc []byte, status int) *Error {
	e := &Error{Status: status}
	nested := false // an element inside the next one to end has been seen
	err := walkRoot(doc, "Error", func(depth int, el element) {
		if depth != 1 {
			nested = depth == 2
			return
		}
		isText := !nested
		nested = false
		switch value := text(el.inner.of(doc)); {
		case !isText:
		case el.name == "Code":
			e.Code = strings.TrimSpace(value)
		case el.name == "Message":
			e.Message = value
		case len(e.Details) < maxDetails && detailName.MatchString(el.name) && !slices.Contains(notDetails, el.name):
			e.Details = append(e.Details, Detail{el.name, value})
		}
	})
	if err != nil || !errorCode.MatchString(e.Code) {
		return nil
	}
	return e
}

package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"ssegw/proxy/s3"
)

// possible reports whether an answer to r can have the status. A store that
// gives another one could make the gateway take a look at an object for one of
// the client's conditions, or send a client to the store itself.
func possible(r *http.Request, status int) bool {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	ranged := r.Header.Get("Range") != "" || r.URL.Query().Has("partNumber")
	switch status {
	case http.StatusPartialContent:
		return reads && ranged
	case http.StatusNotModified:
		return reads && (r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Modified-Since") != "")
	case http.StatusPreconditionFailed:
		return hasCondition(r.Header)
	case http.StatusRequestedRangeNotSatisfiable:
		return ranged || r.Header.Get("X-Amz-Copy-Source-Range") != ""
	}
	if status < 300 {
		return slices.Contains(successes, status)
	}
	return status < 600 // readError refuses redirects
}

// successes are the statuses of S3's answers that are no errors.
var successes = []int{http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent}

// hasCondition reports whether a header to the store has a condition on the
// object, or on the source of a copy.
func hasCondition(h http.Header) bool {
	for name := range h {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "if-") || strings.HasPrefix(name, "x-amz-if-") || strings.HasPrefix(name, "x-amz-copy-source-if-") {
			return true
		}
	}
	return false
}

// upstreamError is an error of the upstream. Of its document only what is an S3
// error is kept: the rest could be anything, such as a page with a script.
type upstreamError struct {
	status int
	header http.Header
	answer *s3.Error // what the document says; nil for an answer without one
	code   string    // of answer; "" without one
}

func (e *upstreamError) Error() string {
	return fmt.Sprintf("proxy: upstream answered %d %s", e.status, e.code)
}

// newUpstreamError is the error that an answer with that document stands for.
func newUpstreamError(status int, header http.Header, doc []byte) *upstreamError {
	e := &upstreamError{status: status, header: header, answer: s3.ParseError(doc, status)}
	if e.answer != nil {
		e.code = e.answer.Code
	}
	return e
}

// readError turns an upstream answer of status 300 or above into an error and
// closes it.
func readError(resp *http.Response) error {
	defer resp.Body.Close()
	doc, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorDocument))
	if err != nil {
		return fmt.Errorf("%w: reading an error answer: %w", errUpstream, err)
	}
	e := newUpstreamError(resp.StatusCode, resp.Header, doc)
	if e.status < 400 && e.status != http.StatusNotModified {
		// A redirect names the store, where a client would find ciphertext.
		return fmt.Errorf("%w: %w", errUpstream, e)
	}
	switch e.code {
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "AuthorizationHeaderMalformed":
		// The gateway's own credentials or clock: not the client's fault.
		return fmt.Errorf("%w: %w", errUpstream, e)
	}
	return e
}

// lateError is the error of a document that came with the status 200, as those of
// long operations do.
func lateError(header http.Header, doc []byte) error {
	e := newUpstreamError(http.StatusOK, header, doc)
	if e.answer == nil {
		return fmt.Errorf("%w: an error without a code", errUpstream)
	}
	e.status = s3.ErrorByCode(e.code).Status
	e.answer.Status = e.status
	return e
}

// statusOf returns the HTTP status of an upstream error, or 0.
func statusOf(err error) int {
	var e *upstreamError
	if errors.As(err, &e) {
		return e.status
	}
	return 0
}

package proxy

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
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

// upstreamError is an S3 error of the upstream, passed on byte for byte.
type upstreamError struct {
	status int
	header http.Header
	body   []byte
	code   string // S3 error code; "" for an answer without a document (HEAD)
}

func (e *upstreamError) Error() string {
	return fmt.Sprintf("proxy: upstream answered %d %s", e.status, e.code)
}

// readError turns an upstream answer of status 300 or above into an error and
// closes it.
func readError(resp *http.Response) error {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorDocument))
	if err != nil {
		return fmt.Errorf("%w: reading an error answer: %w", errUpstream, err)
	}
	var doc struct {
		Code string `xml:"Code"`
	}
	if len(body) > 0 {
		// A document that does not parse has no code; its bytes still reach the client.
		_ = xml.Unmarshal(body, &doc)
	}
	e := &upstreamError{status: resp.StatusCode, header: resp.Header, body: body, code: doc.Code}
	if e.status < 400 && e.status != http.StatusNotModified {
		// A redirect names the store, where a client would find ciphertext.
		return fmt.Errorf("%w: %w", errUpstream, e)
	}
	switch doc.Code {
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "AuthorizationHeaderMalformed":
		// The gateway's own credentials or clock: not the client's fault.
		return fmt.Errorf("%w: %w", errUpstream, e)
	}
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

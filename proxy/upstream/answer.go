package upstream

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"ssegw/proxy/field"
	"ssegw/proxy/s3"
)

// possible reports whether an answer to r can have the status. With other
// statuses a store could redirect a client to itself, or make the gateway
// mistake the answer to a read of its own for a failed condition of the client.
func possible(r *http.Request, status int) bool {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	ranged := r.Header.Get("Range") != "" || r.URL.RawQuery != "" && r.URL.Query().Has("partNumber")
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
	return status < 600 // ReadError refuses redirects
}

// successes are the statuses of S3's answers that are no errors.
var successes = []int{http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent}

// hasCondition reports whether a header to the store has a condition on the
// object, or on the source of a copy.
func hasCondition(h http.Header) bool {
	for name := range h {
		name = field.Lower(name)
		if strings.HasPrefix(name, "if-") || strings.HasPrefix(name, "x-amz-if-") || strings.HasPrefix(name, "x-amz-copy-source-if-") {
			return true
		}
	}
	return false
}

// Error is an error of the store about the client's own request. Clients get it
// (see Error.S3). Only an S3 error in its document is kept: the rest could be
// anything, such as a page with a script.
type Error struct {
	Status int
	Header http.Header
	Answer *s3.Error // what the document says; nil for an answer without one
	Code   string    // of Answer; "" without one
	Meant  bool      // the store answered NoSuchKey, which can only mean the upload; Answer is NoSuchUpload
}

// hidden is an error of the store that clients do not get. errors.As does not
// find the Error in it; AnswerOf does.
type hidden struct{ cause error }

func (h *hidden) Error() string { return h.cause.Error() }

// Is reports whether the cause is target.
func (h *hidden) Is(target error) bool { return errors.Is(h.cause, target) }

// Hide returns err as an error that clients do not get, because it is not about
// their request: about the state bucket, for example.
func Hide(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return &hidden{err}
	}
	return err
}

// OwnFailed returns the error of a request that the gateway made with its own
// rights. Clients learn only that the service is unavailable. Errors that are
// no answer of the store stay as they are.
func OwnFailed(doing string, err error) error {
	if AnswerOf(err) == nil {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, doing, Hide(err))
}

// AnswerOf returns the error that the store answered, hidden or not; nil if err
// is no answer of the store.
func AnswerOf(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var h *hidden
	if errors.As(err, &h) {
		return AnswerOf(h.cause)
	}
	return nil
}

func (e *Error) Error() string {
	return fmt.Sprintf("upstream: answered %d %s", e.Status, e.Code)
}

// newError is the error that an answer with that document stands for.
func newError(status int, header http.Header, doc []byte) *Error {
	e := &Error{Status: status, Header: header, Answer: s3.ParseError(doc, status)}
	if e.Answer != nil {
		e.Code = e.Answer.Code
	}
	return e
}

// ReadError turns an upstream answer of status 300 or above into an error and
// closes it.
func ReadError(resp *http.Response) error {
	defer resp.Body.Close()
	doc, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorDocument))
	if err != nil {
		return fmt.Errorf("%w: reading an error answer: %w", ErrUnavailable, err)
	}
	e := newError(resp.StatusCode, resp.Header, doc)
	if e.Status < 400 && e.Status != http.StatusNotModified {
		// A redirect names the store, where a client would find ciphertext.
		return fmt.Errorf("%w: %w", ErrUnavailable, Hide(e))
	}
	switch e.Code {
	case s3.ErrNoSuchKey.Code:
		// Some stores answer this to ListParts of an unknown upload. To a
		// Complete under If-Match it means that there is no object.
		if r := resp.Request; r != nil && r.URL.Query().Has("uploadId") && r.Header.Get("X-Amz-Copy-Source") == "" && r.Header.Get("If-Match") == "" {
			e.Answer, e.Code, e.Meant = s3.ErrNoSuchUpload, s3.ErrNoSuchUpload.Code, true
		}
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "AuthorizationHeaderMalformed":
		// The gateway's own credentials or clock: not the client's fault.
		return fmt.Errorf("%w: %w", ErrUnavailable, Hide(e))
	}
	return e
}

// lateError is the error of a document that came with the status 200, as those
// of long operations do.
func lateError(header http.Header, doc []byte) error {
	e := newError(http.StatusOK, header, doc)
	if e.Answer == nil {
		return fmt.Errorf("%w: an error without a code", ErrUnavailable)
	}
	e.Status = s3.ErrorByCode(e.Code).Status
	e.Answer.Status = e.Status
	return e
}

// StatusOf returns the HTTP status that the store answered, or 0.
func StatusOf(err error) int {
	if e := AnswerOf(err); e != nil {
		return e.Status
	}
	return 0
}

// IsUnknown reports whether an error may mean that the store does not know the
// operation.
func IsUnknown(err error) bool {
	status := StatusOf(err)
	return status == http.StatusNotImplemented || status == http.StatusMethodNotAllowed
}

// IsCode reports whether the store answered the code of e.
func IsCode(err error, e *s3.Error) bool {
	answer := AnswerOf(err)
	return answer != nil && answer.Code == e.Code
}

// LostRace reports whether the store refused a conditional write because
// another write came first (412), or is under way (409).
func LostRace(err error) bool {
	status := StatusOf(err)
	return status == http.StatusPreconditionFailed || status == http.StatusConflict
}

// LacksSubresource reports whether the store refused to show a sub-resource of
// a bucket or an object because it has no such thing, rather than because
// bucket or object are gone or forbidden.
func LacksSubresource(err error) bool {
	switch StatusOf(err) {
	case http.StatusNotImplemented, http.StatusMethodNotAllowed, http.StatusBadRequest:
		return true
	case http.StatusNotFound:
		return !IsCode(err, s3.ErrNoSuchKey) && !IsCode(err, s3.ErrNoSuchBucket)
	}
	return false
}

// IsNoUpload reports whether the upstream does not know an upload.
func IsNoUpload(err error) bool { return IsCode(err, s3.ErrNoSuchUpload) }

// HasDocument reports whether the store's error says more than its status.
func HasDocument(err error) bool {
	e := AnswerOf(err)
	return e != nil && e.Code != ""
}

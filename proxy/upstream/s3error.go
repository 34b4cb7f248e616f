package upstream

import (
	"net/http"
	"slices"
	"strings"

	"ssegw/proxy/s3"
)

// statusErrors are what statuses of an upstream's answers mean that have no S3
// error document, as those to a HEAD.
var statusErrors = map[int]*s3.Error{
	http.StatusNotModified:                  s3.ErrNotModified,
	http.StatusBadRequest:                   s3.ErrInvalidRequest,
	http.StatusUnauthorized:                 s3.ErrAccessDenied,
	http.StatusForbidden:                    s3.ErrAccessDenied,
	http.StatusMethodNotAllowed:             s3.ErrMethodNotAllowed, // the version is a delete marker
	http.StatusConflict:                     s3.ErrOperationAborted,
	http.StatusLengthRequired:               s3.ErrMissingContentLength,
	http.StatusPreconditionFailed:           s3.ErrPreconditionFailed,
	http.StatusRequestEntityTooLarge:        s3.ErrEntityTooLarge,
	http.StatusRequestedRangeNotSatisfiable: s3.ErrInvalidRange,
	http.StatusTooManyRequests:              s3.ErrSlowDown,
	http.StatusInternalServerError:          s3.ErrInternal,
	http.StatusNotImplemented:               s3.ErrNotImplemented,
	http.StatusServiceUnavailable:           s3.ErrServiceUnavailable,
	http.StatusGatewayTimeout:               s3.ErrServiceUnavailable,
}

// S3 returns the S3 error that the client gets for e, with the headers that
// belong to it. It is the error in e's document. Without a document, it is the
// usual error of e's status. ofObject reports whether the request was about an
// object, rather than a bucket.
func (e *Error) S3(ofObject bool) *s3.Error {
	answer := e.Answer
	if answer == nil {
		answer = e.withoutDocument(ofObject)
	}
	h := http.Header{}
	for name, values := range e.Header {
		if slices.Contains(errorHeaders, strings.ToLower(name)) || IsCORS(name) {
			h[name] = values
		}
	}
	return answer.Headers(h)
}

func (e *Error) withoutDocument(ofObject bool) *s3.Error {
	code := e.Header.Get("X-Minio-Error-Code")
	if own := s3.ErrorByCode(code); own.Code == code && own.Status == e.Status {
		return own
	}
	if e.Status == http.StatusNotFound && !ofObject {
		return s3.ErrNoSuchBucket
	}
	if e.Status == http.StatusNotFound {
		return s3.ErrNoSuchKey
	}
	if own, ok := statusErrors[e.Status]; ok {
		return own
	}
	return s3.ErrorByCode("BadGateway")
}

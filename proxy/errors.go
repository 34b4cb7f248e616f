package proxy

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"ssegw/kms"
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/sealer"
)

var (
	// errIntegrity says that the upstream returned something else than what was stored.
	errIntegrity = errors.New("proxy: object is not authentic")
	// errOpening marks a KMS failure on a read, where 404 would read as "no such object".
	errOpening = errors.New("proxy: opening the data key")
	// errChanged says that the object changed between two of a read's upstream
	// requests, so that their answers do not belong together.
	errChanged = errors.New("proxy: the object changed while it was read")
	// errNotSealed says that a sealed-only bucket holds an object that is not sealed.
	errNotSealed = errors.New("proxy: object is not sealed in a sealed-only bucket")
)

// answers maps errors to what clients see. The first match counts.
var answers = []struct {
	is     error
	answer *s3.Error
}{
	{errNotSealed, s3.ErrAccessDenied.Msg("The object is not sealed, and the bucket accepts sealed objects only.")},
	{errChanged, s3.ErrOperationAborted},
	{errNotReady, s3.ErrServiceUnavailable.Msg("The gateway is starting.")},
	{errRules, s3.ErrServiceUnavailable.Msg("The encryption rules of the buckets are not available.")},
	{errUpstream, s3.ErrServiceUnavailable.Msg("The object store is not available.")},
	{errStalled, s3.ErrRequestTimeout},
	{errIntegrity, s3.ErrObjectTampered},
	{errSourceSize, s3.ErrIncompleteBody},
	{sealer.ErrSize, s3.ErrIncompleteBody},
	{sealer.ErrWrongKey, s3.ErrAccessDenied}, // of SSE-C; for data keys of the KMS it is errIntegrity
	{sealer.ErrNotAuthentic, s3.ErrObjectTampered},
	{sealer.ErrMalformed, s3.ErrObjectTampered},
	{sealer.ErrUnknownRoot, s3.ErrObjectTampered},
	{sealer.ErrTooLarge, s3.ErrEntityTooLarge},
	{kms.ErrInvalidKeyName, s3.ErrInvalidArgument.Msg("The KMS key ID is not valid.")},
	{kms.ErrInvalidContext, s3.ErrInvalidArgument.Msg("The encryption context is not valid.")},
	{kms.ErrContextConflict, s3.ErrInvalidArgument.Msg("The encryption context must not have the name of the bucket as a key.")},
	{kms.ErrKeyNotFound, s3.ErrKMSKeyNotFound},
	{kms.ErrNotAllowed, s3.ErrKMSNotAuthorized},
	{kms.ErrUnreachable, s3.ErrServiceUnavailable.Msg("The KMS is not available.")},
	{kms.ErrBadAnswer, s3.ErrServiceUnavailable.Msg("The KMS is not available.")},
	{context.DeadlineExceeded, s3.ErrServiceUnavailable},
	{context.Canceled, s3.ErrRequestTimeout}, // the client has gone: nobody reads this
}

// s3Error returns the S3 error that err stands for: our own as it is, then the
// table above, then InternalError. No text of err itself reaches a client.
func s3Error(err error) *s3.Error {
	var own *s3.Error
	if errors.As(err, &own) {
		return own
	}
	var signature *sigv4.Error
	if errors.As(err, &signature) {
		e := s3.ErrorByCode(signature.Code).Msg("%s", signature.Message)
		for _, d := range signature.Details {
			e = e.Detail(d.Name, d.Value)
		}
		return e
	}
	if errors.Is(err, errOpening) {
		switch {
		case errors.Is(err, kms.ErrKeyNotFound):
			return s3.ErrKMSNotFoundOnRead
		case errors.Is(err, kms.ErrInvalidCiphertext):
			return s3.ErrObjectTampered
		}
	}
	for _, a := range answers {
		if errors.Is(err, a.is) {
			return a.answer
		}
	}
	return s3.ErrInternal
}

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

// storeError is the S3 error that an upstream's error is for the client: what
// its document says, or what its status means, and the headers that say more.
func (c *reader) storeError(e *upstreamError) *s3.Error {
	answer := e.answer
	if answer == nil {
		answer = c.withoutDocument(e)
	}
	h := http.Header{}
	for name, values := range e.header {
		if slices.Contains(errorHeaders, strings.ToLower(name)) || isCORS(name) {
			h[name] = values
		}
	}
	return answer.Headers(h)
}

func (c *reader) withoutDocument(e *upstreamError) *s3.Error {
	code := e.header.Get("X-Minio-Error-Code")
	if own := s3.ErrorByCode(code); own.Code == code && own.Status == e.status {
		return own
	}
	if e.status == http.StatusNotFound && c.req.Key == "" {
		return s3.ErrNoSuchBucket
	}
	if e.status == http.StatusNotFound {
		return s3.ErrNoSuchKey
	}
	if own, ok := statusErrors[e.status]; ok {
		return own
	}
	return s3.ErrorByCode("BadGateway")
}

// discard closes an answer whose body nobody needs. A short rest is read, so
// that the connection can serve again.
func discard(resp *http.Response) {
	if resp.ContentLength >= 0 && resp.ContentLength <= 4<<10 {
		var rest [4 << 10]byte
		for {
			if _, err := resp.Body.Read(rest[:]); err != nil {
				break
			}
		}
	}
	_ = resp.Body.Close() // nothing was asked of it any more
}

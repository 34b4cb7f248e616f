package proxy

import (
	"context"
	"errors"

	"ssegw/kms"
	"ssegw/proxy/object"
	"ssegw/proxy/payload"
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/sse"
	"ssegw/proxy/state"
	"ssegw/proxy/task"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// s3Error returns the S3 error for err: an *s3.Error as it is, then a match in
// answers, then InternalError. The text of err itself never reaches a client.
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
	if errors.Is(err, sse.ErrOpening) {
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

// answers maps errors to what clients get. The first match counts.
var answers = []struct {
	is     error
	answer *s3.Error
}{
	{task.ErrFull, s3.ErrSlowDown},
	{errNotSealed, s3.ErrAccessDenied.Msg("The object is not sealed, and the bucket accepts sealed objects only.")},
	{object.ErrChanged, s3.ErrOperationAborted},
	{state.ErrNotReady, s3.ErrServiceUnavailable.Msg("The gateway is starting.")},
	{state.ErrRules, s3.ErrServiceUnavailable.Msg("The encryption rules of the buckets are not available.")},
	{upstream.ErrUnavailable, s3.ErrServiceUnavailable.Msg("The object store is not available.")},
	{payload.ErrStalled, s3.ErrRequestTimeout},
	{object.ErrIntegrity, s3.ErrObjectTampered},
	{sse.ErrObjectKey, s3.ErrObjectTampered},
	{sse.ErrAlgorithm, s3.ErrServiceUnavailable.Msg("The encryption rules of the buckets are not available.")},
	{state.ErrRecord, s3.ErrObjectTampered},
	{upstream.ErrSourceSize, s3.ErrIncompleteBody},
	{sealer.ErrSize, s3.ErrIncompleteBody},
	{sealer.ErrWrongKey, s3.ErrAccessDenied}, // the client's SSE-C key; a wrong data key from the KMS is object.ErrIntegrity
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
	{context.Canceled, s3.ErrRequestTimeout}, // the client has disconnected
}

var (
	errNotSealed = errors.New("proxy: object is not sealed in a sealed-only bucket")
	errAltered   = errors.New("proxy: content headers of the source of a copy are altered")
)

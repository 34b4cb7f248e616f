package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"ssegw/kms"
	"ssegw/proxy/object"
	"ssegw/proxy/payload"
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/sse"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// TestErrorAnswers maps every sentinel, wrapped as handlers wrap it. Only the
// text of an S3 error reaches a client.
func TestErrorAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err    error
		status int
		code   string
	}{
		{s3.ErrNoSuchKey.Msg("other words"), 404, "NoSuchKey"},
		{&sigv4.Error{Code: "SignatureDoesNotMatch", Message: "words of sigv4"}, 403, "SignatureDoesNotMatch"},
		{state.ErrNotReady, 503, "ServiceUnavailable"},
		{state.ErrRules, 503, "ServiceUnavailable"},
		{upstream.ErrUnavailable, 503, "ServiceUnavailable"},
		{errNotSealed, 403, "AccessDenied"},
		{payload.ErrStalled, 400, "RequestTimeout"},
		{object.ErrIntegrity, 500, "XSsegwObjectNotAuthentic"},
		{upstream.ErrSourceSize, 400, "IncompleteBody"},
		{sealer.ErrSize, 400, "IncompleteBody"},
		{sealer.ErrWrongKey, 403, "AccessDenied"},
		{sealer.ErrNotAuthentic, 500, "XSsegwObjectNotAuthentic"},
		{sealer.ErrMalformed, 500, "XSsegwObjectNotAuthentic"},
		{sealer.ErrUnknownRoot, 500, "XSsegwObjectNotAuthentic"},
		{sealer.ErrTooLarge, 400, "EntityTooLarge"},
		{sealer.ErrParams, 500, "InternalError"},
		{kms.ErrKeyNotFound, 404, "kms:KeyNotFound"},
		{kms.ErrNotAllowed, 403, "kms:NotAuthorized"},
		{kms.ErrUnreachable, 503, "ServiceUnavailable"},
		{kms.ErrBadAnswer, 503, "ServiceUnavailable"},
		{kms.ErrInvalidKeyName, 400, "InvalidArgument"},
		{kms.ErrInvalidContext, 400, "InvalidArgument"},
		{kms.ErrContextConflict, 400, "InvalidArgument"},
		{context.DeadlineExceeded, 503, "ServiceUnavailable"},
		{context.Canceled, 400, "RequestTimeout"},
		{io.ErrUnexpectedEOF, 500, "InternalError"},
		{errors.New("anything"), 500, "InternalError"},

		// On a read a missing key must not look like a missing object.
		{fmt.Errorf("%w: %w", sse.ErrOpening, kms.ErrKeyNotFound), 400, "KMS.NotFoundException"},
		{fmt.Errorf("%w: %w", sse.ErrOpening, kms.ErrInvalidCiphertext), 500, "XSsegwObjectNotAuthentic"},
		{fmt.Errorf("%w: %w", sse.ErrOpening, kms.ErrNotAllowed), 403, "kms:NotAuthorized"},
		{fmt.Errorf("%w: %w", sse.ErrOpening, kms.ErrUnreachable), 503, "ServiceUnavailable"},
		// A wrong data key from the KMS is not the client's mistake.
		{fmt.Errorf("%w: %w", object.ErrIntegrity, sealer.ErrWrongKey), 500, "XSsegwObjectNotAuthentic"},
		// Unreadable rules are not reported as the store's error.
		{fmt.Errorf("%w: %w", state.ErrRules, &upstream.Error{Status: 404, Code: "NoSuchBucket"}), 503, "ServiceUnavailable"},
	}
	for _, test := range tests {
		got := s3Error(fmt.Errorf("canary words: %w", test.err))
		if got.Status != test.status || got.Code != test.code {
			t.Errorf("%v: %d %s, want %d %s", test.err, got.Status, got.Code, test.status, test.code)
		}
		if strings.Contains(got.Message, "canary") || strings.Contains(got.Message, "proxy:") || strings.Contains(got.Message, "sealer:") || strings.Contains(got.Message, "kms:") {
			t.Errorf("%v: tells %q", test.err, got.Message)
		}
		if got.Status == http.StatusServiceUnavailable && got.Header.Get("Retry-After") == "" {
			t.Errorf("%v: no Retry-After", test.err)
		}
	}
	if got := s3Error(s3.ErrNoSuchKey.Msg("other words")).Message; got != "other words" {
		t.Errorf("message %q", got)
	}
}

// TestReadErrorIsBounded: of an endless error document only a part is kept. A
// document that breaks off means that the store is unavailable.
func TestReadErrorIsBounded(t *testing.T) {
	t.Parallel()
	answer := func(r io.Reader) *http.Response {
		return &http.Response{StatusCode: 500, Header: http.Header{}, Body: io.NopCloser(r)}
	}
	var up *upstream.Error
	long := &endless{}
	if err := upstream.ReadError(answer(long)); !errors.As(err, &up) || up.Answer != nil || long.read > 2*64<<10 {
		t.Errorf("%v after %d bytes", err, long.read)
	}
	if err := upstream.ReadError(answer(io.MultiReader(strings.NewReader("<Error>"), broken{}))); !errors.Is(err, upstream.ErrUnavailable) {
		t.Errorf("%v, want errUpstream", err)
	}
	if err := upstream.ReadError(answer(strings.NewReader("not XML <"))); !errors.As(err, &up) || up.Answer != nil || up.Code != "" {
		t.Errorf("%v", err)
	}
}

type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	clear(p)
	e.read += len(p)
	return len(p), nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

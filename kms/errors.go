package kms

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/minio/kms-go/kes"
)

// Errors of this package, for use with errors.Is.
var (
	// ErrKeyNotFound means that KES has no key of that name.
	ErrKeyNotFound = errors.New("kms: key does not exist")
	// ErrKeyExists means that KES already has a key of that name.
	ErrKeyExists = errors.New("kms: key already exists")
	// ErrNotAllowed means that KES does not know this client, or that its
	// policy denies the request.
	ErrNotAllowed = errors.New("kms: not allowed by KES")
	// ErrInvalidKeyName means that a name is not a valid KES key name. See
	// [ValidKeyName].
	ErrInvalidKeyName = errors.New("kms: invalid key name")
	// ErrInvalidCiphertext means that KES refused to open a sealed data key: it
	// is damaged, or was sealed under another key or with another context.
	ErrInvalidCiphertext = errors.New("kms: sealed data key is not authentic")
	// ErrUnreachable means that no endpoint answered: connections failed, time
	// ran out, or every answer was a 5xx. The error also matches what happened
	// at each endpoint, and context.DeadlineExceeded if the caller's deadline
	// passed.
	ErrUnreachable = errors.New("kms: no KES endpoint gave an answer")
	// ErrBadAnswer means that an endpoint sent an answer that KES does not
	// send. Treat it like no answer and retry later. An answer over 1 MiB also
	// sends the call to the next endpoint, and matches ErrUnreachable as well.
	ErrBadAnswer = errors.New("kms: unexpected answer from KES")
	// ErrContextConflict means that a client's context has an entry under the
	// name of the bucket, which is reserved for the entry that binds the
	// object.
	ErrContextConflict = errors.New("kms: encryption context has an entry for the bucket")
	// ErrInvalidContext means that an encryption context is not base64 of a
	// small JSON object of strings, or that a bucket or key is not valid UTF-8
	// and cannot be part of one.
	ErrInvalidContext = errors.New("kms: invalid encryption context")
	// ErrContextRequired means that a data key was requested without a context.
	ErrContextRequired = errors.New("kms: encryption context is required")
	// ErrCheckUnseal means that [Client.Check] could generate a data key but
	// not unseal it. The error of Unseal is in the chain.
	ErrCheckUnseal = errors.New("kms: a new data key does not open")
)

// errNoAnswer is the error of an attempt that timed out. It differs from
// context.DeadlineExceeded, which stands for the caller's deadline.
var errNoAnswer = errors.New("no answer in time")

// errOutlasted is the error of an attempt that took too long at an endpoint
// that answered others. It says nothing about the endpoint.
var errOutlasted = fmt.Errorf("%w, although others got one", errNoAnswer)

// errClosed is the error of calls on a closed client.
var errClosed = errors.New("the client is closed")

// unreachableError lists what happened at each endpoint.
type unreachableError struct {
	causes []error
}

func (e *unreachableError) Error() string {
	var b strings.Builder
	b.WriteString(ErrUnreachable.Error())
	for i, cause := range e.causes {
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString("; ")
		}
		b.WriteString(cause.Error())
	}
	return b.String()
}

func (e *unreachableError) Unwrap() []error {
	return append([]error{ErrUnreachable}, e.causes...)
}

// interrupted returns the error of a call that ended with its context, after
// the given failures. If the deadline passed or the cluster was silent, KES was
// not reached in time. If the caller canceled, nothing is known about KES.
func interrupted(ctx context.Context, failures []error) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, errNoAnswer) {
		return &unreachableError{causes: append(failures, fmt.Errorf("all endpoints: %w", cause))}
	}
	if !errors.Is(cause, err) {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &unreachableError{causes: append(failures, err)}
	}
	return fmt.Errorf("kms: caller ended the call: %w", err)
}

// badAnswer returns an ErrBadAnswer with a reason. The reason must not quote
// the answer, which may contain a key.
func badAnswer(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBadAnswer, fmt.Sprintf(format, args...))
}

// legacyKeyExists is what older KES servers return instead of kes.ErrKeyExists.
var legacyKeyExists = kes.NewError(http.StatusBadRequest, "key does already exist")

// refusal maps a KES answer that is neither 200 nor 5xx to an error of this
// package. The KES error stays in the chain.
func refusal(kerr kes.Error) error {
	sentinel := ErrBadAnswer
	switch {
	case kerr == kes.ErrKeyNotFound:
		sentinel = ErrKeyNotFound
	case kerr == kes.ErrKeyExists, kerr == legacyKeyExists:
		sentinel = ErrKeyExists
	case kerr == kes.ErrDecrypt:
		sentinel = ErrInvalidCiphertext
	case kerr.Status() == http.StatusForbidden:
		sentinel = ErrNotAllowed
	case kerr.Status() == http.StatusBadRequest && strings.HasPrefix(kerr.Error(), "tls: "):
		sentinel = ErrNotAllowed // no client certificate, or more than one
	case kerr.Status() == http.StatusBadRequest && strings.HasPrefix(kerr.Error(), "key name "):
		sentinel = ErrInvalidKeyName
	}
	return fmt.Errorf("%w (KES answered %d: %w)", sentinel, kerr.Status(), kerr)
}

package kms

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/minio/kms-go/kes"
)

// Errors of this package. All are to be tested for with errors.Is.
var (
	// ErrKeyNotFound means that KES has no key of that name.
	ErrKeyNotFound = errors.New("kms: key does not exist")
	// ErrKeyExists means that KES already has a key of that name.
	ErrKeyExists = errors.New("kms: key already exists")
	// ErrNotAllowed means that KES does not know this client, or that its
	// policy denies the call.
	ErrNotAllowed = errors.New("kms: not allowed by KES")
	// ErrInvalidKeyName means that a name cannot be that of a KES key, see
	// [ValidKeyName].
	ErrInvalidKeyName = errors.New("kms: invalid key name")
	// ErrInvalidCiphertext means that KES refused to open a sealed data key: it
	// is damaged, or was sealed under another key or for another context.
	ErrInvalidCiphertext = errors.New("kms: sealed data key is not authentic")
	// ErrUnreachable means that no endpoint gave an answer: connections failed,
	// time ran out, or every answer was a 5xx. It also matches what happened at
	// each endpoint, and context.DeadlineExceeded where the caller's deadline
	// ended it.
	ErrUnreachable = errors.New("kms: no KES endpoint gave an answer")
	// ErrBadAnswer means that an endpoint answered with something that KES does
	// not say. It is as good as no answer: to be tried again later. An answer
	// over 1 MiB sends the call to the next endpoint, and matches
	// ErrUnreachable as well.
	ErrBadAnswer = errors.New("kms: unexpected answer from KES")
	// ErrContextConflict means that a client's context holds the entry that
	// binds the object.
	ErrContextConflict = errors.New("kms: encryption context holds the name of the bucket as a key")
	// ErrInvalidContext means that an encryption context is not base64 of a
	// small JSON object of strings, or that a bucket or key is not UTF-8 and so
	// cannot be part of one.
	ErrInvalidContext = errors.New("kms: invalid encryption context")
	// ErrContextRequired means that a data key was asked for without a context.
	ErrContextRequired = errors.New("kms: encryption context is required")
	// ErrCheckUnseal is what an error of [Client.Check] also matches when a
	// data key was generated but not opened again.
	ErrCheckUnseal = errors.New("kms: a new data key does not open")
)

// errNoAnswer is what an attempt that took too long fails with. It is not
// context.DeadlineExceeded, which would be the caller's deadline.
var errNoAnswer = errors.New("no answer in time")

// errClosed is why a closed client reaches nobody.
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

// interrupted is the error of a call that the caller's context ended, after the
// given failures. A deadline that passes means that KES was not reached in
// time. A cancellation says nothing about KES.
func interrupted(ctx context.Context, failures []error) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); !errors.Is(cause, err) {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &unreachableError{causes: append(failures, err)}
	}
	return fmt.Errorf("kms: call ended by its caller: %w", err)
}

// badAnswer is an ErrBadAnswer with a reason. The reason must not quote the
// answer, which may hold a key.
func badAnswer(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBadAnswer, fmt.Sprintf(format, args...))
}

// legacyKeyExists is what older KES servers say in place of kes.ErrKeyExists.
var legacyKeyExists = kes.NewError(http.StatusBadRequest, "key does already exist")

// refusal maps an answer of KES that is neither 200 nor 5xx to one of the
// package's errors. The KES error stays in the chain.
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

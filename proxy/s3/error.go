package s3

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// Error is an S3 error as an answer. The values of the table are shared and
// never changed. Msg, With and the other methods return copies, which errors.Is
// still matches with the original.
type Error struct {
	Code    string      // such as "NoSuchKey"
	Message string      // the only text of the gateway that clients see
	Status  int         // HTTP status
	Header  http.Header // additional headers of the answer, such as Retry-After; usually nil
	Details []Detail    // additional elements of the document, in order; usually nil
	cause   error       // for logs, never sent
}

// A Detail is an element of an error document other than code and message, such
// as ArgumentName.
type Detail struct{ Name, Value string }

// Error returns code, message and cause. It is meant for logs.
func (e *Error) Error() string {
	if e.cause == nil {
		return "s3: " + e.Code + ": " + e.Message
	}
	return "s3: " + e.Code + ": " + e.Message + ": " + e.cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is an *Error with the same code and status. It
// ignores message and cause.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && t.Status == e.Status
}

// Msg returns a copy of e with another message. Clients see it, so it must not
// contain secrets.
func (e *Error) Msg(format string, a ...any) *Error {
	c := *e
	c.Message = fmt.Sprintf(format, a...)
	return &c
}

// Detail returns a copy of e whose document has one more element. Clients see
// it, so it must not contain secrets.
func (e *Error) Detail(name, value string) *Error {
	c := *e
	c.Details = append(slices.Clip(e.Details), Detail{name, value})
	return &c
}

// Headers returns a copy of e whose answer also has the headers of h. It uses
// the value slices of h without copying them.
func (e *Error) Headers(h http.Header) *Error {
	c := *e
	c.Header = maps.Clone(e.Header)
	if c.Header == nil {
		c.Header = http.Header{}
	}
	maps.Copy(c.Header, h)
	return &c
}

// ErrArgument returns InvalidArgument for the value of a header or parameter.
func ErrArgument(name, value, message string) *Error {
	return ErrInvalidArgument.Msg("%s", message).Detail("ArgumentName", name).Detail("ArgumentValue", value)
}

// With returns a copy of e with cause as its cause.
func (e *Error) With(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// ErrorByCode returns the error of the table for an S3 error code, or
// InternalError for an unknown code.
func ErrorByCode(code string) *Error {
	if e, ok := errorTable[code]; ok {
		return e
	}
	return ErrInternal
}

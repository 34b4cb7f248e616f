package sigv4

import (
	"errors"
	"strings"
)

// The S3 error codes of this package.
const (
	CodeAccessDenied           = "AccessDenied"
	CodeAuthorizationMalformed = "AuthorizationHeaderMalformed"
	CodeAuthorizationQuery     = "AuthorizationQueryParametersError"
	CodeBadDigest              = "BadDigest"
	CodeContentSHA256Mismatch  = "XAmzContentSHA256Mismatch"
	CodeEntityTooLarge         = "EntityTooLarge"
	CodeEntityTooSmall         = "EntityTooSmall"
	CodeIncompleteBody         = "IncompleteBody"
	CodeInvalidAccessKeyID     = "InvalidAccessKeyId"
	CodeInvalidArgument        = "InvalidArgument"
	CodeInvalidDigest          = "InvalidDigest"
	CodeInvalidPolicyDocument  = "InvalidPolicyDocument"
	CodeInvalidRequest         = "InvalidRequest"
	CodeInvalidToken           = "InvalidToken"
	CodeMalformedTrailer       = "MalformedTrailerError"
	CodeMissingContentLength   = "MissingContentLength"
	CodeNotImplemented         = "NotImplemented"
	CodeRequestTimeTooSkewed   = "RequestTimeTooSkewed"
	CodeRequestTimeout         = "RequestTimeout"
	CodeSignatureDoesNotMatch  = "SignatureDoesNotMatch"
)

// Error is a refusal, in Amazon's words. Message and Details may quote what the
// client sent, so they must be escaped for display. They contain no secret that
// the client does not know.
type Error struct {
	// Code is the S3 error code; the caller maps it to an HTTP status.
	Code string
	// Message is the text for the client.
	Message string
	// Details are additional elements of the error document. Clients take the
	// region to sign for from them.
	Details []Detail

	cause error
}

// Detail is an element of an error document, such as Region or ArgumentName.
type Detail struct{ Name, Value string }

func newError(code, message string, details ...Detail) *Error {
	return &Error{Code: code, Message: message, Details: details}
}

// errArgument refuses the value of a header or parameter.
func errArgument(name, value, message string) *Error {
	return newError(CodeInvalidArgument, message, Detail{"ArgumentName", name}, Detail{"ArgumentValue", value})
}

// Error implements error.
func (e *Error) Error() string {
	if e.cause != nil {
		return "sigv4: " + e.Code + ": " + e.Message + ": " + e.cause.Error()
	}
	return "sigv4: " + e.Code + ": " + e.Message
}

// Unwrap returns what made the body fail: an error of the transport, or a
// description of the bad framing.
func (e *Error) Unwrap() error { return e.cause }

func errNotV4() *Error {
	return newError(CodeInvalidRequest,
		"The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
}

func errSignature() *Error {
	return newError(CodeSignatureDoesNotMatch, "The request signature we calculated does not match the signature you "+
		"provided. Check your key and signing method.")
}

// errUnsignedHeaders lists headers that must be signed. names are lower case
// and sorted.
func errUnsignedHeaders(names []string) *Error {
	return newError(CodeAccessDenied, "There were headers present in the request which were not signed",
		Detail{"HeadersNotSigned", strings.Join(names, ", ")})
}

func errBodyLength() *Error {
	return newError(CodeIncompleteBody,
		"You did not provide the number of bytes specified by the Content-Length HTTP header")
}

func errTruncated(cause error) *Error {
	return &Error{Code: CodeIncompleteBody, Message: "The request body terminated unexpectedly", cause: cause}
}

// errFraming refuses a body that is not valid aws-chunked. detail is only for
// logs.
func errFraming(detail string) *Error { return errTruncated(errors.New(detail)) }

// errTrailer refuses the lines after the final chunk. detail is only for logs.
func errTrailer(detail string) *Error {
	return &Error{
		Code: CodeMalformedTrailer,
		Message: "The request contained trailing data that was not well-formed or did not conform to our published " +
			"schema.",
		cause: errors.New(detail),
	}
}

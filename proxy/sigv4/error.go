package sigv4

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
	CodeInvalidChunkSize       = "InvalidChunkSizeError"
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

// Error is a refusal. Message never holds bytes that the client sent, so it can be shown and logged as it is.
type Error struct {
	// Code is the S3 error code; the caller maps it to an HTTP status.
	Code string
	// Message is the text for the client.
	Message string
	// Region is the region to sign for, where a wrong one is the reason; clients read it from the error document.
	Region string

	cause error
}

func newError(code, message string) *Error { return &Error{Code: code, Message: message} }

// Error implements error.
func (e *Error) Error() string {
	if e.cause != nil {
		return "sigv4: " + e.Code + ": " + e.Message + ": " + e.cause.Error()
	}
	return "sigv4: " + e.Code + ": " + e.Message
}

// Unwrap returns the transport's error, if that is what made the body fail.
func (e *Error) Unwrap() error { return e.cause }

func errNotV4() *Error {
	return newError(CodeInvalidRequest,
		"The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
}

func errSignature() *Error {
	return newError(CodeSignatureDoesNotMatch, "The request signature we calculated does not match the signature you "+
		"provided. Check your key and signing method.")
}

func errUnsignedHeaders() *Error {
	return newError(CodeAccessDenied, "There were headers present in the request which were not signed")
}

func errBodyLength() *Error {
	return newError(CodeIncompleteBody,
		"You did not provide the number of bytes specified by the Content-Length HTTP header")
}

func errTruncated(cause error) *Error {
	return &Error{Code: CodeIncompleteBody, Message: "The request body terminated unexpectedly", cause: cause}
}

func errFraming(detail string) *Error {
	return newError(CodeIncompleteBody, "The aws-chunked request body is malformed: "+detail)
}

func errTrailer(detail string) *Error {
	return newError(CodeMalformedTrailer, "The request contained trailing data that was not well-formed or did not "+
		"conform to our published schema: "+detail)
}

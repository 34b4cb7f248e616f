package s3

import "net/http"

// The errors that the gateway uses by name. Each is an entry of the table
// below.
var (
	ErrAccessDenied         = mustError("AccessDenied")
	ErrBadDigest            = mustError("BadDigest")
	ErrBadRequest           = mustError("BadRequest")
	ErrEncryptionNotFound   = mustError("ServerSideEncryptionConfigurationNotFoundError")
	ErrEntityTooLarge       = mustError("EntityTooLarge")
	ErrEntityTooSmall       = mustError("EntityTooSmall")
	ErrIncompleteBody       = mustError("IncompleteBody")
	ErrInternal             = mustError("InternalError")
	ErrInvalidArgument      = mustError("InvalidArgument")
	ErrInvalidBucketName    = mustError("InvalidBucketName")
	ErrInvalidPart          = mustError("InvalidPart")
	ErrInvalidPartOrder     = mustError("InvalidPartOrder")
	ErrInvalidRange         = mustError("InvalidRange")
	ErrInvalidRequest       = mustError("InvalidRequest")
	ErrInvalidTag           = mustError("InvalidTag")
	ErrInvalidURI           = mustError("InvalidURI")
	ErrKeyTooLong           = mustError("KeyTooLongError")
	ErrKMSKeyExists         = mustError("kms:KeyAlreadyExists")
	ErrKMSKeyNotFound       = mustError("kms:KeyNotFound")
	ErrKMSNotAuthorized     = mustError("kms:NotAuthorized")
	ErrKMSNotFoundOnRead    = mustError("KMS.NotFoundException")
	ErrMalformedPOSTRequest = mustError("MalformedPOSTRequest")
	ErrMalformedXML         = mustError("MalformedXML")
	ErrMaxMessageLength     = mustError("MaxMessageLengthExceeded")
	ErrMetadataTooLarge     = mustError("MetadataTooLarge")
	ErrMethodNotAllowed     = mustError("MethodNotAllowed")
	ErrMissingContentLength = mustError("MissingContentLength")
	ErrNoSuchBucket         = mustError("NoSuchBucket")
	ErrNoSuchKey            = mustError("NoSuchKey")
	ErrNoSuchUpload         = mustError("NoSuchUpload")
	ErrNoSuchVersion        = mustError("NoSuchVersion")
	ErrNotImplemented       = mustError("NotImplemented")
	ErrNotModified          = mustError("NotModified")
	ErrObjectTampered       = mustError("XSsegwObjectNotAuthentic")
	ErrOperationAborted     = mustError("OperationAborted")
	ErrPreconditionFailed   = mustError("PreconditionFailed")
	ErrRequestTimeout       = mustError("RequestTimeout")
	ErrServiceUnavailable   = mustError("ServiceUnavailable")
	ErrSlowDown             = mustError("SlowDown")
	ErrSSECOverHTTP         = ErrInvalidRequest.Msg("Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.")
	ErrSSECKeyNeeded        = ErrInvalidRequest.Msg("The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.")
	ErrSSENotApplicable     = ErrInvalidRequest.Msg("The encryption parameters are not applicable to this object.")
	ErrSSEMethod            = ErrInvalidArgument.Msg("The encryption method specified is not supported")
)

// mustError is ErrorByCode for variables of this package. It panics if the code
// is not in the table.
func mustError(code string) *Error {
	e, ok := errorTable[code]
	if !ok {
		panic("s3: no error " + code)
	}
	return e
}

// errorTable holds every error that the gateway can return, by code.
var errorTable = func() map[string]*Error {
	table := make(map[string]*Error)
	for _, rows := range [][]Error{requestErrors, resourceErrors, authErrors, serverErrors} {
		for _, e := range rows {
			if e.Status == http.StatusServiceUnavailable {
				e.Header = http.Header{"Retry-After": {"1"}}
			}
			table[e.Code] = &e
		}
	}
	return table
}()

// requestErrors are about what the client sent.
var requestErrors = []Error{
	{Code: "BadDigest", Status: 400, Message: "The Content-MD5 or checksum value you specified did not match what the server received."},
	{Code: "BadRequest", Status: 400, Message: "Bad Request"},
	{Code: "EntityTooLarge", Status: 400, Message: "Your proposed upload exceeds the maximum allowed size"},
	{Code: "EntityTooSmall", Status: 400, Message: "Your proposed upload is smaller than the minimum allowed size"},
	{Code: "IllegalLocationConstraintException", Status: 400, Message: "The unspecified location constraint is incompatible for the region specific endpoint this request was sent to."},
	{Code: "IncompleteBody", Status: 400, Message: "You did not provide the number of bytes specified by the Content-Length HTTP header"},
	{Code: "InvalidArgument", Status: 400, Message: "Invalid Argument"},
	{Code: "InvalidBucketName", Status: 400, Message: "The specified bucket is not valid."},
	{Code: "InvalidChunkSizeError", Status: 400, Message: "The chunk size of the body is not valid."},
	{Code: "InvalidDigest", Status: 400, Message: "The Content-MD5 you specified is not valid."},
	{Code: "InvalidEncryptionAlgorithmError", Status: 400, Message: "The encryption request you specified is not valid. The valid value is AES256."},
	{Code: "InvalidLocationConstraint", Status: 400, Message: "The specified location-constraint is not valid"},
	{Code: "InvalidPart", Status: 400, Message: "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."},
	{Code: "InvalidPartNumber", Status: 416, Message: "The requested partnumber is not satisfiable."},
	{Code: "InvalidPartOrder", Status: 400, Message: "The list of parts was not in ascending order. Parts must be ordered by part number."},
	{Code: "InvalidRange", Status: 416, Message: "The requested range is not satisfiable"},
	{Code: "InvalidRequest", Status: 400, Message: "Invalid Request"},
	{Code: "InvalidStorageClass", Status: 400, Message: "The storage class you specified is not valid"},
	{Code: "InvalidTag", Status: 400, Message: "The tag provided was not a valid tag."},
	{Code: "InvalidTargetBucketForLogging", Status: 400, Message: "The target bucket for logging does not exist, is not owned by you, or does not have the appropriate grants for the log-delivery group."},
	{Code: "InvalidURI", Status: 400, Message: "Couldn't parse the specified URI."},
	{Code: "KeyTooLongError", Status: 400, Message: "Your key is too long"},
	{Code: "MalformedACLError", Status: 400, Message: "The XML you provided was not well-formed or did not validate against our published schema"},
	{Code: "MalformedPOSTRequest", Status: 400, Message: "The body of your POST request is not well-formed multipart/form-data."},
	{Code: "MalformedTrailerError", Status: 400, Message: "The request contained trailing data that was not well-formed or did not conform to our published schema."},
	{Code: "MalformedXML", Status: 400, Message: "The XML you provided was not well-formed or did not validate against our published schema."},
	{Code: "MaxMessageLengthExceeded", Status: 400, Message: "Your request was too big."},
	{Code: "MaxPostPreDataLengthExceededError", Status: 400, Message: "Your POST request fields preceding the upload file were too large."},
	{Code: "MetadataTooLarge", Status: 400, Message: "Your metadata headers exceed the maximum allowed metadata size"},
	{Code: "MissingContentLength", Status: 411, Message: "You must provide the Content-Length HTTP header."},
	{Code: "MissingRequestBodyError", Status: 400, Message: "Request body is empty."},
	{Code: "PreconditionFailed", Status: 412, Message: "At least one of the pre-conditions you specified did not hold."},
	{Code: "RequestHeaderSectionTooLarge", Status: 400, Message: "Your request header section exceeds the maximum allowed size."},
	{Code: "RequestTimeout", Status: 400, Message: "Your socket connection to the server was not read from or written to within the timeout period."},
	{Code: "XAmzContentChecksumMismatch", Status: 400, Message: "The provided 'x-amz-checksum' header does not match what was computed."},
	{Code: "XAmzContentSHA256Mismatch", Status: 400, Message: "The provided 'x-amz-content-sha256' header does not match what was computed."},
}

// resourceErrors are about buckets, objects and their settings.
var resourceErrors = []Error{
	{Code: "BucketAlreadyExists", Status: 409, Message: "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again."},
	{Code: "BucketAlreadyOwnedByYou", Status: 409, Message: "Your previous request to create the named bucket succeeded and you already own it."},
	{Code: "BucketNotEmpty", Status: 409, Message: "The bucket you tried to delete is not empty"},
	{Code: "ConditionalRequestConflict", Status: 409, Message: "A conflicting conditional operation is currently in progress against this resource. Please try again."},
	{Code: "InvalidBucketState", Status: 409, Message: "The request is not valid with the current state of the bucket."},
	{Code: "InvalidObjectState", Status: 403, Message: "The operation is not valid for the object's storage class"},
	{Code: "KMS.DisabledException", Status: 400, Message: "The specified KMS key is not enabled."},
	{Code: "KMS.NotFoundException", Status: 400, Message: "The KMS key that this object is encrypted with does not exist."},
	{Code: "MethodNotAllowed", Status: 405, Message: "The specified method is not allowed against this resource."},
	{Code: "NoSuchBucket", Status: 404, Message: "The specified bucket does not exist"},
	{Code: "NoSuchBucketPolicy", Status: 404, Message: "The bucket policy does not exist"},
	{Code: "NoSuchCORSConfiguration", Status: 404, Message: "The CORS configuration does not exist"},
	{Code: "NoSuchKey", Status: 404, Message: "The specified key does not exist."},
	{Code: "NoSuchLifecycleConfiguration", Status: 404, Message: "The lifecycle configuration does not exist"},
	{Code: "NoSuchTagSet", Status: 404, Message: "The TagSet does not exist"},
	{Code: "NoSuchUpload", Status: 404, Message: "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."},
	{Code: "NoSuchVersion", Status: 404, Message: "The specified version does not exist."},
	{Code: "NotModified", Status: 304, Message: "Not Modified"},
	{Code: "ObjectLockConfigurationNotFoundError", Status: 404, Message: "Object Lock configuration does not exist for this bucket"},
	{Code: "OperationAborted", Status: 409, Message: "A conflicting conditional operation is currently in progress against this resource. Please try again."},
	{Code: "ReplicationConfigurationNotFoundError", Status: 404, Message: "The replication configuration was not found"},
	{Code: "ServerSideEncryptionConfigurationNotFoundError", Status: 404, Message: "The server side encryption configuration was not found"},
	{Code: "kms:InvalidCiphertextException", Status: 400, Message: "The KMS refused the data key of this object."},
	{Code: "kms:KeyAlreadyExists", Status: 409, Message: "key with given key ID already exists"},
	{Code: "kms:KeyNotFound", Status: 404, Message: "key with given key ID does not exist"},
}

// authErrors are about the caller.
var authErrors = []Error{
	{Code: "AccessDenied", Status: 403, Message: "Access Denied."},
	{Code: "AuthorizationHeaderMalformed", Status: 400, Message: "The authorization header you provided is not valid."},
	{Code: "AuthorizationQueryParametersError", Status: 400, Message: "Query-string authentication requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."},
	{Code: "CredentialsNotSupported", Status: 400, Message: "This request does not support credentials."},
	{Code: "ExpiredToken", Status: 400, Message: "The provided token has expired."},
	{Code: "InvalidAccessKeyId", Status: 403, Message: "The AWS access key ID you provided does not exist in our records."},
	{Code: "InvalidPolicyDocument", Status: 400, Message: "The content of the form does not meet the conditions specified in the policy document."},
	{Code: "InvalidSecurity", Status: 403, Message: "The provided security credentials are not valid."},
	{Code: "InvalidToken", Status: 400, Message: "The provided token is malformed or otherwise not valid."},
	{Code: "MissingSecurityHeader", Status: 400, Message: "Your request is missing a required header."},
	{Code: "RequestTimeTooSkewed", Status: 403, Message: "The difference between the request time and the server's time is too large."},
	{Code: "SignatureDoesNotMatch", Status: 403, Message: "The request signature that the server calculated does not match the signature that you provided. Check your AWS secret access key and signing method."},
	{Code: "kms:NotAuthorized", Status: 403, Message: "insufficient permissions to perform KMS operation"},
}

// serverErrors are faults of the gateway or the upstream.
var serverErrors = []Error{
	{Code: "BadGateway", Status: 502, Message: "The object store gave no valid answer."},
	{Code: "InternalError", Status: 500, Message: "We encountered an internal error. Please try again."},
	{Code: "NotImplemented", Status: 501, Message: "A header you provided implies functionality that is not implemented."},
	{Code: "ServiceUnavailable", Status: 503, Message: "Service is unable to handle request. Please try again."},
	{Code: "SlowDown", Status: 503, Message: "Please reduce your request rate."},
	{Code: "XSsegwObjectNotAuthentic", Status: 500, Message: "The object store returned data that is not what was stored."},
	{Code: "kms:NotSupported", Status: 501, Message: "The KMS does not support this operation."},
}

package s3

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"ssegw/proxy/field"
)

// Names of the headers that the gateway reads or writes, in lower case.
const (
	HeaderACL                    = "x-amz-acl"
	HeaderAlgorithm              = "x-amz-checksum-algorithm"
	HeaderBucketRegion           = "x-amz-bucket-region"
	HeaderBypassGovernance       = "x-amz-bypass-governance-retention"
	HeaderChecksumMode           = "x-amz-checksum-mode"
	HeaderChecksumType           = "x-amz-checksum-type"
	HeaderContentSHA256          = "x-amz-content-sha256"
	HeaderDate                   = "x-amz-date"
	HeaderDecodedContentLength   = "x-amz-decoded-content-length"
	HeaderDeleteMarker           = "x-amz-delete-marker"
	HeaderExpectedOwner          = "x-amz-expected-bucket-owner"
	HeaderExpiration             = "x-amz-expiration"
	HeaderID2                    = "x-amz-id-2"
	HeaderMaxParts               = "x-amz-max-parts"
	HeaderMetadataDirective      = "x-amz-metadata-directive"
	HeaderMFA                    = "x-amz-mfa"
	HeaderMissingMeta            = "x-amz-missing-meta"
	HeaderMPObjectSize           = "x-amz-mp-object-size"
	HeaderObjectAttributes       = "x-amz-object-attributes"
	HeaderObjectLockHold         = "x-amz-object-lock-legal-hold"
	HeaderObjectLockMode         = "x-amz-object-lock-mode"
	HeaderObjectLockRetainUntil  = "x-amz-object-lock-retain-until-date"
	HeaderOptionalAttributes     = "x-amz-optional-object-attributes"
	HeaderPartNumberMarker       = "x-amz-part-number-marker"
	HeaderPartsCount             = "x-amz-mp-parts-count"
	HeaderReplicationStatus      = "x-amz-replication-status"
	HeaderObjectSize             = "x-amz-object-size"
	HeaderRequestID              = "x-amz-request-id"
	HeaderRequestPayer           = "x-amz-request-payer"
	HeaderRestore                = "x-amz-restore"
	HeaderSDKChecksumAlgorithm   = "x-amz-sdk-checksum-algorithm"
	HeaderSecurityToken          = "x-amz-security-token"
	HeaderSourceExpectedOwner    = "x-amz-source-expected-bucket-owner"
	HeaderStorageClass           = "x-amz-storage-class"
	HeaderTagging                = "x-amz-tagging"
	HeaderTaggingCount           = "x-amz-tagging-count"
	HeaderTaggingDirective       = "x-amz-tagging-directive"
	HeaderTrailer                = "x-amz-trailer"
	HeaderVersionID              = "x-amz-version-id"
	HeaderWebsiteRedirect        = "x-amz-website-redirect-location"
	HeaderWriteOffset            = "x-amz-write-offset-bytes"
	HeaderCopySource             = "x-amz-copy-source"
	HeaderCopySourceRange        = "x-amz-copy-source-range"
	HeaderCopySourceIfMatch      = "x-amz-copy-source-if-match"
	HeaderCopySourceIfNoneMatch  = "x-amz-copy-source-if-none-match"
	HeaderCopySourceIfModified   = "x-amz-copy-source-if-modified-since"
	HeaderCopySourceIfUnmodified = "x-amz-copy-source-if-unmodified-since"
	HeaderCopySourceVersionID    = "x-amz-copy-source-version-id"
)

// Names of the headers of server-side encryption, in lower case.
const (
	HeaderSSE           = "x-amz-server-side-encryption"
	HeaderSSEKeyID      = "x-amz-server-side-encryption-aws-kms-key-id"
	HeaderSSEContext    = "x-amz-server-side-encryption-context"
	HeaderSSEBucketKey  = "x-amz-server-side-encryption-bucket-key-enabled"
	HeaderSSECAlgorithm = "x-amz-server-side-encryption-customer-algorithm"
	HeaderSSECKey       = "x-amz-server-side-encryption-customer-key"
	HeaderSSECKeyMD5    = "x-amz-server-side-encryption-customer-key-md5"

	HeaderCopySourceSSECAlgorithm = "x-amz-copy-source-server-side-encryption-customer-algorithm"
	HeaderCopySourceSSECKey       = "x-amz-copy-source-server-side-encryption-customer-key"
	HeaderCopySourceSSECKeyMD5    = "x-amz-copy-source-server-side-encryption-customer-key-md5"
)

// Values of x-amz-server-side-encryption and of the SSE-C algorithm headers.
const (
	AES256 = "AES256"
	AWSKMS = "aws:kms"
)

const (
	// MetaPrefix begins the name of every header of user metadata.
	MetaPrefix = "x-amz-meta-"
	// HeaderSealed is the upstream metadata header that marks an object as
	// sealed. Clients neither send nor see it.
	HeaderSealed = MetaPrefix + "ssegw"
	// ChecksumPrefix begins the name of every checksum header, and of the three
	// headers that describe checksums.
	ChecksumPrefix = "x-amz-checksum-"

	amzPrefix = "x-amz-"
)

// singleHeaders are the lower-cased standard headers that must not have two
// values, because two readers of the request could each use a different one.
var singleHeaders = []string{"authorization", "content-md5", "content-type", "date", "range"}

// listHeaders are the lower-cased x-amz-* headers whose lines form one list.
var listHeaders = []string{HeaderObjectAttributes, HeaderOptionalAttributes}

// isJoined reports whether several lines of a header form one comma-separated
// value. lower is its lower-cased name.
func isJoined(lower string) bool {
	return strings.HasPrefix(lower, MetaPrefix) || slices.Contains(listHeaders, lower)
}

// FirstValue returns the first value of a header, and whether it was sent.
func FirstValue(h http.Header, name string) (string, bool) {
	v := field.Values(h, name)
	if len(v) == 0 {
		return "", false
	}
	return v[0], true
}

// SSEPrefix begins the names of all headers of server-side encryption.
const SSEPrefix = "x-amz-server-side-encryption"

// GrantsAccess reports whether the headers of a write ask for an ACL that lets
// anyone but the owners of object and bucket read or write the object.
func GrantsAccess(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(field.Lower(name), "x-amz-grant-") {
			return true
		}
	}
	acl := field.Get(h, HeaderACL)
	return acl != "" && !slices.Contains([]string{"private", "bucket-owner-read", "bucket-owner-full-control"}, acl)
}

// Spelled returns a header's name as Amazon documents it. Some HTTP/1.1 clients
// wrongly compare names case-sensitively.
func Spelled(name string) string {
	lower := field.Lower(name)
	switch {
	case lower == "etag":
		return "ETag"
	case strings.HasPrefix(lower, "x-amz-"), strings.HasPrefix(lower, "x-ssegw-"):
		return lower
	}
	return field.Canonical(name)
}

// NewRequestID returns 16 random hexadecimal digits.
func NewRequestID() string {
	var b [8]byte
	rand.Read(b[:])
	return fmt.Sprintf("%X", b)
}

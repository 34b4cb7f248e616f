// Package field changes the case of header names. Every request does that
// dozens of times, and both strings.ToLower and net/http allocate a string for
// it. This package has the spellings of the usual names in a table.
//
// docs/ARCHITECTURE.md is the map.
package field

import (
	"net/http"
	"strings"
)

// usual are the usual names of headers in requests and answers, in lower case.
// Other names work too, but cost an allocation.
var usual = strings.Fields(`
	accept accept-encoding accept-language accept-ranges access-control-request-headers access-control-request-method
	allow amz-sdk-invocation-id amz-sdk-request authorization cache-control connection
	content-disposition content-encoding content-language content-length content-md5 content-range content-type
	cookie date etag expect expires host if-match if-modified-since if-none-match if-range if-unmodified-since
	last-modified location origin range referer retry-after server strict-transport-security te trailer
	transfer-encoding user-agent vary via x-content-type-options x-forwarded-for x-forwarded-host x-forwarded-proto
	x-minio-extract x-minio-force-delete x-ratelimit-limit x-ratelimit-remaining x-real-ip x-xss-protection x-ssegw-warning
	x-amz-abort-date x-amz-abort-rule-id x-amz-acl x-amz-bucket-key-enabled x-amz-bucket-region
	x-amz-bypass-governance-retention
	x-amz-checksum-algorithm x-amz-checksum-mode x-amz-checksum-type x-amz-checksum-crc32 x-amz-checksum-crc32c
	x-amz-checksum-crc64nvme x-amz-checksum-sha1 x-amz-checksum-sha256 x-amz-checksum-sha512 x-amz-checksum-md5
	x-amz-content-sha256 x-amz-copy-source x-amz-copy-source-if-match x-amz-copy-source-if-none-match
	x-amz-copy-source-if-modified-since x-amz-copy-source-if-unmodified-since x-amz-copy-source-range
	x-amz-copy-source-server-side-encryption-customer-algorithm x-amz-copy-source-server-side-encryption-customer-key
	x-amz-copy-source-server-side-encryption-customer-key-md5 x-amz-copy-source-version-id
	x-amz-date x-amz-decoded-content-length x-amz-delete-marker x-amz-expected-bucket-owner x-amz-expiration
	x-amz-grant-full-control x-amz-grant-read x-amz-grant-read-acp x-amz-grant-write x-amz-grant-write-acp
	x-amz-id-2 x-amz-max-parts x-amz-meta-ssegw x-amz-metadata-directive x-amz-missing-meta x-amz-mp-object-size
	x-amz-mp-parts-count x-amz-object-attributes x-amz-object-lock-legal-hold x-amz-object-lock-mode
	x-amz-object-lock-retain-until-date x-amz-object-size x-amz-optional-object-attributes x-amz-replication-status
	x-amz-request-charged x-amz-request-id x-amz-request-payer x-amz-restore x-amz-sdk-checksum-algorithm
	x-amz-security-token x-amz-server-side-encryption x-amz-server-side-encryption-aws-kms-key-id
	x-amz-server-side-encryption-bucket-key-enabled x-amz-server-side-encryption-context
	x-amz-server-side-encryption-customer-algorithm x-amz-server-side-encryption-customer-key
	x-amz-server-side-encryption-customer-key-md5 x-amz-storage-class x-amz-tagging x-amz-tagging-count
	x-amz-tagging-directive x-amz-te x-amz-trailer x-amz-trailer-signature x-amz-user-agent x-amz-version-id
	x-amz-website-redirect-location
`)

// lower and canonical map both spellings of a usual name to one of them.
var lower, canonical = tables()

func tables() (lower, canonical map[string]string) {
	lower, canonical = map[string]string{}, map[string]string{}
	for _, name := range usual {
		form := http.CanonicalHeaderKey(name)
		lower[name], lower[form] = name, name
		canonical[name], canonical[form] = form, form
	}
	return lower, canonical
}

// Lower returns the name of a header in lower case.
func Lower(name string) string {
	if l, ok := lower[name]; ok {
		return l
	}
	return strings.ToLower(name)
}

// Canonical returns the name of a header as net/http has it in its maps.
func Canonical(name string) string {
	if c, ok := canonical[name]; ok {
		return c
	}
	return http.CanonicalHeaderKey(name)
}

// Values returns the values of a header, whose name is in any case.
func Values(h http.Header, name string) []string { return h[Canonical(name)] }

// Get returns the first value of a header, whose name is in any case, or "".
func Get(h http.Header, name string) string {
	if v := Values(h, name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set gives a header one value. Its name is in any case.
func Set(h http.Header, name, value string) { h[Canonical(name)] = []string{value} }

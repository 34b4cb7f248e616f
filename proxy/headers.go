package proxy

import (
	"net/http"
	"slices"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

const (
	metaPrefix = "x-amz-meta-"
	ssePrefix  = "x-amz-server-side-encryption"

	// defaultContentType is what Amazon S3 stores for an object without a type.
	defaultContentType = "binary/octet-stream"

	// maxUserMetadata is Amazon S3's bound on the bytes of all user metadata
	// names (without the prefix) and values of one object.
	maxUserMetadata = 2048
)

// contentHeaders are the headers that a store keeps with an object and gives
// back, next to user metadata. All but the redirect, which some stores drop, are
// covered by the headers digest.
var contentHeaders = []string{
	"cache-control", "content-disposition", "content-encoding", "content-language",
	"content-type", "expires", "x-amz-website-redirect-location",
}

// requestHeaders are the further headers that go to the upstream as they came.
// Towards the upstream there is an allow-list only: a header that the gateway
// does not know could be one of the store's private ones.
var requestHeaders = map[string]bool{
	"if-match": true, "if-none-match": true, "if-modified-since": true, "if-unmodified-since": true,
	"x-amz-if-match-last-modified-time": true, "x-amz-if-match-initiated-time": true, "x-amz-if-match-size": true,
	"x-amz-acl": true, "x-amz-grant-full-control": true, "x-amz-grant-read": true, "x-amz-grant-read-acp": true,
	"x-amz-grant-write": true, "x-amz-grant-write-acp": true,
	"x-amz-tagging": true, "x-amz-storage-class": true, "x-amz-mfa": true,
	"x-amz-object-lock-mode": true, "x-amz-object-lock-retain-until-date": true, "x-amz-object-lock-legal-hold": true,
	"x-amz-bypass-governance-retention": true, "x-amz-bucket-object-lock-enabled": true, "x-amz-bucket-object-lock-token": true,
	"x-amz-object-ownership": true, "x-amz-expected-bucket-owner": true, "x-amz-source-expected-bucket-owner": true,
	"x-amz-request-payer": true, "x-amz-object-attributes": true, "x-amz-optional-object-attributes": true,
	"x-amz-max-parts": true, "x-amz-part-number-marker": true, "x-amz-confirm-remove-self-bucket-access": true,
	"x-amz-transition-default-minimum-object-size": true, "x-amz-skip-destination-validation": true,
	"x-amz-bucket-region": true, "x-amz-checksum-mode": true, "x-minio-force-delete": true,
	"origin": true, "access-control-request-method": true, "access-control-request-headers": true,
}

// ownHeaders are x-amz-* headers that end at the gateway.
var ownHeaders = map[string]bool{
	s3.HeaderSSE: true, s3.HeaderSSEKeyID: true, s3.HeaderSSEContext: true, s3.HeaderSSEBucketKey: true,
	s3.HeaderSSECAlgorithm: true, s3.HeaderSSECKey: true, s3.HeaderSSECKeyMD5: true,
	"x-amz-date": true, "x-amz-content-sha256": true, "x-amz-decoded-content-length": true, "x-amz-trailer": true,
	"x-amz-trailer-signature": true, "x-amz-sdk-checksum-algorithm": true, "x-amz-user-agent": true, "x-amz-te": true,
	"x-amz-copy-source": true, "x-amz-checksum-type": true, "x-amz-checksum-algorithm": true,
	s3.HeaderMPObjectSize: true,
}

// answerHeaders are the headers of an upstream's answer that reach a client. What
// is not in the list could be about the store, or tell a client what is not
// authentic.
var answerHeaders = map[string]bool{
	"etag": true, "last-modified": true, "retry-after": true, "vary": true, "allow": true,
	"x-amz-version-id": true, "x-amz-delete-marker": true, "x-amz-copy-source-version-id": true,
	"x-amz-expiration": true, "x-amz-restore": true, "x-amz-restore-output-path": true, "x-amz-archive-status": true,
	"x-amz-storage-class": true, "x-amz-replication-status": true, "x-amz-tagging-count": true, "x-amz-mp-parts-count": true,
	"x-amz-object-lock-mode": true, "x-amz-object-lock-retain-until-date": true, "x-amz-object-lock-legal-hold": true,
	"x-amz-abort-date": true, "x-amz-abort-rule-id": true, "x-amz-object-size": true, "x-amz-request-charged": true,
	"x-amz-bucket-region": true, "x-amz-bucket-arn": true, "x-amz-access-point-alias": true, "x-amz-bucket-location-type": true,
	"x-amz-bucket-location-name": true, "x-amz-transition-default-minimum-object-size": true,
}

// bodyHeaders describe the body of a GET's or HEAD's answer.
var bodyHeaders = []string{"accept-ranges", "content-length", "content-range"}

// errorHeaders are the headers of an upstream's error answer that reach a client.
var errorHeaders = []string{
	"allow", "content-range", "last-modified", "retry-after", "vary", "x-amz-delete-marker", "x-amz-version-id", "x-amz-request-charged",
}

// isCORS reports whether a header is of the answers to pages of other origins.
func isCORS(name string) bool { return strings.HasPrefix(strings.ToLower(name), "access-control-") }

func errHeader(name string) error {
	return s3.ErrNotImplemented.Msg("A header you provided implies functionality that is not implemented: %s", name).Detail("Header", name)
}

// checkHeaders refuses the client headers that the gateway can neither honour
// nor drop without changing what the client asked for. An unknown header of a
// read asks for nothing that could go wrong: it is dropped.
func checkHeaders(h http.Header, method string) error {
	isRead := method == http.MethodGet || method == http.MethodHead
	for name := range h {
		name = strings.ToLower(name)
		switch {
		case name == sealer.MetadataKey:
			return s3.ErrInvalidArgument.Msg("The metadata name %s is reserved.", name)
		case strings.HasPrefix(name, metaPrefix):
			// MinIO unpacks uploads with such a header; sealed bytes cannot be unpacked.
			if strings.HasSuffix(name, "snowball-auto-extract") || strings.HasPrefix(name, metaPrefix+"minio-snowball") {
				return s3.ErrNotImplemented
			}
		case name == "x-minio-extract": // MinIO's listing and reading of the files in a ZIP archive
			return errHeader(name)
		case isUnknown(name) && !isRead:
			return errHeader(name)
		}
	}
	return nil
}

// isUnknown reports whether a lower-case name is that of an x-amz-* header with no
// meaning to the gateway.
func isUnknown(name string) bool {
	switch {
	case !strings.HasPrefix(name, "x-amz-"), strings.HasPrefix(name, metaPrefix), strings.HasPrefix(name, "x-amz-checksum-"),
		strings.HasPrefix(name, "x-amz-copy-source"), ownHeaders[name], requestHeaders[name], slices.Contains(contentHeaders, name),
		name == "x-amz-metadata-directive", name == "x-amz-tagging-directive", name == "x-amz-security-token":
		return false
	}
	return true
}

// upstreamHeader returns the client's headers that go to the upstream.
// Checksums, SSE headers and framing are not among them.
func upstreamHeader(in http.Header) http.Header {
	out := http.Header{}
	for name, values := range in {
		lower := strings.ToLower(name)
		if requestHeaders[lower] || strings.HasPrefix(lower, metaPrefix) || slices.Contains(contentHeaders, lower) {
			out[name] = slices.Clone(values)
		}
	}
	if encodings := storedEncoding(in); encodings != "" {
		out.Set("Content-Encoding", encodings)
	} else {
		out.Del("Content-Encoding")
	}
	return out
}

// isStored reports whether a store keeps the header with an object.
func isStored(name string) bool {
	lower := strings.ToLower(name)
	return strings.HasPrefix(lower, metaPrefix) || slices.Contains(contentHeaders, lower)
}

// storedEncoding is the Content-Encoding to store: aws-chunked is framing.
func storedEncoding(in http.Header) string {
	all := strings.Join(in.Values("Content-Encoding"), ",")
	if !strings.Contains(strings.ToLower(all), "aws-chunked") {
		return all
	}
	var kept []string
	for e := range strings.SplitSeq(all, ",") {
		if e = strings.TrimSpace(e); e != "" && !strings.EqualFold(e, "aws-chunked") {
			kept = append(kept, e)
		}
	}
	return strings.Join(kept, ",")
}

// copyAnswer copies the headers of an upstream's answer that a client may see,
// except those of an object's content. sealed says that the object is sealed:
// what the upstream knows of its bytes (checksums, its own encryption) is then
// not about the client's object.
func copyAnswer(dst, src http.Header, sealed bool) {
	for name, values := range src {
		lower := strings.ToLower(name)
		ofBytes := strings.HasPrefix(lower, ssePrefix) || strings.HasPrefix(lower, s3.ChecksumPrefix)
		if answerHeaders[lower] || isCORS(lower) || ofBytes && !sealed {
			dst[name] = slices.Clone(values)
		}
	}
}

// copyObject copies the headers of an upstream's answer with an object that is
// not sealed.
func copyObject(dst, src http.Header) {
	copyAnswer(dst, src, false)
	for name, values := range src {
		lower := strings.ToLower(name)
		if slices.Contains(bodyHeaders, lower) || isStored(lower) {
			dst[name] = slices.Clone(values)
		}
	}
}

// userMetadataSize is the number of bytes that Amazon S3 counts for the user
// metadata in h: names without the prefix, and values.
func userMetadataSize(h http.Header) int {
	n := 0
	for name, values := range h {
		if len(name) > len(metaPrefix) && strings.EqualFold(name[:len(metaPrefix)], metaPrefix) {
			n += len(name) - len(metaPrefix) + len(strings.Join(values, ","))
		}
	}
	return n
}

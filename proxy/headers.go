package proxy

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"mime"
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

// answerHeaders are the headers of an upstream's answer that reach a client
// beside x-amz-* ones.
var answerHeaders = map[string]bool{
	"accept-ranges": true, "content-length": true, "content-range": true, "etag": true, "last-modified": true,
	"location": true, "retry-after": true, "vary": true, "allow": true,
	"x-minio-error-code": true, "x-minio-error-desc": true,
}

const notImplementedHeader = "A header you provided implies functionality that is not implemented: %s"

// checkHeaders refuses the client headers that the gateway can neither honour
// nor drop without changing what the client asked for.
func checkHeaders(h http.Header) error {
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
			return s3.ErrNotImplemented.Msg(notImplementedHeader, name)
		case !strings.HasPrefix(name, "x-amz-"):
		case strings.HasPrefix(name, "x-amz-checksum-"),
			strings.HasPrefix(name, "x-amz-copy-source"), ownHeaders[name], requestHeaders[name], slices.Contains(contentHeaders, name):
		case name == "x-amz-metadata-directive" || name == "x-amz-tagging-directive":
		default:
			return s3.ErrNotImplemented.Msg(notImplementedHeader, name)
		}
	}
	return nil
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
	var kept []string
	for e := range strings.SplitSeq(strings.Join(in.Values("Content-Encoding"), ","), ",") {
		if e = strings.TrimSpace(e); e != "" && !strings.EqualFold(e, "aws-chunked") {
			kept = append(kept, e)
		}
	}
	return strings.Join(kept, ",")
}

// copyAnswer copies the headers of an upstream's answer that a client may see.
// sealed says that the object is sealed: what the upstream knows of its bytes
// (checksums, its own encryption) is then not about the client's object.
func copyAnswer(dst, src http.Header, sealed bool) {
	for name, values := range src {
		lower := strings.ToLower(name)
		switch {
		case lower == sealer.MetadataKey, lower == "x-amz-request-id", lower == "x-amz-id-2":
			continue
		case sealed && (strings.HasPrefix(lower, ssePrefix) || strings.HasPrefix(lower, "x-amz-checksum-")):
			continue
		case lower == "x-amz-missing-meta":
			continue
		case strings.HasPrefix(lower, "x-amz-"), answerHeaders[lower], strings.HasPrefix(lower, "access-control-"),
			slices.Contains(contentHeaders, lower):
			dst[name] = slices.Clone(values)
		}
	}
}

// headersDigest is the SHA-256 over the content headers and user metadata of an
// object (docs/FORMAT.md, "Headers digest"): for each that has a value, in the
// order of the lower-case names, the length-prefixed name and value.
// The type of a directory object, an empty one whose key ends in a slash, is left
// out: stores on file systems have a type of their own for those. So is the
// website redirect: stores that serve no websites do not keep it.
func headersDigest(h http.Header, key string, size int64) [sha256.Size]byte {
	isDirectory := size == 0 && strings.HasSuffix(key, "/")
	kept := map[string]string{}
	for name, values := range h {
		lower := strings.ToLower(name)
		if isDirectory && lower == "content-type" || lower == s3.HeaderWebsiteRedirect || lower == sealer.MetadataKey || !isStored(lower) {
			continue
		}
		if v := plainValue(strings.Join(values, ",")); v != "" {
			kept[lower] = v
		}
	}
	d := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(kept)) {
		for _, s := range [2]string{name, kept[name]} {
			var n [4]byte
			binary.BigEndian.PutUint32(n[:], uint32(len(s)))
			d.Write(n[:])
			d.Write([]byte(s))
		}
	}
	return [sha256.Size]byte(d.Sum(nil))
}

// plainValue is a header value in the one form that the digest knows: trimmed,
// and without the RFC 2047 encoding that stores put around non-ASCII text.
func plainValue(v string) string {
	v = strings.TrimSpace(v)
	if strings.Contains(v, "=?") {
		if plain, err := new(mime.WordDecoder).DecodeHeader(v); err == nil {
			return plain
		}
	}
	return v
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

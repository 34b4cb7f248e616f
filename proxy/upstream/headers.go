package upstream

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"ssegw/proxy/field"
	"ssegw/proxy/s3"
)

// requestHeaders are the client's headers that go to the store unchanged, in
// addition to content headers and user metadata. It is an allow-list: a header
// that the gateway does not know could be private to the store.
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

// answerHeaders are the headers of the store's answers that reach clients.
// Other headers could be about the store, or about content that is not
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

// errorHeaders are the headers of the store's error answers that reach clients.
var errorHeaders = []string{
	"allow", "content-range", "last-modified", "retry-after", "vary", "x-amz-delete-marker", "x-amz-version-id", "x-amz-request-charged",
}

// IsCORS reports whether a header is one of Cross-Origin Resource Sharing in
// answers. name may be in any case.
func IsCORS(name string) bool { return strings.HasPrefix(field.Lower(name), "access-control-") }

// RequestHeader returns a copy of the client's headers that go to the store.
// Checksums, encryption headers and framing are not among them.
func RequestHeader(in http.Header) http.Header {
	out := http.Header{}
	for name, values := range in {
		lower := field.Lower(name)
		if requestHeaders[lower] || strings.HasPrefix(lower, s3.MetaPrefix) || slices.Contains(s3.ContentHeaders, lower) {
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

// storedEncoding returns the Content-Encoding to store: all except aws-chunked,
// which is framing.
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

// CopyAnswer copies the headers of the store's answer that a client may see,
// except those of an object's content. If the object is sealed, it also leaves
// out checksums and encryption: the store's are about the sealed bytes.
func CopyAnswer(dst, src http.Header, sealed bool) {
	for name, values := range src {
		lower := field.Lower(name)
		aboutBytes := strings.HasPrefix(lower, s3.SSEPrefix) || strings.HasPrefix(lower, s3.ChecksumPrefix)
		if answerHeaders[lower] || IsCORS(lower) || aboutBytes && !sealed {
			dst[name] = slices.Clone(values)
		}
	}
}

// CopyObject copies the headers of the store's answer to a GET or HEAD of an
// object that is not sealed.
func CopyObject(dst, src http.Header) {
	CopyAnswer(dst, src, false)
	for name, values := range src {
		lower := field.Lower(name)
		if slices.Contains(bodyHeaders, lower) || s3.IsStored(lower) {
			dst[name] = slices.Clone(values)
		}
	}
}

// FirstValues returns the first value of each header.
func FirstValues(h http.Header) map[string]string {
	out := map[string]string{}
	for name := range h {
		if v := h.Get(name); v != "" {
			out[name] = v
		}
	}
	return out
}

// PassHeaders copies the named headers, except empty ones.
func PassHeaders(dst, src http.Header, names ...string) {
	for _, name := range names {
		if v := src.Get(name); v != "" {
			dst.Set(name, v)
		}
	}
}

// Forwards reports whether a client's header goes to the store unchanged. name
// is in lower case. Content headers and user metadata are not included.
func Forwards(name string) bool { return requestHeaders[name] }

// Forwarded returns the names of all headers for which [Forwards] returns true,
// in lower case and no particular order.
func Forwarded() []string { return slices.Collect(maps.Keys(requestHeaders)) }

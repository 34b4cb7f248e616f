package proxy

import (
	"net/http"
	"slices"
	"strings"

	"ssegw/proxy/field"
	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// checkHeaders refuses headers that the gateway can neither honour nor drop
// without changing what the client asked for. Unknown headers of a GET or HEAD
// are dropped: they cannot affect what is stored.
func checkHeaders(h http.Header, method string) error {
	isRead := method == http.MethodGet || method == http.MethodHead
	for name := range h {
		name = field.Lower(name)
		switch {
		case name == sealer.MetadataKey:
			return s3.ErrInvalidArgument.Msg("The metadata name %s is reserved.", name)
		case strings.HasPrefix(name, s3.MetaPrefix):
			// MinIO unpacks uploads with such a header. It cannot unpack sealed
			// bytes.
			if strings.HasSuffix(name, "snowball-auto-extract") || strings.HasPrefix(name, s3.MetaPrefix+"minio-snowball") {
				return s3.ErrNotImplemented
			}
		case name == "x-minio-extract": // MinIO's access to the files in a ZIP archive
			return errHeader(name)
		case isUnknown(name) && !isRead:
			return errHeader(name)
		}
	}
	return nil
}

// isUnknown reports whether name, in lower case, is an x-amz-* header that the
// gateway does not know.
func isUnknown(name string) bool {
	switch {
	case !strings.HasPrefix(name, "x-amz-"), strings.HasPrefix(name, s3.MetaPrefix), strings.HasPrefix(name, "x-amz-checksum-"),
		strings.HasPrefix(name, "x-amz-copy-source"), ownHeaders[name], upstream.Forwards(name), slices.Contains(s3.ContentHeaders, name),
		name == "x-amz-metadata-directive", name == "x-amz-tagging-directive", name == "x-amz-security-token":
		return false
	}
	return true
}

// ownHeaders are the x-amz-* headers that the gateway itself handles.
var ownHeaders = map[string]bool{
	s3.HeaderSSE: true, s3.HeaderSSEKeyID: true, s3.HeaderSSEContext: true, s3.HeaderSSEBucketKey: true,
	s3.HeaderSSECAlgorithm: true, s3.HeaderSSECKey: true, s3.HeaderSSECKeyMD5: true,
	"x-amz-date": true, "x-amz-content-sha256": true, "x-amz-decoded-content-length": true, "x-amz-trailer": true,
	"x-amz-trailer-signature": true, "x-amz-sdk-checksum-algorithm": true, "x-amz-user-agent": true, "x-amz-te": true,
	"x-amz-copy-source": true, "x-amz-checksum-type": true, "x-amz-checksum-algorithm": true,
	s3.HeaderMPObjectSize: true,
}

func errHeader(name string) error {
	return s3.ErrNotImplemented.Msg("A header you provided implies functionality that is not implemented: %s", name).Detail("Header", name)
}

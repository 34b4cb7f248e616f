package sse

import (
	"maps"
	"net/http"
	"slices"

	"ssegw/proxy/s3"
)

// HeaderSet is a set of headers of server-side encryption.
type HeaderSet uint8

const (
	HeadersAsked    HeaderSet = 1 << iota // which encryption, with which key
	HeadersCustomer                       // the customer's key
	HeadersSource                         // the customer's key for a copy's source
)

// Headers are all headers of server-side encryption.
var Headers = map[string]HeaderSet{
	s3.HeaderSSE: HeadersAsked, s3.HeaderSSEKeyID: HeadersAsked, s3.HeaderSSEContext: HeadersAsked, s3.HeaderSSEBucketKey: HeadersAsked,
	s3.HeaderSSECAlgorithm: HeadersCustomer, s3.HeaderSSECKey: HeadersCustomer, s3.HeaderSSECKeyMD5: HeadersCustomer,
	s3.HeaderCopySourceSSECAlgorithm: HeadersSource, s3.HeaderCopySourceSSECKey: HeadersSource, s3.HeaderCopySourceSSECKeyMD5: HeadersSource,
}

// headerNames are the names of Headers, sorted.
var headerNames = slices.Sorted(maps.Keys(Headers))

// Honoured lists the headers that each operation honours. An operation that is
// not listed honours none. A header that is not honoured is refused: if it were
// ignored, its sender would take plaintext for encrypted.
var Honoured = map[s3.Action]HeaderSet{
	s3.PutObject:             HeadersAsked | HeadersCustomer,
	s3.PostObject:            HeadersAsked | HeadersCustomer,
	s3.CreateMultipartUpload: HeadersAsked | HeadersCustomer,
	s3.CopyObject:            HeadersAsked | HeadersCustomer | HeadersSource,

	// These may repeat what Create asked for, as minio-go does.
	s3.UploadPart:              HeadersAsked | HeadersCustomer,
	s3.UploadPartCopy:          HeadersAsked | HeadersCustomer | HeadersSource,
	s3.CompleteMultipartUpload: HeadersAsked | HeadersCustomer,
	s3.ListParts:               HeadersCustomer,

	s3.GetObject:           HeadersCustomer,
	s3.HeadObject:          HeadersCustomer,
	s3.GetObjectAttributes: HeadersCustomer,
}

// CheckHeaders refuses the headers of server-side encryption that an operation
// does not honour.
func CheckHeaders(r s3.Route, h http.Header) error {
	if r.Class == s3.Refuse {
		return nil // it is refused later, with an error about the operation
	}
	for _, name := range headerNames {
		if v, sent := s3.FirstValue(h, name); sent && Honoured[r.Action]&Headers[name] == 0 {
			return s3.ErrArgument(name, v, name+" header is not supported for this operation.")
		}
	}
	return nil
}

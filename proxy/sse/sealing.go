// Package sse decides how objects are sealed and gets their data keys.
//
// The decision depends on a request's headers, the rule of its bucket and the
// gateway's default. It needs no store and no KMS. Keys asks the KMS for data
// keys, and reports each use.
//
// docs/ARCHITECTURE.md is the map.
package sse

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"

	"ssegw/kms"
	"ssegw/proxy/field"
	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// arnPrefix may precede the name of a KES key in headers and rules. In answers
// it always does, as on MinIO.
const arnPrefix = "arn:aws:kms:"

// Sealing is how an object is sealed, or is to be sealed.
type Sealing struct {
	Scheme  sealer.Scheme
	KeyName string // of the KES key; "" for SSE-C
	Shared  bool   // the data key is the bucket's, for many objects
	Context []byte // the client's encryption context as canonical JSON; SSE-KMS only

	context  kms.Context // Context, parsed
	customer sealer.Key  // the client's key; SSE-C only
	keyMD5   string      // of the client's key, as sent; "": the client has sent no key
}

// Of returns how the object of a header was sealed. The client's key of SSE-C
// is not part of it.
func Of(h sealer.KeyHint) *Sealing {
	return &Sealing{Scheme: h.Scheme, KeyName: h.KeyName, Shared: h.Shared, Context: h.Context}
}

// Format prints the scheme and the name of the KES key for every verb, and
// never the client's key.
func (s Sealing) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, s.Scheme.String()+" "+s.KeyName)
}

// SetHeaders writes the headers that tell a client how its object is sealed.
func (s *Sealing) SetHeaders(h http.Header) {
	switch s.Scheme {
	case sealer.SSES3:
		field.Set(h, s3.HeaderSSE, s3.AES256)
	case sealer.SSEKMS:
		field.Set(h, s3.HeaderSSE, s3.AWSKMS)
		field.Set(h, s3.HeaderSSEKeyID, arnPrefix+s.KeyName)
		if s.Shared {
			field.Set(h, s3.HeaderSSEBucketKey, "true")
		}
		if len(s.Context) > 0 {
			field.Set(h, s3.HeaderSSEContext, base64.StdEncoding.EncodeToString(s.Context))
		}
	case sealer.SSEC:
		field.Set(h, s3.HeaderSSECAlgorithm, s3.AES256)
		field.Set(h, s3.HeaderSSECKeyMD5, s.keyMD5)
	}
}

// LacksKey reports whether opening the object takes a customer's key that the
// request did not send.
func (s *Sealing) LacksKey() bool { return s != nil && s.Scheme == sealer.SSEC && s.keyMD5 == "" }

// fits reports whether what a request's headers ask for is how the object of h
// is sealed. Headers that were not sent fit anything.
func (s *Sealing) fits(h sealer.KeyHint, request http.Header) bool {
	_, named := s3.FirstValue(request, s3.HeaderSSEKeyID)
	_, withContext := s3.FirstValue(request, s3.HeaderSSEContext)
	return s.Scheme == h.Scheme && (!named || s.KeyName == h.KeyName) && (!withContext || bytes.Equal(s.Context, h.Context))
}

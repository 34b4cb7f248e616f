package proxy

import (
	"encoding/base64"
	"net/http"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/sse"
	"ssegw/sealer"
)

// updateObjectEncryption is UpdateObjectEncryption: it seals an existing object
// under another KES key. The store makes a copy with a new header, so no byte
// of the body passes the gateway. ETag and Last-Modified change.
func updateObjectEncryption(c *call) error {
	if c.credential == nil {
		return s3.ErrAccessDenied // the store has no such operation, so no policy can allow it
	}
	doc, _, err := openDocument(c)
	if err != nil {
		return err
	}
	e, err := s3.ParseObjectEncryption(doc)
	if err != nil {
		return err
	}
	if c.req.Query.Has("versionId") {
		return s3.ErrNotImplemented.Msg("Only the current version's encryption can be changed.")
	}
	for _, name := range [...]string{s3.HeaderMetadataDirective, s3.HeaderTaggingDirective} {
		if v := c.req.Header.Get(name); v != "" {
			return s3.ErrArgument(name, v, "The header belongs to copies.")
		}
	}
	var g guard
	r := &Rewrite{Choose: func(o *object.Object, _ http.Header) (*sse.Sealing, error) { return updatedSealing(c, e, o) }}
	err = retryChanged(func() error {
		_, err := rewriteOnce(c, r, &g)
		return err
	})
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// updatedSealing returns how an object is sealed after an
// UpdateObjectEncryption.
func updatedSealing(c *call, e *s3.Encryption, o *object.Object) (*sse.Sealing, error) {
	if o == nil || o.Header.Scheme == sealer.SSEC {
		return nil, s3.ErrInvalidRequest.Msg("The encryption of this object cannot be changed: it is not sealed under a KMS key.")
	}
	s, err := c.encryption().KMS(e.KeyID, base64.StdEncoding.EncodeToString(o.Header.Context))
	if err != nil {
		return nil, err
	}
	s.Shared = e.BucketKey && len(s.Context) == 0
	return s, nil
}

package proxy

import (
	"encoding/base64"
	"net/http"

	"ssegw/proxy/s3"
	"ssegw/proxy/sse"
	"ssegw/proxy/upstream"
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
	return retryChanged(func() error { return updateOnce(c, e, &g) })
}

// updateOnce reads the object's headers and reseals that very object. If it has
// changed meanwhile, the error is object.ErrChanged.
func updateOnce(c *call, e *s3.Encryption, g *guard) error {
	src, err := openSource(c, s3.CopySource{Bucket: c.req.Bucket, Key: c.req.Key})
	if err != nil {
		return err
	}
	defer src.wipe()
	if src.object == nil || src.object.Header.Scheme == sealer.SSEC {
		return s3.ErrInvalidRequest.Msg("The encryption of this object cannot be changed: it is not sealed under a KMS key.")
	}
	s, err := c.encryption().KMS(e.KeyID, base64.StdEncoding.EncodeToString(src.object.Header.Context))
	if err != nil {
		return err
	}
	if err := sse.Check(c.gw.Require, c.req.Bucket, s); err != nil {
		return err
	}
	s.Shared = e.BucketKey && len(s.Context) == 0
	header := copyHeader(c, src)
	// Copies do not keep these by themselves.
	upstream.PassHeaders(header, src.stored, s3.HeaderStorageClass, s3.HeaderWebsiteRedirect,
		"X-Amz-Object-Lock-Mode", "X-Amz-Object-Lock-Retain-Until-Date", "X-Amz-Object-Lock-Legal-Hold")
	if err := prepareHeader(c, s, header); err != nil {
		return err
	}
	if err := destinationConditions(c, src, header, g); err != nil {
		return err
	}
	if err := reseal(c, src, s, header); err != nil {
		return err
	}
	if _, _, err = storeCopy(c, src, header); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

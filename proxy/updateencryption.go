package proxy

import (
	"encoding/base64"
	"net/http"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// updateObjectEncryption is UpdateObjectEncryption: another KES key for an object
// that is there. The store makes a copy of the object under a new header, so no byte
// of the body passes the gateway. ETag and time of the last change are new.
func (c *call) updateObjectEncryption() error {
	if c.credential == nil {
		return s3.ErrAccessDenied // the store knows no such operation, so no policy of it allows it
	}
	doc, _, err := c.document()
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
	c.req.CopySource = &s3.CopySource{Bucket: c.req.Bucket, Key: c.req.Key}
	c.req.Query = nil
	var g guard
	return again(func() error { return c.updateOnce(e, &g) })
}

// updateOnce looks at the object and gives that another key, or none.
func (c *call) updateOnce(e *s3.Encryption, g *guard) error {
	src, err := c.source()
	if err != nil {
		return err
	}
	if src.object == nil || src.object.header.Scheme == sealer.SSEC {
		return s3.ErrInvalidRequest.Msg("The encryption of this object cannot be changed: it is not sealed under a KMS key.")
	}
	s, err := c.kmsSealing(e.KeyID, base64.StdEncoding.EncodeToString(src.object.header.Context))
	if err != nil {
		return err
	}
	if err := c.required(s); err != nil {
		return err
	}
	s.shared = e.BucketKey && len(s.encoded) == 0
	header := c.copyHeader(src)
	// What a copy does not take over by itself stays too.
	passHeaders(header, src.stored, s3.HeaderStorageClass, s3.HeaderWebsiteRedirect,
		"X-Amz-Object-Lock-Mode", "X-Amz-Object-Lock-Retain-Until-Date", "X-Amz-Object-Lock-Legal-Hold")
	if err := c.prepareHeader(s, header); err != nil {
		return err
	}
	if err := c.destinationConditions(src, header, g); err != nil {
		return err
	}
	h, err := c.reseal(src, s, header)
	if err != nil {
		return err
	}
	header.Set(sealer.MetadataKey, h.Encode())
	if _, _, err = c.storeCopy(src, header); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

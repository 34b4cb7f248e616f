package proxy

import (
	"encoding/base64"
	"net/http"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// updateObjectEncryption is UpdateObjectEncryption: another KES key for an object
// that is there. The store copies the object onto itself under a header that is
// sealed anew, so no byte of the body moves; the time of its last change does.
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
	h, err := c.reseal(src, s, header)
	if err != nil {
		return err
	}
	header.Set(sealer.MetadataKey, h.Encode())
	if src.total > c.bounds.maxCopy {
		_, _, err = c.copyParts(src, header)
	} else {
		header.Set(s3.HeaderMetadataDirective, "REPLACE")
		_, _, err = c.copyUpstream(src, header)
	}
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

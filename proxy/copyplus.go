package proxy

import (
	"net/http"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

// chooseSource decides which object a copy source with an unescaped + names.
// Amazon S3, and clients that escape queries (s5cmd, Go's url.QueryEscape),
// mean a space. MinIO, and clients that escape paths (Go's url.PathEscape),
// mean a plus. The gateway takes the object that exists. If both exist it
// refuses.
func chooseSource(c *call) (s3.CopySource, error) {
	from := *c.req.CopySource
	if from.Spaced == "" {
		return from, nil
	}
	spaced := s3.CopySource{Bucket: from.Bucket, Key: from.Spaced, VersionID: from.VersionID}
	literal := s3.CopySource{Bucket: from.Bucket, Key: from.Key, VersionID: from.VersionID}
	hasSpaced, err := hasObject(c, spaced)
	if err != nil {
		return from, err
	}
	hasLiteral, err := hasObject(c, literal)
	if err != nil {
		return from, err
	}
	switch {
	case hasSpaced && hasLiteral:
		return from, s3.ErrArgument(s3.HeaderCopySource, c.req.Header.Get(s3.HeaderCopySource),
			"The copy source has a + that can be a space, and there are objects of both names. Send %20 for a space and %2B for a plus.")
	case hasLiteral:
		return literal, nil
	}
	return spaced, nil
}

// hasObject reports whether the client can see an object. Stores may answer 403
// for a missing object, so one that the client may not read counts as missing.
func hasObject(c *call, o s3.CopySource) (bool, error) {
	h := http.Header{}
	if owner := c.req.Header.Get(s3.HeaderSourceExpectedOwner); owner != "" {
		h.Set(s3.HeaderExpectedOwner, owner)
	}
	_, err := c.access().At(o, h).Head(c.ctx(), object.Request{})
	switch upstream.StatusOf(err) {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed:
		return false, nil
	}
	return err == nil, err
}

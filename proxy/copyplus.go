package proxy

import (
	"net/http"

	"ssegw/proxy/s3"
)

// chooseSource decides which object a copy source with a + that is not escaped names. For
// Amazon S3, and clients that escape queries (s5cmd, Go's url.QueryEscape), it is a
// space; for MinIO, and clients that escape paths (Go's url.PathEscape), it is a +. The
// gateway takes the object that exists, and refuses to guess between two.
func (c *call) chooseSource() error {
	from := *c.req.CopySource
	if from.Spaced == "" {
		return nil
	}
	spaced := s3.CopySource{Bucket: from.Bucket, Key: from.Spaced, VersionID: from.VersionID}
	literal := s3.CopySource{Bucket: from.Bucket, Key: from.Key, VersionID: from.VersionID}
	hasSpaced, err := c.hasObject(spaced)
	if err != nil {
		return err
	}
	hasLiteral, err := c.hasObject(literal)
	if err != nil {
		return err
	}
	switch {
	case hasSpaced && hasLiteral:
		return s3.ErrArgument(s3.HeaderCopySource, c.req.Header.Get(s3.HeaderCopySource),
			"The copy source has a + that can be a space, and there are objects of both names. Send %20 for a space and %2B for a plus.")
	case hasLiteral:
		c.req.CopySource = &literal
	default:
		c.req.CopySource = &spaced
	}
	return nil
}

// hasObject reports whether the client can see an object. One that is hidden from it
// counts as none: stores answer 403 for what is not there.
func (c *call) hasObject(o s3.CopySource) (bool, error) {
	h := http.Header{}
	if owner := c.req.Header.Get(s3.HeaderSourceExpectedOwner); owner != "" {
		h.Set(s3.HeaderExpectedOwner, owner)
	}
	_, err := c.at(c.ctx(), o, h).head(lookup{})
	switch statusOf(err) {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed:
		return false, nil
	}
	return err == nil, err
}

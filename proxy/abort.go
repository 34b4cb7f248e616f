package proxy

import (
	"errors"

	"go.uber.org/zap"
)

// abortMultipartUpload is AbortMultipartUpload. The records go after the upload:
// left over, they cost little, and missing ones would make it unreadable.
func (c *call) abortMultipartUpload() error {
	u := &upload{Bucket: c.req.Bucket, Key: c.req.Key, ID: c.req.Query.Get("uploadId")}
	c.req.Query = u.query(0)
	resp, err := c.forwarded()
	if err != nil {
		if isNoUpload(err) {
			// Gone already: an Abort before this one may have left records behind.
			return errors.Join(err, c.forgetAborted(u))
		}
		return err
	}
	defer discard(resp)
	if err := c.forgetAborted(u); err != nil {
		return err
	}
	copyAnswer(c.w.Header(), resp.Header, false)
	c.w.WriteHeader(resp.StatusCode)
	return nil
}

// forgetAborted removes the records of an upload that the store no longer has. What the
// store says of it to a client who may not know it proves nothing: the gateway asks
// for itself.
func (c *call) forgetAborted(u *upload) error {
	if !c.caller().isGateway() {
		err := c.Upstream.knows(c.ctx(), u, caller{})
		if !isNoUpload(err) {
			if err != nil {
				c.log.Warn("upload records left behind", zap.Error(err))
			}
			return nil
		}
	}
	return c.State.forget(c.ctx(), u)
}

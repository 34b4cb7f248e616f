package proxy

import (
	"cmp"

	"go.uber.org/zap"

	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
)

// abortMultipartUpload is AbortMultipartUpload. It removes the upload's records
// after the upload. Records left over cost little, but an upload without its
// records could not be completed.
func abortMultipartUpload(c *call) error {
	u := &state.Upload{Bucket: c.req.Bucket, Key: c.req.Key, ID: c.req.Query.Get("uploadId")}
	o := outgoing(c)
	o.Query = u.AtStore().Query(0)
	resp, err := sendOn(c, o)
	if err != nil {
		if upstream.IsNoUpload(err) {
			// Already gone. An earlier Abort may have left records behind.
			return cmp.Or(forgetAborted(c, u), err)
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := forgetAborted(c, u); err != nil {
		return err
	}
	upstream.CopyAnswer(c.w.Header(), resp.Header, false)
	c.w.WriteHeader(resp.StatusCode)
	return nil
}

// forgetAborted removes the records of an upload that the store no longer has.
// An answer to a client proves nothing, because the store may hide the upload
// from it, so the gateway asks with its own credential.
func forgetAborted(c *call, u *state.Upload) error {
	if !c.store().IsGateway() {
		err := c.gw.Upstream.Own().FindUpload(c.ctx(), u.AtStore())
		if !upstream.IsNoUpload(err) {
			if err != nil {
				c.log.Warn("upload records left behind", zap.Error(err))
			}
			return nil
		}
	}
	return c.gw.State.Forget(c.ctx(), u)
}

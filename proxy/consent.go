package proxy

import (
	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

// askConsent asks the store whether an anonymous client may write the request's
// object, before the body takes memory or KES makes a key. Without the right to
// write, an anonymous client costs neither, and does not learn which KES keys
// exist. Clients with a credential are not checked.
func askConsent(c *call) error {
	if c.credential != nil {
		return nil
	}
	ask := c.store().MayWrite
	if c.req.Route.Action == s3.CreateMultipartUpload { // stores may have policies for uploads alone
		ask = c.store().MayUpload
	}
	return ask(c.ctx(), c.req.Bucket, c.req.Key, upstream.ProbeHeader(c.req.Header), c.gw.times.abandon)
}

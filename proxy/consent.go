package proxy

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

// askConsent asks the store whether an anonymous client may write the request's
// object, before the body takes memory or KES makes a key. Without the right to
// write, an anonymous client costs neither, and does not learn which KES keys
// exist. Clients with a credential are not checked.
func askConsent(c *call) error {
	switch {
	case c.credential != nil:
		return nil
	case c.req.Route.Action == s3.CreateMultipartUpload: // stores may have policies for uploads alone
		return mayUpload(c, probeHeader(c.req.Header))
	}
	return mayWrite(c)
}

// mayWrite asks the store whether the client may write the request's object. It
// sends a write under a condition that cannot hold, so that nothing is written.
func mayWrite(c *call) error {
	header := probeHeader(c.req.Header)
	if !c.gw.State.Guards.Load() {
		return mayUpload(c, header)
	}
	header.Set("If-Match", `"`+upstream.RandomTag()+`"`) // that no object has
	_, err := c.store().Exec(c.ctx(), upstream.Request{
		Method: http.MethodPut, Bucket: c.req.Bucket, Key: c.req.Key, Header: header,
	})
	switch {
	case err == nil:
		return fmt.Errorf("%w: a write was taken though its condition does not hold", upstream.ErrUnavailable)
	case upstream.LostRace(err), upstream.IsCode(err, s3.ErrNoSuchKey):
		return nil // only the condition failed
	}
	return err
}

// probeHeader returns the headers of a probing write: those of the client's
// write that a policy may have conditions on. Content, metadata and the
// client's own conditions are left out.
func probeHeader(in http.Header) http.Header {
	header := upstream.RequestHeader(in)
	for name := range header {
		lower := strings.ToLower(name)
		isCondition := strings.HasPrefix(lower, "if-") || strings.HasPrefix(lower, "x-amz-if-")
		if isCondition || s3.IsStored(lower) && lower != s3.HeaderWebsiteRedirect {
			delete(header, name)
		}
	}
	return header
}

// mayUpload is mayWrite for stores with unreliable conditional writes. It
// begins an upload with the client's rights, which takes the right to write the
// object, and aborts it with the gateway's.
func mayUpload(c *call, header http.Header) error {
	created, err := c.store().BeginUpload(c.ctx(), c.req.Bucket, c.req.Key, header)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx()), c.gw.times.abandon)
	defer cancel()
	return upstream.OwnFailed("aborting a probe", c.gw.Upstream.Own().AbortUpload(ctx, created.UploadName))
}

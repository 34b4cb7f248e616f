package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"ssegw/proxy/s3"
)

// consent asks the store whether an anonymous client may write the request's
// object, before the gateway holds its body in memory or asks KES for a key: a
// client that nobody knows must not cost either, or learn which keys there are.
// Of a client with a credential nothing is asked.
func (c *call) consent() error {
	switch {
	case c.credential != nil:
		return nil
	case c.req.Route.Action == s3.CreateMultipartUpload: // which stores have policies of their own for
		return c.mayUpload(writeQuestion(c.req.Header))
	}
	return c.mayWrite()
}

// mayWrite asks the store whether the client may write the request's object.
// Nothing is written.
func (c *call) mayWrite() error {
	header := writeQuestion(c.req.Header)
	if !c.State.guards.Load() {
		return c.mayUpload(header)
	}
	header.Set("If-Match", `"`+randomTag()+`"`) // which no object has
	resp, err := c.Upstream.expect(c.ctx(), outgoing{
		method: http.MethodPut, bucket: c.req.Bucket, key: c.req.Key, header: header, as: c.caller(),
	})
	var refused *upstreamError
	switch {
	case err == nil:
		discard(resp)
		return fmt.Errorf("%w: a write was taken though its condition does not hold", errUpstream)
	case lostRace(err), errors.As(err, &refused) && refused.code == s3.ErrNoSuchKey.Code:
		return nil // all that stands in the way is the condition
	}
	return err
}

// writeQuestion is what the write of these headers sends to the store, as far as
// policies have conditions on it. Neither what is kept with the object as it is, nor
// the client's own conditions are part of the question.
func writeQuestion(in http.Header) http.Header {
	header := upstreamHeader(in)
	for name := range header {
		lower := strings.ToLower(name)
		isCondition := strings.HasPrefix(lower, "if-") || strings.HasPrefix(lower, "x-amz-if-")
		if isCondition || isStored(lower) && lower != s3.HeaderWebsiteRedirect {
			delete(header, name)
		}
	}
	return header
}

// mayUpload is mayWrite at a store whose conditional writes cannot be
// relied on: the client begins an upload, which takes the right to write the
// object, and the gateway takes it back.
func (c *call) mayUpload(header http.Header) error {
	created, err := c.createUpstream(header)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx()), c.times.abandon)
	defer cancel()
	u := &upload{Bucket: c.req.Bucket, Key: c.req.Key, ID: created.ID}
	resp, err := c.Upstream.expect(ctx, outgoing{method: http.MethodDelete, bucket: u.Bucket, key: u.Key, query: u.query(0)})
	if err != nil {
		return err
	}
	discard(resp)
	return nil
}

// guardsMissing reports whether the upstream refuses a write under If-Match
// where there is no object. name is that of an object that is not there, and
// may be afterwards.
func (u *Upstream) guardsMissing(ctx context.Context, bucket, name string) (bool, error) {
	_, err := u.putSmall(ctx, bucket, name, nil, http.Header{"If-Match": {`"` + strings.Repeat("0", tagDigits) + `"`}})
	if errors.Is(err, errUpstream) || ctx.Err() != nil {
		return false, err
	}
	status := statusOf(err)
	return status == http.StatusPreconditionFailed || status == http.StatusNotFound, nil
}

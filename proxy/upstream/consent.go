package upstream

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"ssegw/proxy/s3"
)

// MayWrite asks the store whether the client may write an object with the
// headers of a [ProbeHeader], and returns the store's refusal. It sends a write
// under a condition that cannot hold, so that nothing is written. If the store
// does not honour such conditions, it calls MayUpload.
func (c Client) MayWrite(ctx context.Context, bucket, key string, header http.Header, abandon time.Duration) error {
	if can := c.store.Capabilities().Put; !can.Missing || !can.Honoured() {
		return c.MayUpload(ctx, bucket, key, header, abandon)
	}
	header.Set("If-Match", `"`+RandomTag()+`"`) // that no object has
	_, err := c.Exec(ctx, Request{Method: http.MethodPut, Bucket: bucket, Key: key, Header: header})
	switch {
	case err == nil:
		return fmt.Errorf("%w: a write was taken though its condition does not hold", ErrUnavailable)
	case LostRace(err), IsCode(err, s3.ErrNoSuchKey):
		return nil // only the condition failed
	}
	return err
}

// MayUpload begins an upload with the client's rights, which takes the right to
// write the object, and aborts it with the gateway's within abandon.
func (c Client) MayUpload(ctx context.Context, bucket, key string, header http.Header, abandon time.Duration) error {
	created, err := c.BeginUpload(ctx, bucket, key, header)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandon)
	defer cancel()
	return OwnFailed("aborting a probe", c.store.Own().AbortUpload(ctx, created.UploadName))
}

// ProbeHeader returns the headers of a probing write: those of the client's
// write that a policy may have conditions on. Content, metadata and the
// client's own conditions are left out.
func ProbeHeader(in http.Header) http.Header {
	header := RequestHeader(in)
	for name := range header {
		lower := strings.ToLower(name)
		isCondition := strings.HasPrefix(lower, "if-") || strings.HasPrefix(lower, "x-amz-if-")
		if isCondition || s3.IsStored(lower) && lower != s3.HeaderWebsiteRedirect {
			delete(header, name)
		}
	}
	return header
}

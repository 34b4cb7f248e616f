package check

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"ssegw/proxy/probe"
	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// checkRanges reads a range of a probe, and then again under an If-Match that
// does not hold. Reads that take several requests rely on that condition.
func (k *checker) checkRanges(ctx context.Context, object string) Finding {
	const remedy = "use another store: with this one the gateway can only read whole objects"
	body := bytes.Repeat([]byte("0123456789"), 100)
	if err := k.put(ctx, object, body, http.Header{}); err != nil {
		return unexpected(err)
	}
	get := func(span, match string) (contentRange string, b []byte, err error) {
		h := http.Header{"Range": {span}}
		if match != "" {
			h.Set("If-Match", match)
		}
		resp, err := k.store.Send(ctx, upstream.Request{Method: http.MethodGet, Bucket: k.State.Bucket(), Key: object, Header: h})
		if err != nil {
			return "", nil, err
		}
		defer func() { _ = resp.Body.Close() }()
		b, err = io.ReadAll(io.LimitReader(resp.Body, int64(len(body))))
		return resp.Header.Get("Content-Range"), b, err
	}
	contentRange, b, err := get("bytes=105-299", "")
	if err != nil {
		return lacks(err, failed, remedy)
	}
	if contentRange != s3.ContentRange(105, 195, int64(len(body))) || !bytes.Equal(b, body[105:300]) {
		return failed(remedy, "the store returned other bytes than requested: %d bytes, with the Content-Range %q", len(b), contentRange)
	}
	if _, _, err = get("bytes=0-9", probe.AnotherTag); upstream.StatusOf(err) != http.StatusPreconditionFailed {
		return warning("tell clients not to replace large objects while others read them", "the store ignores If-Match on reads: a read may break off while the object is being replaced")
	}
	return okay("Range and If-Match are honoured")
}

// checkCopying copies probes with other metadata, as the gateway copies sealed
// objects.
func (k *checker) checkCopying(ctx context.Context, _ string) Finding {
	if err := k.prober().Copies(ctx); err != nil {
		return unexpected(err)
	}
	can := k.Upstream.Capabilities().Copies
	if !can.Replace {
		return okay("the store refuses it, or does not replace the metadata of a copy: the gateway copies by parts")
	}
	var limits []string
	switch can.Source {
	case upstream.GuardNone:
		limits = append(limits, "ignores or refuses "+s3.HeaderCopySourceIfMatch)
	case upstream.GuardSingle:
		limits = append(limits, "refuses "+s3.HeaderCopySourceIfMatch+" for objects that were uploaded in parts")
	}
	if !can.Tags {
		limits = append(limits, "loses the tags of a copy")
	}
	if len(limits) == 0 {
		return okay("replaces metadata, keeps tags, and its condition is honoured")
	}
	return okay("replaces metadata; the store %s: the gateway copies in more steps", strings.Join(limits, ", and "))
}

// uploading makes a probe by a multipart upload with one part, which send
// stores. It returns the object's headers.
func (k *checker) uploading(ctx context.Context, object string, send func(o upstream.Request) (etag string, err error)) (http.Header, error) {
	bucket := k.State.Bucket()
	h := http.Header{}
	h.Set(sealer.MetadataKey, "probe")
	created, err := k.store.BeginUpload(ctx, bucket, object, h)
	if err != nil {
		return nil, err
	}
	etag, err := send(upstream.Request{
		Method: http.MethodPut, Bucket: bucket, Key: object, Header: http.Header{},
		Query: created.Query(1),
	})
	if err == nil {
		_, _, err = k.store.CompleteUpload(ctx, created.UploadName, []upstream.SentPart{{Number: 1, Etag: strings.Trim(etag, `"`)}}, http.Header{})
	}
	if err != nil {
		ctx, cancel := probe.CleaningUp(ctx)
		defer cancel()
		_ = k.store.AbortUpload(ctx, created.UploadName) // the first error counts
		return nil, err
	}
	return k.head(ctx, object)
}

// checkMultipart uploads a probe in parts.
func (k *checker) checkMultipart(ctx context.Context, object string) Finding {
	const remedy = "use another store: the gateway uploads large objects in parts"
	body := bytes.Repeat([]byte("0123456789"), 1000)
	stored, err := k.uploading(ctx, object, func(o upstream.Request) (string, error) {
		o.Frame(bytes.NewReader(body), int64(len(body)), k.Upstream.Framing(), nil)
		answer, err := k.store.Exec(ctx, o)
		return answer.Get("ETag"), err
	})
	if err != nil {
		return lacks(err, failed, remedy)
	}
	found := k.uploaded(stored, len(body), failed, remedy)
	if err := k.prober().UploadTags(ctx); err != nil {
		return unexpected(err)
	}
	if found.Status == StatusOK && !k.Upstream.Capabilities().UploadTags {
		found.Detail += "; the store loses the tags of an upload: the gateway sets them after the upload is complete"
	}
	return found
}

// checkPartCopying makes the store copy a probe into a part. Copies of objects
// over 5 GiB need that.
func (k *checker) checkPartCopying(ctx context.Context, object string) (found Finding) {
	remedy := "tell clients that sealed objects over 5 GiB cannot be copied"
	if can := k.Upstream.Capabilities().Copies; !can.Replace || can.Source != upstream.GuardAll {
		remedy = "tell clients that they cannot copy or rename sealed objects, or change their metadata"
	}
	bucket, body := k.State.Bucket(), []byte("probe")
	if err := k.put(ctx, object, body, http.Header{}); err != nil {
		return unexpected(err)
	}
	err := k.prober().With(ctx, "", func(other string) error {
		stored, err := k.uploading(ctx, other, func(o upstream.Request) (string, error) {
			o.Header.Set(s3.HeaderCopySource, (&s3.CopySource{Bucket: bucket, Key: object}).String())
			_, result, err := k.store.Copy(ctx, o.Bucket, o.Key, o.Query, o.Header)
			if err != nil {
				return "", err
			}
			return result.ETag, nil
		})
		if err != nil {
			found = lacks(err, warning, remedy)
		} else {
			found = k.uploaded(stored, len(body), warning, remedy)
		}
		return nil
	})
	if err != nil {
		return unexpected(err)
	}
	return found
}

// uploaded compares the headers of an uploaded object with the upload of size
// bytes.
func (k *checker) uploaded(stored http.Header, size int, found func(remedy, format string, args ...any) Finding, remedy string) Finding {
	if got := stored.Get("Content-Length"); got != fmt.Sprint(size) || stored.Get(sealer.MetadataKey) != "probe" {
		return found(remedy, "the store made an object of %s bytes from an upload of %d bytes, with the metadata %q", got, size, stored.Get(sealer.MetadataKey))
	}
	return okay("works, and keeps metadata")
}

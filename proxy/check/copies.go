package check

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

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
	if _, _, err = get("bytes=0-9", upstream.AnotherTag); upstream.StatusOf(err) != http.StatusPreconditionFailed {
		return warning("tell clients not to replace large objects while others read them", "the store ignores If-Match on reads: a read may break off while the object is being replaced")
	}
	return okay("Range and If-Match are honoured")
}

// checkCopying copies a probe with other metadata, as the gateway copies sealed
// objects.
func (k *checker) checkCopying(ctx context.Context, object string) (found Finding) {
	const remedy = "tell clients that they cannot copy or rename sealed objects, or change their metadata"
	bucket := k.State.Bucket()
	if err := k.put(ctx, object, []byte("probe"), http.Header{"X-Amz-Meta-Probe": {"before"}}); err != nil {
		return unexpected(err)
	}
	send := func(to, match string) (http.Header, error) {
		h := http.Header{"X-Amz-Meta-Probe": {"after"}, "Content-Type": {"text/probe"}}
		h.Set(s3.HeaderMetadataDirective, "REPLACE")
		h.Set(s3.HeaderCopySource, (&s3.CopySource{Bucket: bucket, Key: object}).String())
		if match != "" {
			h.Set(s3.HeaderCopySourceIfMatch, match)
		}
		if _, _, err := k.store.Copy(ctx, bucket, to, nil, h); err != nil {
			return nil, err
		}
		return k.head(ctx, to)
	}
	err := k.store.Probing(ctx, bucket, "", func(other string) error {
		h, err := send(other, "")
		if err != nil {
			found = lacks(err, warning, remedy)
			return nil
		}
		if h.Get("X-Amz-Meta-Probe") != "after" || h.Get("Content-Type") != "text/probe" || h.Get("Content-Length") != "5" {
			found = warning(remedy, "the store does not replace the metadata of a copy")
			return nil
		}
		if _, err = send(other, upstream.AnotherTag); upstream.StatusOf(err) != http.StatusPreconditionFailed {
			found = warning("tell clients not to replace objects while others copy them", "the store ignores %s: a copy may be unreadable if its source is being replaced", s3.HeaderCopySourceIfMatch)
			return nil
		}
		found = okay("replaces metadata, and its condition is honoured")
		return nil
	})
	if err != nil {
		return unexpected(err)
	}
	return found
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
		ctx, cancel := upstream.CleaningUp(ctx)
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
	return k.uploaded(stored, len(body), failed, remedy)
}

// checkPartCopying makes the store copy a probe into a part. Copies of objects
// over 5 GiB need that.
func (k *checker) checkPartCopying(ctx context.Context, object string) (found Finding) {
	const remedy = "tell clients that sealed objects over 5 GiB cannot be copied"
	bucket, body := k.State.Bucket(), []byte("probe")
	if err := k.put(ctx, object, body, http.Header{}); err != nil {
		return unexpected(err)
	}
	err := k.store.Probing(ctx, bucket, "", func(other string) error {
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

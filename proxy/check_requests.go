package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// checkRanges reads some bytes of a probe, and then under a condition that does
// not hold: the guard of reads that take several requests.
func (k *checker) checkRanges(ctx context.Context, object string) Finding {
	const remedy = "take another store: the gateway reads nothing but whole objects on this one"
	body := bytes.Repeat([]byte("0123456789"), 100)
	if err := k.put(ctx, object, body, http.Header{}); err != nil {
		return unexpected(err)
	}
	get := func(span, match string) (contentRange string, b []byte, err error) {
		h := http.Header{"Range": {span}}
		if match != "" {
			h.Set("If-Match", match)
		}
		resp, err := k.Upstream.expect(ctx, outgoing{method: http.MethodGet, bucket: k.State.cfg.Bucket, key: object, header: h})
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
		return failed(remedy, "the store answers other bytes: %d of them, with the Content-Range %q", len(b), contentRange)
	}
	if _, _, err = get("bytes=0-9", anotherTag); statusOf(err) != http.StatusPreconditionFailed {
		return warning("tell clients not to replace large objects while others read them", "the store ignores If-Match on reads: one of an object that is just being replaced may break off")
	}
	return okay("and their condition If-Match are honoured")
}

// checkCopying copies a probe with other metadata, as copies of sealed objects do.
func (k *checker) checkCopying(ctx context.Context, object string) (found Finding) {
	const remedy = "tell clients: they cannot copy sealed objects, rename them, or change their metadata"
	bucket := k.State.cfg.Bucket
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
		resp, err := k.Upstream.expect(ctx, outgoing{method: http.MethodPut, bucket: bucket, key: to, header: h})
		if err != nil {
			return nil, err
		}
		defer func() { _ = resp.Body.Close() }()
		if _, err := readCopyResult(resp); err != nil {
			return nil, err
		}
		return k.head(ctx, to)
	}
	err := k.Upstream.probing(ctx, bucket, "", func(other string) error {
		h, err := send(other, "")
		if err != nil {
			found = lacks(err, warning, remedy)
			return nil
		}
		if h.Get("X-Amz-Meta-Probe") != "after" || h.Get("Content-Type") != "text/probe" || h.Get("Content-Length") != "5" {
			found = warning(remedy, "the store does not replace the metadata of a copy")
			return nil
		}
		if _, err = send(other, anotherTag); statusOf(err) != http.StatusPreconditionFailed {
			found = warning("tell clients not to replace objects while others copy them", "the store ignores %s: a copy of an object that is just being replaced may not be readable", s3.HeaderCopySourceIfMatch)
			return nil
		}
		found = okay("with other metadata, and its condition is honoured")
		return nil
	})
	if err != nil {
		return unexpected(err)
	}
	return found
}

// uploading makes a multipart upload of one part of a probe, which send stores,
// and returns the object's headers.
func (k *checker) uploading(ctx context.Context, object string, send func(o outgoing) (etag string, err error)) (http.Header, error) {
	bucket := k.State.cfg.Bucket
	c := &call{reader: *k.own(ctx, bucket, object, "")}
	h := http.Header{}
	h.Set(sealer.MetadataKey, "probe")
	created, err := c.createUpstream(h)
	if err != nil {
		return nil, err
	}
	id := created.ID
	etag, err := send(outgoing{
		method: http.MethodPut, bucket: bucket, key: object, header: http.Header{},
		query: url.Values{"uploadId": {id}, "partNumber": {"1"}},
	})
	if err == nil {
		_, _, err = c.completeUpstream(&upload{Bucket: bucket, Key: object, ID: id}, nil, 1, strings.Trim(etag, `"`), nil)
	}
	if err != nil {
		ctx, cancel := cleaningUp(ctx)
		defer cancel()
		resp, left := k.Upstream.expect(ctx, outgoing{method: http.MethodDelete, bucket: bucket, key: object, query: url.Values{"uploadId": {id}}})
		if left == nil {
			discard(resp)
		}
		return nil, err
	}
	return k.head(ctx, object)
}

func (k *checker) checkMultipart(ctx context.Context, object string) Finding {
	const remedy = "take another store: large objects go up in parts"
	body := bytes.Repeat([]byte("0123456789"), 1000)
	stored, err := k.uploading(ctx, object, func(o outgoing) (string, error) {
		k.Upstream.frame(&o, bytes.NewReader(body), int64(len(body)), k.Upstream.framing.get(), nil)
		resp, err := k.Upstream.expect(ctx, o)
		if err != nil {
			return "", err
		}
		discard(resp)
		return resp.Header.Get("ETag"), nil
	})
	if err != nil {
		return lacks(err, failed, remedy)
	}
	return k.uploaded(stored, len(body), failed, remedy)
}

// checkPartCopying has the store copy a probe into a part, as it does with ranges
// of objects over 5 GiB.
func (k *checker) checkPartCopying(ctx context.Context, object string) (found Finding) {
	const remedy = "tell clients: sealed objects over 5 GiB cannot be copied"
	bucket, body := k.State.cfg.Bucket, []byte("probe")
	if err := k.put(ctx, object, body, http.Header{}); err != nil {
		return unexpected(err)
	}
	err := k.Upstream.probing(ctx, bucket, "", func(other string) error {
		stored, err := k.uploading(ctx, other, func(o outgoing) (string, error) {
			o.header.Set(s3.HeaderCopySource, (&s3.CopySource{Bucket: bucket, Key: object}).String())
			resp, err := k.Upstream.expect(ctx, o)
			if err != nil {
				return "", err
			}
			defer func() { _ = resp.Body.Close() }()
			result, err := readCopyResult(resp)
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

// uploaded compares what became of an upload of size bytes.
func (k *checker) uploaded(stored http.Header, size int, found func(remedy, format string, args ...any) Finding, remedy string) Finding {
	if got := stored.Get("Content-Length"); got != fmt.Sprint(size) || stored.Get(sealer.MetadataKey) != "probe" {
		return found(remedy, "the store has an object of %s bytes for an upload of %d, with the metadata %q", got, size, stored.Get(sealer.MetadataKey))
	}
	return okay("works, and keeps metadata")
}

package e2e

import (
	"bytes"
	"errors"
	"mime"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/minio/minio-go/v7"

	"ssegw/e2e/stack"
)

// TestWhiteSpace stores headers with all kinds of white space. Clients and
// stores sign them in different forms. None of these requests may look like an
// outage.
func TestWhiteSpace(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		g := r.faultGateway(t, r.store.Endpoint, nil)
		for client, c := range map[string]headerClient{"SDK for Go": sdkHeaders(t, g), "minio-go": minioHeaders(t, g)} {
			for _, bucket := range []string{plainBucket, sealedBucket} {
				for _, h := range []storedHeader{
					{cache: "no-cache,\tmax-age=0"},
					{title: "a  b"},
					{title: "a\u3000b"},
					{title: "a\u00a0b"},
				} {
					got, code := c.put(bucket, h)
					if code == "" {
						got, code = c.head(bucket)
					}
					if code != "" || got != h {
						t.Errorf("%s, %s: %q became %q, error %q", client, bucket, h, got, code)
					}
				}
				if _, code := c.put(bucket, storedHeader{title: "a\tb"}); code != "InvalidArgument" {
					t.Errorf("%s, %s: a tab inside: %q", client, bucket, code)
				}
			}
		}
	})
}

// storedHeader holds the headers that are stored with an object: its
// Cache-Control and a title.
type storedHeader struct{ cache, title string }

// headerClient stores and reads headers. It returns the code of an error.
type headerClient struct {
	put  func(bucket string, h storedHeader) (storedHeader, string)
	head func(bucket string) (storedHeader, string)
}

const headerKey = "white space"

func sdkHeaders(t *testing.T, g *stack.Gateway) headerClient {
	client, key := sdkOf(t, g), headerKey
	codeOf := func(err error) string {
		var api smithy.APIError
		if errors.As(err, &api) {
			return api.ErrorCode()
		}
		return errorText(err)
	}
	return headerClient{
		put: func(bucket string, h storedHeader) (storedHeader, string) {
			in := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader([]byte("x"))}
			if h.cache != "" {
				in.CacheControl = &h.cache
			}
			if h.title != "" {
				in.Metadata = map[string]string{"title": h.title}
			}
			_, err := client.PutObject(t.Context(), in)
			return h, codeOf(err)
		},
		head: func(bucket string) (storedHeader, string) {
			out, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
			if err != nil {
				return storedHeader{}, codeOf(err)
			}
			h := storedHeader{title: decoded(out.Metadata["title"])}
			if out.CacheControl != nil {
				h.cache = *out.CacheControl
			}
			return h, ""
		},
	}
}

func minioHeaders(t *testing.T, g *stack.Gateway) headerClient {
	client := newMinioClient(t, g)
	codeOf := func(err error) string {
		if err == nil {
			return ""
		}
		return minio.ToErrorResponse(err).Code
	}
	return headerClient{
		put: func(bucket string, h storedHeader) (storedHeader, string) {
			options := minio.PutObjectOptions{CacheControl: h.cache}
			if h.title != "" {
				options.UserMetadata = map[string]string{"Title": h.title}
			}
			_, err := client.PutObject(t.Context(), bucket, headerKey, bytes.NewReader([]byte("x")), 1, options)
			return h, codeOf(err)
		},
		head: func(bucket string) (storedHeader, string) {
			info, err := client.StatObject(t.Context(), bucket, headerKey, minio.StatObjectOptions{})
			return storedHeader{info.Metadata.Get("Cache-Control"), decoded(info.UserMetadata["Title"])}, codeOf(err)
		},
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// decoded decodes the encoded words in which metadata outside ASCII travels.
func decoded(value string) string {
	if text, err := new(mime.WordDecoder).DecodeHeader(value); err == nil {
		return text
	}
	return value
}

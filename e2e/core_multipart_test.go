package e2e

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// putAs writes an object in one request or by parts of 5 MiB.
func (c coreSide) putAs(t *testing.T, bucket, key string, s scheme, body content, parts bool) bool {
	t.Helper()
	if !parts {
		return c.put(t, bucket, key, s, body)
	}
	create := &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key}
	switch s {
	case sseS3:
		create.ServerSideEncryption = types.ServerSideEncryptionAes256
	case sseKMS:
		create.ServerSideEncryption, create.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, &c.keyName
	}
	created, err := c.client.CreateMultipartUpload(t.Context(), create)
	if err != nil {
		t.Errorf("Create %q %s: %v", key, s, err)
		return false
	}
	var done []types.CompletedPart
	for begin := int64(0); begin < body.size || begin == 0; begin += minPart {
		number := aws.Int32(int32(len(done) + 1))
		out, err := c.client.UploadPart(t.Context(), &s3.UploadPartInput{
			Bucket: &bucket, Key: &key, UploadId: created.UploadId, PartNumber: number,
			Body: io.NewSectionReader(body, begin, min(minPart, body.size-begin)),
		})
		if err != nil {
			t.Errorf("part %d of %q %s: %v", *number, key, s, err)
			return false
		}
		done = append(done, types.CompletedPart{PartNumber: number, ETag: out.ETag})
	}
	out, err := c.client.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: &bucket, Key: &key, UploadId: created.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	})
	if err != nil {
		t.Errorf("Complete %q %s: %v", key, s, err)
		return false
	}
	if s != "" && aws.ToString(out.ETag) == "" { // Ceph answers an empty one
		t.Errorf("Complete %q %s: an empty ETag", key, s)
	}
	return true
}

// coreMultipart completes uploads of one part to three, with a part sent twice
// and one left out, and aborts one.
func coreMultipart(t *testing.T, c coreSide, bucket string) {
	want := map[string]int64{}
	for _, s := range c.schemes {
		for _, size := range []int64{0, 1, 100_000, minPart, minPart + 1, 12*mib + 17} {
			key := fmt.Sprintf("%s/%d", s.name(), size)
			body := content{hash(key), size}
			if c.putAs(t, bucket, key, s, body, true) {
				c.want(t, bucket, key, s, body)
				want[key] = size
			}
		}
		t.Run("twice-"+s.name(), func(t *testing.T) { c.partTwice(t, bucket, s) })
		t.Run("abort-"+s.name(), func(t *testing.T) { c.abort(t, bucket, s) })
	}
	got := listSizes(t, c.client, bucket)
	maps.DeleteFunc(got, func(key string, _ int64) bool { return strings.HasPrefix(key, "twice") })
	if !maps.Equal(got, want) {
		t.Errorf("LIST: %v, want %v", got, want)
	}
}

// create begins an upload.
func (c coreSide) create(t *testing.T, bucket, key string, s scheme) *string {
	t.Helper()
	in := &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key}
	switch s {
	case sseS3:
		in.ServerSideEncryption = types.ServerSideEncryptionAes256
	case sseKMS:
		in.ServerSideEncryption = types.ServerSideEncryptionAwsKms
	}
	return must(c.client.CreateMultipartUpload(t.Context(), in))(t).UploadId
}

// part sends part number of a content cut into parts of 5 MiB.
func (c coreSide) part(t *testing.T, bucket, key string, id *string, number int32, body content) types.CompletedPart {
	t.Helper()
	begin := int64(number-1) * minPart
	out := must(c.client.UploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: &bucket, Key: &key, UploadId: id, PartNumber: &number, Body: io.NewSectionReader(body, begin, min(minPart, body.size-begin)),
	}))(t)
	return types.CompletedPart{PartNumber: &number, ETag: out.ETag}
}

// partTwice sends parts in the wrong order, one of them with two contents.
func (c coreSide) partTwice(t *testing.T, bucket string, s scheme) {
	key, body := "twice-"+s.name(), content{50, 11*mib + 3}
	id := c.create(t, bucket, key, s)
	third := c.part(t, bucket, key, id, 3, body)
	c.part(t, bucket, key, id, 1, content{51, body.size})
	second := c.part(t, bucket, key, id, 2, body)
	first := c.part(t, bucket, key, id, 1, body)
	listed, err := c.client.ListParts(t.Context(), &s3.ListPartsInput{Bucket: &bucket, Key: &key, UploadId: id})
	if err != nil {
		t.Fatal(err)
	}
	if s != "" && (len(listed.Parts) != 3 || aws.ToInt64(listed.Parts[2].Size) != body.size-2*minPart) { // SeaweedFS lists earlier attempts
		t.Errorf("ListParts: %d parts", len(listed.Parts))
	}
	uploads := must(c.client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &bucket, Prefix: &key}))(t)
	if len(uploads.Uploads) != 1 || aws.ToString(uploads.Uploads[0].UploadId) != *id {
		t.Errorf("ListMultipartUploads: %d uploads", len(uploads.Uploads))
	}
	in := &s3.CompleteMultipartUploadInput{
		Bucket: &bucket, Key: &key, UploadId: id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{first, second, third}},
	}
	done := must(c.client.CompleteMultipartUpload(t.Context(), in))(t)
	c.want(t, bucket, key, s, body)
	if again, err := c.client.CompleteMultipartUpload(t.Context(), in); s != "" && err == nil && aws.ToString(again.ETag) != aws.ToString(done.ETag) {
		t.Errorf("Complete answers the ETag %s, and then %s", aws.ToString(done.ETag), aws.ToString(again.ETag))
	}
}

// abort ends an upload.
func (c coreSide) abort(t *testing.T, bucket string, s scheme) {
	key, body := "abort-"+s.name(), content{52, 100}
	id := c.create(t, bucket, key, s)
	c.part(t, bucket, key, id, 1, body)
	_ = must(c.client.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: id}))(t)
	_, err := c.client.ListParts(t.Context(), &s3.ListPartsInput{Bucket: &bucket, Key: &key, UploadId: id})
	if statusOf(err) != http.StatusNotFound { // the code is NoSuchUpload, but NoSuchKey at Ceph
		t.Errorf("ListParts after the abort: %v", err)
	}
}

package e2e

import (
	"bytes"
	"io"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// TestSmoke is the shortest complete test: a rule, an object under it, what the
// client sees of the object, and what the store holds.
func TestSmoke(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	gw := r.gateway(t, false)
	client, direct := sdkOf(t, gw), r.direct(t)
	const bucket, key = "smoke", "dir/object"
	makeBucket(t, client, bucket)

	if _, err := client.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{
		Bucket: aws.String(bucket), ServerSideEncryptionConfiguration: rule(gw.KeyName),
	}); err != nil {
		t.Fatal(err)
	}
	body := content{seed: 1, size: 100_000}
	put, err := client.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String(key), Body: body.reader(),
		Metadata: map[string]string{"colour": "blue"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if put.ServerSideEncryption != types.ServerSideEncryptionAwsKms {
		t.Errorf("PUT answers encryption %q", put.ServerSideEncryption)
	}
	if got := readAll(t, client, bucket, key); !bytes.Equal(got, must(io.ReadAll(body.reader()))(t)) {
		t.Errorf("GET returns %d other bytes", len(got))
	}
	head, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := aws.ToString(head.SSEKMSKeyId), "arn:aws:kms:"+gw.KeyName; got != want {
		t.Errorf("HEAD: key %q, want %q", got, want)
	}
	if head.ServerSideEncryption != types.ServerSideEncryptionAwsKms || aws.ToInt64(head.ContentLength) != body.size {
		t.Errorf("HEAD: encryption %q, %d bytes", head.ServerSideEncryption, aws.ToInt64(head.ContentLength))
	}
	if aws.ToString(head.ETag) != aws.ToString(put.ETag) {
		t.Errorf("ETag %s of PUT, %s of HEAD", aws.ToString(put.ETag), aws.ToString(head.ETag))
	}
	if len(head.Metadata) != 1 || head.Metadata["colour"] != "blue" {
		t.Errorf("metadata %v", head.Metadata)
	}
	if sizes := listSizes(t, client, bucket); len(sizes) != 1 || sizes[key] != body.size {
		t.Errorf("LIST: %v", sizes)
	}
	wantSealedUpstream(t, client, direct, bucket)
}

// TestBucketsHideState checks that clients cannot see the state bucket.
func TestBucketsHideState(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	gw := r.gateway(t, false)
	client := sdkOf(t, gw)
	makeBucket(t, client, "visible")
	out, err := client.ListBuckets(t.Context(), &s3.ListBucketsInput{})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Buckets) != 1 || aws.ToString(out.Buckets[0].Name) != "visible" {
		t.Errorf("%d buckets, want only the visible one", len(out.Buckets))
	}
	state := gw.Env["SSEGW_STATE"]
	if _, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &state}); err == nil {
		t.Error("the state bucket can be listed")
	}
	if n := len(listSizes(t, r.direct(t), state)); n == 0 {
		t.Error("upstream, the state bucket is empty: the check above means nothing")
	}
}

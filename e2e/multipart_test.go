package e2e

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"ssegw/e2e/stack"
)

// wantContent compares an object's size, its body and a range across the end of
// its first part.
func wantContent(t *testing.T, client *s3.Client, key string, body content) {
	t.Helper()
	head, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(sealedBucket), Key: &key})
	if err != nil {
		t.Errorf("%s: %v", key, err)
		return
	}
	if got := aws.ToInt64(head.ContentLength); got != body.size {
		t.Errorf("%s: %d bytes, want %d", key, got, body.size)
	}
	out, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(sealedBucket), Key: &key})
	if err != nil {
		t.Errorf("%s: %v", key, err)
		return
	}
	sum := sumOf(out.Body)
	out.Body.Close()
	if sum != body.sum() {
		t.Errorf("%s: another content", key)
	}
	for _, at := range []int64{5*mib - 7, 8*mib - 7, 16*mib - 7, body.size - 14} {
		if at+14 > body.size {
			continue
		}
		want := make([]byte, 14)
		_ = must(body.ReadAt(want, at))(t)
		out, err := client.GetObject(t.Context(), &s3.GetObjectInput{
			Bucket: aws.String(sealedBucket), Key: &key, Range: aws.String(fmt.Sprintf("bytes=%d-%d", at, at+13)),
		})
		if err != nil {
			t.Errorf("%s from %d: %v", key, at, err)
			continue
		}
		if got := must(io.ReadAll(out.Body))(t); !bytes.Equal(got, want) {
			t.Errorf("%s from %d: another content", key, at)
		}
		out.Body.Close()
	}
}

// TestMultipartReplicas sends the parts of one upload through two gateways in
// parallel, some of them twice. It kills one gateway and continues as a
// registry does: from the listings.
func TestMultipartReplicas(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		one := r.faultGateway(t, "", nil)
		two := must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{Like: one}))(t)
		clients := []*s3.Client{sdkOf(t, one), sdkOf(t, two)}
		bucket, key := aws.String(sealedBucket), aws.String("registry/upload")
		body := content{99, 4*5*mib + 1234}
		created := must(clients[0].CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key}))(t)
		if created.ServerSideEncryption != types.ServerSideEncryptionAwsKms {
			t.Errorf("the upload is sealed with %q", created.ServerSideEncryption)
		}
		put := func(client *s3.Client, number int, from content) error {
			begin := int64(number-1) * 5 * mib
			_, err := client.UploadPart(t.Context(), &s3.UploadPartInput{
				Bucket: bucket, Key: key, UploadId: created.UploadId, PartNumber: aws.Int32(int32(number)),
				Body: io.NewSectionReader(from, begin, min(5*mib, from.size-begin)),
			})
			return err
		}
		// Part 2 is first sent with other bytes.
		if err := put(clients[1], 2, content{100, body.size}); err != nil {
			t.Fatal(err)
		}
		var g errgroup.Group
		for _, number := range []int{3, 1, 2} {
			g.Go(func() error { return put(clients[number%2], number, body) })
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		if err := one.Kill(); err != nil {
			t.Fatal(err)
		}
		client := clients[1]
		found := must(client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: bucket, Prefix: key}))(t)
		if len(found.Uploads) != 1 || aws.ToString(found.Uploads[0].UploadId) != aws.ToString(created.UploadId) {
			t.Fatalf("uploads: %+v", found.Uploads)
		}
		for _, number := range []int{5, 4} {
			if err := put(client, number, body); err != nil {
				t.Fatal(err)
			}
		}
		request, etag := completeListed(t, client, bucket, key, created.UploadId, body.size)
		wantContent(t, client, *key, body)
		if err := one.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		again, err := clients[0].CompleteMultipartUpload(t.Context(), request)
		if err != nil || aws.ToString(again.ETag) != etag {
			t.Errorf("the Complete repeated at the other gateway: %v, ETag %s, first %s", err, aws.ToString(again.ETag), etag)
		}
	})
}

// completeListed completes an upload with the parts that ListParts shows. Their
// sizes must add up to size. It returns the request and the ETag.
func completeListed(t *testing.T, client *s3.Client, bucket, key, id *string, size int64) (*s3.CompleteMultipartUploadInput, string) {
	t.Helper()
	var parts []types.CompletedPart
	pages := s3.NewListPartsPaginator(client, &s3.ListPartsInput{Bucket: bucket, Key: key, UploadId: id, MaxParts: aws.Int32(2)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page.Parts {
			parts = append(parts, types.CompletedPart{PartNumber: p.PartNumber, ETag: p.ETag, ChecksumCRC32: p.ChecksumCRC32})
			size -= aws.ToInt64(p.Size)
		}
	}
	if size != 0 {
		t.Errorf("%d parts, whose sizes miss that of the object by %d", len(parts), size)
	}
	input := &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: key, UploadId: id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}
	out, err := client.CompleteMultipartUpload(t.Context(), input)
	if err != nil {
		t.Fatal(err)
	}
	return input, aws.ToString(out.ETag)
}

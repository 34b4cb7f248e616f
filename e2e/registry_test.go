package e2e

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"ssegw/e2e/stack"
)

// minPart is the smallest size in bytes of all parts except the last.
const minPart = 5 * mib

// TestRegistry pushes layers as a container registry does. Each piece of a
// layer arrives at another process and goes through another gateway. They only
// know of the layer what ListMultipartUploads and ListParts show.
func TestRegistry(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		one := r.faultGateway(t, "", nil)
		two := must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{Like: one}))(t)
		clients := []*s3.Client{sdkOf(t, one), sdkOf(t, two)}
		for _, bucket := range []string{plainBucket, sealedBucket} {
			for i, pieces := range [][]int64{
				{},                               // nothing
				{100},                            // less than a part
				{minPart, minPart + 1, 77},       // parts of valid sizes
				{1, 2 * mib, minPart, mib},       // the existing data is too small for a part: read it and send it again
				{minPart, mib, 2 * mib, minPart}, // the existing data is copied and becomes the first part
			} {
				t.Run(fmt.Sprint(bucket, pieces), func(t *testing.T) {
					body := content{seed: uint64(i)}
					l := layer{aws.String(bucket), aws.String(fmt.Sprintf("_uploads/%d/data", i))}
					for n, size := range pieces {
						l.append(t, clients[n%2], bytesOf(t, content{body.seed, body.size + size})[body.size:])
						body.size += size
					}
					l.commit(t, clients[len(pieces)%2])
					blob := layer{l.bucket, aws.String(fmt.Sprintf("blobs/%d/data", i))}
					l.move(t, clients[0], blob, body.size)
					if sizes := listSizes(t, clients[1], bucket); sizes[*blob.key] != body.size {
						t.Errorf("LIST: %d bytes, want %d", sizes[*blob.key], body.size)
					}
					if got := readAll(t, clients[1], bucket, *blob.key); !bytes.Equal(got, bytesOf(t, body)) {
						t.Errorf("GET: %d bytes and another content, want %d", len(got), body.size)
					}
				})
			}
		}
		wantSealedUpstream(t, clients[0], r.direct(t), sealedBucket)
	})
}

// A layer is an object that is written piece by piece.
type layer struct{ bucket, key *string }

// resume finds the layer's upload with its parts, or begins one.
func (l layer) resume(t *testing.T, client *s3.Client) (id *string, parts []types.Part) {
	t.Helper()
	found := must(client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: l.bucket, Prefix: l.key}))(t)
	for _, u := range found.Uploads {
		if aws.ToString(u.Key) != *l.key {
			continue
		}
		pages := s3.NewListPartsPaginator(client, &s3.ListPartsInput{Bucket: l.bucket, Key: l.key, UploadId: u.UploadId})
		for pages.HasMorePages() {
			parts = append(parts, must(pages.NextPage(t.Context()))(t).Parts...)
		}
		return u.UploadId, parts
	}
	created := must(client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: l.bucket, Key: l.key}))(t)
	return created.UploadId, nil
}

// append adds a piece. If the last part is too small for the middle, append
// completes the upload, and its object begins the next one.
func (l layer) append(t *testing.T, client *s3.Client, piece []byte) {
	t.Helper()
	id, parts := l.resume(t, client)
	if n := len(parts); n > 0 && aws.ToInt64(parts[n-1].Size) < minPart {
		l.complete(t, client, id, parts)
		size := int64(0)
		for _, p := range parts {
			size += aws.ToInt64(p.Size)
		}
		id, parts = l.resume(t, client)
		if len(parts) != 0 {
			t.Errorf("%d parts in a new upload", len(parts))
		}
		if size < minPart {
			piece = append(readAll(t, client, *l.bucket, *l.key), piece...)
		} else {
			_ = must(client.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{
				Bucket: l.bucket, Key: l.key, UploadId: id, PartNumber: aws.Int32(1), CopySource: aws.String(*l.bucket + "/" + *l.key),
			}))(t)
			parts = make([]types.Part, 1)
		}
	}
	l.put(t, client, id, int32(len(parts)+1), bytes.NewReader(piece))
}

func (l layer) put(t *testing.T, client *s3.Client, id *string, number int32, body io.Reader) {
	t.Helper()
	_ = must(client.UploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: l.bucket, Key: l.key, UploadId: id, PartNumber: &number, Body: body,
	}))(t)
}

// commit completes the upload. If it has no part, it gets an empty one.
func (l layer) commit(t *testing.T, client *s3.Client) {
	t.Helper()
	id, parts := l.resume(t, client)
	if len(parts) == 0 {
		l.put(t, client, id, 1, bytes.NewReader(nil))
		id, parts = l.resume(t, client)
	}
	l.complete(t, client, id, parts)
}

func (l layer) complete(t *testing.T, client *s3.Client, id *string, parts []types.Part) {
	t.Helper()
	completed := &types.CompletedMultipartUpload{}
	for _, p := range parts {
		completed.Parts = append(completed.Parts, types.CompletedPart{ETag: p.ETag, PartNumber: p.PartNumber})
	}
	_ = must(client.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: l.bucket, Key: l.key, UploadId: id, MultipartUpload: completed,
	}))(t)
}

// move copies the layer, in ranges if it is large, and deletes it.
func (l layer) move(t *testing.T, client *s3.Client, to layer, size int64) {
	t.Helper()
	source := aws.String(*l.bucket + "/" + *l.key)
	if size <= minPart {
		_ = must(client.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: to.bucket, Key: to.key, CopySource: source}))(t)
	} else {
		id, _ := to.resume(t, client)
		for begin := int64(0); begin < size; begin += minPart {
			_ = must(client.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{
				Bucket: to.bucket, Key: to.key, UploadId: id, PartNumber: aws.Int32(int32(begin/minPart) + 1), CopySource: source,
				CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", begin, min(begin+minPart, size)-1)),
			}))(t)
		}
		to.commit(t, client)
	}
	removeObject(t, client, *l.bucket, *l.key)
}

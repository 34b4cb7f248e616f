package e2e

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"ssegw/e2e/stack"
)

// TestRotateRoot replaces the root twice while clients write and read through
// two gateways. Then it retires the KES key.
func TestRotateRoot(t *testing.T) {
	t.Parallel()
	onStores(t, rotateRoot)
}

func rotateRoot(t *testing.T, r *rig) {
	isConditional := may(t, "conditions")
	one := r.gateway(t, false)
	two := must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{Like: one}))(t)
	clients := []*s3.Client{sdkOf(t, one), sdkOf(t, two)}
	bucket := bucketName("rotated")
	makeBucket(t, clients[0], bucket)
	setRule(t, clients[0], bucket, "")
	bodies := map[string]content{"before": {1, 3*mib + 1}, "parts": {2, 11*mib + 5}}
	put(t, clients[0], bucket, "before", bodies["before"])
	putAsIn(t, clients[1], bucket, "parts", bodies["parts"])

	var rounds [4]atomic.Int64
	stop := make(chan struct{})
	var load errgroup.Group
	for i := range rounds {
		load.Go(func() error {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return nil
				default:
				}
				if err := crossReplicas(t.Context(), clients[i%2], clients[(i+1)%2], bucket, fmt.Sprintf("load-%d", i), uint64(n)); err != nil {
					return fmt.Errorf("worker %d, round %d: %w", i, n, err)
				}
				rounds[i].Add(1)
			}
		})
	}
	more := func() {
		t.Helper()
		for i := range rounds {
			seen := rounds[i].Load()
			eventually(t, "the load to go on", func() error {
				if n := rounds[i].Load(); n < seen+3 {
					return fmt.Errorf("%d rounds after %d", n, seen)
				}
				return nil
			})
		}
	}
	for n := range 2 {
		more()
		t.Log(wantSSEGW(t, r, one, writing(isConditional, "rekey", "--root")...))
		more() // most of it while the gateways have different roots
		for _, g := range []*stack.Gateway{one, two} {
			eventually(t, "the gateways to follow", func() error {
				log := must(os.ReadFile(g.LogFile()))(t)
				if followed := strings.Count(string(log), "the root was replaced"); followed != n+1 {
					return fmt.Errorf("%s has followed %d roots", g.Name(), followed)
				}
				return nil
			})
		}
		more()
	}
	close(stop)
	if err := load.Wait(); err != nil {
		t.Error(err)
	}
	for i := range rounds {
		t.Logf("worker %d: %d rounds", i, rounds[i].Load())
		bodies[fmt.Sprintf("load-%d", i)] = content{}
	}

	out := wantSSEGW(t, r, one, "inventory")
	t.Log(out)
	for _, text := range []string{", the present root, has 4 objects and 0 older versions", ", an old root, has 2 objects and 0 older versions"} {
		if !strings.Contains(out, text) {
			t.Errorf("the inventory does not say %q", text)
		}
	}
	retireKey(t, r, one, []*stack.Gateway{one, two}, isConditional, bucket, bodies)
}

// crossReplicas writes an object and an upload through two gateways in turn,
// and reads each through the other one.
func crossReplicas(ctx context.Context, a, b *s3.Client, bucket, key string, seed uint64) error {
	body := content{seed, 1000 + int64(seed)}
	if _, err := a.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: body.reader()}); err != nil {
		return fmt.Errorf("PUT: %w", err)
	}
	head, err := b.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return fmt.Errorf("HEAD: %w", err)
	}
	got, err := b.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return fmt.Errorf("GET: %w", err)
	}
	sum := sumOf(got.Body)
	list, err := b.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &key})
	if err != nil {
		return fmt.Errorf("LIST: %w", err)
	}
	if *head.ContentLength != body.size || sum != body.sum() || len(list.Contents) != 1 || *list.Contents[0].Size != body.size {
		return fmt.Errorf("HEAD has %d bytes, GET other ones, or LIST %v", *head.ContentLength, list.Contents)
	}
	up, err := a.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return fmt.Errorf("CreateMultipartUpload: %w", err)
	}
	part, err := b.UploadPart(ctx, &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: body.reader()})
	if err != nil {
		return fmt.Errorf("UploadPart: %w", err)
	}
	done := types.CompletedPart{PartNumber: aws.Int32(1), ETag: part.ETag, ChecksumCRC32: part.ChecksumCRC32}
	_, err = a.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &bucket, Key: &key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{done}},
	})
	if err != nil {
		return fmt.Errorf("CompleteMultipartUpload: %w", err)
	}
	if got, err = b.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key}); err != nil {
		return fmt.Errorf("GET of an upload: %w", err)
	}
	if sumOf(got.Body) != body.sum() {
		return fmt.Errorf("the upload has other bytes")
	}
	return nil
}

// retireKey moves objects and roots to another KES key, and deletes the first
// one in KES. Gateways that start afterwards read all. Of bodies without a size
// only the header is known.
func retireKey(t *testing.T, r *rig, old *stack.Gateway, running []*stack.Gateway, isConditional bool, bucket string, bodies map[string]content) {
	t.Helper()
	if err := r.kes.CreateKey(t.Context(), "second"); err != nil {
		t.Fatal(err)
	}
	next := must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{Like: old, Env: map[string]string{"MINIO_KMS_KES_KEY_NAME": "second"}}))(t)
	for _, g := range running {
		if err := g.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Log(wantSSEGW(t, r, next, writing(isConditional, "rekey", "--from", old.KeyName, "--key", "second", bucket)...))
	if out := wantSSEGW(t, r, next, "inventory", "--key", old.KeyName); !strings.Contains(out, "needed by the gateway's roots/") {
		t.Errorf("before rekey --root: %s", out)
	}
	t.Log(wantSSEGW(t, r, next, writing(isConditional, "rekey", "--root")...))
	if out := wantSSEGW(t, r, next, "inventory", "--key", old.KeyName); !strings.Contains(out, "nothing needs the key "+old.KeyName) {
		t.Fatalf("after rekey --root: %s", out)
	}
	if err := r.kes.DeleteKey(old.KeyName); err != nil {
		t.Fatal(err)
	}
	if err := next.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := sdkOf(t, next)
	for key, body := range bodies {
		got := must(client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key}))(t)
		if body.size == 0 {
			_ = must(io.Copy(io.Discard, got.Body))(t)
		} else if sumOf(got.Body) != body.sum() {
			t.Errorf("%s has other bytes", key)
		}
		_ = must(client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key}))(t)
	}
	put(t, client, bucket, "after", content{seed: 3, size: 10})
	t.Log(wantSSEGW(t, r, next, "verify", bucket))
	t.Log(wantSSEGW(t, r, next, "check"))
}

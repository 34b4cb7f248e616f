//go:build large

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"ssegw/e2e/stack"
)

// largeDisk is the disk space in bytes that TestLarge needs at most: a source,
// two copies of it, and temporary files of the store.
const largeDisk = 24 * gib

// TestLarge puts and copies objects around the 5 GiB that one request can carry
// (make large). It compares sizes and ranges and counts bytes. It logs times
// for information.
func TestLarge(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"minio", "versitygw"} {
		t.Run(name, func(t *testing.T) {
			s := newStack(t)
			var disk syscall.Statfs_t
			dir := t.TempDir()
			if err := syscall.Statfs(dir, &disk); err != nil {
				t.Fatal(err)
			}
			if free := int64(disk.Bavail) * int64(disk.Bsize); free < largeDisk {
				t.Fatalf("%s has %d GiB free, of which this test needs %d", dir, free/gib, largeDisk/gib)
			}
			r := &rig{
				name: name, stack: s, kes: must(s.StartKES(t.Context(), stack.KESOptions{}))(t),
				store: must(s.StartStore(t.Context(), name, stack.StoreOptions{}))(t),
			}
			g := r.faultGateway(t, "", nil)
			counter, counted := r.countedGateway(t, g)
			sources := []struct {
				key  string
				body content
				put  func(key string, body content) error
			}{
				{"parts", content{31, 5*gib - 16*mib}, func(key string, body content) error {
					_, err := newMinioClient(t, g).PutObject(t.Context(), sealedBucket, key, body.reader(), body.size, minio.PutObjectOptions{PartSize: 128 << 20})
					return err
				}},
				{"put", content{32, 5 * gib}, func(key string, body content) error { // over 5 GiB once sealed
					return putUnsigned(t.Context(), g, key, body.reader(), body.size)
				}},
				{"more", content{33, 5*gib + 300*mib}, func(key string, body content) error {
					_, err := newMinioClient(t, g).PutObject(t.Context(), sealedBucket, key, body.reader(), body.size, minio.PutObjectOptions{PartSize: 128 << 20})
					return err
				}},
			}
			for _, source := range sources {
				begin := time.Now()
				if err := source.put(source.key, source.body); err != nil {
					t.Fatalf("%s: %v", source.key, err)
				}
				t.Logf("%s: %d bytes written in %v", source.key, source.body.size, time.Since(begin).Round(time.Millisecond))
				wantLarge(t, sdkOf(t, g), source.key, source.body)
				r.copyDirectly(t, source.key, source.key+"-direct")
				copyCounted(t, counter, counted, source.key, source.key+"-copy", sseS3)
				wantLarge(t, sdkOf(t, g), source.key+"-copy", source.body)
				removeObject(t, r.direct(t), sealedBucket, source.key)
				removeObject(t, r.direct(t), sealedBucket, source.key+"-copy")
			}
			wantBoundedMemory(t, g)
		})
	}
}

// copyDirectly reports how long the store's own copy takes in one request, if
// the store supports that. It removes the copy again.
func (r *rig) copyDirectly(t *testing.T, from, to string) {
	t.Helper()
	client := r.direct(t)
	begin := time.Now()
	_, err := client.CopyObject(t.Context(), &s3.CopyObjectInput{
		Bucket: aws.String(sealedBucket), Key: &to, CopySource: aws.String(sealedBucket + "/" + from),
		Metadata: map[string]string{"copied": "directly"}, MetadataDirective: types.MetadataDirectiveReplace,
	})
	if err != nil {
		t.Logf("%s: the store does not copy it in one request: %v", from, err)
		return
	}
	t.Logf("%s: copied by the store itself in %v", from, time.Since(begin).Round(time.Millisecond))
	removeObject(t, client, sealedBucket, to)
}

// wantLarge compares the size and the listing of an object, and ranges of it.
func wantLarge(t *testing.T, client *s3.Client, key string, body content) {
	t.Helper()
	head := must(client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(sealedBucket), Key: &key}))(t)
	if got, listed := aws.ToInt64(head.ContentLength), listSizes(t, client, sealedBucket)[key]; got != body.size || listed != body.size {
		t.Errorf("%s: %d bytes, listed with %d, want %d", key, got, listed, body.size)
	}
	const length = 3*mib + 1
	for _, at := range []int64{0, 128*mib - 7, gib - 7, 4*gib - mib, 4*gib - 7, body.size - length} {
		want := make([]byte, length)
		_ = must(body.ReadAt(want, at))(t)
		out := must(client.GetObject(t.Context(), &s3.GetObjectInput{
			Bucket: aws.String(sealedBucket), Key: &key, Range: aws.String(fmt.Sprintf("bytes=%d-%d", at, at+length-1)),
		}))(t)
		got := must(io.ReadAll(out.Body))(t)
		out.Body.Close()
		if !bytes.Equal(got, want) {
			t.Errorf("%s from %d: another content", key, at)
		}
	}
}

// TestLargeJobs encrypts an object over 5 GiB in place, and seals it under
// another key. It compares ranges and the limits of its parts.
func TestLargeJobs(t *testing.T) {
	for _, name := range []string{"minio", "versitygw"} {
		t.Run(name, func(t *testing.T) {
			s := newStack(t)
			r := &rig{
				name: name, stack: s, kes: must(s.StartKES(t.Context(), stack.KESOptions{}))(t),
				store: must(s.StartStore(t.Context(), name, stack.StoreOptions{}))(t),
			}
			g := r.gateway(t, false)
			body, key := content{41, 5*gib + 300*mib + 7}, "large"
			makeBucket(t, r.direct(t), sealedBucket)
			direct := must(minio.New(strings.TrimPrefix(r.store.Endpoint, "http://"), &minio.Options{
				Creds: credentials.NewStaticV4(r.store.AccessKey, r.store.SecretKey, ""),
			}))(t)
			_ = must(direct.PutObject(t.Context(), sealedBucket, key, body.reader(), body.size, minio.PutObjectOptions{PartSize: 128 << 20}))(t)
			for _, args := range [][]string{
				{"encrypt", "--sse", "sse-s3", sealedBucket},
				{"rekey", "--to", "sse-kms", "--key", g.KeyName, sealedBucket},
				{"verify", sealedBucket},
			} {
				begin := time.Now()
				wantSSEGW(t, r, g, args...)
				t.Logf("%s took %v", args[0], time.Since(begin).Round(time.Second))
				wantLarge(t, sdkOf(t, g), key, body)
			}
			part := must(sdkOf(t, g).HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(sealedBucket), Key: &key, PartNumber: aws.Int32(42)}))(t)
			if n := aws.ToInt64(part.ContentLength); n != 128*mib && n != body.size-41*128*mib {
				t.Errorf("part 42 has %d bytes", n)
			}
			removeObject(t, r.direct(t), sealedBucket, key)
		})
	}
}

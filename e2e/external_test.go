package e2e

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"ssegw/e2e/stack"
)

// bucketName returns the name of a bucket of the tests. In a store that the
// tests do not start, it differs in each run, because other users may own
// buckets there.
func bucketName(name string) string {
	if os.Getenv("SSEGW_E2E_STORE") == "" {
		return name
	}
	return name + runSuffix
}

var runSuffix = "-" + strings.ToLower(rand.Text()[:10])

// externalTurn makes the tests take turns with the store of SSEGW_E2E_STORE,
// because all use the same buckets.
var externalTurn sync.Mutex

// externalRig returns a rig with the store of SSEGW_E2E_STORE. The test has the
// store for itself. Buckets that it makes are deleted at its end.
func externalRig(t *testing.T) *rig {
	t.Helper()
	externalTurn.Lock()
	t.Cleanup(externalTurn.Unlock)
	r := &rig{name: external, store: &stack.Store{
		Endpoint: os.Getenv("SSEGW_E2E_STORE"), AccessKey: os.Getenv("SSEGW_E2E_ACCESS_KEY"), SecretKey: os.Getenv("SSEGW_E2E_SECRET_KEY"),
	}}
	client := r.direct(t)
	before := must(buckets(t.Context(), client))(t)
	t.Cleanup(func() {
		if err := removeBuckets(context.Background(), client, before); err != nil {
			t.Errorf("cleaning the store: %v", err)
		}
	})
	r.stack = newStack(t)
	r.stack.GatewayEnv["SSEGW_STATE"] = bucketName("ssegw-state")
	r.kes = must(r.stack.StartKES(t.Context(), stack.KESOptions{Pausable: true}))(t)
	return r
}

func buckets(ctx context.Context, client *s3.Client) (map[string]bool, error) {
	out, err := client.ListBuckets(ctx, &s3.ListBucketsInput{})
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool)
	for _, b := range out.Buckets {
		names[aws.ToString(b.Name)] = true
	}
	return names, nil
}

// removeBuckets deletes the buckets of this run that did not exist before, with
// all they hold.
func removeBuckets(ctx context.Context, client *s3.Client, before map[string]bool) error {
	now, err := buckets(ctx, client)
	if err != nil {
		return err
	}
	var errs []error
	for name := range now {
		if !before[name] && strings.Contains(name, runSuffix) {
			errs = append(errs, removeBucket(ctx, client, &name))
		}
	}
	return errors.Join(errs...)
}

func removeBucket(ctx context.Context, client *s3.Client, bucket *string) error {
	uploads, err := client.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: bucket})
	if err != nil {
		return err
	}
	for _, u := range uploads.Uploads {
		if _, err := client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: bucket, Key: u.Key, UploadId: u.UploadId}); err != nil {
			return err
		}
	}
	for {
		found, err := versionsIn(ctx, client, bucket)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			break
		}
		for _, o := range found {
			if _, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: o.Key, VersionId: o.VersionId}); err != nil {
				return err
			}
		}
	}
	_, err = client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: bucket})
	return err
}

// versionsIn returns the first versions and delete markers of a bucket, or its
// first objects if the store does not list versions.
func versionsIn(ctx context.Context, client *s3.Client, bucket *string) (found []types.ObjectIdentifier, err error) {
	if out, err := client.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: bucket}); err == nil {
		for _, v := range out.Versions {
			found = append(found, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, m := range out.DeleteMarkers {
			found = append(found, types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
		}
		return found, nil
	}
	out, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket})
	if err != nil {
		return nil, err
	}
	for _, o := range out.Contents {
		found = append(found, types.ObjectIdentifier{Key: o.Key})
	}
	return found, nil
}

// externalLacks are the capabilities that the store of SSEGW_E2E_STORE lacks.
var externalLacks struct {
	sync.Once
	lacks map[capability]error
}

// externalCan reports whether the store of SSEGW_E2E_STORE has a capability.
func externalCan(t *testing.T, c capability) bool {
	t.Helper()
	externalLacks.Do(func() {
		t.Run("capabilities", func(t *testing.T) { externalLacks.lacks = lacking(t, externalRig(t)) })
	})
	return externalLacks.lacks[c] == nil
}

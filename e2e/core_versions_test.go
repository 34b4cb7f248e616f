package e2e

import (
	"fmt"
	"maps"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// coreVersions keeps, reads, lists and deletes versions.
func coreVersions(t *testing.T, c coreSide, bucket string) {
	_ = must(c.client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	}))(t)
	for _, s := range c.schemes {
		t.Run(s.name(), func(t *testing.T) { c.versionsOf(t, bucket, "versions/"+s.name(), s) })
	}
}

// wantVersions reads the versions of an object.
func (c coreSide) wantVersions(t *testing.T, bucket, key string, ids []string, bodies []content) {
	t.Helper()
	for i, id := range ids {
		out, err := c.client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key, VersionId: &id})
		if err != nil {
			t.Errorf("GET version %d, %q: %v", i, id, err)
			continue
		}
		if sumOf(out.Body) != bodies[i].sum() {
			t.Errorf("version %d has another content", i)
		}
		out.Body.Close()
	}
}

// versionsOf keeps three versions of an object, and deletes them.
func (c coreSide) versionsOf(t *testing.T, bucket, key string, s scheme) {
	var ids []string
	bodies := []content{{80, 1000}, {81, 70_000}, {82, 0}}
	for _, body := range bodies {
		out := must(c.client.PutObject(t.Context(), c.write(&s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: body.reader()}, s)))(t)
		ids = append(ids, aws.ToString(out.VersionId))
	}
	c.wantVersions(t, bucket, key, ids, bodies)
	deleted := must(c.client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}))(t)
	if !aws.ToBool(deleted.DeleteMarker) || aws.ToString(deleted.VersionId) == "" {
		t.Errorf("DELETE makes no delete marker: %v, version %q", aws.ToBool(deleted.DeleteMarker), aws.ToString(deleted.VersionId))
	}
	_, err := c.client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	wantCode(t, err, "NoSuchKey")
	listed := must(c.client.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: &key}))(t)
	sizes := map[string]int64{}
	for _, v := range listed.Versions {
		sizes[aws.ToString(v.VersionId)] = aws.ToInt64(v.Size)
	}
	if want := map[string]int64{ids[0]: 1000, ids[1]: 70_000, ids[2]: 0}; !maps.Equal(sizes, want) || len(listed.DeleteMarkers) != 1 {
		t.Errorf("versions %v, want %v; %d delete markers", sizes, want, len(listed.DeleteMarkers))
	}
	old := c.copyTo(bucket, key+"-restored", key+"?versionId="+ids[1], s)
	if _, err := c.client.CopyObject(t.Context(), old); err != nil {
		t.Errorf("copying a version: %v", err)
	} else {
		c.want(t, bucket, key+"-restored", s, bodies[1])
	}
	if c.store == nil {
		return // Swift waits for the body of a DELETE with a version
	}
	for _, id := range append(ids, aws.ToString(deleted.VersionId)) {
		if _, err := c.client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key, VersionId: &id}); err != nil {
			if id == aws.ToString(deleted.VersionId) && hasCode(err, "NoSuchBucket") {
				continue // Swift deletes the last version of a key, and then finds no bucket
			}
			t.Errorf("DELETE of the version %s of %v and %s: %v", id, ids, aws.ToString(deleted.VersionId), err)
		}
	}
	left := must(c.client.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: aws.String(key)}))(t)
	for _, v := range left.Versions {
		if aws.ToString(v.Key) == key {
			t.Errorf("version %s is left", aws.ToString(v.VersionId))
		}
	}
	for _, v := range left.DeleteMarkers {
		if aws.ToString(v.Key) == key {
			t.Errorf("delete marker %s is left", aws.ToString(v.VersionId))
		}
	}
}

// coreDeletes deletes objects one by one and in one request.
func coreDeletes(t *testing.T, c coreSide, bucket string) {
	var listed []types.ObjectIdentifier
	for i := range 6 {
		key := fmt.Sprintf("%d ü", i)
		c.put(t, bucket, key, c.schemes[i%len(c.schemes)], content{uint64(i), 10})
		if i > 0 {
			listed = append(listed, types.ObjectIdentifier{Key: &key})
		}
	}
	removeObject(t, c.client, bucket, "0 ü")
	removeObject(t, c.client, bucket, "missing")
	if c.store == nil {
		return // Swift wants a Content-MD5, which the SDK does not send
	}
	out := must(c.client.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{Bucket: &bucket, Delete: &types.Delete{Objects: listed}}))(t)
	if len(out.Deleted) != len(listed) || len(out.Errors) != 0 {
		t.Errorf("DeleteObjects: %d deleted, %d errors", len(out.Deleted), len(out.Errors))
	}
	if got := listSizes(t, c.client, bucket); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

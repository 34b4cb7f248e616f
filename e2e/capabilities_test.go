package e2e

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"ssegw/e2e/stack"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// A capability is something that tests need and not every store has.
type capability string

const (
	canAbortOnce     capability = "an error for the second abort of an upload"
	canBareParts     capability = "parts without the checksum that their upload announced"
	canChecksums     capability = "checksums of parts"
	canComplete      capability = "conditions in CompleteMultipartUpload"
	canConditions    capability = "conditional writes"
	canCopyTags      capability = "tags in copies with other metadata"
	canCopyVersion   capability = "versions in the answers to copies"
	canListEnd       capability = "the end of listings of versions"
	canDeleteMatch   capability = "If-Match in deletes of missing objects"
	canDirectories   capability = "bodies and metadata of keys that end in a slash"
	canETags         capability = "one ETag in the answers to Complete, List and GET"
	canListETags     capability = "ETags of objects in listings of versions"
	canMarkMissing   capability = "delete markers of missing objects"
	canMarkAgain     capability = "another delete marker by DeleteObjects"
	canMarkNull      capability = "delete markers in answers of buckets with suspended versions"
	canMarkerTags    capability = "MethodNotAllowed for tags and attributes of a delete marker"
	canSelfSums      capability = "copies of an object onto itself for another checksum"
	canMatchAbsent   capability = "If-None-Match with an ETag in writes"
	canNullVersions  capability = "versions named null"
	canLateVersions  capability = "versions of uploads that began before versions were kept"
	canListTagged    capability = "ETags in listings after a change of tags"
	canLocks         capability = "locks of objects"
	canPartNumbers   capability = "GET of part 1 of any object"
	canPartSizes     capability = "sizes of parts in HEAD"
	canRangeSize     capability = "size of the object in the refusal of a range"
	canRestart       capability = "restart by the tests"
	canSignedChunks  capability = "signed chunks"
	canTags          capability = "object tags"
	canTrailers      capability = "unsigned trailers"
	canUnderscores   capability = "names of metadata with an underscore"
	canMarked        capability = "NoSuchKey for the tags of an object under a delete marker"
	canUploadTags    capability = "tags in CreateMultipartUpload"
	canVersions      capability = "versions"
	canVersionMatch  capability = "conditional writes in buckets with versions"
	canVersionWrites capability = "conditional writes, and copies of objects onto themselves, in buckets with versions"
	canVersionParts  capability = "multipart uploads into buckets with versions"
)

// probes try the capabilities directly in a bucket of a store. They return an
// error if the store refuses what they try or does something else.
var probes = map[capability]func(t *testing.T, r *rig, client *s3.Client, bucket *string) error{
	canComplete: tried(conditionsOfUploads),
	canConditions: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		ctx := t.Context()
		put := func(name, value string) error {
			_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("condition")}, withHeaders(map[string]string{name: value}))
			return err
		}
		if err := put("if-none-match", "*"); err != nil {
			return err
		}
		if put("if-none-match", "*") == nil {
			return errors.New("If-None-Match is ignored")
		}
		if put("if-match", "\"00000000000000000000000000000000\"") == nil {
			return errors.New("If-Match is ignored")
		}
		const etag = "d41d8cd98f00b204e9800998ecf8427e" // of the empty object
		if put("if-match", `"`+etag+`"`) == nil {
			return nil
		}
		return put("if-match", etag) // as Ceph compares it
	},
	canChecksums:   tried(checksumsOfParts),
	canETags:       tried(etagsOfUploads),
	canPartNumbers: tried(partNumbers),
	canPartSizes: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		putAsIn(t, client, *bucket, "k", content{size: 5*mib + 1})
		head, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("k"), PartNumber: aws.Int32(1)})
		if err == nil && *head.ContentLength != 5*mib {
			err = fmt.Errorf("part 1 has %d bytes", *head.ContentLength)
		}
		return err
	},
	canRangeSize: tried(sizeInRefusal),
	canCopyTags: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: aws.String("source"), Tagging: aws.String("a=b")}); err != nil {
			return nil //nolint:nilerr // a store without tags loses none
		}
		if _, err := client.CopyObject(t.Context(), &s3.CopyObjectInput{
			Bucket: bucket, Key: aws.String("k"), CopySource: aws.String(*bucket + "/source"), MetadataDirective: types.MetadataDirectiveReplace,
		}); err != nil {
			return err
		}
		return wantTag(t, client, bucket)
	},
	canDirectories: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		key := aws.String("dir/")
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key, Metadata: map[string]string{"a": "1"}}); err != nil {
			return err
		}
		head, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucket, Key: key})
		if err != nil || head.Metadata["a"] != "1" {
			return fmt.Errorf("HEAD: %v, metadata %v", err, head.Metadata)
		}
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("x")}); err != nil {
			return nil //nolint:nilerr // a refusal is clear
		}
		if body := readAll(t, client, *bucket, *key); string(body) != "x" {
			return fmt.Errorf("the body became %q", body)
		}
		return nil
	},
	canListETags: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: aws.String("empty")}); err != nil {
			return err
		}
		if err := uploadProbe(t, client, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("k")}); err != nil {
			return err
		}
		list, err := client.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: bucket})
		if err != nil {
			return err
		}
		for _, v := range list.Versions {
			head, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucket, Key: v.Key})
			if err != nil || aws.ToString(head.ETag) != aws.ToString(v.ETag) {
				return fmt.Errorf("%s has the ETag %s in the listing, %v", *v.Key, aws.ToString(v.ETag), err)
			}
		}
		return nil
	},
	canLocks: func(t *testing.T, _ *rig, client *s3.Client, _ *string) error {
		bucket := bucketName("locks-" + strings.ToLower(rand.Text()[:12]))
		if err := makeLocked(t.Context(), client, bucket); err != nil {
			return err
		}
		in := &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("k"), Body: strings.NewReader("x"), ObjectLockLegalHoldStatus: types.ObjectLockLegalHoldStatusOn}
		if _, err := client.PutObject(t.Context(), in); err != nil {
			return err
		}
		head, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: in.Key})
		if err == nil && head.ObjectLockLegalHoldStatus != types.ObjectLockLegalHoldStatusOn {
			err = errors.New("the legal hold is lost")
		}
		if _, off := client.PutObjectLegalHold(t.Context(), &s3.PutObjectLegalHoldInput{
			Bucket: &bucket, Key: in.Key, LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatusOff},
		}); err == nil {
			err = off
		}
		return err
	},
	canRestart: func(_ *testing.T, r *rig, _ *s3.Client, _ *string) error {
		if r.store.Service == nil {
			return errors.New("the tests did not start the store")
		}
		return nil
	},
	canSignedChunks: func(t *testing.T, r *rig, _ *s3.Client, bucket *string) error {
		return takesFraming(t, r, signedChunks, *bucket)
	},
	canTags: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: aws.String("k"), Tagging: aws.String("a=b")}); err != nil {
			return err
		}
		return wantTag(t, client, bucket)
	},
	canTrailers: func(t *testing.T, r *rig, _ *s3.Client, bucket *string) error {
		return takesFraming(t, r, trailer, *bucket)
	},
	canUnderscores: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		key := aws.String("k")
		err := uploadProbe(t, client, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key, Metadata: map[string]string{"x_y": "1"}})
		if err != nil {
			return err
		}
		head, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucket, Key: key})
		if err == nil && head.Metadata["x_y"] != "1" {
			err = fmt.Errorf("the metadata became %v", head.Metadata)
		}
		return err
	},
	canUploadTags: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		if err := uploadProbe(t, client, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("k"), Tagging: aws.String("a=b")}); err != nil {
			return nil //nolint:nilerr // a store without tags loses none
		}
		return wantTag(t, client, bucket)
	},
	canVersionMatch: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		if err := enableVersions(t, client, bucket); err != nil {
			return err
		}
		in := &s3.PutObjectInput{Bucket: bucket, Key: aws.String("k")}
		if _, err := client.PutObject(t.Context(), in); err != nil {
			return err
		}
		in.IfMatch = aws.String(`"d41d8cd98f00b204e9800998ecf8427e"`) // of the empty object
		_, err := client.PutObject(t.Context(), in)
		return err
	},
	canVersionParts: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		if err := enableVersions(t, client, bucket); err != nil {
			return err
		}
		return uploadProbe(t, client, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("k")})
	},
	canAbortOnce: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		key := aws.String("k")
		created, err := client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
		if err != nil {
			return err
		}
		in := &s3.AbortMultipartUploadInput{Bucket: bucket, Key: key, UploadId: created.UploadId}
		if _, err := client.AbortMultipartUpload(t.Context(), in); err != nil {
			return err
		}
		if _, err := client.AbortMultipartUpload(t.Context(), in); err == nil {
			return errors.New("it is aborted again")
		}
		return nil
	},
	canDeleteMatch: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		// A store that ignores the condition everywhere leaves it to the gateway.
		key, none := aws.String("k"), aws.String(`"00000000000000000000000000000000"`)
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key}); err != nil {
			return err
		}
		if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: key, IfMatch: none}); err == nil {
			return nil
		}
		if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String("missing"), IfMatch: none}); err == nil {
			return errors.New("it succeeds")
		}
		return nil
	},
	canCopyVersion: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		if err := enableVersions(t, client, bucket); err != nil {
			return err
		}
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: aws.String("k")}); err != nil {
			return err
		}
		out, err := client.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String(*bucket + "/k")})
		if err == nil && aws.ToString(out.VersionId) == "" {
			err = errors.New("no version ID")
		}
		return err
	},
	canListEnd: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		for _, key := range []string{"a", "b", "c"} {
			if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: &key}); err != nil {
				return err
			}
		}
		page, err := client.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: bucket, Prefix: aws.String("b"), MaxKeys: aws.Int32(1)})
		if err == nil && aws.ToBool(page.IsTruncated) {
			err = errors.New("it goes on")
		}
		return err
	},
	canVersionWrites: versionWrites,
	canMarked:        marked,
	canLateVersions:  lateVersions,
	canMarkAgain: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		if err := enableVersions(t, client, bucket); err != nil {
			return err
		}
		key := aws.String("k")
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key}); err != nil {
			return err
		}
		for n := 1; n <= 2; n++ {
			out, err := client.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{
				Bucket: bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: key}}},
			})
			if err != nil {
				return err
			}
			if len(out.Deleted) != 1 || !aws.ToBool(out.Deleted[0].DeleteMarker) {
				return fmt.Errorf("no delete marker for deletion %d", n)
			}
		}
		return nil
	},
	canMarkNull: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		if _, err := client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
			Bucket: bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended},
		}); err != nil {
			return err
		}
		key := aws.String("k")
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key}); err != nil {
			return err
		}
		out, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: key})
		if err == nil && !aws.ToBool(out.DeleteMarker) {
			err = errors.New("no delete marker")
		}
		return err
	},
	canMarkerTags: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		if err := enableVersions(t, client, bucket); err != nil {
			return err
		}
		key := aws.String("k")
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key}); err != nil {
			return err
		}
		out, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: key})
		if err != nil {
			return err
		}
		_, err = client.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: bucket, Key: key, VersionId: out.VersionId})
		_, other := client.GetObjectAttributes(t.Context(), &s3.GetObjectAttributesInput{
			Bucket: bucket, Key: key, VersionId: out.VersionId, ObjectAttributes: []types.ObjectAttributes{types.ObjectAttributesEtag},
		})
		if hasCode(err, "MethodNotAllowed") && hasCode(other, "MethodNotAllowed") {
			return nil
		}
		return fmt.Errorf("the answers are %w, %w", err, other)
	},
	canSelfSums: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		key := aws.String("k")
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key}); err != nil {
			return err
		}
		_, err := client.CopyObject(t.Context(), &s3.CopyObjectInput{
			Bucket: bucket, Key: key, CopySource: aws.String(*bucket + "/k"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		})
		return err
	},
	canBareParts: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		key := aws.String("k")
		created, err := client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{
			Bucket: bucket, Key: key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme, ChecksumType: types.ChecksumTypeFullObject,
		})
		if err != nil {
			return err
		}
		_, err = client.UploadPart(t.Context(), &s3.UploadPartInput{
			Bucket: bucket, Key: key, UploadId: created.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("part"),
		}, func(o *s3.Options) { o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired })
		return err
	},
	canMarkMissing: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		if err := enableVersions(t, client, bucket); err != nil {
			return err
		}
		if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String("missing")}); err != nil {
			return err
		}
		page, err := client.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: bucket})
		if err == nil && len(page.DeleteMarkers) != 1 {
			err = errors.New("no delete marker")
		}
		return err
	},
	canListTagged: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		key := aws.String("k")
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key}); err != nil {
			return err
		}
		if _, err := client.DeleteObjectTagging(t.Context(), &s3.DeleteObjectTaggingInput{Bucket: bucket, Key: key}); err != nil {
			return nil //nolint:nilerr // a store without tags changes none
		}
		page, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: bucket})
		if err == nil && (len(page.Contents) != 1 || strings.Trim(aws.ToString(page.Contents[0].ETag), `"`) == "") {
			err = errors.New("the ETag is lost")
		}
		return err
	},
	canMatchAbsent: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		in := &s3.PutObjectInput{Bucket: bucket, Key: aws.String("k"), IfNoneMatch: aws.String(`"00000000000000000000000000000000"`)}
		_, err := client.PutObject(t.Context(), in)
		return err
	},
	canNullVersions: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: aws.String("k")}); err != nil {
			return err
		}
		if err := enableVersions(t, client, bucket); err != nil {
			return err
		}
		_, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("k"), VersionId: aws.String("null")})
		return err
	},
	canVersions: func(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
		if err := enableVersions(t, client, bucket); err != nil {
			return err
		}
		out, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: aws.String("version")})
		if err == nil && aws.ToString(out.VersionId) == "" {
			err = errors.New("no version ID")
		}
		return err
	},
}

// wantTag returns an error unless the object k has one tag.
func wantTag(t *testing.T, client *s3.Client, bucket *string) error {
	out, err := client.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: bucket, Key: aws.String("k")})
	if err == nil && len(out.TagSet) != 1 {
		err = errors.New("the tag is lost")
	}
	return err
}

func enableVersions(t *testing.T, client *s3.Client, bucket *string) error {
	_, err := client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	return err
}

// lateVersions completes an upload that began before its bucket kept versions.
func lateVersions(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
	key := aws.String("k")
	created, err := client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
	if err != nil {
		return err
	}
	part, err := client.UploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: bucket, Key: key, UploadId: created.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("x"),
	})
	if err != nil {
		return err
	}
	if err := enableVersions(t, client, bucket); err != nil {
		return err
	}
	out, err := client.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: key, UploadId: created.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.ETag}}},
	})
	if err == nil && out.VersionId == nil {
		err = errors.New("it has no version")
	}
	return err
}

// marked reads the tags of an object under a delete marker.
func marked(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
	if err := enableVersions(t, client, bucket); err != nil {
		return err
	}
	key := aws.String("k")
	if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key}); err != nil {
		return err
	}
	if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: key}); err != nil {
		return err
	}
	if _, err := client.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: bucket, Key: key}); !hasCode(err, "NoSuchKey") {
		return fmt.Errorf("the answer is %w", err)
	}
	return nil
}

// versionWrites tries conditional writes in a bucket with versions, and a copy
// of an object onto itself.
func versionWrites(t *testing.T, _ *rig, client *s3.Client, bucket *string) error {
	if err := enableVersions(t, client, bucket); err != nil {
		return err
	}
	key := aws.String("k")
	put := func(in s3.PutObjectInput) (*s3.PutObjectOutput, error) {
		in.Bucket, in.Key = bucket, key
		return client.PutObject(t.Context(), &in)
	}
	first, err := put(s3.PutObjectInput{})
	if err != nil {
		return err
	}
	if _, err := put(s3.PutObjectInput{IfNoneMatch: aws.String("*")}); err == nil {
		return errors.New("If-None-Match is ignored")
	}
	if _, err := put(s3.PutObjectInput{IfMatch: first.ETag}); err != nil {
		return fmt.Errorf("If-Match: %w", err)
	}
	if _, err := client.CopyObject(t.Context(), &s3.CopyObjectInput{
		Bucket: bucket, Key: key, CopySource: aws.String(*bucket + "/k"), MetadataDirective: types.MetadataDirectiveReplace,
	}); err != nil {
		return err
	}
	page, err := client.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: bucket})
	if err == nil && len(page.Versions) != 3 {
		err = fmt.Errorf("%d versions", len(page.Versions))
	}
	if err != nil {
		return err
	}
	if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: key}); err != nil {
		return err
	}
	if _, err := put(s3.PutObjectInput{IfNoneMatch: aws.String("*")}); err != nil {
		return fmt.Errorf("If-None-Match after a delete marker: %w", err)
	}
	return nil
}

// makeLocked makes a bucket with versions and locks.
func makeLocked(ctx context.Context, client *s3.Client, bucket string) error {
	_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket, ObjectLockEnabledForBucket: aws.Bool(true)})
	return err
}

// uploadProbe uploads an object of one part.
func uploadProbe(t *testing.T, client *s3.Client, in *s3.CreateMultipartUploadInput) error {
	created, err := client.CreateMultipartUpload(t.Context(), in)
	if err != nil {
		return err
	}
	part, err := client.UploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: in.Bucket, Key: in.Key, UploadId: created.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("part"),
	})
	if err != nil {
		return err
	}
	_, err = client.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: in.Bucket, Key: in.Key, UploadId: created.UploadId, MultipartUpload: &types.CompletedMultipartUpload{
			Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.ETag, ChecksumCRC32: part.ChecksumCRC32}},
		},
	})
	return err
}

// takesFraming returns an error if the store refuses a body in a framing.
func takesFraming(t *testing.T, r *rig, f framing, bucket string) error {
	store := &stack.Gateway{Endpoint: r.store.Endpoint, AccessKey: r.store.AccessKey, SecretKey: r.store.SecretKey}
	head, body := upload{bucket: bucket, key: "framed", framing: f, body: []byte("some bytes")}.encode(t, store)
	a, err := send(store, head, body)
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("%d %s", a.status, a.code)
	}
	return err
}

// uploadOfOne uploads the object parts in one part, and returns the answers to
// the part and to the Complete.
func uploadOfOne(ctx context.Context, client *s3.Client, bucket *string) (*s3.UploadPartOutput, *s3.CompleteMultipartUploadOutput, error) {
	key := aws.String("parts")
	created, err := client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
	if err != nil {
		return nil, nil, err
	}
	part, err := client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: bucket, Key: key, UploadId: created.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("part"), ChecksumCRC32: aws.String(crc32OfPart),
	})
	if err != nil {
		return nil, nil, err
	}
	completed, err := client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: key, UploadId: created.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.ETag}}},
	})
	return part, completed, err
}

// crc32OfPart is the CRC32 of the part that uploadOfOne sends.
var crc32OfPart = base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte("part"))))

func checksumsOfParts(ctx context.Context, _ *rig, client *s3.Client, bucket *string) error {
	part, _, err := uploadOfOne(ctx, client, bucket)
	if err == nil && aws.ToString(part.ChecksumCRC32) != crc32OfPart {
		err = errors.New("no checksum")
	}
	return err
}

func etagsOfUploads(ctx context.Context, _ *rig, client *s3.Client, bucket *string) error {
	_, completed, err := uploadOfOne(ctx, client, bucket)
	if err != nil {
		return err
	}
	if _, err := client.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String(*bucket + "/parts")}); err != nil {
		return err
	}
	listed, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket})
	if err != nil {
		return err
	}
	for _, o := range listed.Contents {
		head, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: o.Key})
		if err != nil {
			return err
		}
		if aws.ToString(head.ETag) != aws.ToString(o.ETag) || *o.Key == "parts" && aws.ToString(completed.ETag) != aws.ToString(o.ETag) {
			return fmt.Errorf("%s: HEAD %s, List %s, Complete %s", *o.Key, aws.ToString(head.ETag), aws.ToString(o.ETag), aws.ToString(completed.ETag))
		}
	}
	return nil
}

func partNumbers(ctx context.Context, _ *rig, client *s3.Client, bucket *string) error {
	key := aws.String("empty")
	if _, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key}); err != nil {
		return err
	}
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key, PartNumber: aws.Int32(1)})
	if err == nil {
		err = out.Body.Close()
	}
	return err
}

// conditionsOfUploads returns an error unless the store completes an upload only
// if the object with the ETag of the condition is there.
func conditionsOfUploads(ctx context.Context, _ *rig, client *s3.Client, bucket *string) error {
	key := aws.String("complete")
	if _, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key}); err != nil {
		return err
	}
	created, err := client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
	if err != nil {
		return err
	}
	part, err := client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: bucket, Key: key, UploadId: created.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("part"),
	})
	if err != nil {
		return err
	}
	complete := func(etag string) error {
		_, err = client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: bucket, Key: key, UploadId: created.UploadId, IfMatch: &etag, MultipartUpload: &types.CompletedMultipartUpload{
				Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.ETag, ChecksumCRC32: part.ChecksumCRC32}},
			},
		})
		return err
	}
	if complete(`"00000000000000000000000000000000"`) == nil {
		return errors.New("If-Match is ignored")
	}
	return complete(`"d41d8cd98f00b204e9800998ecf8427e"`) // of the empty object
}

func sizeInRefusal(ctx context.Context, _ *rig, client *s3.Client, bucket *string) error {
	key := aws.String("range")
	if _, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("0123456789")}); err != nil {
		return err
	}
	signed, err := s3.NewPresignClient(client).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key, Range: aws.String("bytes=10-")})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, signed.URL, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Range", "bytes=10-")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	doc, err := io.ReadAll(resp.Body)
	if err == nil && !strings.Contains(string(doc), "<ActualObjectSize>10</ActualObjectSize>") {
		err = fmt.Errorf("%s %s", resp.Status, doc)
	}
	return err
}

// tried makes a probe of a function that needs no test.
func tried(try func(ctx context.Context, r *rig, client *s3.Client, bucket *string) error) func(t *testing.T, r *rig, client *s3.Client, bucket *string) error {
	return func(t *testing.T, r *rig, client *s3.Client, bucket *string) error {
		return try(t.Context(), r, client, bucket)
	}
}

// lacking tries all capabilities and returns the errors of those that the store
// lacks.
func lacking(t *testing.T, r *rig) map[capability]error {
	t.Helper()
	lacks := make(map[capability]error)
	for c, try := range probes {
		client := r.direct(t) // with its own connections: Swift closes one that it refused a body on
		bucket := bucketName("probe-" + strings.ToLower(rand.Text()[:12]))
		makeBucket(t, client, bucket)
		if err := try(t, r, client, &bucket); err != nil {
			lacks[c] = err
		}
	}
	return lacks
}

var update = flag.Bool("update", false, "write the skips of the chosen stores into testdata/skips.txt")

// TestSkips compares the list of skips with what each store can do, so that no
// other test is skipped and a gained capability is used.
func TestSkips(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	for _, name := range storesOf(allStores[:4]...) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			long(t)
			lacks := lacking(t, newRigOn(t, name))
			for c, err := range lacks {
				t.Logf("no %s: %v", c, err)
			}
			want := skipsOf(name, func(c capability) bool { return lacks[c] == nil })
			t.Logf("%d of %d tests are skipped", len(want), len(suite))
			if name == external {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			var got []string
			for full, c := range listedSkips(t) {
				if _, store := splitName(full); store == name {
					got = append(got, full+": "+string(c))
				}
			}
			slices.Sort(got)
			if *update {
				updateSkips(t, got, want)
			} else if !slices.Equal(got, want) {
				t.Errorf("%s lists\n%s\nwant\n%s", skipsFile, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// updateSkips replaces lines of the list of skips.
func updateSkips(t *testing.T, old, lines []string) {
	t.Helper()
	var head []string
	for line := range strings.Lines(string(must(os.ReadFile(skipsFile))(t))) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "#"):
			head = append(head, line)
		case line != "" && !slices.Contains(old, line):
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	if err := os.WriteFile(skipsFile, []byte(strings.Join(append(head, lines...), "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

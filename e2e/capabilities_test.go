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

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// A capability is something that tests need and not every store has.
type capability string

const (
	canChecksums        capability = "checksums of parts"
	canConditions       capability = "conditional writes"
	canETags            capability = "one ETag in the answers to Complete, List and GET"
	canFolders          capability = "metadata of folders"
	canPartNumbers      capability = "GET of part 1 of any object"
	canRangeSize        capability = "size of the object in the refusal of a range"
	canRestart          capability = "restart by the tests"
	canTags             capability = "object tags"
	canVersionedUploads capability = "multipart uploads into buckets with versions"
	canVersions         capability = "versions"
)

// probes try the capabilities directly in a bucket of a store. They return an
// error if the store refuses what they try or does something else.
var probes = map[capability]func(ctx context.Context, r *rig, client *s3.Client, bucket *string) error{
	canConditions: func(ctx context.Context, _ *rig, client *s3.Client, bucket *string) error {
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
	canChecksums:   checksumsOfParts,
	canETags:       etagsOfUploads,
	canFolders:     metadataOfFolders,
	canPartNumbers: partNumbers,
	canRangeSize:   sizeInRefusal,
	canVersionedUploads: func(ctx context.Context, _ *rig, client *s3.Client, bucket *string) error {
		if _, err := client.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
			Bucket: bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
		}); err != nil {
			return err
		}
		_, _, err := uploadOfOne(ctx, client, bucket)
		return err
	},
	canRestart: func(_ context.Context, r *rig, _ *s3.Client, _ *string) error {
		if r.store.Service == nil {
			return errors.New("the tests did not start the store")
		}
		return nil
	},
	canTags: func(ctx context.Context, _ *rig, client *s3.Client, bucket *string) error {
		key := aws.String("tagged")
		if _, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Tagging: aws.String("a=b")}); err != nil {
			return err
		}
		out, err := client.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: bucket, Key: key})
		if err == nil && len(out.TagSet) != 1 {
			err = errors.New("the tag is lost")
		}
		return err
	},
	canVersions: func(ctx context.Context, _ *rig, client *s3.Client, bucket *string) error {
		if _, err := client.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
			Bucket: bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
		}); err != nil {
			return err
		}
		out, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("version")})
		if err == nil && aws.ToString(out.VersionId) == "" {
			err = errors.New("no version ID")
		}
		return err
	},
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

func metadataOfFolders(ctx context.Context, _ *rig, client *s3.Client, bucket *string) error {
	key := aws.String("folder/")
	if _, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Metadata: map[string]string{"a": "b"}}); err != nil {
		return err
	}
	head, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key})
	if err == nil && head.Metadata["a"] != "b" {
		err = errors.New("the metadata is lost")
	}
	return err
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

// lacking tries all capabilities and returns the errors of those that the store
// lacks.
func lacking(t *testing.T, r *rig) map[capability]error {
	t.Helper()
	lacks := make(map[capability]error)
	for c, try := range probes {
		client := r.direct(t) // with its own connections: Swift closes one that it refused a body on
		bucket := bucketName("probe-" + strings.ToLower(rand.Text()[:12]))
		makeBucket(t, client, bucket)
		if err := try(t.Context(), r, client, &bucket); err != nil {
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

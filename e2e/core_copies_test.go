package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// coreCopies copies objects between all schemes, onto themselves, and by parts.
func coreCopies(t *testing.T, c coreSide, bucket string) {
	for _, from := range c.schemes {
		for kind, body := range map[string]content{"single": {60, 200_003}, "parts": {61, 6*mib + 99}} {
			source := kind + "-" + from.name()
			if !c.putAs(t, bucket, source, from, body, kind == "parts") {
				continue
			}
			for _, to := range c.schemes {
				t.Run(source+"-to-"+to.name(), func(t *testing.T) {
					key, sealed := source+"-to-"+to.name(), to
					if to == "" {
						sealed = from // a copy without a request stays sealed
					}
					out := must(c.client.CopyObject(t.Context(), c.copyTo(bucket, key, source, to)))(t)
					c.want(t, bucket, key, sealed, body)
					head := must(c.client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key}))(t)
					if a, b := aws.ToString(out.CopyObjectResult.ETag), aws.ToString(head.ETag); sealed != "" && a != b { // no quotes at Ceph
						t.Errorf("CopyObject answers the ETag %s, HEAD %s", a, b)
					}
				})
			}
			t.Run(source+"-itself", func(t *testing.T) {
				in := c.copyTo(bucket, source, source, from)
				in.MetadataDirective, in.Metadata = types.MetadataDirectiveReplace, map[string]string{"b": "2"}
				_ = must(c.client.CopyObject(t.Context(), in))(t)
				c.want(t, bucket, source, from, body)
				head := must(c.client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &source}))(t)
				if len(head.Metadata) != 1 || head.Metadata["b"] != "2" {
					t.Errorf("metadata %v", head.Metadata)
				}
			})
			t.Run(source+"-by-parts", func(t *testing.T) { c.copyByParts(t, bucket, source, from, body) })
			if c.store != nil { // Ceph ignores conditions
				t.Run(source+"-conditions", func(t *testing.T) { c.copyConditions(t, bucket, source, from) })
			}
		}
	}
}

func (c coreSide) copyTo(bucket, key, source string, to scheme) *s3.CopyObjectInput {
	in := &s3.CopyObjectInput{Bucket: &bucket, Key: &key, CopySource: aws.String(bucket + "/" + source)}
	switch to {
	case sseS3:
		in.ServerSideEncryption = types.ServerSideEncryptionAes256
	case sseKMS:
		in.ServerSideEncryption, in.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, &c.keyName
	}
	return in
}

// copyByParts copies ranges of an object into the parts of another.
func (c coreSide) copyByParts(t *testing.T, bucket, source string, s scheme, body content) {
	key := source + "-by-parts"
	id := c.create(t, bucket, key, s)
	var done []types.CompletedPart
	for begin := int64(0); begin < body.size; begin += minPart {
		number := aws.Int32(int32(len(done) + 1))
		out := must(c.client.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{
			Bucket: &bucket, Key: &key, UploadId: id, PartNumber: number, CopySource: aws.String(bucket + "/" + source),
			CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", begin, min(begin+minPart, body.size)-1)),
		}))(t)
		done = append(done, types.CompletedPart{PartNumber: number, ETag: out.CopyPartResult.ETag})
	}
	_ = must(c.client.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: &bucket, Key: &key, UploadId: id, MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	}))(t)
	c.want(t, bucket, key, s, body)
}

// copyConditions copies under conditions on the source.
func (c coreSide) copyConditions(t *testing.T, bucket, source string, s scheme) {
	etag := must(c.client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &source}))(t).ETag
	in := c.copyTo(bucket, source+"-match", source, s)
	in.CopySourceIfMatch = etag
	if _, err := c.client.CopyObject(t.Context(), in); err != nil {
		t.Errorf("If-Match with the ETag %s: %v", *etag, err)
	}
	in = c.copyTo(bucket, source+"-no-match", source, s)
	in.CopySourceIfMatch = aws.String(`"00000000000000000000000000000000"`)
	_, err := c.client.CopyObject(t.Context(), in)
	wantCode(t, err, "PreconditionFailed")
}

// coreTags sets tags with an object and later, and copies them.
func coreTags(t *testing.T, c coreSide, bucket string) {
	for _, s := range c.schemes {
		for _, kind := range []string{"single", "parts"} {
			t.Run(kind+"-"+s.name(), func(t *testing.T) { c.tagsOf(t, bucket, kind+"-"+s.name(), s, kind == "parts") })
		}
	}
}

func (c coreSide) tagsOf(t *testing.T, bucket, key string, s scheme, parts bool) {
	if !c.putAs(t, bucket, key, s, content{90, 6 * mib}, parts) {
		return
	}
	_ = must(c.client.PutObjectTagging(t.Context(), &s3.PutObjectTaggingInput{
		Bucket: &bucket, Key: &key, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("a b"), Value: aws.String("c:d")}}},
	}))(t)
	wantTags := func(key, want string) {
		t.Helper()
		out, err := c.client.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: &bucket, Key: &key})
		if err != nil {
			t.Errorf("%s: %v", key, err)
			return
		}
		var got []string
		for _, tag := range out.TagSet {
			got = append(got, aws.ToString(tag.Key)+"="+aws.ToString(tag.Value))
		}
		if strings.Join(got, "&") != want {
			t.Errorf("%s: tags %q, want %q", key, got, want)
		}
	}
	wantTags(key, "a b=c:d")
	if s != "" { // Ceph loses tags
		c.copiesOfTagged(t, bucket, key, s, wantTags)
	}
	tagged := key + "-tagged"
	_ = must(c.client.PutObject(t.Context(), c.write(&s3.PutObjectInput{Bucket: &bucket, Key: &tagged, Body: strings.NewReader("x"), Tagging: aws.String("e=f")}, s)))(t)
	wantTags(tagged, "e=f")
	_ = must(c.client.DeleteObjectTagging(t.Context(), &s3.DeleteObjectTaggingInput{Bucket: &bucket, Key: &tagged}))(t)
	wantTags(tagged, "")
}

// copiesOfTagged copies an object with tags in all ways.
func (c coreSide) copiesOfTagged(t *testing.T, bucket, key string, s scheme, wantTags func(key, want string)) {
	_ = must(c.client.CopyObject(t.Context(), c.copyTo(bucket, key+"-copy", key, s)))(t)
	wantTags(key+"-copy", "a b=c:d")
	in := c.copyTo(bucket, key+"-replaced", key, s)
	in.MetadataDirective, in.Metadata = types.MetadataDirectiveReplace, map[string]string{"b": "2"}
	_ = must(c.client.CopyObject(t.Context(), in))(t)
	wantTags(key+"-replaced", "a b=c:d")
	in = c.copyTo(bucket, key+"-other-tags", key, s)
	in.TaggingDirective, in.Tagging = types.TaggingDirectiveReplace, aws.String("c=d")
	_ = must(c.client.CopyObject(t.Context(), in))(t)
	wantTags(key+"-other-tags", "c=d")
	in = c.copyTo(bucket, key, key, s)
	in.MetadataDirective, in.Metadata = types.MetadataDirectiveReplace, map[string]string{"b": "2"}
	_ = must(c.client.CopyObject(t.Context(), in))(t)
	wantTags(key, "a b=c:d")
}

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"ssegw/e2e/stack"
)

// TestCopies copies a single PUT and a multipart object between all schemes and
// onto themselves. It compares sizes, ETags and bytes.
func TestCopies(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		g := r.gateway(t, true)
		client := sdkOf(t, g)
		makeBucket(t, client, sealedBucket)
		bodies := map[string]content{"single": {1, 3*mib + 17}, "parts": {2, 6*mib + 99}}
		for kind, body := range bodies {
			for _, from := range []scheme{"", sseS3, sseKMS, sseC} {
				source := fmt.Sprintf("%s-from-%s", kind, from)
				putAs(t, sdkClient{client, g.KeyName}, source, from, body, kind == "parts")
				for _, to := range []scheme{"", sseS3, sseKMS, sseC} {
					wantCopy(t, client, source, from, fmt.Sprintf("%s-to-%s", source, to), to, body)
				}
				wantCopy(t, client, source, from, source, sseKMS, body)
			}
		}
	})
}

// putAs writes an object in one request or by parts.
func putAs(t *testing.T, client sdkClient, key string, s scheme, body content, parts bool) {
	t.Helper()
	bucket := aws.String(sealedBucket)
	if !parts {
		if err := client.put(t.Context(), *bucket, key, s, body); err != nil {
			t.Fatal(err)
		}
		return
	}
	create := &s3.CreateMultipartUploadInput{Bucket: bucket, Key: &key}
	part := s3.UploadPartInput{Bucket: bucket, Key: &key}
	switch s {
	case sseS3:
		create.ServerSideEncryption = types.ServerSideEncryptionAes256
	case sseKMS:
		create.ServerSideEncryption = types.ServerSideEncryptionAwsKms
	case sseC:
		create.SSECustomerAlgorithm, create.SSECustomerKey, create.SSECustomerKeyMD5 = customerHeaders()
		part.SSECustomerAlgorithm, part.SSECustomerKey, part.SSECustomerKeyMD5 = customerHeaders()
	}
	part.UploadId = must(client.CreateMultipartUpload(t.Context(), create))(t).UploadId
	var done []types.CompletedPart
	for begin := int64(0); begin < body.size; begin += 5 * mib {
		number := aws.Int32(int32(len(done) + 1))
		part.PartNumber, part.Body = number, io.NewSectionReader(body, begin, min(5*mib, body.size-begin))
		out := must(client.UploadPart(t.Context(), &part))(t)
		done = append(done, types.CompletedPart{PartNumber: number, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32})
	}
	complete := &s3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: &key, UploadId: part.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	}
	// The SDK announces a checksum at Create, so Complete needs the key too.
	complete.SSECustomerAlgorithm, complete.SSECustomerKey, complete.SSECustomerKeyMD5 = part.SSECustomerAlgorithm, part.SSECustomerKey, part.SSECustomerKeyMD5
	_ = must(client.CompleteMultipartUpload(t.Context(), complete))(t)
}

// wantCopy copies an object and reads the copy.
func wantCopy(t *testing.T, client *s3.Client, source string, from scheme, key string, to scheme, body content) {
	t.Helper()
	input := &s3.CopyObjectInput{Bucket: aws.String(sealedBucket), Key: &key, CopySource: aws.String(sealedBucket + "/" + source)}
	read := &s3.GetObjectInput{Bucket: aws.String(sealedBucket), Key: &key}
	if from == sseC {
		input.CopySourceSSECustomerAlgorithm, input.CopySourceSSECustomerKey, input.CopySourceSSECustomerKeyMD5 = customerHeaders()
	}
	switch to {
	case sseS3:
		input.ServerSideEncryption = types.ServerSideEncryptionAes256
	case sseKMS:
		input.ServerSideEncryption = types.ServerSideEncryptionAwsKms
	case sseC:
		input.SSECustomerAlgorithm, input.SSECustomerKey, input.SSECustomerKeyMD5 = customerHeaders()
		read.SSECustomerAlgorithm, read.SSECustomerKey, read.SSECustomerKeyMD5 = customerHeaders()
	}
	out, err := client.CopyObject(t.Context(), input)
	if err != nil {
		t.Errorf("%s: %v", key, err)
		return
	}
	got, err := client.GetObject(t.Context(), read)
	if err != nil {
		t.Errorf("%s: %v", key, err)
		return
	}
	defer got.Body.Close()
	if sumOf(got.Body) != body.sum() || aws.ToInt64(got.ContentLength) != body.size {
		t.Errorf("%s: another content", key)
	}
	if a, b := aws.ToString(out.CopyObjectResult.ETag), aws.ToString(got.ETag); a != b {
		t.Errorf("%s: ETag %s, copied as %s", key, b, a)
	}
	read.Range = aws.String("bytes=65530-65545")
	part, err := client.GetObject(t.Context(), read)
	if err != nil {
		t.Errorf("%s: %v", key, err)
		return
	}
	defer part.Body.Close()
	want := make([]byte, 16)
	_ = must(body.ReadAt(want, 65530))(t)
	if !bytes.Equal(must(io.ReadAll(part.Body))(t), want) {
		t.Errorf("%s: another range", key)
	}
}

// TestCopyMovesNoBody checks that the store itself makes every copy between
// sealed objects. It counts the bytes between gateway and store.
func TestCopyMovesNoBody(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		g := r.faultGateway(t, "", nil)
		counter, counted := r.countedGateway(t, g)
		client := sdkClient{sdkOf(t, g), g.KeyName}
		for kind, body := range map[string]content{"single": {11, 24 * mib}, "parts": {12, 24*mib + 99}} {
			putAs(t, client, kind, sseS3, body, kind == "parts")
			copyCounted(t, counter, counted, kind, kind+"-kms", sseKMS)
			copyCounted(t, counter, counted, kind+"-kms", kind+"-s3", sseS3)
			for _, key := range []string{kind + "-kms", kind + "-s3"} {
				wantContent(t, client.Client, key, body)
			}
		}
	})
}

// TestUpdateObjectEncryption gives sealed objects another key. Nothing else
// changes, no body is moved, and the old key is no longer needed.
func TestUpdateObjectEncryption(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		g := r.faultGateway(t, "", nil)
		counter, counted := r.countedGateway(t, g)
		for _, key := range []string{"first-key", "second-key"} {
			if err := r.kes.CreateKey(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		client := sdkOf(t, counted)
		first := sdkClient{client, "first-key"}
		bodies := map[string]content{"single": {13, 6 * mib}, "parts": {14, 11*mib + 99}}
		before := map[string]*s3.HeadObjectOutput{}
		tagged, noBody := may(t, "tags"), may(t, "no-body")
		for key, body := range bodies {
			putAs(t, first, key, sseKMS, body, key == "parts")
			described := &s3.CopyObjectInput{
				Bucket: aws.String(sealedBucket), Key: aws.String(key), CopySource: aws.String(sealedBucket + "/" + key),
				MetadataDirective: types.MetadataDirectiveReplace, Metadata: map[string]string{"mark": "a b"}, ContentType: aws.String("image/png"),
				ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: aws.String("first-key"),
			}
			if tagged {
				described.TaggingDirective, described.Tagging = types.TaggingDirectiveReplace, aws.String("colour=red")
			}
			_ = must(client.CopyObject(t.Context(), described))(t)
			before[key] = must(client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(sealedBucket), Key: aws.String(key)}))(t)
			counter.Reset()
			_ = must(client.UpdateObjectEncryption(t.Context(), &s3.UpdateObjectEncryptionInput{
				Bucket: aws.String(sealedBucket), Key: aws.String(key),
				ObjectEncryption: &types.ObjectEncryptionMemberSSEKMS{Value: types.SSEKMSEncryption{KMSKeyArn: aws.String("arn:aws:kms:second-key")}},
			}))(t)
			for _, call := range counter.Calls() {
				if noBody && call.In+call.Out > maxCopyTraffic {
					t.Errorf("%s: %s %s moves %d and %d bytes", key, call.Method, call.Path, call.In, call.Out)
				}
			}
		}
		if err := errorsOf(r.kes.Kill(), r.kes.DeleteKey("first-key"), r.kes.Start(t.Context())); err != nil {
			t.Fatal(err)
		}
		for key, body := range bodies {
			fresh := sdkOf(t, g) // from a gateway that has not cached any keys
			wantContent(t, fresh, key, body)
			head := must(fresh.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(sealedBucket), Key: aws.String(key)}))(t)
			if !strings.HasSuffix(aws.ToString(before[key].SSEKMSKeyId), "first-key") || !strings.HasSuffix(aws.ToString(head.SSEKMSKeyId), "second-key") {
				t.Errorf("%s: the key %q became %q", key, aws.ToString(before[key].SSEKMSKeyId), aws.ToString(head.SSEKMSKeyId))
			}
			if head.Metadata["mark"] != "a b" || aws.ToString(head.ContentType) != "image/png" {
				t.Errorf("%s: metadata %v, type %q", key, head.Metadata, aws.ToString(head.ContentType))
			}
			if !tagged {
				continue
			}
			tags := must(fresh.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: aws.String(sealedBucket), Key: aws.String(key)}))(t)
			if len(tags.TagSet) != 1 {
				t.Errorf("%s: %d tags", key, len(tags.TagSet))
			}
		}
	})
}

// maxCopyTraffic limits the bytes that a copy may move between gateway and
// store, for objects of any size: headers, a part table, small documents.
const maxCopyTraffic = 256 * kib

// countedGateway starts a replica of g that reaches the store through a
// counter.
func (r *rig) countedGateway(t *testing.T, g *stack.Gateway) (*stack.Counter, *stack.Gateway) {
	t.Helper()
	counter := must(r.stack.StartCounter(r.store.Endpoint, ""))(t)
	return counter, must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{
		Like: g, Env: map[string]string{"SSEGW_UPSTREAM_ENDPOINT": counter.Endpoint},
	}))(t)
}

// copyCounted copies an object, checks that no body is moved, and reports how
// long it took.
func copyCounted(t *testing.T, counter *stack.Counter, g *stack.Gateway, from, to string, s scheme) {
	t.Helper()
	input := &s3.CopyObjectInput{Bucket: aws.String(sealedBucket), Key: &to, CopySource: aws.String(sealedBucket + "/" + from)}
	input.ServerSideEncryption = types.ServerSideEncryptionAes256
	if s == sseKMS {
		input.ServerSideEncryption = types.ServerSideEncryptionAwsKms
	}
	counter.Reset()
	begin := time.Now()
	_ = must(sdkOf(t, g).CopyObject(t.Context(), input))(t)
	took := time.Since(begin)
	var passed int64
	for _, call := range counter.Calls() {
		passed += call.In + call.Out
	}
	if n := counter.Count("PUT", "/"+sealedBucket+"/"+to); n == 0 || passed > maxCopyTraffic {
		t.Errorf("%s to %s: %d PUTs, %d bytes between gateway and store", from, to, n, passed)
	}
	t.Logf("%s to %s: %v, %d bytes between gateway and store", from, to, took.Round(time.Millisecond), passed)
}

// TestCopyOntoItself changes the headers of objects, drops those that stores
// keep when they change an object in place, and races with writes.
func TestCopyOntoItself(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		client := sdkOf(t, r.gateway(t, true))
		makeBucket(t, client, sealedBucket)
		bucket := aws.String(sealedBucket)
		keys := []string{"k", "empty"}
		if may(t, "directories") {
			keys = append(keys, "dir/")
		}
		for _, key := range keys {
			var body []byte
			if key == "k" {
				body = bytes.Repeat([]byte("old "), 1000)
			}
			input := &s3.PutObjectInput{
				Bucket: bucket, Key: &key, Body: bytes.NewReader(body), ServerSideEncryption: types.ServerSideEncryptionAes256,
				Metadata: map[string]string{"a": "1"},
			}
			if key != "dir/" { // versitygw keeps no content headers for it
				input.CacheControl, input.ContentLanguage = aws.String("no-cache"), aws.String("de")
			}
			_ = must(client.PutObject(t.Context(), input))(t)
			_ = must(client.CopyObject(t.Context(), selfCopy(key)))(t)
			out := must(client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: &key}))(t)
			got := must(io.ReadAll(out.Body))(t)
			if !bytes.Equal(got, body) || aws.ToString(out.CacheControl) != "" || aws.ToString(out.ContentLanguage) != "" || out.Metadata["b"] != "2" || len(out.Metadata) != 1 {
				t.Errorf("%s: %d bytes, %q, %v", key, len(got), aws.ToString(out.CacheControl), out.Metadata)
			}
		}
		// Whichever write is last, the object is one of the two, and whole.
		for i := range 60 {
			key := fmt.Sprint("race-", i%3)
			put := func(b string) error {
				_, err := client.PutObject(t.Context(), &s3.PutObjectInput{
					Bucket: bucket, Key: &key, Body: strings.NewReader(strings.Repeat(b, 20_000)), ServerSideEncryption: types.ServerSideEncryptionAes256,
				})
				return err
			}
			if err := put("1"); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- put("2") }()
			_, _ = client.CopyObject(t.Context(), selfCopy(key)) // a conflict is allowed
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			out := must(client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: &key}))(t)
			if got := must(io.ReadAll(out.Body))(t); string(got) != strings.Repeat("2", 20_000) {
				t.Fatalf("the write of 2 is lost: %.20q", got)
			}
		}
	})
}

func selfCopy(key string) *s3.CopyObjectInput {
	return &s3.CopyObjectInput{
		Bucket: aws.String(sealedBucket), Key: &key, CopySource: aws.String(sealedBucket + "/" + key),
		MetadataDirective: types.MetadataDirectiveReplace, Metadata: map[string]string{"b": "2"}, ServerSideEncryption: types.ServerSideEncryptionAes256,
	}
}

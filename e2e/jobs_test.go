package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"ssegw/e2e/stack"
)

// commandOf returns a command of ssegw with the settings of a gateway.
func commandOf(t *testing.T, r *rig, g *stack.Gateway, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), r.stack.Tools().Path(stack.ToolGateway), args...)
	for name, value := range g.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// runSSEGW runs a command of ssegw and returns its output and exit status.
func runSSEGW(t *testing.T, r *rig, g *stack.Gateway, args ...string) (out string, status int) {
	t.Helper()
	cmd := commandOf(t, r, g, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if stderr.Len() > 0 {
		t.Logf("ssegw %s: %s", strings.Join(args, " "), stderr.String())
	}
	return stdout.String(), cmd.ProcessState.ExitCode()
}

// wantSSEGW fails the test unless a command ends with status 0.
func wantSSEGW(t *testing.T, r *rig, g *stack.Gateway, args ...string) string {
	t.Helper()
	out, status := runSSEGW(t, r, g, args...)
	if status != 0 {
		t.Fatalf("ssegw %s: exit status %d\n%s", strings.Join(args, " "), status, out)
	}
	return out
}

// writing returns the arguments of a command that writes, for a store with or
// without the conditions that it needs.
func writing(isConditional bool, args ...string) []string {
	if isConditional {
		return args
	}
	return append(args, "--unconditional")
}

// TestJobs encrypts, verifies, rekeys and counts a bucket of objects that were
// there before the gateway.
func TestJobs(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		g := r.gateway(t, false)
		client, direct := sdkOf(t, g), r.direct(t)
		bucket := bucketName("before")
		makeBucket(t, direct, bucket)
		hasTags, isConditional := may(t, "tags"), may(t, "conditions")
		bodies := map[string]content{}
		for i, size := range []int64{0, 1, 65536, mib, 3*mib + 1} {
			key := fmt.Sprintf("dir/%d ü+%%", i)
			bodies[key] = content{uint64(i), size}
			in := &s3.PutObjectInput{
				Bucket: &bucket, Key: &key, Body: bodies[key].reader(), ContentLength: &size,
				Metadata: map[string]string{"colour": "red"}, CacheControl: aws.String("no-cache"),
			}
			if hasTags {
				in.Tagging = aws.String("a=1&b=2")
			}
			_ = must(direct.PutObject(t.Context(), in))(t)
		}
		bodies["parts"] = content{9, 11*mib + 5}
		putAsIn(t, direct, bucket, "parts", bodies["parts"])
		_ = must(client.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{
			Bucket: &bucket, ServerSideEncryptionConfiguration: rule(g.KeyName),
		}))(t)

		t.Log(wantSSEGW(t, r, g, "encrypt", "--dry-run", bucket))
		if !isConditional {
			if out, status := runSSEGW(t, r, g, "encrypt", bucket); status != 1 {
				t.Errorf("exit status %d without --unconditional\n%s", status, out)
			}
		}
		t.Log(wantSSEGW(t, r, g, writing(isConditional, "encrypt", bucket)...))
		for key, body := range bodies {
			got := must(client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key}))(t)
			if sumOf(got.Body) != body.sum() {
				t.Errorf("%s has other bytes", key)
			}
			if got.ServerSideEncryption != types.ServerSideEncryptionAwsKms {
				t.Errorf("%s is under %q", key, got.ServerSideEncryption)
			}
			if hasTags && key != "parts" && aws.ToInt32(got.TagCount) != 2 {
				t.Errorf("%s has %d tags", key, aws.ToInt32(got.TagCount))
			}
			if key != "parts" && (aws.ToString(got.CacheControl) != "no-cache" || got.Metadata["colour"] == "") {
				t.Errorf("%s: %v %v", key, aws.ToString(got.CacheControl), got.Metadata)
			}
		}
		if may(t, "part-limits") {
			part := must(client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("parts"), PartNumber: aws.Int32(3)}))(t)
			if n := must(io.Copy(io.Discard, part.Body))(t); n != mib+5 {
				t.Errorf("part 3 has %d bytes", n)
			}
		}
		t.Log(wantSSEGW(t, r, g, "verify", bucket))
		if err := r.kes.CreateKey(t.Context(), "second"); err != nil {
			t.Fatal(err)
		}
		t.Log(wantSSEGW(t, r, g, writing(isConditional, "rekey", "--from", g.KeyName, "--key", "second", bucket)...))
		t.Log(wantSSEGW(t, r, g, "verify", bucket))
		t.Log(wantSSEGW(t, r, g, "inventory"))
		t.Log(wantSSEGW(t, r, g, "jobs"))
	})
}

// putAsIn uploads an object by parts of 5 MiB.
func putAsIn(t *testing.T, client *s3.Client, bucket, key string, body content) {
	t.Helper()
	id := must(client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key}))(t).UploadId
	var done []types.CompletedPart
	for begin := int64(0); begin < body.size; begin += 5 * mib {
		number := aws.Int32(int32(len(done) + 1))
		out := must(client.UploadPart(t.Context(), &s3.UploadPartInput{
			Bucket: &bucket, Key: &key, UploadId: id, PartNumber: number, Body: io.NewSectionReader(body, begin, min(5*mib, body.size-begin)),
		}))(t)
		done = append(done, types.CompletedPart{PartNumber: number, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32})
	}
	_ = must(client.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: &bucket, Key: &key, UploadId: id, MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	}))(t)
}

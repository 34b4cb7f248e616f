package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	tmtypes "github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/minio-go/v7"

	"ssegw/e2e/stack"
)

// useSDK uses aws-sdk-go-v2 and its transfer manager, with the settings that
// config.LoadDefaultConfig makes.
func useSDK(t *testing.T, s *site) {
	http := must(stack.HTTPClient(s.gw.CAFile))(t)
	t.Cleanup(http.CloseIdleConnections)
	client := s3.NewFromConfig(aws.Config{
		Region: stack.Region, HTTPClient: http, BaseEndpoint: aws.String(s.gw.Endpoint),
		Credentials:                credentials.NewStaticCredentialsProvider(s.gw.AccessKey, s.gw.SecretKey, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
	}, func(o *s3.Options) { o.UsePathStyle = true })
	ctx, bucket := t.Context(), aws.String(s.bucket)
	makeBucket(t, client, s.bucket)
	s.rule(t)

	files := newTree("sdk")
	dir := files.write(t)
	tm := transfermanager.New(client)
	if out, err := tm.UploadDirectory(ctx, &transfermanager.UploadDirectoryInput{
		Bucket: bucket, Source: &dir, Recursive: aws.Bool(true),
	}); err != nil || out.ObjectsUploaded != int64(len(files)) {
		t.Fatalf("UploadDirectory: %+v, %v", out, err)
	}
	streamed := content{hash(s.bucket), 9*mib + 1}
	// A reader of unknown length that cannot seek.
	if _, err := tm.UploadObject(ctx, &transfermanager.UploadObjectInput{
		Bucket: bucket, Key: aws.String("streamed"), Body: io.MultiReader(streamed.reader()),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CopyObject(ctx, &s3.CopyObjectInput{
		Bucket: bucket, Key: aws.String("copied"), CopySource: aws.String(s.bucket + "/streamed"),
	}); err != nil {
		t.Fatal(err)
	}
	s.wantStored(t, files.and(tree{"streamed": streamed, "copied": streamed}))

	for _, by := range []tmtypes.GetObjectType{tmtypes.GetObjectParts, tmtypes.GetObjectRanges} {
		to := t.TempDir()
		if _, err := tm.DownloadDirectory(ctx, &transfermanager.DownloadDirectoryInput{Bucket: bucket, Destination: &to},
			func(o *transfermanager.Options) { o.GetObjectType = by }); err != nil {
			t.Fatal(by, err)
		}
		files.and(tree{"streamed": streamed, "copied": streamed}).wantIn(t, to)
	}
	want := make([]byte, 2000)
	_ = must(streamed.ReadAt(want, 8*mib-1000))(t)
	part := must(client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: bucket, Key: aws.String("streamed"), Range: aws.String(fmt.Sprintf("bytes=%d-%d", 8*mib-1000, 8*mib+999)),
	}))(t)
	if got, err := io.ReadAll(part.Body); err != nil || !bytes.Equal(got, want) {
		t.Errorf("a range: %d bytes, %v", len(got), err)
	}
	part.Body.Close()

	signed := must(s3.NewPresignClient(client).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("copied")}))(t)
	s.fetch(t, signed.URL, streamed)
	var all []types.ObjectIdentifier
	for key := range listSizes(t, client, s.bucket) {
		all = append(all, types.ObjectIdentifier{Key: &key})
	}
	deleted := must(client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: all}}))(t)
	if len(deleted.Deleted) != len(all) || len(deleted.Errors) != 0 {
		t.Errorf("DeleteObjects: %d deleted, errors %v", len(deleted.Deleted), deleted.Errors)
	}
	s.wantStored(t, nil)
}

// useMinioGo uses minio-go, also with a reader of unknown length.
func useMinioGo(t *testing.T, s *site) {
	client, ctx := newMinioClient(t, s.gw), t.Context()
	if err := client.MakeBucket(ctx, s.bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	s.rule(t)
	files := newTree("minio-go")
	dir, to := files.write(t), t.TempDir()
	for name := range files {
		if _, err := client.FPutObject(ctx, s.bucket, name, filepath.Join(dir, name), minio.PutObjectOptions{}); err != nil {
			t.Fatal(name, err)
		}
	}
	streamed := content{hash(s.bucket), 17*mib + 1}
	if _, err := client.PutObject(ctx, s.bucket, "streamed", io.MultiReader(streamed.reader()), -1, minio.PutObjectOptions{PartSize: 16 << 20}); err != nil {
		t.Fatal(err)
	}
	source := minio.CopySrcOptions{Bucket: s.bucket, Object: "streamed"}
	s.wantServerSide(t, func() {
		_, err := client.CopyObject(ctx, minio.CopyDestOptions{Bucket: s.bucket, Object: "copied"}, source)
		if err != nil {
			t.Error(err)
		}
	})
	one := minio.CopySrcOptions{Bucket: s.bucket, Object: "one"}
	if _, err := client.ComposeObject(ctx, minio.CopyDestOptions{Bucket: s.bucket, Object: "composed"}, source, one); err != nil {
		t.Error(err)
	}
	composed := must(client.GetObject(ctx, s.bucket, "composed", minio.GetObjectOptions{}))(t)
	if sum := sumOf(composed); sum != sumOf(io.MultiReader(streamed.reader(), files["one"].reader())) {
		t.Error("the composed object has another content")
	}
	composed.Close()
	if err := client.RemoveObject(ctx, s.bucket, "composed", minio.RemoveObjectOptions{}); err != nil {
		t.Error(err)
	}
	all := files.and(tree{"streamed": streamed, "copied": streamed})
	s.wantStored(t, all)

	for name := range all {
		if err := client.FGetObject(ctx, s.bucket, name, filepath.Join(to, name), minio.GetObjectOptions{}); err != nil {
			t.Fatal(name, err)
		}
	}
	all.wantIn(t, to)
	object := must(client.GetObject(ctx, s.bucket, "streamed", minio.GetObjectOptions{}))(t)
	defer object.Close()
	got, want := make([]byte, 2000), make([]byte, 2000)
	_ = must(streamed.ReadAt(want, 16*mib-1000))(t)
	if _, err := object.ReadAt(got, 16*mib-1000); err != nil || !bytes.Equal(got, want) {
		t.Errorf("ReadAt: %v", err)
	}
	url := must(client.PresignedGetObject(ctx, s.bucket, "copied", time.Hour, nil))(t)
	s.fetch(t, url.String(), streamed)
	for err := range client.RemoveObjects(ctx, s.bucket, client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Recursive: true}), minio.RemoveObjectsOptions{}) {
		t.Error(err.ObjectName, err.Err)
	}
	s.wantStored(t, nil)
}

// useMC uses mc.
func useMC(t *testing.T, s *site) { mcIn(t, s, false) }

// useMCVersions uses mc with a versioned bucket.
func useMCVersions(t *testing.T, s *site) { mcIn(t, s, true) }

func mcIn(t *testing.T, s *site, versions bool) {
	client := newMCClient(t, s.stack, s.gw).mc
	mc, bucket := &shellOf{t, client.Program}, "gw/"+s.bucket
	mc.run("mb", bucket)
	s.rule(t)
	if versions {
		mc.run("version", "enable", bucket)
	}
	files := newTree("mc")
	dir, to := files.write(t), t.TempDir()
	mirror := func() { mc.run("mirror", "--quiet", dir, bucket) }
	mirror()
	s.wantQuiet(t, mirror)
	mc.run("mirror", "--quiet", bucket, to)
	files.wantIn(t, to)

	piped := content{hash(s.bucket), 17 * mib}
	mc.pipe(piped.reader(), "pipe", bucket+"/piped")
	mc.want(piped, "cat", bucket+"/piped")
	mc.wantRange(piped, 16*mib-5, mib+5, "cat", "--offset", fmt.Sprint(16*mib-5), bucket+"/piped") // from one part into the next
	s.wantServerSide(t, func() { mc.run("cp", "--quiet", bucket+"/piped", bucket+"/copied") })
	mc.run("cp", "--quiet", "--recursive", dir+"/dir/", bucket+"/again/")
	all := files.and(tree{"piped": piped, "copied": piped, "again/package": files["dir/package"],
		"again/deeper/mebibyte": files["dir/deeper/mebibyte"], "again/name with ü & space+plus": files["dir/name with ü & space+plus"]})
	s.wantStored(t, all)

	var stat struct{ Size int64 }
	unmarshal(t, mc.run("stat", "--json", bucket+"/piped"), &stat)
	if stat.Size != piped.size {
		t.Errorf("stat: %+v", stat)
	}
	shareWithMC(t, s, mc, all)
	mc.run("rm", "--quiet", bucket+"/one")
	remove := []string{"rm", "--quiet", "--recursive", "--force", bucket}
	if versions {
		remove = append(remove, "--versions")
	}
	mc.run(remove...)
	if left := must(versionsIn(t.Context(), s.sdk, &s.bucket))(t); len(left) != 0 {
		t.Errorf("%d versions and delete markers are left", len(left))
	}
	mc.run("rb", bucket)
	s.wantGone(t)
}

// shareWithMC uses the links that mc makes for downloads and uploads.
func shareWithMC(t *testing.T, s *site, mc *shellOf, stored tree) {
	t.Helper()
	var link struct{ Share string }
	unmarshal(t, mc.run("share", "download", "--json", "gw/"+s.bucket+"/piped"), &link)
	s.fetch(t, link.Share, stored["piped"])

	// The link for uploads is a command line: curl URL -F name=value ... -F
	// file=@<FILE>.
	unmarshal(t, mc.run("share", "upload", "--json", "gw/"+s.bucket+"/uploaded"), &link)
	uploaded := content{hash("uploaded"), 2*mib + 7}
	name := filepath.Join(t.TempDir(), "file")
	writeFile(t, name, uploaded)
	url, form := parseCurl(t, link.Share)
	if status, answer := postForm(t, s, url, form, must(os.ReadFile(name))(t)); status/100 != 2 {
		t.Fatalf("the form: %d %s", status, answer)
	}
	s.wantStored(t, stored.and(tree{"uploaded": uploaded}))
}

// unmarshal parses the output of a program.
func unmarshal(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("printed %q: %v", text, err)
	}
}

// parseCurl returns the URL of a command line and the fields of its form,
// except the file.
func parseCurl(t *testing.T, line string) (url string, form [][2]string) {
	t.Helper()
	words := strings.Fields(line)
	if len(words) < 4 || words[0] != "curl" || words[len(words)-1] != "file=@<FILE>" {
		t.Fatalf("not the command line of a form: %q", line)
	}
	for i := 2; i+1 < len(words)-1; i += 2 {
		name, value, found := strings.Cut(words[i+1], "=")
		if words[i] != "-F" || !found {
			t.Fatalf("not a field of a form: %q", words[i:i+2])
		}
		form = append(form, [2]string{name, value})
	}
	return words[1], form
}

// postForm sends a form with a file as its last field.
func postForm(t *testing.T, s *site, url string, form [][2]string, file []byte) (status int, answer []byte) {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, f := range form {
		if err := w.WriteField(f[0], f[1]); err != nil {
			t.Fatal(err)
		}
	}
	part := must(w.CreateFormFile("file", "file"))(t)
	part.Write(file)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	client := must(stack.HTTPClient(s.gw.CAFile))(t)
	defer client.CloseIdleConnections()
	resp := must(client.Post(url, w.FormDataContentType(), &body))(t)
	defer resp.Body.Close()
	return resp.StatusCode, must(io.ReadAll(resp.Body))(t)
}

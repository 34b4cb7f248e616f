package e2e

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"ssegw/e2e/stack"
)

// drill is the state of the drill of docs/RECOVERY.md.
type drill struct {
	*rig
	dir    string
	bodies map[string]content           // by key
	files  map[string]map[string]string // header and file with the stored bytes, by key
	env    map[string]string            // settings of the store and of the restored KES
}

const drillBucket = "drill"

// TestRecovery walks through the drill of docs/RECOVERY.md: gateway and state
// bucket are gone, and KES is restored from a copy of its keys.
func TestRecovery(t *testing.T) {
	t.Parallel()
	d := &drill{rig: newRig(t), dir: t.TempDir(), files: map[string]map[string]string{}}
	g := d.gateway(t, true)
	d.fill(t, g)
	root, rules := readAll(t, d.direct(t), "ssegw-state", "root"), readAll(t, d.direct(t), "ssegw-state", "rules")
	d.lose(t, g)

	for key, body := range d.bodies {
		extra := []string{}
		if strings.HasPrefix(key, "ssec") {
			extra = []string{"--customer-key-file", d.file(t, "customer", []byte(base64.StdEncoding.EncodeToString(customerKey)))}
		}
		d.wantOpen(t, body, d.env, append(extra, drillBucket+"/"+key)...)
		d.wantOpen(t, body, d.kesEnv(), append(extra, d.fromFiles(key)...)...)
	}
	d.tamper(t)
	d.openWithoutKES(t)
	d.newRoot(t, root)
	d.restoreState(t, root, rules)
}

// fill seals objects of all kinds, and saves a header and the stored bytes of
// each as a backup of the store would have them.
func (d *drill) fill(t *testing.T, g *stack.Gateway) {
	client, direct, bucket := sdkOf(t, g), d.direct(t), drillBucket
	makeBucket(t, client, bucket)
	_ = must(client.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{Bucket: &bucket, ServerSideEncryptionConfiguration: rule("")}))(t)
	d.bodies = map[string]content{
		"empty": {1, 0}, "one": {2, 1}, "a/b ü+%": {3, 3*mib + 7}, "parts": {4, 11*mib + 5}, "context": {5, 70000}, "ssec": {6, 131072}, "bucket-key": {7, 100},
	}
	for key, body := range d.bodies {
		in := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: body.reader(), ContentLength: &body.size, Metadata: map[string]string{"colour": "red"}}
		switch key {
		case "parts":
			putAsIn(t, client, bucket, key, body)
			continue
		case "context":
			in.ServerSideEncryption, in.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, &g.KeyName
			in.SSEKMSEncryptionContext = aws.String(base64.StdEncoding.EncodeToString([]byte(`{"project":"<blue> & ü"}`)))
		case "bucket-key":
			in.ServerSideEncryption, in.BucketKeyEnabled = types.ServerSideEncryptionAwsKms, aws.Bool(true)
		case "ssec":
			in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = customerHeaders()
		}
		_ = must(client.PutObject(t.Context(), in))(t)
	}
	for key := range d.bodies {
		out := must(direct.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key}))(t)
		stored := must(io.ReadAll(out.Body))(t)
		d.files[key] = map[string]string{"header": out.Metadata["ssegw"], "file": d.file(t, fmt.Sprintf("stored-%x", key), stored)}
	}
}

// file writes a file of the drill and returns its name.
func (d *drill) file(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// lose stops the gateway and KES, deletes the state bucket, and starts another
// KES with a copy of the keys.
func (d *drill) lose(t *testing.T, g *stack.Gateway) {
	backup := filepath.Join(d.dir, "keys")
	err := errors.Join(os.CopyFS(backup, os.DirFS(d.kes.Keys())), g.Stop(t.Context()), d.kes.Stop(t.Context()), os.RemoveAll(d.kes.Keys()))
	if err != nil {
		t.Fatal(err)
	}
	d.deleteState(t)
	d.kes = must(d.stack.StartKES(t.Context(), stack.KESOptions{Keys: backup}))(t)
	d.env = d.kesEnv()
	d.env["SSEGW_UPSTREAM_ENDPOINT"] = d.store.Endpoint
	d.env["SSEGW_UPSTREAM_ACCESS_KEY"], d.env["SSEGW_UPSTREAM_SECRET_KEY"] = d.store.AccessKey, d.store.SecretKey
}

// deleteState deletes the state bucket.
func (d *drill) deleteState(t *testing.T) {
	t.Helper()
	direct, state := d.direct(t), "ssegw-state"
	for key := range listSizes(t, direct, state) {
		removeObject(t, direct, state, key)
	}
	_ = must(direct.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: &state}))(t)
}

// kesEnv returns the settings of KES alone.
func (d *drill) kesEnv() map[string]string {
	return map[string]string{
		"MINIO_KMS_KES_ENDPOINT": d.kes.Endpoint, "MINIO_KMS_KES_API_KEY": d.kes.APIKey, "MINIO_KMS_KES_CAPATH": d.kes.CAFile,
		"MINIO_KMS_KES_KEY_NAME": "e2e-key", "SSEGW_KMS_TIMEOUT": "30s",
	}
}

// fromFiles returns the arguments that open an object from its files.
func (d *drill) fromFiles(key string) []string {
	return []string{"--object", drillBucket + "/" + key, "--header", d.files[key]["header"], "--input", d.files[key]["file"]}
}

// open runs ssegw open. It returns the exit status, and the output file, nil if
// there is none.
func (d *drill) open(t *testing.T, env map[string]string, args ...string) (status int, plain []byte) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "plain")
	_, status = runSSEGW(t, d.rig, &stack.Gateway{Env: env}, append([]string{"open", "--output", path}, args...)...)
	plain, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if names := must(os.ReadDir(dir))(t); len(names) > 1 || len(names) == 1 && plain == nil {
		t.Errorf("ssegw open %q left files behind: %v", args, names)
	}
	return status, plain
}

func (d *drill) wantOpen(t *testing.T, body content, env map[string]string, args ...string) {
	t.Helper()
	status, plain := d.open(t, env, args...)
	if want := must(io.ReadAll(body.reader()))(t); status != 0 || plain == nil || !bytes.Equal(plain, want) {
		t.Errorf("ssegw open %q: status %d, %d bytes, want %d", args, status, len(plain), len(want))
	}
}

// tamper changes a package of objects, and their names. Such an object makes no
// file. Its earlier version still does.
func (d *drill) tamper(t *testing.T) {
	direct, bucket := d.direct(t), drillBucket
	_ = must(direct.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	}))(t)
	for _, key := range []string{"a/b ü+%", "parts"} {
		stored := must(os.ReadFile(d.files[key]["file"]))(t)
		at := len(stored) / 2 // a package in the middle
		stored[at] ^= 1
		changed := d.file(t, "changed", stored)
		args := []string{"--object", drillBucket + "/" + key, "--header", d.files[key]["header"], "--input", changed}
		if status, plain := d.open(t, d.kesEnv(), args...); status != 1 || plain != nil {
			t.Errorf("%s, changed in a file: status %d, %d bytes", key, status, len(plain))
		}
		_ = must(direct.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: &bucket, Key: aws.String(key + "-changed"), Body: bytes.NewReader(stored), Metadata: map[string]string{"ssegw": d.files[key]["header"]},
		}))(t)
		if status, plain := d.open(t, d.env, bucket+"/"+key+"-changed"); status != 1 || plain != nil {
			t.Errorf("%s, in the store under another name: status %d, %d bytes", key, status, len(plain))
		}
		_ = must(direct.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: &bucket, Key: &key, Body: bytes.NewReader(stored), Metadata: map[string]string{"ssegw": d.files[key]["header"]},
		}))(t)
		if status, plain := d.open(t, d.env, bucket+"/"+key); status != 1 || plain != nil {
			t.Errorf("%s, changed in the store: status %d, %d bytes", key, status, len(plain))
		}
		d.wantOpen(t, d.bodies[key], d.env, bucket+"/"+key, "--version-id", "null")
		removeObject(t, direct, bucket, key)
		removeObject(t, direct, bucket, key+"-changed")
	}
}

// openWithoutKES opens an object with its exported data key, and with the
// independent reader of the format.
func (d *drill) openWithoutKES(t *testing.T) {
	const key = "parts"
	path := filepath.Join(d.dir, "data-key")
	export := []string{"open", "--object", drillBucket + "/" + key, "--header", d.files[key]["header"], "--export-key", path}
	if out, status := runSSEGW(t, d.rig, &stack.Gateway{Env: d.kesEnv()}, export...); status != 0 || !strings.Contains(out, "keep it secret") {
		t.Fatalf("exporting the data key: status %d: %s", status, out)
	}
	d.wantOpen(t, d.bodies[key], map[string]string{"HOME": d.dir}, append(d.fromFiles(key), "--key-file", path)...)

	const python = "/usr/bin/python3"
	if err := exec.CommandContext(t.Context(), python, "-c", "import cryptography").Run(); err != nil {
		skip(t, "python3-cryptography is not installed")
	}
	output := filepath.Join(d.dir, "from-reader")
	out, err := exec.CommandContext(t.Context(), python, "../docs/reader/ssegw_reader.py", "open",
		drillBucket+"/"+key, path, d.files[key]["file"], output, d.files[key]["header"]).CombinedOutput()
	got, _ := os.ReadFile(output)
	if err != nil || !bytes.Equal(got, must(io.ReadAll(d.bodies[key].reader()))(t)) {
		t.Errorf("the independent reader: %v, %d bytes: %s", err, len(got), out)
	}
}

// newRoot starts a gateway without state. It reads objects with a warning,
// until a copy or the backup of the old root ends that.
func (d *drill) newRoot(t *testing.T, root []byte) {
	g := must(d.stack.StartGateway(t.Context(), stack.GatewayOptions{KES: []*stack.KES{d.kes}, Upstream: d.store}))(t)
	client, bucket := sdkOf(t, g), drillBucket
	if !d.warned(t, client, "context") {
		t.Error("no warning about the unknown root")
	}
	if got := readAll(t, client, bucket, "context"); !bytes.Equal(got, must(io.ReadAll(d.bodies["context"].reader()))(t)) {
		t.Errorf("GET returns %d other bytes", len(got))
	}
	_ = must(client.CopyObject(t.Context(), &s3.CopyObjectInput{
		Bucket: &bucket, Key: aws.String("one"), CopySource: aws.String(bucket + "/one"), MetadataDirective: types.MetadataDirectiveReplace,
	}))(t)
	if d.warned(t, client, "one") {
		t.Error("a warning after a copy with REPLACE")
	}
	d.putState(t, "roots/old", root)
	eventually(t, "the old root is found", func() error {
		if d.warned(t, client, "context") {
			return errors.New("still a warning")
		}
		return nil
	})
	if sizes := listSizes(t, client, bucket); sizes["context"] != d.bodies["context"].size {
		t.Errorf("the listing shows %d bytes", sizes["context"])
	}
	if err := g.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// restoreState starts a gateway on a state bucket with the backups of root and
// rules.
func (d *drill) restoreState(t *testing.T, root, rules []byte) {
	d.deleteState(t)
	makeBucket(t, d.direct(t), "ssegw-state")
	d.putState(t, "root", root)
	d.putState(t, "rules", rules)
	g := must(d.stack.StartGateway(t.Context(), stack.GatewayOptions{KES: []*stack.KES{d.kes}, Upstream: d.store}))(t)
	client, bucket := sdkOf(t, g), drillBucket
	if d.warned(t, client, "context") {
		t.Error("a warning after the state was restored")
	}
	rule := must(client.GetBucketEncryption(t.Context(), &s3.GetBucketEncryptionInput{Bucket: &bucket}))(t)
	if by := rule.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault; by.SSEAlgorithm != types.ServerSideEncryptionAes256 {
		t.Errorf("the rule is %v", by.SSEAlgorithm)
	}
}

// putState writes an object of the state bucket.
func (d *drill) putState(t *testing.T, key string, b []byte) {
	t.Helper()
	_ = must(d.direct(t).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("ssegw-state"), Key: &key, Body: bytes.NewReader(b)}))(t)
}

// warned reports whether a HEAD warns that headers are not verified. It fails
// the test if the size is wrong.
func (d *drill) warned(t *testing.T, client *s3.Client, key string) bool {
	t.Helper()
	out := must(client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(drillBucket), Key: &key}))(t)
	if size := d.bodies[key].size; aws.ToInt64(out.ContentLength) != size {
		t.Errorf("HEAD shows %d bytes, want %d", aws.ToInt64(out.ContentLength), size)
	}
	answer, ok := awsmiddleware.GetRawResponse(out.ResultMetadata).(*smithyhttp.Response)
	return ok && answer.Header.Get("x-ssegw-warning") != ""
}

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ssegw/e2e/stack"
)

// useAWS uses each installed aws-cli. Versions since 2025 add checksums by
// default, over https in the trailer of a body of unknown length.
func useAWS(t *testing.T, s *site) {
	env := map[string]string{
		"AWS_ACCESS_KEY_ID": s.gw.AccessKey, "AWS_SECRET_ACCESS_KEY": s.gw.SecretKey,
		"AWS_DEFAULT_REGION": stack.Region, "AWS_CA_BUNDLE": s.gw.CAFile, "AWS_EC2_METADATA_DISABLED": "true",
	}
	if s.gw.CAFile == "" {
		delete(env, "AWS_CA_BUNDLE")
	}
	bucket := s.bucket
	for i, path := range installed(t, "aws") {
		if i > 0 && s.kind != "SSE-KMS" {
			break // aws-cli is slow to start
		}
		s.bucket = fmt.Sprintf("%s-%d", bucket, i)
		aws := s.program(t, path, env)
		t.Log(strings.TrimSpace(aws.run("--version")))
		useAWSCLI(t, s, aws)
	}
}

func useAWSCLI(t *testing.T, s *site, aws *shellOf) {
	at := []string{"--endpoint-url", s.gw.Endpoint}
	run := func(args ...string) string { t.Helper(); return aws.run(append(args, at...)...) }
	url := "s3://" + s.bucket
	run("s3", "mb", url)
	s.rule(t)
	files := newTree("aws")
	dir, to := files.write(t), t.TempDir()
	sync := func() { run("s3", "sync", "--no-progress", dir, url+"/tree") }
	sync()
	s.wantQuiet(t, sync)
	run("s3", "sync", "--no-progress", url+"/tree", to)
	files.wantIn(t, to)
	s.wantQuiet(t, func() { run("s3", "sync", "--no-progress", url+"/tree", to) })

	large := files["large"]
	piped := content{hash(s.bucket), 9*mib + 1}
	aws.pipe(piped.reader(), append([]string{"s3", "cp", "-", url + "/piped"}, at...)...)
	aws.want(piped, append([]string{"s3", "cp", url + "/piped", "-"}, at...)...)
	s.wantServerSide(t, func() { run("s3", "cp", "--no-progress", url+"/tree/one", url+"/copied") })
	run("s3", "cp", "--no-progress", url+"/tree/large", url+"/large") // in parts
	run("s3", "mv", "--no-progress", url+"/copied", url+"/moved")
	all := files.below("tree/").and(tree{"piped": piped, "large": large, "moved": files["one"]})
	s.wantStored(t, all)

	name := filepath.Join(t.TempDir(), "range")
	run("s3api", "get-object", "--bucket", s.bucket, "--key", "large", "--range", fmt.Sprintf("bytes=%d-%d", 8*mib-100, 8*mib+99), name)
	want := make([]byte, 200)
	_ = must(large.ReadAt(want, 8*mib-100))(t)
	if got := must(os.ReadFile(name))(t); !bytes.Equal(got, want) {
		t.Errorf("a range: %d bytes, and others", len(got))
	}
	var attributes struct{ ObjectSize int64 }
	unmarshal(t, run("s3api", "get-object-attributes", "--bucket", s.bucket, "--key", "large",
		"--object-attributes", "ETag", "Checksum", "ObjectParts", "ObjectSize"), &attributes)
	if attributes.ObjectSize != large.size {
		t.Errorf("get-object-attributes: %+v", attributes)
	}
	if listed := run("s3", "ls", "--recursive", url); strings.Count(listed, "\n") != len(all) ||
		!strings.Contains(listed, fmt.Sprintf(" %d piped\n", piped.size)) {
		t.Errorf("ls prints %q", listed)
	}
	presign := func() string { return strings.TrimSpace(run("s3", "presign", url+"/large")) }
	link := presign()
	if strings.Contains(link, "AWSAccessKeyId=") {
		// aws-cli 1 presigns with signature version 2 by default.
		s.fetch(t, link, large)
		aws.run("configure", "set", "default.s3.signature_version", "s3v4")
		link = presign()
	}
	s.fetch(t, link, large)
	run("s3", "rb", "--force", url)
	s.wantGone(t)
}

// useRclone uses rclone with a remote of type s3.
func useRclone(t *testing.T, s *site) {
	for _, path := range installed(t, "rclone") {
		rclone := s.program(t, path, map[string]string{
			"RCLONE_CONFIG_GW_TYPE": "s3", "RCLONE_CONFIG_GW_PROVIDER": "Other", "RCLONE_CONFIG_GW_REGION": stack.Region,
			"RCLONE_CONFIG_GW_ENDPOINT": s.gw.Endpoint, "RCLONE_CONFIG_GW_ACCESS_KEY_ID": s.gw.AccessKey,
			"RCLONE_CONFIG_GW_SECRET_ACCESS_KEY": s.gw.SecretKey,
		})
		t.Log(strings.SplitN(rclone.run("version"), "\n", 2)[0])
		rcloneIn(t, s, rclone)
	}
}

func rcloneIn(t *testing.T, s *site, rclone *shellOf) {
	bucket := "gw:" + s.bucket
	rclone.run("mkdir", bucket)
	s.rule(t)
	files := newTree("rclone")
	dir, to := files.write(t), t.TempDir()
	rclone.run("copy", dir, bucket+"/tree")
	s.wantQuiet(t, func() { rclone.run("copy", "--checksum", dir, bucket+"/tree") })
	s.wantQuiet(t, func() { rclone.run("sync", dir, bucket+"/tree") })
	rclone.run("check", dir, bucket+"/tree")
	rclone.run("check", "--download", dir, bucket+"/tree")
	rclone.run("sync", bucket+"/tree", to)
	files.wantIn(t, to)
	s.wantQuiet(t, func() { rclone.run("sync", bucket+"/tree", to) })

	piped := content{hash(s.bucket), 12*mib + 1}
	rclone.pipe(piped.reader(), "rcat", bucket+"/piped") // in parts: its length is unknown
	rclone.want(piped, "cat", bucket+"/piped")
	rclone.wantRange(piped, 5*mib-1000, 2000, "cat", "--offset", fmt.Sprint(5*mib-1000), "--count", "2000", bucket+"/piped") // across two parts
	s.wantServerSide(t, func() { rclone.run("copyto", bucket+"/piped", bucket+"/copied") })
	rclone.run("moveto", bucket+"/copied", bucket+"/moved")
	all := files.below("tree/").and(tree{"piped": piped, "moved": piped})
	if s.kind == "SSE-KMS" { // rclone uploads files over 200 MiB in parts
		huge := content{hash("rclone huge"), 201 * mib}
		name := filepath.Join(t.TempDir(), "huge")
		writeFile(t, name, huge)
		rclone.run("copyto", name, bucket+"/huge")
		s.wantQuiet(t, func() { rclone.run("copyto", "--checksum", name, bucket+"/huge") })
		all["huge"] = huge
	}
	s.wantStored(t, all)
	var listed []struct {
		Path string
		Size int64
	}
	unmarshal(t, rclone.run("lsjson", "--recursive", "--files-only", bucket), &listed)
	for _, o := range listed {
		if c, found := all[o.Path]; !found || c.size != o.Size {
			t.Errorf("lsjson: %+v", o)
		}
	}
	if len(listed) != len(all) {
		t.Errorf("lsjson: %d objects, want %d", len(listed), len(all))
	}
	s.fetch(t, strings.TrimSpace(rclone.run("link", bucket+"/piped")), piped)
	rclone.run("purge", bucket)
	s.wantGone(t)
}

// useS3cmd uses s3cmd with the configuration file that s3cmd --configure
// writes.
func useS3cmd(t *testing.T, s *site) {
	for _, path := range installed(t, "s3cmd") {
		s3cmd := s.program(t, path, nil)
		config := fmt.Sprintf("[default]\naccess_key = %s\nsecret_key = %s\nhost_base = %s\nhost_bucket = %[3]s\nbucket_location = %s\nuse_https = False\n",
			s.gw.AccessKey, s.gw.SecretKey, s.host(), stack.Region)
		if err := os.WriteFile(filepath.Join(s3cmd.Home(), ".s3cfg"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Log(strings.TrimSpace(s3cmd.run("--version")))
		s3cmdIn(t, s, s3cmd)
	}
}

func s3cmdIn(t *testing.T, s *site, s3cmd *shellOf) {
	url := "s3://" + s.bucket
	s3cmd.run("mb", url)
	s.rule(t)
	files := newTree("s3cmd")
	dir, to := files.write(t)+"/", t.TempDir()+"/"
	sync := func() { s3cmd.run("sync", "--no-progress", dir, url+"/tree/") }
	sync()
	s.wantQuiet(t, sync)
	s3cmd.run("sync", "--no-progress", url+"/tree/", to)
	files.wantIn(t, to)

	s3cmd.run("put", "--no-progress", dir+"large", url+"/put") // in parts
	got := filepath.Join(to, "got")
	writeFile(t, got, content{files["large"].seed, 6 * mib})
	s3cmd.run("get", "--no-progress", "--continue", url+"/put", got) // the remainder
	tree{"got": files["large"]}.wantIn(t, moved(t, got))
	s.wantServerSide(t, func() { s3cmd.run("cp", url+"/put", url+"/copied") })
	s3cmd.run("mv", url+"/copied", url+"/moved")
	all := files.below("tree/").and(tree{"put": files["large"], "moved": files["large"]})
	s.wantStored(t, all)
	if info := s3cmd.run("info", url+"/put"); !strings.Contains(info, fmt.Sprintf("File size: %d\n", files["large"].size)) {
		t.Errorf("info prints %q", info)
	}
	if listed := s3cmd.run("ls", "--recursive", url); strings.Count(listed, "\n") != len(all) ||
		!strings.Contains(listed, fmt.Sprintf(" %d  %s/put\n", files["large"].size, url)) {
		t.Errorf("ls prints %q", listed)
	}
	s3cmd.run("rb", "--recursive", "--force", url)
	s.wantGone(t)
}

// moved moves a file to a new folder and returns the folder.
func moved(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Rename(name, filepath.Join(dir, filepath.Base(name))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// useRestic uses a restic repository.
func useRestic(t *testing.T, s *site) {
	for _, path := range installed(t, "restic") {
		restic := s.program(t, path, map[string]string{
			"AWS_ACCESS_KEY_ID": s.gw.AccessKey, "AWS_SECRET_ACCESS_KEY": s.gw.SecretKey, "AWS_DEFAULT_REGION": stack.Region,
			"RESTIC_REPOSITORY": "s3:" + s.gw.Endpoint + "/" + s.bucket, "RESTIC_PASSWORD": "a password",
		})
		t.Log(strings.TrimSpace(restic.run("version")))
		makeBucket(t, s.sdk, s.bucket)
		s.rule(t)
		resticIn(t, s, restic)
	}
}

func resticIn(t *testing.T, s *site, restic *shellOf) {
	files := newTree("restic")
	dir, to := files.write(t), t.TempDir()
	restic.run("init")
	restic.run("backup", dir)
	sent := int64(0) // a snapshot, and the parent folders with their times
	for _, c := range s.during(func() { restic.run("backup", dir) }) {
		sent += c.In
	}
	if sent == 0 || sent > 64*kib {
		t.Errorf("nothing has changed, but the second backup sends %d bytes", sent)
	}
	restic.run("check", "--read-data")
	restic.run("restore", "latest", "--target", to)
	files.wantIn(t, filepath.Join(to, dir))
	if n := len(s.stored(t)); n < 5 {
		t.Errorf("%d objects are not a repository", n)
	}
	restic.run("forget", "--keep-last", "1", "--prune")
	restic.run("check", "--read-data")
}

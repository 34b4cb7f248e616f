package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ssegw/e2e/stack"
)

// useBoto3 uses boto3, driven by testdata/clients/boto3_client.py.
func useBoto3(t *testing.T, s *site) {
	const python = "/usr/bin/python3" // boto3 is a package of the system
	if err := exec.CommandContext(t.Context(), python, "-c", "import boto3").Run(); err != nil {
		skip(t, "boto3 is not installed")
	}
	script := must(filepath.Abs(filepath.Join("testdata", "clients", "boto3_client.py")))(t)
	client := s.program(t, python, map[string]string{
		"ENDPOINT": s.gw.Endpoint, "BUCKET": s.bucket, "KIND": s.kind, "AWS_DEFAULT_REGION": stack.Region,
		"AWS_ACCESS_KEY_ID": s.gw.AccessKey, "AWS_SECRET_ACCESS_KEY": s.gw.SecretKey, "AWS_CA_BUNDLE": s.gw.CAFile,
	})
	t.Log("boto3", strings.TrimSpace(client.run(script, "make")))
	s.rule(t)
	files := newTree("boto3")
	client.run(script, "use", files.write(t))
	s.wantStored(t, files.and(files.below("stream/")).and(tree{"copied": files["large"]}))
	client.run(script, "remove")
	s.wantGone(t)
}

// useSamtools uses samtools with htslib, a client in C that reads its own
// answers.
func useSamtools(t *testing.T, s *site) {
	path := installed(t, "samtools")[0]
	makeBucket(t, sdkOf(t, s.gw), s.bucket)
	s.rule(t)
	samtools := s.program(t, path, map[string]string{
		"AWS_ACCESS_KEY_ID": s.gw.AccessKey, "AWS_SECRET_ACCESS_KEY": s.gw.SecretKey, "AWS_DEFAULT_REGION": stack.Region,
		"HTS_S3_HOST": s.host(), "HTS_S3_ADDRESS_STYLE": "path",
	})
	t.Log(strings.SplitN(samtools.run("--version"), "\n", 2)[0])
	var reads strings.Builder
	reads.WriteString("@SQ\tSN:one\tLN:1000000\n")
	for i := range 20_000 {
		fmt.Fprintf(&reads, "read%d\t0\tone\t%d\t60\t10M\t*\t0\t0\tACGTACGTAC\t*\n", hash(fmt.Sprint(i)), 1+i%1000)
	}
	local := filepath.Join(samtools.Home(), "reads.sam")
	if err := os.WriteFile(local, []byte(reads.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	remote := "s3+http://" + s.bucket + "/reads.bam"
	samtools.run("view", "--no-PG", "-b", "-o", remote, local)
	if got := samtools.run("view", "--no-PG", "-h", remote); got != reads.String() {
		t.Errorf("samtools reads %d bytes of the %d it wrote", len(got), reads.Len())
	}
}

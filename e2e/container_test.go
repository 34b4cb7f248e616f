package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"ssegw/e2e/stack"
)

// TestContainer builds the image of the Dockerfile on a base made of this
// machine's Go. It stores and reads an object through a container of the image,
// which runs without root, capabilities and a writable file system.
func TestContainer(t *testing.T) {
	t.Parallel()
	long(t)
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		skip(t, "building an image without a registry needs root on Linux")
	}
	podman, err := exec.LookPath("podman")
	if err != nil {
		skip(t, "podman is not installed")
	}
	r := newRig(t)
	p := &podmanRun{t: t, path: podman, root: r.stack.Tools().Root()}
	name := fmt.Sprintf("ssegw-e2e-%d", os.Getpid())
	base, image := "localhost/"+name+"-base", "localhost/"+name
	p.importBase(base)
	p.run(nil, "build", "--layers=false", "--isolation", "chroot", "--network", "host", "--format", "docker",
		"--volume", goEnv(t, "GOMODCACHE")+":/go/pkg/mod", "--volume", goEnv(t, "GOCACHE")+":/root/.cache/go-build",
		"--build-arg", "BUILDER="+base, "--tag", image, p.root)
	t.Cleanup(func() { p.clean("rmi", "--force", image) })

	if user := strings.TrimSpace(p.run(nil, "inspect", "--format", "{{.Config.User}}", image)); user != "65532:65532" {
		t.Errorf("the image runs as %q", user)
	}
	exited := make(chan struct{})
	g := must(r.stack.ContainerGateway(stack.GatewayOptions{KES: []*stack.KES{r.kes}, Upstream: r.store}, exited))(t)
	p.start(name, image, g, r.kes.CAFile, exited)
	if err := g.WaitReady(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, p.run(nil, "logs", name))
	}
	p.run(nil, "healthcheck", "run", name)

	client := sdkOf(t, g)
	const bucket, key = "container", "object"
	makeBucket(t, client, bucket)
	body := content{seed: 6, size: 300_000}
	if err := (sdkClient{client, g.KeyName}).put(t.Context(), bucket, key, sseKMS, body); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, client, bucket, key); !bytes.Equal(got, must(io.ReadAll(body.reader()))(t)) {
		t.Errorf("GET returns %d other bytes", len(got))
	}
	head, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
	if err != nil || aws.ToInt64(head.ContentLength) != body.size {
		t.Errorf("HEAD: %+v, %v", head, err)
	}
	wantSealedUpstream(t, client, r.direct(t), bucket)
}

// podmanRun runs podman commands for one test.
type podmanRun struct {
	t    *testing.T
	path string
	root string // of the repository
}

// run runs podman and returns its standard output. A failure ends the test.
func (p *podmanRun) run(in io.Reader, args ...string) string {
	p.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(p.t.Context(), p.path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		p.t.Fatalf("podman %s: %v\n%s\n%s", args[0], err, &stdout, &stderr)
	}
	return stdout.String() + stderr.String()
}

// clean runs podman at the end of the test, when its context has ended.
func (p *podmanRun) clean(args ...string) {
	ctx, cancel := context.WithTimeout(context.Background(), giveUp)
	defer cancel()
	if out, err := exec.CommandContext(ctx, p.path, args...).CombinedOutput(); err != nil {
		p.t.Errorf("podman %s: %v\n%s", args[0], err, out)
	}
}

// start runs the gateway's image with the settings of g. It closes exited when
// the container has ended.
func (p *podmanRun) start(name, image string, g *stack.Gateway, kesCA string, exited chan<- struct{}) {
	p.t.Helper()
	dir := p.t.TempDir()
	ca := filepath.Join(dir, "kes.crt")
	pem := must(os.ReadFile(kesCA))(p.t)
	if err := os.WriteFile(ca, pem, 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Chmod(ca, 0o644); err != nil { // the container runs as another user
		p.t.Fatal(err)
	}
	env := maps.Clone(g.Env)
	env["MINIO_KMS_KES_CAPATH"] = "/kes.crt"
	var lines strings.Builder
	for _, k := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(&lines, "%s=%s\n", k, env[k])
	}
	envFile := filepath.Join(dir, "env")
	if err := os.WriteFile(envFile, []byte(lines.String()), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { p.clean("rm", "--force", "--ignore", "--time", "5", name) })
	p.run(nil, "run", "--detach", "--name", name, "--runtime", "runc", "--network", "host",
		"--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024",
		"--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges",
		"--env-file", envFile, "--volume", ca+":/kes.crt:ro", image)
	wait := exec.CommandContext(p.t.Context(), p.path, "wait", name)
	if err := wait.Start(); err != nil {
		p.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = wait.Wait()
		close(exited)
	}()
	p.t.Cleanup(func() { <-done }) // the context has ended, and with it podman wait
}

// importBase makes an image with only this machine's Go, its certificates and
// its settings of the go command. It does not even have a shell.
func (p *podmanRun) importBase(image string) {
	p.t.Helper()
	args := []string{"import"}
	vars := map[string]string{"PATH": "/usr/local/go/bin", "GOPATH": "/go", "HOME": "/root", "GOTOOLCHAIN": "local"}
	for _, k := range []string{"GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE", "GOFLAGS"} {
		if v := goEnv(p.t, k); v != "" {
			vars[k] = v
		}
	}
	for k, v := range vars {
		args = append(args, "--change", "ENV "+k+"="+v)
	}
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(baseTar(pw, goEnv(p.t, "GOROOT"))) }()
	p.run(pr, append(args, "-", image)...)
	p.t.Cleanup(func() { p.clean("rmi", "--force", image) })
}

// baseTar writes the base image's files as a tar archive.
func baseTar(w io.Writer, goroot string) error {
	tw := tar.NewWriter(w)
	for _, dir := range []string{"tmp/", "root/", "root/.cache/go-build/", "go/pkg/mod/"} {
		if err := tw.WriteHeader(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o777}); err != nil {
			return err
		}
	}
	for _, dir := range []string{"bin", "pkg", "src", "lib"} {
		if err := addTree(tw, filepath.Join(goroot, dir), "usr/local/go/"+dir); err != nil {
			return err
		}
	}
	if err := addFile(tw, filepath.Join(goroot, "go.env"), "usr/local/go/go.env"); err != nil {
		return err
	}
	if err := addFile(tw, filepath.Join(goroot, "VERSION"), "usr/local/go/VERSION"); err != nil {
		return err
	}
	const certs = "etc/ssl/certs/ca-certificates.crt"
	if err := addFile(tw, "/"+certs, certs); err != nil {
		return err
	}
	return tw.Close()
}

// addTree adds the regular files below dir under the name prefix.
func addTree(tw *tar.Writer, dir, prefix string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return addFile(tw, path, prefix+"/"+filepath.ToSlash(rel))
	})
}

func addFile(tw *tar.Writer, path, name string) error {
	f, err := os.Open(path) // follow symbolic links
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() {
		return errors.New("not a regular file: " + path)
	}
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: int64(fi.Mode().Perm()), Size: fi.Size(), ModTime: fi.ModTime()}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(tw, f)
	return err
}

// goEnv returns a setting of the go command.
func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	if err != nil {
		t.Fatalf("go env %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

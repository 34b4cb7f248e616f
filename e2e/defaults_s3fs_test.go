package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ssegw/e2e/stack"
)

// useS3FS mounts the bucket with s3fs and uses it as a folder.
func useS3FS(t *testing.T, s *site) {
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		skip(t, "no FUSE on this machine: "+err.Error())
	}
	fuse.Close()
	path, unmount := installed(t, "s3fs")[0], installed(t, "fusermount")[0]
	makeBucket(t, s.sdk, s.bucket)
	s.rule(t)
	m := newMount(t, s, path, unmount)
	t.Log(strings.SplitN(m.s3fs.run("--version"), "\n", 2)[0])
	files := newTree("s3fs")
	files["modified"] = content{hash("modified"), 41 * mib} // s3fs uploads files over 20 MiB in parts
	for name, c := range files {
		writeFile(t, filepath.Join(m.dir, name), c)
	}
	folders := tree{"dir/": {}, "dir/deeper/": {}}
	s.wantStored(t, files.and(folders))

	m.again(t) // mount again, to drop what is cached
	files.wantIn(t, m.dir)
	s.wantServerSide(t, func() {
		if err := os.Rename(filepath.Join(m.dir, "large"), filepath.Join(m.dir, "renamed")); err != nil {
			t.Error(err)
		}
	})
	if err := os.Remove(filepath.Join(m.dir, "one")); err != nil {
		t.Error(err)
	}
	files["renamed"] = files["large"]
	delete(files, "large")
	delete(files, "one")
	m.again(t)
	files.wantIn(t, m.dir)
	s.wantStored(t, files.and(folders))
	modify(t, filepath.Join(m.dir, "modified"))
	m.again(t)
	wantModified(t, filepath.Join(m.dir, "modified"), files["modified"])
}

// modifiedAt is the offset at which modify writes.
const modifiedAt = 20*mib + 77

var modification = []byte("written into the middle")

// modify writes some bytes into a file. s3fs copies the rest on the server,
// part by part.
func modify(t *testing.T, name string) {
	t.Helper()
	f := must(os.OpenFile(name, os.O_RDWR, 0))(t)
	_, err := f.WriteAt(modification, modifiedAt)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// wantModified checks that a file holds the content with the modification.
func wantModified(t *testing.T, name string, c content) {
	t.Helper()
	got, want := must(os.ReadFile(name))(t), bytesOf(t, c)
	copy(want[modifiedAt:], modification)
	if string(got) != string(want) {
		t.Errorf("the modified file has %d bytes and another content", len(got))
	}
}

// mount is a bucket mounted as a folder.
type mount struct {
	s       *site
	s3fs    *shellOf
	unmount string // the program to unmount with
	dir     string
	svc     *stack.Service
}

func newMount(t *testing.T, s *site, path, unmount string) *mount {
	t.Helper()
	m := &mount{s: s, s3fs: s.program(t, path, nil), unmount: unmount, dir: t.TempDir()}
	password := fmt.Sprintf("%s:%s\n", s.gw.AccessKey, s.gw.SecretKey)
	if err := os.WriteFile(filepath.Join(m.s3fs.Home(), ".passwd-s3fs"), []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start(t)
	t.Cleanup(func() {
		if m.svc.Running() {
			m.stop(t)
		}
	})
	return m
}

func (m *mount) start(t *testing.T) {
	t.Helper()
	m.svc = must(m.s3fs.Serve(t.Context(), m.s.stack, m.mounted,
		m.s.bucket, m.dir, "-f", "-o", "url="+m.s.gw.Endpoint, "-o", "use_path_request_style", "-o", "endpoint="+stack.Region))(t)
}

// mounted returns nil if the folder is on a file system of its own.
func (m *mount) mounted(context.Context) error {
	var here, above syscall.Stat_t
	if err := errors.Join(syscall.Stat(m.dir, &here), syscall.Stat(filepath.Dir(m.dir), &above)); err != nil {
		return err
	}
	if here.Dev == above.Dev {
		return errors.New("nothing is mounted")
	}
	return nil
}

func (m *mount) stop(t *testing.T) {
	t.Helper()
	if out, err := exec.Command(m.unmount, "-u", m.dir).CombinedOutput(); err != nil {
		t.Errorf("unmounting: %v: %s", err, out)
	}
	<-m.svc.Exited()
}

func (m *mount) again(t *testing.T) {
	t.Helper()
	m.stop(t)
	m.start(t)
}

package sealer_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ssegw/sealer"
)

const (
	readerFile  = "../docs/reader/ssegw_reader.py"
	readerLines = 250
)

// reader runs the independent reader of docs/reader.
func reader(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	const python = "/usr/bin/python3" // cryptography is a package of the system
	if err := exec.CommandContext(t.Context(), python, "-c", "import cryptography").Run(); err != nil {
		if os.Getenv("SSEGW_NO_SKIP") == "1" {
			t.Fatalf("python3 and python3-cryptography are not installed: %v", err)
		}
		t.Skipf("python3 and python3-cryptography are not installed: %v", err)
	}
	b, err := exec.CommandContext(t.Context(), python, append([]string{readerFile}, args...)...).CombinedOutput()
	return string(b), err
}

// TestReaderVectors checks that the independent reader and the vectors agree,
// and that a vector with another expectation makes it fail.
func TestReaderVectors(t *testing.T) {
	t.Parallel()
	const vectors = "testdata/vectors"
	if out, err := reader(t, "vectors", vectors); err != nil || !strings.HasSuffix(out, "vectors as expected\n") || strings.Count(out, "\n") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
	for _, change := range []struct{ name, from, to string }{
		{"ok-trailer.json", `"expect": "ok"`, `"expect": "malformed"`},
		{"ok-trailer.json", `"sha256": "`, `"sha256": "00`},
		{"body-not-final.json", `"step": "body"`, `"step": "length"`},
	} {
		dir := t.TempDir()
		b, err := os.ReadFile(filepath.Join(vectors, change.name))
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(b), change.from, change.to, 1)
		if changed == string(b) {
			t.Fatalf("%s has no %s", change.name, change.from)
		}
		writeFile(t, filepath.Join(dir, change.name), []byte(changed))
		if out, err := reader(t, "vectors", dir); err == nil || !strings.HasPrefix(out, change.name) {
			t.Errorf("%s: %v\n%s", change.to, err, out)
		}
	}
	source, err := os.ReadFile(readerFile)
	if n := bytes.Count(source, []byte("\n")); err != nil || n > readerLines {
		t.Errorf("%v: the reader has %d lines, the most is %d", err, n, readerLines)
	}
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestReaderFiles checks that the independent reader opens what this package
// seals, also with a split header, and that it refuses a changed object without
// making a file.
func TestReaderFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	plain := bytes.Repeat([]byte("plaintext"), 20000)
	key := sealer.NewKey()
	h, k, err := sealer.Seal(sealer.SealParams{
		Scheme: sealer.SSEC, Binding: sealer.Binding{Bucket: "photos", Key: "ü/a b"}, DataKey: key, Size: int64(len(plain)),
		Trailer: true, Root: sealer.Root{ID: sealer.RootID{1}, Key: sealer.NewKey()},
	})
	if err != nil {
		t.Fatal(err)
	}
	body, err := k.SealBody(bytes.NewReader(plain), int64(len(plain)))
	if err != nil {
		t.Fatal(err)
	}
	stored, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	trailer, err := k.SealTrailer(nil, int64(len(plain)))
	if err != nil {
		t.Fatal(err)
	}
	stored = append(stored, trailer...)
	split, err := sealer.HeaderValues(h.Encode(), 128)
	if err != nil {
		t.Fatal(err)
	}
	var pieces []string
	for range split {
		pieces = append(pieces, split[sealer.HeaderName(len(pieces)+1)])
	}
	writeFile(t, at("stored"), stored)
	writeFile(t, at("raw"), key[:])
	writeFile(t, at("base64"), []byte(base64.StdEncoding.EncodeToString(key[:])+"\n"))
	for name, args := range map[string][]string{"raw": {h.Encode()}, "base64": pieces} {
		out, err := reader(t, slices.Concat([]string{"open", "photos/ü/a b", at(name), at("stored"), at("plain")}, args)...)
		got, _ := os.ReadFile(at("plain"))
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %v, %d bytes: %s", name, err, len(got), out)
		}
	}
	stored[len(plain)] ^= 1
	writeFile(t, at("stored"), stored)
	out, err := reader(t, "open", "photos/ü/a b", at("raw"), at("stored"), at("none"), h.Encode())
	if err == nil || out != "refused: not authentic\n" {
		t.Errorf("%v: %q", err, out)
	}
	if _, err := os.Stat(at("none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file of a changed object: %v", err)
	}
}

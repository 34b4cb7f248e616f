package sealer

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestUpdateKeepsVectors: -update changes no committed vector and removes none.
// Each vector that it would write is committed.
func TestUpdateKeepsVectors(t *testing.T) {
	t.Parallel()
	for committed, write := range vectorWriters {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(committed)); err != nil {
			t.Fatal(err)
		}
		write(t, dir)
		before, after := filesOf(t, committed), filesOf(t, dir)
		if diff := cmp.Diff(slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after))); diff != "" {
			t.Errorf("%s: run go test ./sealer -update and commit the new vectors (-committed +written):\n%s", committed, diff)
		}
		for name, b := range before {
			if !bytes.Equal(b, after[name]) {
				t.Errorf("%s/%s would change", committed, name)
			}
		}
	}
}

// TestVectorsAgain: vectors with other keys and nonces hold like the committed
// ones, so that the code which adds vectors stays right.
func TestVectorsAgain(t *testing.T) {
	t.Parallel()
	for committed, write := range vectorWriters {
		dir := t.TempDir()
		write(t, dir)
		if written := filesOf(t, dir); len(written) != len(filesOf(t, committed)) {
			t.Errorf("%s: %d vectors are written", committed, len(written))
		}
		vectorRunners[committed](t, dir)
	}
}

var (
	vectorWriters = map[string]func(t *testing.T, dir string){vectorDir: writeVectors, partRecordDir: writePartRecordVectors}
	vectorRunners = map[string]func(t *testing.T, dir string){vectorDir: runVectors, partRecordDir: runPartRecordVectors}
)

// filesOf returns the contents of the files in a folder by name.
func filesOf(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, e := range list {
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestMutationsFit: the texts that the faults replace are in the source, once.
func TestMutationsFit(t *testing.T) {
	names := map[string]bool{}
	for _, m := range mutations {
		if names[m.name] {
			t.Errorf("%q is there twice", m.name)
		}
		names[m.name] = true
		for _, e := range m.edits {
			b, err := os.ReadFile(filepath.Join("..", "..", e.file))
			if err != nil {
				t.Error(err)
			} else if n := bytes.Count(b, []byte(e.old)); n != 1 {
				t.Errorf("%s: %s has %q %d times", m.name, e.file, e.old, n)
			}
		}
	}
}

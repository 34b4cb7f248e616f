package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A book collects what measurements print, a chapter for each, and passes it
// on.
type book struct {
	out      io.Writer
	chapters map[string]*bytes.Buffer
	current  *bytes.Buffer
}

func newBook(out io.Writer) *book { return &book{out: out, chapters: make(map[string]*bytes.Buffer)} }

// open begins a chapter.
func (b *book) open(name string) {
	b.current = new(bytes.Buffer)
	b.chapters[name] = b.current
}

// drop forgets a chapter.
func (b *book) drop(name string) { delete(b.chapters, name) }

// Write adds to the current chapter.
func (b *book) Write(p []byte) (int, error) {
	b.current.Write(p)
	return b.out.Write(p)
}

// document is the file with the figures, from the root of the repository.
const document = "docs/PERFORMANCE.md"

// update writes the chapters into the document, and the plots beside it. What
// was not measured stays as it is.
func (b *book) update(root string, results []*result) error {
	path := filepath.Join(root, document)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for name, chapter := range b.chapters {
		if text, err = replaceChapter(text, name, chapter.Bytes()); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if err := os.WriteFile(path, text, 0o644); err != nil { //nolint:gosec // everybody may read it
		return err
	}
	if results == nil {
		return nil
	}
	return writePlots(filepath.Dir(path), results)
}

var errMarkers = errors.New("no pair of markers")

// replaceChapter replaces what is between the markers of a chapter.
func replaceChapter(text []byte, name string, chapter []byte) ([]byte, error) {
	begin, end := fmt.Sprintf("<!-- bench %s -->\n", name), fmt.Sprintf("<!-- end of bench %s -->", name)
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return nil, fmt.Errorf("%w: %s%s", errMarkers, begin, end)
	}
	return []byte(before + begin + "\n" + strings.TrimSpace(string(chapter)) + "\n\n" + end + after), nil
}

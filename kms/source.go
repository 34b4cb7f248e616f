package kms

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"go.uber.org/zap"
)

// source is something that connections are made with, and that can change. A
// change that cannot be used leaves the last good value, so that files replaced
// one after the other do no harm.
type source[T any] struct {
	what  string
	files func() ([]string, error) // what it is read from; nil for none
	load  func() (T, error)
	stale func(T) bool // whether it is to be loaded again though no file has changed; nil for never

	mu      sync.Mutex
	value   T
	seen    []os.FileInfo // of the files when they were read
	problem string        // that was logged
}

// newSource returns s with its value loaded.
func newSource[T any](s *source[T]) (*source[T], error) {
	_, err := s.reload()
	return s, err
}

// get returns the last good value.
func (s *source[T]) get() T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.value
}

// refresh loads the value again where that is due, and reports whether there is
// another one. What goes wrong is logged once.
func (s *source[T]) refresh(log *zap.Logger) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed, err := s.reload()
	if err != nil {
		if problem := err.Error(); problem != s.problem {
			s.problem = problem
			log.Warn(s.what+" cannot be read again, the last one stays in use", zap.Error(err))
		}
		return false
	}
	s.problem = ""
	if changed {
		log.Info(s.what+" changed", zap.Int("files", len(s.seen)))
	}
	return changed
}

// reload loads the value if it never was, if a file has changed, or if it is
// stale.
func (s *source[T]) reload() (changed bool, err error) {
	seen, err := s.stat()
	if err != nil {
		return false, err
	}
	if s.seen != nil && slices.EqualFunc(seen, s.seen, sameVersion) && (s.stale == nil || !s.stale(s.value)) {
		return false, nil
	}
	value, err := s.load()
	if err != nil {
		return false, err
	}
	s.value, s.seen = value, seen
	return true, nil
}

// stat looks at the files. It returns no nil without an error.
func (s *source[T]) stat() ([]os.FileInfo, error) {
	infos := []os.FileInfo{}
	if s.files == nil {
		return infos, nil
	}
	names, err := s.files()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fileError(s.what, name, err)
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// sameVersion reports whether a file was neither written nor replaced in
// between.
func sameVersion(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// fileError names a file once, however err was made.
func fileError(what, name string, err error) error {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		err = perr.Err
	}
	return fmt.Errorf("kms: %s %s: %w", what, name, err)
}

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

// source is something connections depend on that can change, such as a
// certificate. If a new version is invalid the last good value stays in use, so
// files may be replaced one after the other.
type source[T any] struct {
	what  string
	files func() ([]string, error) // that the value is read from; nil if there are none
	load  func() (T, error)
	stale func(T) bool // whether to reload although no file has changed; nil for never

	mu      sync.Mutex
	value   T
	seen    []os.FileInfo // the files when they were last read
	problem string        // last one logged
}

// newSource returns s after loading its value.
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

// refresh reloads the value if necessary and reports whether it changed. It
// logs each problem once.
func (s *source[T]) refresh(log *zap.Logger) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed, err := s.reload()
	if err != nil {
		if problem := err.Error(); problem != s.problem {
			s.problem = problem
			log.Warn(s.what+": reload failed, the last one stays in use", zap.Error(err))
		}
		return false
	}
	s.problem = ""
	if changed {
		log.Info(s.what+" changed", zap.Int("files", len(s.seen)))
	}
	return changed
}

// reload loads the value if it was never loaded, a file has changed, or it is
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

// stat returns the state of the files. The result is nil only with an error.
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

// sameVersion reports whether a file was neither written nor replaced between
// two calls of stat.
func sameVersion(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// fileError returns an error that names the file exactly once.
func fileError(what, name string, err error) error {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		err = perr.Err
	}
	return fmt.Errorf("kms: %s %s: %w", what, name, err)
}

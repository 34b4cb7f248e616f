// Package files reads what stands in files that can change while the program
// runs, such as certificates.
//
// docs/ARCHITECTURE.md is the map.
package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"go.uber.org/zap"
)

// Source is a value that is read from files. If a new version is invalid the
// last good value stays in use, so files may be replaced one after the other.
// It is safe for concurrent use.
type Source[T any] struct {
	What  string                   // in log messages and errors, such as "client certificate"
	Files func() ([]string, error) // that the value is read from; nil: none
	Load  func() (T, error)
	Stale func(T) bool // whether to reload although no file has changed; nil: never

	mu      sync.Mutex
	value   T
	seen    []os.FileInfo // the files when they were last read
	problem string        // last one logged
}

// Open loads the value and returns s.
func Open[T any](s *Source[T]) (*Source[T], error) {
	_, err := s.reload()
	return s, err
}

// Get returns the last good value.
func (s *Source[T]) Get() T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.value
}

// Refresh reloads the value if necessary and reports whether it changed. It
// logs each problem once.
func (s *Source[T]) Refresh(log *zap.Logger) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed, err := s.reload()
	if err != nil {
		if problem := err.Error(); problem != s.problem {
			s.problem = problem
			log.Warn(s.What+": reload failed, the last one stays in use", zap.Error(err))
		}
		return false
	}
	s.problem = ""
	if changed {
		log.Info(s.What+" changed", zap.Int("files", len(s.seen)))
	}
	return changed
}

// reload loads the value if it was never loaded, a file has changed, or it is
// stale.
func (s *Source[T]) reload() (changed bool, err error) {
	seen, err := s.stat()
	if err != nil {
		return false, err
	}
	if s.seen != nil && slices.EqualFunc(seen, s.seen, sameVersion) && (s.Stale == nil || !s.Stale(s.value)) {
		return false, nil
	}
	value, err := s.Load()
	if err != nil {
		return false, err
	}
	s.value, s.seen = value, seen
	return true, nil
}

// stat returns the state of the files. The result is nil only with an error.
func (s *Source[T]) stat() ([]os.FileInfo, error) {
	infos := []os.FileInfo{}
	if s.Files == nil {
		return infos, nil
	}
	names, err := s.Files()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, Error(s.What, name, err)
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

// Error returns an error that names the file exactly once. what says which file
// it is.
func Error(what, name string, err error) error {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		err = perr.Err
	}
	return fmt.Errorf("%s %s: %w", what, name, err)
}

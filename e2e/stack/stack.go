package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// A Stack owns a directory and everything that runs in it. It is safe for
// concurrent use.
type Stack struct {
	GatewayEnv map[string]string // for every gateway, unless GatewayOptions.Env overrides it

	dir   string
	tools *Tools

	mu      sync.Mutex
	closers []func() error
	logs    []*Service
	seen    map[string]int
}

// New returns an empty stack that keeps its files below dir, which must exist.
// The caller must close the stack before it deletes dir.
func New(dir string) (*Stack, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	tools, err := OpenTools()
	if err != nil {
		return nil, err
	}
	return &Stack{dir: abs, tools: tools, seen: make(map[string]int)}, nil
}

// Tools returns the builder of the stack's programs.
func (s *Stack) Tools() *Tools { return s.tools }

// Close ends everything in reverse order of its start.
func (s *Stack) Close() error {
	s.mu.Lock()
	closers := s.closers
	s.closers = nil
	s.mu.Unlock()
	var errs []error
	for _, c := range slices.Backward(closers) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// Logs returns the last n bytes of each service's log, for reports of failures.
func (s *Stack) Logs(n int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out string
	for _, svc := range s.logs {
		out += fmt.Sprintf("---- %s (%s)\n%s\n", svc.Name(), svc.LogFile(), svc.LogTail(n))
	}
	return out
}

// own makes Close call c.
func (s *Stack) own(c func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closers = append(s.closers, c)
}

// subdir makes a new directory for one service: name-1, name-2, ...
func (s *Stack) subdir(name string) (id, dir string, err error) {
	s.mu.Lock()
	s.seen[name]++
	id = fmt.Sprintf("%s-%d", name, s.seen[name])
	s.mu.Unlock()
	dir = filepath.Join(s.dir, id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", fmt.Errorf("stack: %w", err)
	}
	return id, dir, nil
}

// start runs c as a service of the stack and waits until ready returns nil.
func (s *Stack) start(ctx context.Context, c command, ready probe) (*Service, error) {
	svc := &Service{cmd: c, ready: ready}
	if err := svc.Start(ctx); err != nil {
		return nil, errors.Join(err, svc.Close())
	}
	s.mu.Lock()
	s.logs = append(s.logs, svc)
	s.mu.Unlock()
	s.own(svc.Close)
	return svc, nil
}

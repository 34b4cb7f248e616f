package stack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
)

// A Program runs a client program that is installed on this machine or was
// built here. Its environment contains only what [Stack.NewProgram] was given,
// so the caller's settings and credentials do not reach it.
type Program struct {
	path string
	home string
	env  map[string]string
}

// NewProgram returns the program at path. It has an empty home directory, and
// the variables of env in addition to PATH, HOME and TMPDIR.
func (s *Stack) NewProgram(path string, env map[string]string) (*Program, error) {
	_, dir, err := s.subdir(filepath.Base(path))
	if err != nil {
		return nil, err
	}
	return &Program{path: path, home: dir, env: env}, nil
}

// Home returns the program's home, which is also its working directory.
func (p *Program) Home() string { return p.home }

// Run runs the program and returns its standard output. The error contains its
// standard error.
func (p *Program) Run(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	err := p.Stream(ctx, nil, &out, args...)
	return out.String(), err
}

// Stream is Run with streams. in may be nil.
func (p *Program) Stream(ctx context.Context, in io.Reader, out io.Writer, args ...string) error {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Dir, cmd.Env = p.home, environ(p.home, p.env)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, &stderr
	cmd.SysProcAttr = dieWithParent()
	err := onStarterThread(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", filepath.Base(p.path), args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}

// Serve starts the program as a service of the stack and waits until ready
// returns nil.
func (p *Program) Serve(ctx context.Context, s *Stack, ready func(context.Context) error, args ...string) (*Service, error) {
	return s.start(ctx, command{name: filepath.Base(p.home), path: p.path, args: args, env: p.env, dir: p.home}, ready)
}

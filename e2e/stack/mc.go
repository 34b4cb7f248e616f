package stack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// MC runs the mc client with a configuration directory of its own.
type MC struct {
	path string
	home string
}

// NewMC builds mc and returns it with no alias set. It trusts the certificates in caFiles.
func (s *Stack) NewMC(ctx context.Context, caFiles ...string) (*MC, error) {
	if err := s.tools.Build(ctx, ToolMC); err != nil {
		return nil, err
	}
	id, dir, err := s.subdir("mc")
	if err != nil {
		return nil, err
	}
	cas := filepath.Join(dir, ".mc", "certs", "CAs")
	if err := os.MkdirAll(cas, 0o700); err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	for i, f := range caFiles {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("stack: %w", err)
		}
		if err := os.WriteFile(filepath.Join(cas, fmt.Sprintf("%s-%d.crt", id, i)), b, 0o600); err != nil {
			return nil, fmt.Errorf("stack: %w", err)
		}
	}
	return &MC{path: s.tools.Path(ToolMC), home: dir}, nil
}

// Run runs one mc command and returns what it printed on its standard output.
// The error holds what it printed on the other one.
func (m *MC) Run(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	err := m.Stream(ctx, nil, &out, args...)
	return out.String(), err
}

// Stream is Run with streams: in may be nil.
func (m *MC) Stream(ctx context.Context, in io.Reader, out io.Writer, args ...string) error {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, m.path, args...)
	cmd.Dir, cmd.Env = m.home, environ(m.home, nil)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("mc %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}

// Alias makes name stand for an S3 server.
func (m *MC) Alias(ctx context.Context, name, endpoint, accessKey, secretKey string) error {
	_, err := m.Run(ctx, "alias", "set", name, endpoint, accessKey, secretKey)
	return err
}

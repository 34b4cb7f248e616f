package stack

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// MC is the mc client with its own configuration directory.
type MC struct{ *Program }

// NewMC builds mc and returns it without aliases. It trusts the certificates in
// caFiles.
func (s *Stack) NewMC(ctx context.Context, caFiles ...string) (*MC, error) {
	if err := s.tools.Build(ctx, ToolMC); err != nil {
		return nil, err
	}
	p, err := s.NewProgram(s.tools.Path(ToolMC), nil)
	if err != nil {
		return nil, err
	}
	cas := filepath.Join(p.home, ".mc", "certs", "CAs")
	if err := os.MkdirAll(cas, 0o700); err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	for i, f := range caFiles {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("stack: %w", err)
		}
		if err := os.WriteFile(filepath.Join(cas, fmt.Sprintf("%d.crt", i)), b, 0o600); err != nil {
			return nil, fmt.Errorf("stack: %w", err)
		}
	}
	return &MC{p}, nil
}

// Alias defines name as an alias of an S3 server.
func (m *MC) Alias(ctx context.Context, name, endpoint, accessKey, secretKey string) error {
	_, err := m.Run(ctx, "alias", "set", name, endpoint, accessKey, secretKey)
	return err
}

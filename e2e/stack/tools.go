package stack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// A Tool names a program that this package can build.
type Tool string

// The programs. e2e/tools/NAME pins each of them except ToolGateway: by go.mod,
// or ToolJS by package-lock.json.
const (
	ToolKES        Tool = "kes"
	ToolMinIO      Tool = "minio"
	ToolMC         Tool = "mc"
	ToolVersitygw  Tool = "versitygw"
	ToolSeaweedFS  Tool = "seaweedfs"
	ToolS3Suite    Tool = "s3suite"    // e2e/tools/s3suite: versitygw's tests
	ToolFunctional Tool = "functional" // e2e/tools/functional: minio-go's tests
	ToolJS         Tool = "js"         // a folder: e2e/tools/js with its modules, for node
	ToolGateway    Tool = "ssegw"
)

// Tools builds programs into the directory .bin of the repository.
type Tools struct{ root string }

// OpenTools finds the repository that contains the working directory.
func OpenTools() (*Tools, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module ssegw\n") {
			return &Tools{root: dir}, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return nil, errors.New("stack: the working directory is outside the repository")
		}
		dir = parent
	}
}

// Root returns the top directory of the repository.
func (t *Tools) Root() string { return t.root }

// Path returns the path of the program once it is built.
func (t *Tools) Path(tool Tool) string { return filepath.Join(t.root, ".bin", string(tool)) }

// toolDir returns the directory of the tool's module.
func (t *Tools) toolDir(tool Tool) string { return filepath.Join(t.root, "e2e", "tools", string(tool)) }

// Build builds the programs that are not up to date. Concurrent calls wait for
// each other, even calls of other processes.
func (t *Tools) Build(ctx context.Context, tools ...Tool) error {
	if err := os.MkdirAll(filepath.Join(t.root, ".bin"), 0o750); err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	// Build two at a time: one downloads and links while the other compiles.
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for _, tool := range tools {
		g.Go(func() error { return t.build(ctx, tool) })
	}
	return g.Wait()
}

func (t *Tools) build(ctx context.Context, tool Tool) error {
	unlock, err := lockFile(t.Path(tool) + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	switch tool { // for these the go command knows whether the sources have changed
	case ToolGateway:
		return t.goBuild(ctx, t.root, tool, "-trimpath", "./cmd/ssegw")
	case ToolFunctional:
		return t.buildFunctional(ctx)
	case ToolAhead:
		return t.buildAhead(ctx)
	}
	dir := t.toolDir(tool)
	stamp, err := toolStamp(dir)
	if err != nil {
		return err
	}
	stampFile := t.Path(tool) + ".stamp"
	if old, err := os.ReadFile(stampFile); err == nil && string(old) == stamp && exists(t.Path(tool)) {
		return nil
	}
	if tool == ToolJS {
		err = t.npmInstall(ctx, dir)
	} else {
		err = t.goBuild(ctx, dir, tool, "-mod=readonly", "tool")
	}
	if err != nil {
		return err
	}
	return os.WriteFile(stampFile, []byte(stamp), 0o600)
}

// goBuild runs go build in dir. The result replaces the old program atomically,
// so a running program continues.
func (t *Tools) goBuild(ctx context.Context, dir string, tool Tool, args ...string) error {
	out := t.Path(tool) + ".new"
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-buildvcs=false", "-o", out}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("stack: building %s: %w\n%s", tool, err, b)
	}
	if err := os.Rename(out, t.Path(tool)); err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	return nil
}

// npmInstall copies ToolJS into its folder and installs its modules there. It
// needs node and npm.
func (t *Tools) npmInstall(ctx context.Context, dir string) error {
	to := t.Path(ToolJS)
	if err := os.RemoveAll(to); err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = to
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("stack: npm ci: %w\n%s", err, b)
	}
	return nil
}

// toolStamp identifies what a tool is built from: the Go version and the files
// of its folder, which are its requirements with their hashes and its own
// sources, if any.
func toolStamp(dir string) (string, error) {
	text := fmt.Appendf(nil, "%s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	files, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("stack: %w", err)
	}
	for _, f := range files {
		if f.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return "", fmt.Errorf("stack: %w", err)
		}
		text = fmt.Appendf(text, "%s %d\n%s", f.Name(), len(b), b)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// lockFile takes an exclusive lock that ends with the process.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("stack: locking %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

// errOtherTests means that a new version of minio-go needs a manual check.
var errOtherTests = errors.New("stack: the main function of minio-go's functional tests is not as it was")

// buildFunctional builds e2e/tools/functional together with the functional
// tests of the module minio-go, which are a main program.
func (t *Tools) buildFunctional(ctx context.Context) error {
	dir := t.toolDir(ToolFunctional)
	list := exec.CommandContext(ctx, "go", "list", "-mod=readonly", "-f", "{{.Dir}}", "github.com/minio/minio-go/v7")
	list.Dir = dir
	list.Env = append(os.Environ(), "GOWORK=off")
	module, err := list.Output()
	if err != nil {
		return fmt.Errorf("stack: finding minio-go: %w", err)
	}
	const name = "functional_tests.go"
	tests, err := os.ReadFile(filepath.Join(string(bytes.TrimSpace(module)), name))
	if err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	if tests, err = selectable(tests); err != nil {
		return err
	}
	changed, overlay := t.Path(ToolFunctional)+"_tests.go", t.Path(ToolFunctional)+".overlay"
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(dir, name): changed}})
	if err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	if err := os.WriteFile(changed, tests, 0o600); err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	if err := os.WriteFile(overlay, replace, 0o600); err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	return t.goBuild(ctx, dir, ToolFunctional, "-mod=readonly", "-overlay", overlay, "tool")
}

// This tag excludes the tests from their own module. Building with it would put
// them into that module's package.
const constraint = "//go:build mint\n"

var (
	mainPattern = regexp.MustCompile(`(?m)^func main\(\) \{$`)
	credsV2     = []byte("credentials.NewStaticV2(")
	callPattern = regexp.MustCompile(`(?m)^(\t+)(test\w+)\(\)$`)
)

// selectable makes the main function of the tests callable and passes every
// test to mintTest. Few servers accept version 2 signatures, so tests that use
// version 2 use version 4 instead.
func selectable(source []byte) ([]byte, error) {
	source, constrained := bytes.CutPrefix(source, []byte(constraint))
	at := mainPattern.FindAllIndex(source, -1)
	if !constrained || len(at) != 1 {
		return nil, errOtherTests
	}
	before, after := source[:at[0][0]], source[at[0][1]:]
	if !callPattern.Match(after) || bytes.Count(before, credsV2) != 1 {
		return nil, errOtherTests
	}
	return bytes.Join([][]byte{
		bytes.Replace(before, credsV2, []byte("credentials.NewStaticV4("), 1), []byte("func init() { mintMain = allTests }\n\nfunc allTests() {"),
		callPattern.ReplaceAll(after, []byte(`${1}mintTest("$2", $2)`)),
	}, nil), nil
}

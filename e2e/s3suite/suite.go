package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"ssegw/e2e/stack"
)

// A suite is a set of tests and the program that runs them.
type suite struct {
	tool     stack.Tool
	title    string
	encrypts bool // its tests use SSE: https on both sides, and keys for a store that supports SSE
}

const (
	suiteVersitygw = "versitygw"
	suiteMinioGo   = "minio-go"
)

// suites holds the suites by their names on the command line.
var suites = map[string]suite{
	suiteVersitygw: {tool: stack.ToolS3Suite, title: "versitygw's S3 tests"},
	suiteMinioGo:   {tool: stack.ToolFunctional, title: "minio-go's functional tests", encrypts: true},
}

// target is an S3 endpoint under test.
type target struct {
	name                         string
	admin                        *admin // nil if users are made at the store itself
	endpoint, access, secret, ca string
}

// results holds the errors of tests by name; "" means passed.
type results map[string]string

// passed counts the tests that passed.
func (r results) passed() (n int) {
	for _, e := range r {
		if e == "" {
			n++
		}
	}
	return n
}

// test runs the suite against one endpoint. The suite's program has its own
// directory, in which tests that make users find the versitygw command.
func (r *rig) test(ctx context.Context, o options, t target) (results, error) {
	tools := r.stack.Tools()
	dir := filepath.Join(r.dir, t.name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	install := func(dir string) error {
		return os.Symlink(tools.Path(stack.ToolVersitygw), filepath.Join(dir, adminCommand))
	}
	if t.admin != nil {
		install = t.admin.install
	}
	if err := install(dir); err != nil {
		return nil, err
	}
	args := []string{
		"-endpoint", t.endpoint, "-access", t.access, "-secret", t.secret,
		"-parallel", strconv.Itoa(o.parallel), "-run", o.run,
	}
	if t.ca != "" {
		args = append(args, "-ca", t.ca)
	}
	//nolint:gosec // this repository builds the program
	cmd := exec.CommandContext(ctx, tools.Path(r.suite.tool), args...)
	cmd.Dir = dir
	// The caller's settings for other clients must not reach the tests.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}
	var stdout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, io.Discard
	if o.verbose {
		cmd.Stderr = os.Stderr
	}
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("running the tests %s: %w", t.name, err)
	}
	return readResults(&stdout)
}

// readResults parses the JSON lines that the suite's program writes.
func readResults(r io.Reader) (results, error) {
	out := results{}
	for d := json.NewDecoder(r); ; {
		var line struct{ Name, Error string }
		err := d.Decode(&line)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the results: %w", err)
		}
		out[line.Name] = line.Error
	}
}

// Command functional runs minio-go's functional tests against any S3 endpoint,
// each in its own process. It writes one JSON object per test to standard
// output: {"name": ..., "error": ...}. No error means that the test passed. The
// output of the tests themselves goes to standard error.
//
// Usage:
//
//	functional -endpoint URL -access KEY -secret SECRET [-ca FILE]
//	           [-parallel N] [-run REGEXP]
//
// A test fails if it reports for any step that the server does not support it.
// The tests of SSE-C only run if the URL is https.
//
// The tests are a main program of the module minio-go. The build, in
// e2e/stack/functional.go, adds it to this program by an overlay. In the
// overlay its main is mintMain, every call of a test is a call of mintTest, and
// every signature is of version 4.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	_ "github.com/minio/minio-go/v7" // origin of the tests: go.mod pins it
)

// testTimeout ends a hanging test.
const testTimeout = 5 * time.Minute

// mintMain calls mintTest with every test in turn.
var mintMain func()

var mintTest func(name string, test func())

var errNoTests = errors.New("built without the tests: see e2e/stack/functional.go")

func main() {
	endpoint := flag.String("endpoint", "", "URL of the S3 endpoint")
	access := flag.String("access", "", "access key")
	secret := flag.String("secret", "", "secret key")
	ca := flag.String("ca", "", "certificates to trust, PEM")
	parallel := flag.Int("parallel", 4, "tests at a time")
	run := flag.String("run", ".", "run the tests that match")
	only := flag.String("test", "", "be the process of this test (how the program starts itself)")
	flag.Parse()
	if mintMain == nil {
		fail(errNoTests)
	}
	if *only != "" {
		mintTest = func(name string, test func()) {
			if name == *only {
				test()
			}
		}
		mintMain()
		return
	}
	pattern, err := regexp.Compile(*run)
	if err != nil {
		fail(err)
	}
	u, err := url.Parse(*endpoint)
	if err != nil {
		fail(err)
	}
	for name, value := range map[string]string{
		"SERVER_ENDPOINT": u.Host, "ACCESS_KEY": *access, "SECRET_KEY": *secret,
		"ENABLE_HTTPS": strconv.FormatBool(u.Scheme == "https"), "SSL_CERT_FILE": *ca, "MINT_MODE": "full",
	} {
		if err := os.Setenv(name, value); err != nil {
			fail(err)
		}
	}
	var names []string
	mintTest = func(name string, _ func()) {
		if pattern.MatchString(name) {
			names = append(names, name)
		}
	}
	mintMain()
	all(names, *parallel)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "functional:", err)
	os.Exit(2)
}

type result struct {
	Name  string `json:"name"`
	Error string `json:"error,omitempty"`
}

// all runs the tests of these names, some in parallel, and writes the results.
func all(names []string, parallel int) {
	queue := make(chan string)
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for name := range queue {
				r := result{Name: name}
				if err := one(name); err != nil {
					r.Error = err.Error()
				}
				mu.Lock()
				_ = out.Encode(r) // an error means that the reader has gone
				mu.Unlock()
			}
		})
	}
	for _, name := range names {
		queue <- name
	}
	close(queue)
	wg.Wait()
}

// one runs a test in its own process.
func one(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, "-test", name)
	var stdout, stderr bytes.Buffer
	cmd.Stdout = io.MultiWriter(&stdout, os.Stderr)
	cmd.Stderr = io.MultiWriter(&stderr, os.Stderr)
	exit := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("the test hangs: %w", ctx.Err())
	}
	// A failing test reports the reason and then panics. Not all tests report
	// success.
	if err := verdict(&stdout); err != nil {
		return err
	}
	if exit != nil {
		first, _, _ := strings.Cut(stderr.String(), "\n")
		return fmt.Errorf("%w: %s", exit, first)
	}
	return nil
}

// verdict parses a test's report: lines of JSON with the status PASS, FAIL or
// NA. NA means that the server does not support something.
func verdict(r io.Reader) error {
	for d := json.NewDecoder(r); ; {
		var line struct{ Status, Alert, Message, Error string }
		switch err := d.Decode(&line); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading what the test says: %w", err)
		case line.Status != "" && line.Status != "PASS":
			return fmt.Errorf("%s: %s %s %s", line.Status, line.Alert, line.Message, line.Error)
		}
	}
}

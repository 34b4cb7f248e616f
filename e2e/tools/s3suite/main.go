// Command s3suite runs versitygw's S3 tests against any S3 endpoint, each in
// its own buckets. It writes one JSON object per test to standard output:
// {"name": ..., "error": ...}. No error means that the test passed. The output
// of the tests themselves goes to standard error.
//
// Usage:
//
//	s3suite -endpoint URL -access KEY -secret SECRET [-region R] [-parallel N]
//	        [-versioning] [-run REGEXP]
//
// Tests that make users run ./versitygw in the working directory. Tests that
// list all buckets of the store run first and alone, so the store must be
// empty.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/versity/versitygw/tests/integration"
)

// testTimeout ends the wait for a hanging test.
const testTimeout = 3 * time.Minute

var errHangs = errors.New("the test hangs")

// others are tests of services other than S3, or of a server with special
// settings.
var others = regexp.MustCompile(`^(IAM[A-Z].*|S3IAM.*|WebsiteHosting_.*|NoAclMode_.*|DataIntegrityETag_.*)$`)

// alone are tests that see what other tests make.
var alone = regexp.MustCompile(`^(ListBuckets_.*|IAM_ListBuckets)$`)

// needsVersioning are tests that expect a store which keeps versions. All
// others also run on a store that does not.
var needsVersioning = regexp.MustCompile(`^(Versioning_.*|ListObjectVersions_.*|(Get|Put)BucketVersioning_.*)$`)

type result struct {
	Name  string `json:"name"`
	Error string `json:"error,omitempty"`
}

// suite is one run.
type suite struct {
	plain, versioned *integration.S3Conf
	tests            integration.IntTests
	out              *json.Encoder
	mu               sync.Mutex // guards out
}

func main() {
	endpoint := flag.String("endpoint", "", "URL of the S3 endpoint")
	access := flag.String("access", "", "access key")
	secret := flag.String("secret", "", "secret key")
	region := flag.String("region", "us-east-1", "region of the endpoint")
	parallel := flag.Int("parallel", 6, "tests at a time")
	versioning := flag.Bool("versioning", true, "run the tests that need versioning")
	run := flag.String("run", ".", "run the tests that match")
	flag.Parse()
	pattern, err := regexp.Compile(*run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "s3suite:", err)
		os.Exit(2)
	}
	s := &suite{tests: integration.GetIntTests(), out: json.NewEncoder(os.Stdout)}
	os.Stdout = os.Stderr // the tests print to it
	options := []integration.Option{
		integration.WithEndpoint(*endpoint), integration.WithRegion(*region),
		integration.WithAccess(*access), integration.WithSecret(*secret),
	}
	s.plain = integration.NewS3Conf(options...)
	s.versioned = integration.NewS3Conf(append(options, integration.WithVersioningEnabled())...)

	var first, rest []string
	for _, name := range slices.Sorted(maps.Keys(s.tests)) {
		switch {
		case others.MatchString(name), !pattern.MatchString(name), !*versioning && needsVersioning.MatchString(name):
		case alone.MatchString(name):
			first = append(first, name)
		default:
			rest = append(rest, name)
		}
	}
	s.all(first, 1)
	s.all(rest, *parallel)
}

// all runs the tests of these names, some in parallel.
func (s *suite) all(names []string, parallel int) {
	queue := make(chan string)
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for name := range queue {
				s.one(name)
			}
		})
	}
	for _, name := range names {
		queue <- name
	}
	close(queue)
	wg.Wait()
}

// one runs a test and writes its result.
func (s *suite) one(name string) {
	conf := s.plain
	if needsVersioning.MatchString(name) {
		conf = s.versioned
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("panic: %v", p)
			}
		}()
		done <- s.tests[name](conf)
	}()
	var err error
	select {
	case err = <-done:
	case <-time.After(testTimeout):
		err = errHangs
	}
	r := result{Name: name}
	if err != nil {
		r.Error = cmp.Or(err.Error(), "failed")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.out.Encode(r) // an error means that the reader has gone
}

// Command s3suite tests the gateway with S3 tests of other projects:
// versitygw's tests, and minio-go's functional tests. It runs them directly
// against a store and, in front of another store of the same kind, through the
// gateway, test by test in fresh buckets. It prints the tests that pass
// directly and fail through the gateway.
//
// Usage:
//
//	s3suite [-suite versitygw|minio-go] [-store versitygw|minio|ceph]
//	        [-auto off|sse-s3|sse-kms] [-run REGEXP] [-parallel N]
//	        [-doc docs/S3.md] [-v]
//
// The tables "Exceptions" of docs/S3.md list the tests that may differ, with
// the reason. The exit code is 1 if any other test differs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"ssegw/e2e/stack"
)

// options are the command-line options.
type options struct {
	suite    string
	store    string
	auto     string
	run      string
	parallel int
	doc      string
	verbose  bool
}

func main() {
	if filepath.Base(os.Args[0]) == adminCommand {
		end(runAdmin(context.Background(), os.Args[1:]))
		return
	}
	var o options
	flag.StringVar(&o.suite, "suite", suiteVersitygw, "the tests: versitygw or minio-go")
	flag.StringVar(&o.store, "store", stack.StoreVersitygw, "the store: versitygw, minio or ceph")
	flag.StringVar(&o.auto, "auto", "off", "SSEGW_AUTO_ENCRYPTION of the gateway: off, sse-s3 or sse-kms")
	flag.StringVar(&o.run, "run", ".", "run the tests that match")
	flag.IntVar(&o.parallel, "parallel", 6, "tests at a time")
	flag.StringVar(&o.doc, "doc", "", "the document with the exceptions (docs/S3.md)")
	flag.BoolVar(&o.verbose, "v", false, "also print the exceptions, what fails directly, and what the tests print")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, o)
	stop()
	end(err)
}

// end exits the program if err is not nil.
func end(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "s3suite:", err)
		os.Exit(1)
	}
}

// errDiffers means that a test passes directly but not through the gateway.
var errDiffers = errors.New("the gateway differs from the store in tests that docs/S3.md does not list")

// run does all work in a temporary directory and removes it afterwards.
func run(ctx context.Context, o options) (err error) {
	suite, ok := suites[o.suite]
	if !ok {
		return fmt.Errorf("unknown suite %q", o.suite)
	}
	dir, err := os.MkdirTemp("", "ssegw-s3suite-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r, err := newRig(ctx, dir, suite, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()

	if o.doc == "" {
		o.doc = filepath.Join(r.stack.Tools().Root(), "docs", "S3.md")
	}
	exceptions, err := readExceptions(o.doc)
	if err != nil {
		return err
	}
	start := time.Now()
	direct, err := r.test(ctx, o, target{"direct", nil, r.direct.Endpoint, r.direct.AccessKey, r.direct.SecretKey, r.direct.CAFile})
	if err != nil {
		return err
	}
	through, err := r.test(ctx, o, target{"through", r.admin, r.gateway.Endpoint, r.gateway.AccessKey, r.gateway.SecretKey, r.gateway.CAFile})
	if err != nil {
		return err
	}
	report := compare(direct, through, exceptions, o)
	fmt.Print(report.text(o))
	fmt.Fprintf(os.Stderr, "Took %s.\n", time.Since(start).Round(time.Second))
	if len(report.differs) > 0 {
		return errDiffers
	}
	return nil
}

// A rig is everything that runs during the tests.
type rig struct {
	stack   *stack.Stack
	suite   suite
	dir     string
	direct  *stack.Store   // tested directly
	gateway *stack.Gateway // in front of another store of the same kind
	admin   *admin         // makes users there
}

// newRig starts everything, with files below dir. The gateway has the store's
// own credentials, so that the owners in answers are the same.
func newRig(ctx context.Context, dir string, suite suite, o options) (r *rig, err error) {
	r = &rig{suite: suite, dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if r.stack, err = stack.New(dir); err != nil {
		return r, err
	}
	fmt.Fprintln(os.Stderr, "Building and starting KES, two stores and ssegw ...")
	if err := r.stack.Tools().Build(ctx, suite.tool, stack.ToolVersitygw); err != nil {
		return r, err
	}
	kes, err := r.stack.StartKES(ctx, stack.KESOptions{})
	if err != nil {
		return r, err
	}
	own := stack.StoreOptions{TLS: suite.encrypts}
	if suite.encrypts {
		own.KES = kes
	}
	if r.direct, err = r.stack.StartStore(ctx, o.store, own); err != nil {
		return r, err
	}
	upstream, err := r.stack.StartStore(ctx, o.store, stack.StoreOptions{})
	if err != nil {
		return r, err
	}
	file := filepath.Join(dir, credentialsFile)
	if err := writeJSON(file, credentials{Credentials: []credential{}}); err != nil {
		return r, err
	}
	env := map[string]string{
		"SSEGW_AUTO_ENCRYPTION": o.auto,
		"SSEGW_ACCESS_KEY":      upstream.AccessKey, "SSEGW_SECRET_KEY": upstream.SecretKey,
		"SSEGW_CREDENTIALS_FILE": file,
		"SSEGW_KMS_TIMEOUT":      "30s", // no test fails because the machine is busy
	}
	switch o.store {
	case stack.StoreMinIO, stack.StoreCeph:
		env["SSEGW_REGION"] = "*" // like MinIO, which starts without a region, and Ceph, which accepts any
	case stack.StoreVersitygw:
		env["SSEGW_SIGV2"] = "off" // like versitygw, which does not support Version 2
	}
	r.gateway, err = r.stack.StartGateway(ctx, stack.GatewayOptions{
		KES: []*stack.KES{kes}, Upstream: upstream, TLS: suite.encrypts, Env: env,
	})
	if err != nil {
		return r, err
	}
	r.admin = &admin{r.stack.Tools().Path(stack.ToolVersitygw), upstream.Endpoint, r.gateway.Endpoint, file}
	r.gateway.AccessKey, r.gateway.SecretKey = upstream.AccessKey, upstream.SecretKey
	return r, nil
}

// Close ends everything that the rig started.
func (r *rig) Close() error {
	if r.stack == nil {
		return nil
	}
	return r.stack.Close()
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"ssegw/e2e/stack"
)

// A rig is everything that runs during the measurement: one KES server, and a
// side for each protocol that is measured.
type rig struct {
	stack   *stack.Stack
	kes     *stack.KES
	dir     string
	options options
	sides   map[sideKind]*side
	closers []func() error
	out     io.Writer // for tables
	results []*result // of measureCost
}

// newRig starts KES, with files below dir.
func newRig(ctx context.Context, dir string, o options) (r *rig, err error) {
	r = &rig{dir: dir, options: o, sides: make(map[sideKind]*side), out: os.Stdout}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	fmt.Fprintln(os.Stderr, "Building and starting KES, the store and ssegw ...")
	if r.stack, err = stack.New(dir); err != nil {
		return r, err
	}
	r.kes, err = r.stack.StartKES(ctx, stack.KESOptions{})
	return r, err
}

// A sideKind tells sides apart.
type sideKind struct {
	store string
	tls   bool
}

// side returns the side of the options' store that speaks http or https.
func (r *rig) side(ctx context.Context, tls bool) (*side, error) { return r.sideOf(ctx, "", tls) }

// sideOf returns the side of a store; "" means the options' one. The first call
// starts it.
func (r *rig) sideOf(ctx context.Context, store string, tls bool) (*side, error) {
	kind := sideKind{cmp.Or(store, r.options.store), tls}
	if s := r.sides[kind]; s != nil {
		return s, nil
	}
	s, err := startSide(ctx, r, kind)
	if err != nil {
		return nil, fmt.Errorf("starting the side of %s over %s: %w", kind.store, protocol(tls), err)
	}
	r.sides[kind] = s
	return s, nil
}

// protocol names what a side speaks.
func protocol(tls bool) string {
	if tls {
		return "https"
	}
	return "http"
}

// Close ends everything that the rig started.
func (r *rig) Close() error {
	var errs []error
	if r.stack != nil {
		errs = append(errs, r.stack.Close())
	}
	for _, c := range r.closers {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// A scheme is how the objects of a bucket are sealed.
type scheme string

const (
	plain      scheme = "plain"
	sseS3      scheme = "SSE-S3"
	sseKMS     scheme = "SSE-KMS"
	bucketKeys scheme = "SSE-KMS, bucket keys"
	sseC       scheme = "SSE-C"
)

// schemes are all schemes with the names of their buckets and the rules that
// the buckets have at the gateway. Clients ask for SSE-C in each request.
var schemes = []struct {
	scheme scheme
	bucket string
	rule   string // "": none
}{
	{plain, "plain", ""},
	{sseS3, "sse-s3", `<SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault>`},
	{sseKMS, "sse-kms", `<SSEAlgorithm>aws:kms</SSEAlgorithm></ApplyServerSideEncryptionByDefault>`},
	{bucketKeys, "bucket-keys", `<SSEAlgorithm>aws:kms</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled>`},
	{sseC, "sse-c", ""},
}

// bucket returns the bucket of a scheme.
func (s scheme) bucket() string { return schemes[s.index()].bucket }

// rule returns the rule of a scheme.
func (s scheme) rule() string { return schemes[s.index()].rule }

func (s scheme) index() int {
	for i, row := range schemes {
		if row.scheme == s {
			return i
		}
	}
	panic("no such scheme: " + string(s))
}

// makeBucket makes a bucket through the target. If it is a gateway, the bucket
// gets a rule, unless that is "".
func (t *target) makeBucket(ctx context.Context, bucket, rule string) error {
	if err := t.client.call(ctx, request{method: http.MethodPut, bucket: bucket}); err != nil || rule == "" {
		return err
	}
	document := "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>" + rule + "</Rule></ServerSideEncryptionConfiguration>"
	return t.client.call(ctx, request{method: http.MethodPut, bucket: bucket, query: "encryption", document: document})
}

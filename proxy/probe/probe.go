// Package probe finds out what a store can do. It writes small objects, the
// probes, to the state bucket and removes them again. It names no products:
// what a store does is all that counts.
//
// What it finds are the [upstream.Capabilities] of the store. The gateway
// probes at its start, and ssegw check reports each finding.
// docs/ARCHITECTURE.md is the map.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

// Prober probes a store. Its methods report errors of the connection to the
// store. What the store refuses is a finding, not an error.
type Prober struct {
	upstream.Client
	Bucket string // for the probes
}

// cleanup is the least time for removing a probe, even if the context of the
// probe has ended.
const cleanup = 300 * time.Millisecond

// CleaningUp returns a context for removing what was made under ctx, even if
// ctx has ended. It ends at the deadline of ctx, but not before 300 ms from
// now.
func CleaningUp(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := cleanup
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(timeout, time.Until(deadline))
	}
	return context.WithTimeout(context.WithoutCancel(ctx), timeout)
}

// Prefix begins the names of probes.
const Prefix = "probe-"

// With calls f with the unique name of a probe, which ends in suffix.
// Afterwards it removes the object of that name, even if f has failed.
func (c Prober) With(ctx context.Context, suffix string, f func(name string) error) error {
	name := Prefix + upstream.RandomTag() + suffix
	err := f(name)
	ctx, cancel := CleaningUp(ctx)
	defer cancel()
	_, removeErr := c.Exec(ctx, upstream.Request{Method: http.MethodDelete, Bucket: c.Bucket, Key: name})
	switch upstream.StatusOf(removeErr) {
	case http.StatusBadRequest, http.StatusNotFound:
		removeErr = nil // there is no object of that name
	}
	if err == nil && removeErr != nil {
		err = fmt.Errorf("removing %s: %w", name, removeErr)
	}
	if err != nil {
		return fmt.Errorf("probe: probing the store: %w", err)
	}
	return nil
}

// upload begins an upload of a probe that has one small part. The store keeps
// header with the object.
func (c Prober) upload(ctx context.Context, name string, header http.Header) (upstream.UploadName, []upstream.SentPart, error) {
	begun, err := c.BeginUpload(ctx, c.Bucket, name, header)
	if err != nil {
		return upstream.UploadName{}, nil, err
	}
	answer, err := c.Exec(ctx, upstream.Request{
		Method: http.MethodPut, Bucket: c.Bucket, Key: name, Query: begun.Query(1), Header: http.Header{},
		Body: strings.NewReader("part"), Size: 4, Hash: upstream.HexSHA256([]byte("part")),
	})
	if err != nil {
		c.dropUpload(ctx, begun.UploadName)
		return upstream.UploadName{}, nil, err
	}
	return begun.UploadName, []upstream.SentPart{{Number: 1, Etag: strings.Trim(answer.Get("ETag"), `"`)}}, nil
}

// dropUpload aborts the upload of a probe, even if ctx has ended. It does
// nothing to an upload without an ID.
func (c Prober) dropUpload(ctx context.Context, up upstream.UploadName) {
	if up.ID == "" {
		return
	}
	ctx, cancel := CleaningUp(ctx)
	defer cancel()
	_ = c.AbortUpload(ctx, up) // what is left over is only a probe
}

// unlessRefused returns nil if err is the store's refusal of a probe, and
// otherwise err. A store that is busy or fails has refused nothing.
func unlessRefused(err error) error {
	if err == nil {
		return nil
	}
	status := upstream.StatusOf(err)
	failed := status >= 500 && status != http.StatusNotImplemented
	if status == 0 || failed || status == http.StatusTooManyRequests || errors.Is(err, upstream.ErrUnavailable) {
		return err
	}
	return nil
}

// unlessOdd returns nil also if the store answered with success and a document
// that makes no sense. Such a store counts as one that cannot do what was
// probed. A failure proves nothing, however often it repeats.
func unlessOdd(err error) error {
	if errors.Is(err, s3.ErrDocument) {
		return nil
	}
	return unlessRefused(err)
}

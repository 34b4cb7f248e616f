package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Probe finds out which framing the store accepts, unless one is configured. It
// falls back to FramingPlain. See [Client.Takes].
func (c Client) Probe(ctx context.Context, bucket string) error {
	if c.store.framing.configured != FramingAuto {
		return nil
	}
	chosen := FramingPlain
	for _, f := range []Framing{FramingTrailer, FramingSigned} {
		ok, err := c.Takes(ctx, bucket, f)
		if err != nil {
			return err
		}
		if ok {
			chosen = f
			break
		}
	}
	c.store.framing.probed.Store(int32(chosen))
	return nil
}

// probeCleanup is the least time for removing a probe, even if the context of
// the probe has ended.
const probeCleanup = 300 * time.Millisecond

// CleaningUp returns a context for removing what was made under ctx, even if
// ctx has ended. It ends at the deadline of ctx, but not before 300 ms from
// now.
func CleaningUp(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := probeCleanup
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(timeout, time.Until(deadline))
	}
	return context.WithTimeout(context.WithoutCancel(ctx), timeout)
}

// ProbePrefix begins the names of probes: objects that are written to test the
// store, and then removed.
const ProbePrefix = "probe-"

// Probing calls f with the unique name of a probe in bucket, which ends in
// suffix. Afterwards it removes the object of that name, even if f has failed.
func (c Client) Probing(ctx context.Context, bucket, suffix string, f func(name string) error) error {
	name := ProbePrefix + RandomTag() + suffix
	err := f(name)
	ctx, cancel := CleaningUp(ctx)
	defer cancel()
	resp, removeErr := c.Send(ctx, Request{Method: http.MethodDelete, Bucket: bucket, Key: name})
	if removeErr == nil {
		Discard(resp)
	} else if err == nil {
		err = fmt.Errorf("removing %s: %w", name, removeErr)
	}
	if err != nil {
		return fmt.Errorf("upstream: probing the store: %w", err)
	}
	return nil
}

// Takes reports whether the store accepts a framing: it stores a correct body
// as it was sent, and refuses a damaged one.
func (c Client) Takes(ctx context.Context, bucket string, f Framing) (taken bool, err error) {
	err = c.Probing(ctx, bucket, "", func(name string) error {
		taken, err = c.storesFramed(ctx, bucket, name, f)
		return err
	})
	return taken, err
}

func (c Client) storesFramed(ctx context.Context, bucket, name string, f Framing) (bool, error) {
	data := []byte("ssegw probe")
	send := func(damaged bool) error {
		o := Request{Method: http.MethodPut, Bucket: bucket, Key: name, Header: http.Header{}}
		o.Frame(bytes.NewReader(data), int64(len(data)), f, nil)
		if damaged {
			o.Body = &damage{o.Body, o.Size - 12}
		}
		resp, err := c.Send(ctx, o)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	err := send(false)
	if AnswerOf(err) != nil {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	stored, _, err := c.Get(ctx, bucket, name, 1<<10)
	if err != nil {
		return false, err
	}
	err = send(true)
	refused := AnswerOf(err) != nil || errors.Is(err, ErrUnavailable)
	if err != nil && !refused {
		return false, err
	}
	return refused && bytes.Equal(stored, data), nil
}

// damage changes the byte at one offset. The byte twelve bytes before the end
// of an encoded body is a digit of its last checksum or signature.
type damage struct {
	r  io.Reader
	at int64
}

func (d *damage) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if d.at >= 0 && d.at < int64(n) {
		if p[d.at] == '0' { // in hex, another digit whatever its case
			p[d.at] = '1'
		} else {
			p[d.at] = '0'
		}
	}
	d.at -= int64(n)
	return n, err
}

// GuardsMissing reports whether the store refuses a write under If-Match if
// there is no object. name must name no object. Afterwards there may be one.
func (c Client) GuardsMissing(ctx context.Context, bucket, name string) (bool, error) {
	_, err := c.Put(ctx, bucket, name, nil, http.Header{"If-Match": {`"` + strings.Repeat("0", TagDigits) + `"`}})
	if errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
		return false, err
	}
	status := StatusOf(err)
	return status == http.StatusPreconditionFailed || status == http.StatusNotFound, nil
}

// IgnoredCondition returns the header of a conditional write that the store
// does not honour: it writes to the existing object name although the condition
// fails, or answers with an error other than 409 and 412. It tries
// If-None-Match and If-Match, which the gateway's state needs, and returns ""
// if the store honours both. It writes the object first.
func (c Client) IgnoredCondition(ctx context.Context, bucket, name string) (string, error) {
	if _, err := c.Put(ctx, bucket, name, []byte("probe"), http.Header{}); err != nil && !LostRace(err) {
		return "", err
	}
	for _, condition := range [...]struct{ name, value string }{{"If-None-Match", "*"}, {"If-Match", AnotherTag}} {
		_, err := c.Put(ctx, bucket, name, []byte("again"), http.Header{condition.name: {condition.value}})
		if errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
			return "", err
		}
		if !LostRace(err) {
			return condition.name, nil
		}
	}
	return "", nil
}

// AnotherTag is an ETag that no probe has: it is the one of an empty object.
const AnotherTag = `"d41d8cd98f00b204e9800998ecf8427e"`

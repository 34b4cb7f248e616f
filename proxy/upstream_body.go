package proxy

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"time"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// probe finds the framing that the upstream takes, unless one is configured. A
// framing is taken when a right body is stored as it was sent and a wrong one
// is refused.
func (u *Upstream) probe(ctx context.Context, bucket string) error {
	if u.framing.configured != FramingAuto {
		return nil
	}
	chosen := FramingPlain
	for _, f := range []Framing{FramingTrailer, FramingSigned} {
		ok, err := u.takes(ctx, bucket, f)
		if err != nil {
			return err
		}
		if ok {
			chosen = f
			break
		}
	}
	u.framing.probed.Store(int32(chosen))
	return nil
}

// probeCleanup is how long the removal of a probe may take when the probing has run
// out of time.
const probeCleanup = 300 * time.Millisecond

// cleaningUp is the context for removing what was made under ctx, also when that
// has ended.
func cleaningUp(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := probeCleanup
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(timeout, time.Until(deadline))
	}
	return context.WithTimeout(context.WithoutCancel(ctx), timeout)
}

// probing calls f with the name of an object in bucket that nobody else uses, with an
// end, and removes the object afterwards, whatever happened.
func (u *Upstream) probing(ctx context.Context, bucket, end string, f func(name string) error) error {
	name := probePrefix + randomTag() + end
	err := f(name)
	ctx, cancel := cleaningUp(ctx)
	defer cancel()
	resp, left := u.expect(ctx, outgoing{method: http.MethodDelete, bucket: bucket, key: name})
	if left == nil {
		discard(resp)
	} else if err == nil {
		err = fmt.Errorf("removing %s: %w", name, left)
	}
	if err != nil {
		return fmt.Errorf("proxy: probing the upstream: %w", err)
	}
	return nil
}

// takes reports whether the upstream takes a framing.
func (u *Upstream) takes(ctx context.Context, bucket string, f Framing) (taken bool, err error) {
	err = u.probing(ctx, bucket, "", func(name string) error {
		taken, err = u.storesFramed(ctx, bucket, name, f)
		return err
	})
	return taken, err
}

func (u *Upstream) storesFramed(ctx context.Context, bucket, name string, f Framing) (bool, error) {
	data := []byte("ssegw probe")
	send := func(damaged bool) error {
		o := outgoing{method: http.MethodPut, bucket: bucket, key: name, header: http.Header{}}
		u.frame(&o, bytes.NewReader(data), int64(len(data)), f, nil)
		if damaged {
			o.body = &damage{o.body, o.size - 12}
		}
		resp, err := u.expect(ctx, o)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	var answered *upstreamError
	err := send(false)
	if errors.As(err, &answered) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	stored, _, err := u.get(ctx, bucket, name, 1<<10)
	if err != nil {
		return false, err
	}
	err = send(true)
	refused := errors.As(err, &answered) || errors.Is(err, errUpstream)
	if err != nil && !refused {
		return false, err
	}
	return refused && bytes.Equal(stored, data), nil
}

// damage changes the byte at one offset. Twelve bytes before the end of an
// encoded body lies a digit of its last checksum or signature.
type damage struct {
	r  io.Reader
	at int64
}

func (d *damage) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if d.at >= 0 && d.at < int64(n) {
		if p[d.at] == 'A' {
			p[d.at] = 'B'
		} else {
			p[d.at] = 'A'
		}
	}
	d.at -= int64(n)
	return n, err
}

// passedChecksum is a checksum of the client that travels on to the upstream
// as the trailer of a plaintext body.
type passedChecksum struct {
	name   string // of its header
	length int    // of the digest in bytes
	value  func() []byte
}

// frame makes src, size bytes, the body of o in framing f. A checksum of the
// client's takes the place of the CRC32C that the trailer otherwise carries.
func (u *Upstream) frame(o *outgoing, src io.Reader, size int64, f Framing, passed *passedChecksum) {
	switch f {
	case FramingTrailer:
		t := &trailerFrame{src: src, left: size, name: "x-amz-checksum-crc32c"}
		digest := crc32.Size
		if passed != nil {
			t.name, t.value, digest = passed.name, passed.value, passed.length
		} else {
			t.sum = crc32.New(castagnoli)
		}
		o.header.Set("X-Amz-Trailer", t.name)
		o.header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(size))
		o.body, o.size, o.hash = t, trailerFrameSize(size, t.name, digest), unsignedTrailer
	case FramingSigned:
		c := &chunkSigner{src: src, left: size}
		o.header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(size))
		o.body, o.size, o.hash, o.signed = c, signedFrameSize(size), signedChunks, c
	default:
		o.body, o.size, o.hash = &heldReader{src: src, left: size}, size, unsignedPayload
	}
}

// checksumText is a digest as checksum headers carry it.
func checksumText(digest []byte) string { return base64.StdEncoding.EncodeToString(digest) }

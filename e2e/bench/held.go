package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Held requests keep the gateway waiting for their clients: uploads that pause
// after their beginning, and downloads that are read slowly.
const (
	heldRequests = 1000
	heldAtOnce   = 32      // that begin at the same time
	heldSize     = 8 << 20 // bytes of each object
	heldBegin    = 2 << 20 // bytes of an upload before its pause
	heldTime     = 10 * time.Second
	slowPiece    = 64 << 10 // bytes of a download, a second

	heldBound    = 0.15 * mib // resident bytes for each request
	settledBound = 64 * mib   // resident bytes that may stay after a burst, while connections to the store are kept
	settleTime   = time.Minute
)

// measureHeld prints the gateway's memory while it waits for many clients, and
// how long it takes until the memory is gone. It returns an error if that is
// more than it should be.
func (r *rig) measureHeld(ctx context.Context) error {
	fmt.Fprintf(r.out, "\n### %d held requests, %s\n\n", heldRequests, sseKMS)
	fmt.Fprint(r.out, "| protocol | requests | MiB before | MiB while held | MiB each | peak MiB until all have ended | MiB after | gone after s |\n|---|---|--:|--:|--:|--:|--:|--:|\n")
	missed := 0
	for _, tls := range []bool{false, true} {
		s, err := r.side(ctx, tls)
		if err != nil {
			return err
		}
		hold, err := s.slowDownloads(ctx)
		if err != nil {
			return err
		}
		for _, row := range []struct {
			name string
			do   func(ctx context.Context, begun func(), release <-chan struct{}) error
		}{{"uploads, paused", s.heldUpload}, {"downloads, 64 KiB/s", hold}} {
			fmt.Fprintf(os.Stderr, "held: %s, %s\n", row.name, protocol(tls))
			h, err := s.hold(ctx, row.name+", "+protocol(tls), row.do)
			if err != nil {
				return fmt.Errorf("%s: %w", row.name, err)
			}
			each := float64(h.held-h.before) / heldRequests
			fmt.Fprintf(r.out, "| %s | %s | %d | %d | %.3f | %d | %d | %.0f |\n", protocol(tls), row.name, h.before/mib, h.held/mib, each/mib, h.peak/mib, h.after/mib, h.gone.Seconds())
			if each >= heldBound || h.after >= h.before+settledBound {
				missed++
			}
		}
	}
	if missed > 0 {
		return fmt.Errorf("%w: held requests took too much memory in %d cases", errLimit, missed)
	}
	return nil
}

// holding is the gateway's resident memory in bytes before, during and after a
// hold, and when it had fallen again.
type holding struct {
	before, held, peak, after int64
	gone                      time.Duration
}

// hold makes many requests that wait, releases them after heldTime, and watches
// the memory. do calls begun, once or more, when it waits for release.
func (s *side) hold(ctx context.Context, name string, do func(ctx context.Context, begun func(), release <-chan struct{}) error) (h holding, err error) {
	if err := s.gateway.ResetPeak(); err != nil {
		return h, err
	}
	u, err := s.gateway.Usage()
	if err != nil {
		return h, err
	}
	h.before = u.RSS
	begun, release := make(chan struct{}, heldRequests), make(chan struct{})
	beginning := make(chan struct{}, heldAtOnce)
	g, gctx := errgroup.WithContext(ctx)
	for range heldRequests {
		g.Go(func() error {
			select {
			case beginning <- struct{}{}:
			case <-gctx.Done():
				return nil // the error is that of another request
			}
			return do(gctx, sync.OnceFunc(func() { <-beginning; begun <- struct{}{} }), release)
		})
	}
	g.Go(func() error {
		defer close(release)
		for range heldRequests {
			select {
			case <-begun:
			case <-gctx.Done():
				return nil // the error is that of the request
			}
		}
		time.Sleep(heldTime)
		u, err := s.gateway.Usage()
		if h.held = u.RSS; err != nil || s.options.profile == "" {
			return err
		}
		return s.fetchPprof(ctx, "heap", filepath.Join(s.options.profile, fmt.Sprintf("held-%s.pprof", strings.NewReplacer(" ", "-", ",", "", "/", "").Replace(name))))
	})
	if err := g.Wait(); err != nil {
		return h, err
	}
	s.through().client.transport.CloseIdleConnections()
	end := time.Now()
	for h.gone = 0; h.gone < settleTime; h.gone = time.Since(end) {
		if u, err = s.gateway.Usage(); err != nil {
			return h, err
		}
		h.peak, h.after = u.PeakRSS, u.RSS
		if h.after < h.before+settledBound {
			break
		}
		time.Sleep(time.Second)
	}
	return h, ctx.Err()
}

// heldUpload uploads an object and pauses after its beginning.
func (s *side) heldUpload(ctx context.Context, begun func(), release <-chan struct{}) error {
	return heldUpload(ctx, s.through().client, begun, release)
}

func heldUpload(ctx context.Context, c *client, begun func(), release <-chan struct{}) error {
	body := content{size: heldSize}
	return c.call(ctx, request{
		method: http.MethodPut, bucket: sseKMS.bucket(), key: discarded + "held", body: body,
		reader: &pausedReader{Reader: body.reader(), left: heldBegin, pause: func() { begun(); <-release }},
	})
}

// pausedReader calls pause once, after left bytes.
type pausedReader struct {
	io.Reader
	left  int
	pause func()
}

func (r *pausedReader) Read(p []byte) (int, error) {
	if r.pause == nil {
		return r.Reader.Read(p)
	}
	if r.left == 0 {
		r.pause()
		r.pause = nil
		return r.Reader.Read(p)
	}
	n, err := r.Reader.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}

// slowDownloads uploads an object and returns a download of it that reads
// slowly until release, and then as fast as it can. Little of the object fits
// into the buffers of its connection.
func (s *side) slowDownloads(ctx context.Context) (func(ctx context.Context, begun func(), release <-chan struct{}) error, error) {
	object, body := request{bucket: sseKMS.bucket(), key: "get/slow"}, newContent(heldSize)
	if err := s.through().client.put(ctx, object, body); err != nil {
		return nil, err
	}
	client := *s.through().client
	client.transport = client.transport.Clone()
	client.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if tcp, ok := c.(*net.TCPConn); ok {
			err = tcp.SetReadBuffer(slowPiece)
		}
		return c, err
	}
	client.transport.DisableKeepAlives = true
	return func(ctx context.Context, begun func(), release <-chan struct{}) error {
		slow := func() {
			begun()
			select {
			case <-release:
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
		return client.getThrough(ctx, object, body, func(r io.Reader) io.Reader { return &slowReader{r, slow} })
	}, nil
}

// slowReader pauses before each piece.
type slowReader struct {
	io.Reader
	pause func()
}

func (r *slowReader) Read(p []byte) (int, error) {
	r.pause()
	return r.Reader.Read(p[:min(len(p), slowPiece)])
}

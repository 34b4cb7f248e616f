package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

const (
	http2Body  = 64 << 20 // bytes of one transfer
	http2Piece = 128 << 10
)

// BenchmarkHTTP2 compares HTTP/2 with HTTP/1.1, both over TLS, in Go's own
// client and server, without a gateway: what no gateway built on them can
// exceed. The ratio is that of the CPU time of both ends together, in medians.
// The server allows frames of 1 MiB, as the gateway does. Clients allow 16 KiB
// unless they are told otherwise, which limits downloads.
func BenchmarkHTTP2(b *testing.B) {
	for _, tt := range []struct {
		name   string
		upload bool
		frames int // that the client allows; 0: its default
	}{{"upload", true, 0}, {"download", false, 0}, {"download-1MiB-frames", false, 1 << 20}} {
		b.Run(tt.name, func(b *testing.B) {
			first, second := transferrer(b, false, tt.upload, 0), transferrer(b, true, tt.upload, tt.frames)
			var one, two []float64
			for b.Loop() {
				one, two = append(one, first()), append(two, second())
			}
			slices.Sort(one)
			slices.Sort(two)
			b.ReportMetric(two[len(two)/2]/one[len(one)/2], "ratio")
		})
	}
}

// transferrer returns a function that moves a body and returns the CPU seconds
// that it took.
func transferrer(b *testing.B, http2, upload bool, frames int) func() float64 {
	b.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if upload {
			_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, make([]byte, http2Piece))
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(http2Body))
		piece := make([]byte, http2Piece)
		for range http2Body / http2Piece {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}))
	server.EnableHTTP2 = http2
	server.Config.HTTP2 = &http.HTTP2Config{MaxReadFrameSize: 1 << 20, MaxReceiveBufferPerStream: 4 << 20, MaxReceiveBufferPerConnection: 16 << 20}
	server.StartTLS()
	b.Cleanup(server.Close)
	client := server.Client()
	client.Transport.(*http.Transport).HTTP2 = &http.HTTP2Config{MaxReadFrameSize: frames}
	return func() float64 {
		before, err := ownCPU()
		if err != nil {
			b.Fatal(err)
		}
		method, body := http.MethodGet, io.Reader(nil)
		if upload {
			method, body = http.MethodPut, io.LimitReader(zeros{}, http2Body)
		}
		req, err := http.NewRequestWithContext(b.Context(), method, server.URL, body)
		if err != nil {
			b.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, make([]byte, http2Piece))
		_ = resp.Body.Close()
		if err != nil || resp.ProtoMajor == 2 != http2 || !upload && n != http2Body {
			b.Fatalf("%d bytes over %s: %v", n, resp.Proto, err)
		}
		after, err := ownCPU()
		if err != nil {
			b.Fatal(err)
		}
		return (after - before).Seconds()
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"ssegw/sealer"
)

// copySize is the size in bytes of the buffers that bodies pass through: two
// sealed packages and room for the framing around them, so that a package is
// sealed or opened straight into the buffer it leaves the process from.
const copySize = 2*(sealer.PackageSize+sealer.PackageOverhead) + 256

var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// newTransport returns the transport to the upstream: HTTP/1.1, because one
// body per connection is what large transfers want, no proxy from the
// environment, no redirects (a RoundTripper follows none) and no gzip. A
// connection that stands still for idle is given up, and a request that is not
// answered within answer of its end.
func newTransport(cfg UpstreamConfig, idle, answer time.Duration) *http.Transport {
	dial := cfg.dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &bodyConn{Conn: c, idle: idle, ended: make(chan struct{})}, nil
		},
		TLSClientConfig:       cfg.TLS,
		TLSHandshakeTimeout:   tlsHandshakeTimeout,
		ResponseHeaderTimeout: answer,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true,
		MaxIdleConns:          512,
		MaxIdleConnsPerHost:   512,
		MaxConnsPerHost:       cfg.MaxConns,
		IdleConnTimeout:       60 * time.Second,
	}
}

// bodyConn gives up when the upstream stands still, which no timeout of
// net/http notices in the middle of a body. It also gives net/http a ReadFrom
// that copies request bodies in buffers of copySize instead of 32 KiB, which
// would cut every sealed package in two.
type bodyConn struct {
	net.Conn
	idle  time.Duration
	ended chan struct{} // closed when there is nothing more to read
	end   sync.Once
}

func (c *bodyConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if err != nil {
		c.stop()
	}
	return n, err
}

// Write renews the deadline of the read that waits for the answer, too: an
// upload may take longer than the upstream's silence.
//
// A store that refuses a write may answer before it has read the body, and close.
// net/http takes the first of the two that it hears about, the answer and the
// write that fails. So a failure is reported only when the answer has been read.
func (c *bodyConn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	if err != nil {
		<-c.ended // by the deadline of the read under way, or the handshake's, at the latest
	}
	return n, err
}

// Close lets a write that waits go.
func (c *bodyConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

func (c *bodyConn) stop() { c.end.Do(func() { close(c.ended) }) }

func (c *bodyConn) ReadFrom(r io.Reader) (int64, error) {
	return copyBody(c, r)
}

// copyBody copies src to dst with a pooled buffer, whatever shortcuts the two
// offer, and returns the bytes written and the first error that is not io.EOF.
func copyBody(dst io.Writer, src io.Reader) (int64, error) {
	buf := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buf)
	var written int64
	for {
		n, err := src.Read(buf[:])
		if n > 0 {
			m, werr := dst.Write(buf[:n])
			written += int64(m)
			if werr != nil {
				return written, werr
			}
		}
		if err == io.EOF {
			return written, nil
		}
		if err != nil {
			return written, err
		}
	}
}

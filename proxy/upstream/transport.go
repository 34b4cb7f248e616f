package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// CopySize is the size in bytes of the buffers that fast bodies pass through;
// see [CopyBody]. It has room for two sealed packages and their framing, so
// packages are sealed and opened in the buffer that is sent.
const CopySize = 2*SealedUnit + 256

// CopyBuffers holds buffers of CopySize bytes, as *[CopySize]byte.
var CopyBuffers = sync.Pool{New: func() any { return new([CopySize]byte) }}

// smallMessage is the size in bytes of a connection's buffers for headers. It
// has room for a small object too, which then takes one system call.
const smallMessage = 8 << 10

// newTransport returns a transport to the store. It uses HTTP/1.1, because
// large transfers need a connection for each body, and neither a proxy from the
// environment nor gzip. It closes a connection that passes no byte for idle,
// and fails a request that is not answered within answer of its end.
func newTransport(cfg Config, idle, answer time.Duration) *http.Transport {
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	}
	connect := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &bodyConn{Conn: c, idle: idle, ended: make(chan struct{})}, nil
	}
	return &http.Transport{
		DialContext: connect,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := connect(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return encrypt(ctx, c, cfg.TLS)
		},
		ResponseHeaderTimeout: answer,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true,
		ReadBufferSize:        smallMessage,
		WriteBufferSize:       smallMessage,
		MaxIdleConnsPerHost:   cmp.Or(cfg.MaxConns, 512), // all that were in use: a new one costs more than a small request
		MaxConnsPerHost:       cfg.MaxConns,
		IdleConnTimeout:       60 * time.Second,
	}
}

// encrypt begins TLS on a connection. net/http could do that, too, but would
// then copy bodies to the connection in its own way; see bodyConn.
func encrypt(ctx context.Context, c net.Conn, conf *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, tlsHandshakeTimeout)
	defer cancel()
	encrypted := tls.Client(c, conf)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return tlsConn{encrypted}, nil
}

// tlsConn copies request bodies like bodyConn.
type tlsConn struct{ *tls.Conn }

func (c tlsConn) ReadFrom(r io.Reader) (int64, error) { return CopyBody(c.Conn, r) }

// bodyConn fails when the store passes no byte for idle: net/http has no
// timeout for the middle of a body. Its ReadFrom makes net/http copy request
// bodies with [CopyBody]. The buffers of net/http have 32 KiB and would split
// every sealed package.
type bodyConn struct {
	net.Conn
	idle  time.Duration
	ended chan struct{} // closed when nothing more can be read
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

// Write also renews the deadline of the read that waits for the answer, because
// an upload can take longer than idle.
//
// A store that refuses a request may answer and close the connection before it
// has read the body. net/http returns the first of the two: the answer or the
// failed write. So Write returns its failure only after the answer was read.
func (c *bodyConn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	if err != nil {
		<-c.ended // at the latest when the deadline of the read or of the TLS handshake passes
	}
	return n, err
}

// Close also ends the wait of a failed Write.
func (c *bodyConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

func (c *bodyConn) stop() { c.end.Do(func() { close(c.ended) }) }

func (c *bodyConn) ReadFrom(r io.Reader) (int64, error) {
	return CopyBody(c, r)
}

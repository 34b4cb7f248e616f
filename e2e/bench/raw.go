package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// A rawClient sends one request again and again, signed once, with as little
// work as possible. A load that the gateway cannot serve should not take the
// CPUs that the gateway needs.
type rawClient struct {
	address string
	tls     *tls.Config // nil: http
	method  string
	request []byte // as it goes over the connection

	mu   sync.Mutex
	idle []*rawConn
}

type rawConn struct {
	net.Conn
	in *bufio.Reader
}

// rawTimeout is how long a client waits for an answer.
const rawTimeout = 30 * time.Second

// raw returns a client that repeats the request r.
func (c *client) raw(ctx context.Context, r request) (*rawClient, error) {
	req, err := c.sign(ctx, r)
	if err != nil {
		return nil, err
	}
	to, err := url.Parse(c.endpoint)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := req.Write(&b); err != nil {
		return nil, err
	}
	raw := &rawClient{address: to.Host, method: r.method, request: b.Bytes()}
	if to.Scheme == "https" {
		raw.tls = c.transport.TLSClientConfig.Clone()
		raw.tls.ServerName = to.Hostname()
	}
	return raw, nil
}

// do sends the request. The error is an [*answerError] if it was refused.
func (c *rawClient) do(ctx context.Context) error {
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	kept := false
	defer func() {
		if !kept {
			_ = conn.Close()
		}
	}()
	if err := conn.SetDeadline(time.Now().Add(rawTimeout)); err != nil {
		return err
	}
	if _, err := conn.Write(c.request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(conn.in, &http.Request{Method: c.method})
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		err = refused(request{method: c.method}, resp)
	} else if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if kept = !resp.Close; kept {
		c.mu.Lock()
		c.idle = append(c.idle, conn)
		c.mu.Unlock()
	}
	return err
}

// connect returns the connection that was used last, or a new one.
func (c *rawClient) connect(ctx context.Context) (*rawConn, error) {
	c.mu.Lock()
	if n := len(c.idle); n > 0 {
		conn := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		return conn, nil
	}
	c.mu.Unlock()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.address)
	if err != nil {
		return nil, err
	}
	if c.tls != nil {
		conn = tls.Client(conn, c.tls)
	}
	return &rawConn{conn, bufio.NewReader(conn)}, nil
}

// close closes the idle connections.
func (c *rawClient) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.idle {
		_ = conn.Close()
	}
	c.idle = nil
}

// errorCode returns the code of an S3 error document, "" for other documents.
func errorCode(text []byte) string {
	var document struct{ Code string }
	_ = xml.Unmarshal(text, &document)
	return document.Code
}

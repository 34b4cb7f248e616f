package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"ssegw/e2e/stack"
)

const (
	bucket          = "bench"
	unsignedPayload = "UNSIGNED-PAYLOAD"

	// bufferSize is the length in bytes of this program's buffers for bodies.
	// It is large, so that client, sink and bare proxy cost little.
	bufferSize = 128 << 10
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	buffers    = sync.Pool{New: func() any { return new([bufferSize]byte) }}
)

// client sends signed S3 requests with unsigned bodies, which is the least work
// for a client over http. It is safe for concurrent use.
type client struct {
	endpoint    string
	credentials aws.Credentials
	signer      *v4.Signer
	transport   *http.Transport
}

func newClient(endpoint, accessKey, secretKey string) *client {
	return &client{
		endpoint:    endpoint,
		credentials: aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey},
		signer:      v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }),
		transport:   newTransport(),
	}
}

// newTransport returns a transport that sends bodies in large pieces.
func newTransport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			return largeWrites{c}, err
		},
		DisableCompression:  true,
		MaxIdleConnsPerHost: 64,
	}
}

// largeWrites gives net/http a ReadFrom with larger buffers than its own.
type largeWrites struct{ net.Conn }

func (c largeWrites) ReadFrom(r io.Reader) (int64, error) { return copyLarge(c.Conn, r) }

// copyLarge copies src to dst through one pooled buffer.
func copyLarge(dst io.Writer, src io.Reader) (int64, error) {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, buf[:])
}

// errContent means that an object has changed since it was stored.
var errContent = errors.New("bench: object changed")

// makeBucket makes the bucket that all targets share.
func (c *client) makeBucket(ctx context.Context) error {
	resp, err := c.send(ctx, http.MethodPut, "", content{})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// put stores an object.
func (c *client) put(ctx context.Context, key string, body content) error {
	resp, err := c.send(ctx, http.MethodPut, key, body)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// get reads an object and compares it with the expected content.
func (c *client) get(ctx context.Context, key string, want content) error {
	resp, err := c.send(ctx, http.MethodGet, key, content{})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	sum := crc32.New(castagnoli)
	n, err := copyLarge(sum, resp.Body)
	if err != nil {
		return fmt.Errorf("reading %s: %w", key, err)
	}
	if n != want.size || sum.Sum32() != want.sum {
		return fmt.Errorf("%w: %s has %d bytes with CRC32C %08x, want %d with %08x", errContent, key, n, sum.Sum32(), want.size, want.sum)
	}
	return nil
}

// send sends one request. The status of the answer is 200. The caller closes
// its body.
func (c *client) send(ctx context.Context, method, key string, body content) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.endpoint+"/"+bucket+"/"+key, nil)
	if err != nil {
		return nil, err
	}
	if body.size > 0 {
		req.Body, req.ContentLength = io.NopCloser(body.reader()), body.size
	}
	req.Header.Set("X-Amz-Content-Sha256", unsignedPayload)
	if err := c.signer.SignHTTP(ctx, c.credentials, req, unsignedPayload, "s3", stack.Region, time.Now()); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		return nil, fmt.Errorf("%s %s: %s %s", method, req.URL.Path, resp.Status, strings.TrimSpace(string(text)))
	}
	return resp, nil
}

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
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
	sealing     http.Header // of each PUT of an object
}

// newClient returns a client of an endpoint. ca is a file with the certificates
// to trust, "" for http.
func newClient(endpoint, accessKey, secretKey, ca string, http2 bool) (*client, error) {
	transport, err := newTransport(ca, http2)
	if err != nil {
		return nil, err
	}
	return &client{
		endpoint:    endpoint,
		credentials: aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey},
		signer:      v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }),
		transport:   transport,
	}, nil
}

// newTransport returns a transport that sends bodies in large pieces. ca is a
// file with the certificates to trust; "" means those of the system. With http2
// it speaks only HTTP/2 over https.
func newTransport(ca string, http2 bool) (*http.Transport, error) {
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			return largeWrites{c}, err
		},
		DisableCompression:  true,
		MaxIdleConnsPerHost: 64,
	}
	if http2 {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetHTTP2(true)
	}
	if ca == "" {
		return t, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	t.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate", ca)
	}
	return t, nil
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

// makeBucket makes a bucket.
func (c *client) makeBucket(ctx context.Context, bucket string) error {
	resp, err := c.send(ctx, http.MethodPut, bucket, "", "", content{})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// put stores an object.
func (c *client) put(ctx context.Context, key string, body content) error {
	return c.putIn(ctx, bucket, key, body)
}

func (c *client) putIn(ctx context.Context, bucket, key string, body content) error {
	resp, err := c.send(ctx, http.MethodPut, bucket, key, "", body)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// get reads an object and compares it with the expected content.
func (c *client) get(ctx context.Context, key string, want content) error {
	return c.read(ctx, key, "", want)
}

// getRange reads the middle of an object of the size of whole, with the length
// of want, which begins at a multiple of the content's block.
func (c *client) getRange(ctx context.Context, key string, whole, want content) error {
	first := whole.size / 2 / int64(len(block)) * int64(len(block))
	return c.read(ctx, key, fmt.Sprintf("bytes=%d-%d", first, first+want.size-1), want)
}

// head asks for the headers of an object.
func (c *client) head(ctx context.Context, key string) error {
	resp, err := c.send(ctx, http.MethodHead, bucket, key, "", content{})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// list lists a bucket of n objects.
func (c *client) list(ctx context.Context, bucket string, n int) error {
	resp, err := c.send(ctx, http.MethodGet, bucket, "?list-type=2", "", content{})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if got := bytes.Count(page, []byte("<Contents>")); err == nil && got != n {
		err = fmt.Errorf("%w: a page of %d objects, want %d", errContent, got, n)
	}
	return err
}

func (c *client) read(ctx context.Context, key, ranged string, want content) error {
	resp, err := c.send(ctx, http.MethodGet, bucket, key, ranged, content{})
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

// send sends one request, with a Range header unless ranged is "". key may end
// in a query. The status of the answer is 200 or 206. The caller closes its
// body.
func (c *client) send(ctx context.Context, method, bucket, key, ranged string, body content) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.endpoint+"/"+bucket+"/"+key, nil)
	if err != nil {
		return nil, err
	}
	if body.size > 0 {
		req.Body, req.ContentLength = io.NopCloser(body.reader()), body.size
	}
	req.Header.Set("X-Amz-Content-Sha256", unsignedPayload)
	if body.size > 0 {
		maps.Copy(req.Header, c.sealing)
	}
	if ranged != "" {
		req.Header.Set("Range", ranged)
	}
	if err := c.signer.SignHTTP(ctx, c.credentials, req, unsignedPayload, "s3", stack.Region, time.Now()); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		return nil, fmt.Errorf("%s %s: %s %s", method, req.URL.Path, resp.Status, strings.TrimSpace(string(text)))
	}
	return resp, nil
}

package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"ssegw/e2e/stack"
)

const (
	// bufferSize is the length in bytes of this program's buffers for bodies.
	// It is large, so that client, sink and bare proxy cost little.
	bufferSize = 128 << 10
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	buffers    = sync.Pool{New: func() any { return new([bufferSize]byte) }}
)

// client sends signed S3 requests. It is safe for concurrent use.
type client struct {
	endpoint    string
	credentials aws.Credentials
	signer      *v4.Signer
	transport   *http.Transport
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
		MaxIdleConnsPerHost: 8192,
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

// A request is what a client sends.
type request struct {
	method   string
	bucket   string
	key      string
	query    string      // without the question mark
	header   http.Header // further headers
	payload  payload     // of the body; "": unsigned
	body     content
	reader   io.Reader // of the body; nil: the content's own
	document string    // the body, if it is not "" and body is empty
}

// An answerError is an answer that refuses a request.
type answerError struct {
	status int
	code   string        // of S3, "" if there is none
	after  time.Duration // when the client should try again, 0 if the answer does not tell
	what   string
}

func (e *answerError) Error() string { return e.what }

// put stores an object.
func (c *client) put(ctx context.Context, r request, body content) error {
	r.method, r.body = http.MethodPut, body
	return c.call(ctx, r)
}

// get reads an object, or a range of it, and compares it with the expected
// content.
func (c *client) get(ctx context.Context, r request, want content) error {
	return c.getThrough(ctx, r, want, func(body io.Reader) io.Reader { return body })
}

// getThrough is get with a reader between the answer and the comparison.
func (c *client) getThrough(ctx context.Context, r request, want content, through func(io.Reader) io.Reader) error {
	r.method = http.MethodGet
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	sum := crc32.New(castagnoli)
	n, err := copyLarge(sum, through(resp.Body))
	if err != nil {
		return fmt.Errorf("reading %s: %w", r.key, err)
	}
	if n != want.size || sum.Sum32() != want.sum {
		return fmt.Errorf("%w: %s has %d bytes with CRC32C %08x, want %d with %08x", errContent, r.key, n, sum.Sum32(), want.size, want.sum)
	}
	return nil
}

// list lists a bucket of n objects.
func (c *client) list(ctx context.Context, bucket string, n int) error {
	resp, err := c.send(ctx, request{method: http.MethodGet, bucket: bucket, query: "list-type=2"})
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

// document sends a request and decodes the document of the answer.
func (c *client) document(ctx context.Context, r request, into any) error {
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return xml.NewDecoder(resp.Body).Decode(into)
}

// call sends a request and reads the answer to its end.
func (c *client) call(ctx context.Context, r request) error {
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// send sends one request. The status of the answer is below 300; otherwise the
// error is an [*answerError]. The caller closes the body of the answer.
func (c *client) send(ctx context.Context, r request) (*http.Response, error) {
	req, err := c.sign(ctx, r)
	if err != nil {
		return nil, err
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return nil, refused(r, resp)
	}
	return resp, nil
}

// sign makes a signed request.
func (c *client) sign(ctx context.Context, r request) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, c.endpoint+"/"+r.bucket+"/"+r.key, nil)
	if err != nil {
		return nil, err
	}
	req.URL.RawQuery = r.query
	maps.Copy(req.Header, r.header)
	reader, hash, now := r.reader, string(cmp.Or(r.payload, unsigned)), time.Now()
	var frame func(secretKey string, at time.Time) io.Reader
	switch {
	case r.body.size > 0:
		if reader == nil {
			reader = r.body.reader()
		}
		req.ContentLength = r.body.size
		switch r.payload {
		case signed:
			hash = r.body.sha256()
		case signedChunks, trailer:
			frame = r.payload.frame(req, r.body, reader)
		}
	case r.document != "":
		reader, req.ContentLength = strings.NewReader(r.document), int64(len(r.document))
		fallthrough
	default:
		hash = string(unsigned)
	}
	req.Header.Set("X-Amz-Content-Sha256", hash)
	if err := c.signer.SignHTTP(ctx, c.credentials, req, hash, "s3", stack.Region, now); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	if frame != nil {
		reader = frame(c.credentials.SecretAccessKey, now)
	}
	if reader != nil {
		req.Body = io.NopCloser(reader)
	}
	return req, nil
}

// refused returns the error of an answer and closes it.
func refused(r request, resp *http.Response) *answerError {
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return &answerError{
		status: resp.StatusCode, code: errorCode(text), after: time.Duration(seconds) * time.Second,
		what: fmt.Sprintf("%s /%s/%s: %s %s", r.method, r.bucket, r.key, resp.Status, strings.TrimSpace(string(text[:min(len(text), 1024)]))),
	}
}

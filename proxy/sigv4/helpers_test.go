package sigv4

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	testKey    = "AKIAIOSFODNN7EXAMPLE"
	testSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	testRegion = "us-east-1"
	testHost   = "gw.example.com:9000"

	modeSigned          = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	modeSignedTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	modeUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

var testTime = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func testVerifier() *Verifier { return verifierAt(testTime) }

func verifierAt(now time.Time) *Verifier {
	return New(Config{
		Region: testRegion,
		Secret: func(accessKey string) (string, bool) { return testSecret, accessKey == testKey },
		Now:    func() time.Time { return now },
	})
}

// newTestRequest returns an unsigned client request. headers are name and value
// pairs.
func newTestRequest(t testing.TB, method, target, body string, headers ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+testHost+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	return req
}

func sdkSigner() *v4.Signer {
	return v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
}

func credentials(secret string) aws.Credentials {
	return aws.Credentials{AccessKeyID: testKey, SecretAccessKey: secret}
}

// signHeader signs with the SDK's signer. The payload line is the
// x-amz-content-sha256 header, which signHeader sets if it is absent.
func signHeader(t testing.TB, req *http.Request, payload string) {
	t.Helper()
	if req.Header.Get(headerContentSHA256) == "" {
		req.Header.Set(headerContentSHA256, payload)
	}
	if err := sdkSigner().SignHTTP(t.Context(), credentials(testSecret), req, payload, serviceS3, testRegion, testTime); err != nil {
		t.Fatal(err)
	}
}

// presign returns the request presigned at the given time for a number of
// seconds.
func presign(t testing.TB, req *http.Request, at time.Time, expires string) *http.Request {
	t.Helper()
	query := req.URL.Query()
	query.Set(paramExpires, expires)
	req.URL.RawQuery = query.Encode()
	signed, header, err := sdkSigner().PresignHTTP(t.Context(), credentials(testSecret), req, unsignedPayload, serviceS3, testRegion, at)
	if err != nil {
		t.Fatal(err)
	}
	out := newTestRequest(t, req.Method, "/", "")
	if out.URL, err = url.Parse(signed); err != nil {
		t.Fatal(err)
	}
	header.Del("Host")
	out.Header = header
	return out
}

// received returns the request as a server sees it.
func received(t testing.TB, req *http.Request) *Request {
	t.Helper()
	query, err := url.ParseQuery(req.URL.RawQuery)
	if err != nil {
		t.Fatal(err)
	}
	return &Request{
		Method: req.Method, Path: req.URL.Path, Query: query, Header: req.Header.Clone(), Host: req.Host,
		ContentLength: req.ContentLength,
	}
}

// put returns a signed PUT of body in the given payload mode, as the server
// sees it.
func put(t testing.TB, payload, body string, headers ...string) *Request {
	t.Helper()
	req := newTestRequest(t, http.MethodPut, "/bucket/key", body, headers...)
	signHeader(t, req, payload)
	return received(t, req)
}

func hexSHA256(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func digest(t testing.TB, algorithm, body string) string {
	t.Helper()
	h, ok := NewHash(algorithm)
	if !ok {
		t.Fatalf("no algorithm %s", algorithm)
	}
	io.WriteString(h, body)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func code(err error) string {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code
	}
	return "not an *Error: " + err.Error()
}

// readBody verifies r and reads its body. It returns the bytes it got, even if
// an error followed.
func readBody(t testing.TB, r *Request, raw string) (string, *Body, error) {
	t.Helper()
	auth, err := testVerifier().Verify(r)
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	body, err := auth.Body(strings.NewReader(raw))
	if err != nil {
		return "", nil, err
	}
	data, err := io.ReadAll(body)
	return string(data), body, err
}

// chunker frames bodies as a client does. It shares no code with the package.
type chunker struct {
	seed string // signature of the request; chunks are unsigned if it is ""
	out  bytes.Buffer
}

func refMAC(key []byte, parts ...string) []byte {
	for _, part := range parts {
		h := hmac.New(sha256.New, key)
		io.WriteString(h, part)
		key = h.Sum(nil)
	}
	return key
}

func (c *chunker) sign(kind, rest string) string {
	day := testTime.Format("20060102")
	text := fmt.Sprintf("AWS4-HMAC-SHA256-%s\n%s\n%s/us-east-1/s3/aws4_request\n%s\n%s",
		kind, testTime.Format("20060102T150405Z"), day, c.seed, rest)
	c.seed = hex.EncodeToString(refMAC([]byte("AWS4"+testSecret), day, testRegion, "s3", "aws4_request", text))
	return c.seed
}

func (c *chunker) header(data string) {
	fmt.Fprintf(&c.out, "%x", len(data))
	if c.seed != "" {
		fmt.Fprintf(&c.out, ";chunk-signature=%s", c.sign("PAYLOAD", hexSHA256("")+"\n"+hexSHA256(data)))
	}
	c.out.WriteString("\r\n")
}

func (c *chunker) data(chunks ...string) *chunker {
	for _, chunk := range chunks {
		c.header(chunk)
		c.out.WriteString(chunk + "\r\n")
	}
	return c
}

func (c *chunker) end() string {
	c.header("")
	return c.out.String() + "\r\n"
}

func (c *chunker) trailer(name, value string) string {
	c.header("")
	c.out.WriteString(name + ":" + value + "\r\n")
	if c.seed != "" {
		c.out.WriteString("x-amz-trailer-signature:" + c.sign("TRAILER", hexSHA256(name+":"+value+"\n")) + "\r\n")
	}
	return c.out.String() + "\r\n"
}

// framed returns a signed request in a framed mode, and the chunker for its
// body.
func framed(t testing.TB, mode string, decoded int, headers ...string) (*Request, *chunker) {
	t.Helper()
	headers = append(headers, "X-Amz-Decoded-Content-Length", fmt.Sprint(decoded), "Content-Encoding", "aws-chunked")
	r := put(t, mode, "", headers...)
	r.ContentLength = -1
	c := &chunker{}
	if mode != modeUnsignedTrailer {
		_, c.seed, _ = strings.Cut(r.Header.Get("Authorization"), "Signature=")
	}
	return r, c
}

func cloneRequest(r *Request) *Request {
	c := *r
	c.Header = r.Header.Clone()
	c.Query = maps.Clone(r.Query)
	return &c
}

package proxy

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/upstream"
)

// How a client sends a body: the values of x-amz-content-sha256, except
// modeHash, which is the SHA-256 itself.
const (
	modeHash          = ""
	modeUnsigned      = "UNSIGNED-PAYLOAD"
	modeTrailer       = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	modeSigned        = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	modeSignedTrailer = modeSigned + "-TRAILER"
)

// emptyHash is the SHA-256 of an empty body.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// clientRequest is a request as a client makes it.
type clientRequest struct {
	method, path string // path: "/bucket/key", not escaped
	query        url.Values
	header       http.Header
	body         []byte
	mode         string // how the body is sent
	algorithm    string // of the trailing checksum; CRC32 without it
	chunk        int    // data bytes of a chunk; 100,000 without it
	anonymous    bool
	as           *Credential // who signs; nil: the root credential
	region       string      // that the request is signed for; clientRegion without it

	decoded int64               // announced decoded length, where it is not that of body
	spoil   func([]byte) []byte // changes the encoded body after it was signed, not its length
	tamper  func(*http.Request) // changes the request after it was signed
	cut     int                 // ends the connection after so many bytes of the encoded body
}

func (c *clientRequest) signedRegion() string { return cmp.Or(c.region, clientRegion) }

// clientAnswer is what a client sees of an answer.
type clientAnswer struct {
	status int
	code   string // of an S3 error
	header http.Header
	body   []byte
	err    error // of a connection that broke, before or in the answer
}

// headers makes a header of name, value pairs.
func headers(pairs ...string) http.Header {
	h := http.Header{}
	for p := range slices.Chunk(pairs, 2) {
		h.Add(p[0], p[1])
	}
	return h
}

func (g *testGateway) put(path string, body []byte, pairs ...string) clientAnswer {
	g.t.Helper()
	return g.do(clientRequest{method: http.MethodPut, path: path, body: body, header: headers(pairs...)})
}

func (g *testGateway) get(path string, pairs ...string) clientAnswer {
	g.t.Helper()
	return g.do(clientRequest{method: http.MethodGet, path: path, header: headers(pairs...)})
}

func (g *testGateway) head(path string, pairs ...string) clientAnswer {
	g.t.Helper()
	return g.do(clientRequest{method: http.MethodHead, path: path, header: headers(pairs...)})
}

func (g *testGateway) delete(path string, pairs ...string) clientAnswer {
	g.t.Helper()
	return g.do(clientRequest{method: http.MethodDelete, path: path, header: headers(pairs...)})
}

// listed is an entry of a listing.
type listed struct {
	Key               string
	ETag              string
	Size              int64
	ChecksumAlgorithm []string
	ChecksumType      string
}

// list lists a bucket; the query chooses the operation.
func (g *testGateway) list(bucket, query string) []listed {
	g.t.Helper()
	q, err := url.ParseQuery(query)
	if err != nil {
		g.t.Fatal(err)
	}
	r := g.do(clientRequest{method: http.MethodGet, path: "/" + bucket, query: q})
	r.want(g.t, 200, "")
	var doc struct {
		Contents []listed
		Version  []listed
	}
	if err := xml.Unmarshal(r.body, &doc); err != nil {
		g.t.Fatal(err)
	}
	return append(doc.Contents, doc.Version...)
}

// do signs and sends a request and reads the answer to its end.
func (g *testGateway) do(c clientRequest) clientAnswer {
	g.t.Helper()
	if c.cut > 0 {
		return g.sendCut(c)
	}
	resp, err := g.http.Do(g.request(c))
	return readAnswer(resp, err)
}

func readAnswer(resp *http.Response, err error) clientAnswer {
	if err != nil {
		return clientAnswer{err: err}
	}
	defer resp.Body.Close()
	a := clientAnswer{status: resp.StatusCode, header: resp.Header}
	a.body, a.err = readAll(resp.Body, resp.ContentLength)
	if resp.StatusCode >= 300 {
		var doc struct{ Code string }
		if xml.Unmarshal(a.body, &doc) == nil {
			a.code = doc.Code
		}
	}
	return a
}

// readAll is io.ReadAll into a buffer that need not grow where the size is
// known. Large bodies take much longer in buffers that do, with the race
// detector above all.
func readAll(r io.Reader, size int64) ([]byte, error) {
	b := make([]byte, 0, min(max(size, 0), 32<<20)+512)
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		if b = b[:len(b)+n]; err == io.EOF {
			return b, nil
		} else if err != nil {
			return b, err
		}
	}
}

// newBuffer returns a buffer with room for size bytes. Unlike Grow it does not
// look at them, which with the race detector takes as long as writing them.
func newBuffer(size int) *bytes.Buffer { return bytes.NewBuffer(make([]byte, 0, size)) }

// request makes the signed request.
func (g *testGateway) request(c clientRequest) *http.Request {
	g.t.Helper()
	bucket, key, _ := strings.Cut(strings.TrimPrefix(c.path, "/"), "/")
	target := g.url + s3.EscapePath(bucket, key)
	if len(c.query) > 0 {
		target += "?" + upstream.EncodeQuery(c.query)
	}
	r, err := http.NewRequestWithContext(g.t.Context(), c.method, target, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	for name, values := range c.header {
		r.Header[name] = values
	}
	payload := c.mode
	if c.mode == modeHash {
		payload = upstream.HexSHA256(c.body)
	}
	encoder := &chunkEncoder{clientRequest: &c}
	if strings.HasPrefix(c.mode, "STREAMING-") {
		decoded := int64(len(c.body))
		if c.decoded != 0 {
			decoded = c.decoded
		}
		r.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(decoded))
		if strings.HasSuffix(c.mode, "-TRAILER") {
			r.Header.Set("X-Amz-Trailer", sigv4.HeaderName(encoder.trailerAlgorithm()))
		}
	}
	raw := encoder.encode() // for its length, which does not depend on the signatures
	r.ContentLength = int64(len(raw))
	if !c.anonymous {
		now := time.Now()
		r.Header.Set("X-Amz-Content-Sha256", payload)
		signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
		credentials := aws.Credentials{AccessKeyID: clientAccessKey, SecretAccessKey: clientSecretKey}
		if c.as != nil {
			credentials = aws.Credentials{AccessKeyID: c.as.AccessKey, SecretAccessKey: c.as.SecretKey}
		}
		if err := signer.SignHTTP(context.Background(), credentials, r, payload, "s3", c.signedRegion(), now); err != nil {
			g.t.Fatal(err)
		}
		encoder.sign(r.Header.Get("Authorization"), now)
		raw = encoder.encode()
	}
	if c.spoil != nil {
		length := len(raw)
		if raw = c.spoil(bytes.Clone(raw)); len(raw) != length {
			g.t.Fatalf("spoil changed the length from %d to %d", length, len(raw))
		}
	}
	if c.tamper != nil {
		c.tamper(r)
	}
	if len(raw) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(raw))
	}
	return r
}

// dial opens a connection to a gateway without TLS.
func (g *testGateway) dial() net.Conn {
	g.t.Helper()
	dial := (&net.Dialer{}).DialContext
	if g.network != nil {
		dial = g.network.Dial
	}
	conn, err := dial(g.t.Context(), "tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		g.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(giveUp))
	return conn
}

// writePart writes the request's head and n bytes of its encoded body, and
// returns the rest and the request, for reading the answer.
func (g *testGateway) writePart(conn net.Conn, c clientRequest, n int) (rest []byte, r *http.Request) {
	g.t.Helper()
	r = g.request(c)
	length := int(r.ContentLength)
	message := newBuffer(length + 8<<10)
	if err := r.Write(message); err != nil {
		g.t.Fatal(err)
	}
	end := message.Len() - length + n
	if _, err := conn.Write(message.Bytes()[:end]); err != nil {
		g.t.Fatal(err)
	}
	return message.Bytes()[end:], r
}

// sendCut sends the request's head and the beginning of its body, ends its side
// of the connection and reads the answer.
func (g *testGateway) sendCut(c clientRequest) clientAnswer {
	g.t.Helper()
	conn := g.dial()
	defer conn.Close()
	_, r := g.writePart(conn, c, c.cut)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		g.t.Fatal(err)
	}
	return readAnswer(readResponse(conn, r))
}

// readResponse reads the answer to r off a connection.
func readResponse(conn net.Conn, r *http.Request) (*http.Response, error) {
	return http.ReadResponse(bufio.NewReader(conn), r)
}

// want fails the test unless the answer has the status and S3 error code.
func (a clientAnswer) want(t testing.TB, status int, code string) {
	t.Helper()
	if a.status != status || a.code != code || a.err != nil {
		t.Fatalf("answer %d %q (%v), want %d %q; body %.300q", a.status, a.code, a.err, status, code, a.body)
	}
}

// chunkEncoder encodes a client's body, in aws-chunked framing if the mode asks
// for it.
type chunkEncoder struct {
	*clientRequest
	key    []byte
	scope  string // "date\nscope"
	seed   string
	before string // the signature before
	out    []byte // of the last encode
}

func (e *chunkEncoder) trailerAlgorithm() string {
	if e.algorithm == "" {
		return "CRC32"
	}
	return e.algorithm
}

func testMAC(key []byte, data string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(data))
	return h.Sum(nil)
}

// sign starts the chain of signatures at that of the request.
func (e *chunkEncoder) sign(authorization string, now time.Time) {
	date := now.UTC().Format("20060102")
	e.key = []byte("AWS4" + clientSecretKey)
	for _, s := range []string{date, e.signedRegion(), "s3", "aws4_request"} {
		e.key = testMAC(e.key, s)
	}
	e.scope = now.UTC().Format("20060102T150405Z") + "\n" + date + "/" + e.signedRegion() + "/s3/aws4_request"
	_, e.seed, _ = strings.Cut(authorization, "Signature=")
}

func (e *chunkEncoder) next(kind, rest string) string {
	e.before = hex.EncodeToString(testMAC(e.key, "AWS4-HMAC-SHA256-"+kind+"\n"+e.scope+"\n"+e.before+"\n"+rest))
	return e.before
}

func (e *chunkEncoder) encode() []byte {
	if !strings.HasPrefix(e.mode, "STREAMING-") {
		return e.body
	}
	e.before = e.seed
	size := e.chunk
	if size == 0 {
		size = 100_000
	}
	if e.out == nil {
		e.out = make([]byte, 0, len(e.body)+(len(e.body)/size+3)*120)
	}
	out := bytes.NewBuffer(e.out[:0])
	head := func(data []byte) {
		fmt.Fprintf(out, "%x", len(data))
		if e.mode != modeTrailer {
			out.WriteString(";chunk-signature=" + e.next("PAYLOAD", emptyHash+"\n"+upstream.HexSHA256(data)))
		}
		out.WriteString("\r\n")
	}
	for data := range slices.Chunk(e.body, size) {
		head(data)
		out.Write(data)
		out.WriteString("\r\n")
	}
	head(nil)
	if strings.HasSuffix(e.mode, "-TRAILER") {
		line := sigv4.HeaderName(e.trailerAlgorithm()) + ":" + sumText(e.trailerAlgorithm(), e.body)
		out.WriteString(line + "\r\n")
		if e.mode == modeSignedTrailer {
			out.WriteString("x-amz-trailer-signature:" + e.next("TRAILER", upstream.HexSHA256([]byte(line+"\n"))) + "\r\n")
		}
	}
	out.WriteString("\r\n")
	return out.Bytes()
}

// sumText is a checksum as headers carry it.
func sumText(algorithm string, body []byte) string {
	h, ok := sigv4.NewHash(algorithm)
	if !ok {
		panic("no algorithm " + algorithm)
	}
	h.Write(body)
	return s3.ChecksumText(h.Sum(nil))
}

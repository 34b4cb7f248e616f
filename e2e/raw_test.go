package e2e

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"ssegw/e2e/stack"
)

// A framing is how a client sends a body and what the server can verify.
type framing string

const (
	unsigned      framing = "unsigned"       // UNSIGNED-PAYLOAD: the server can only verify the length
	withMD5       framing = "content-md5"    // the same with Content-MD5
	withChecksum  framing = "checksum"       // the same with x-amz-checksum-crc32
	hashed        framing = "sha256"         // x-amz-content-sha256 is the hash of the body
	signedChunks  framing = "signed-chunks"  // STREAMING-AWS4-HMAC-SHA256-PAYLOAD
	signedTrailer framing = "signed-trailer" // the same with a CRC32 trailer
	trailer       framing = "trailer"        // STREAMING-UNSIGNED-PAYLOAD-TRAILER with a CRC32 trailer
)

var framings = []framing{unsigned, withMD5, withChecksum, hashed, signedChunks, signedTrailer, trailer}

// rawChunk is the data length of an aws-chunked chunk, in bytes.
const rawChunk = 64 << 10

// upload is a PutObject request that a test builds itself, because no client
// library sends wrong requests or stops in the middle.
type upload struct {
	bucket, key string
	framing     framing
	body        []byte
	header      http.Header // additional headers; they replace those of the framing and are signed

	accessKey, secret string                               // replaces the gateway's if set
	chunk             func(i int, data, head, end *[]byte) // changes a chunk after it was signed
	trailerValue      string                               // replaces the checksum; "-" means no trailer line
	trailerSignature  string                               // replaces the right one if set
	noFinal           bool                                 // leaves out the final chunk and everything after it
}

// encode returns head and body of the request in the form in which they are
// sent.
func (u upload) encode(t *testing.T, g *stack.Gateway) (head, body []byte) {
	t.Helper()
	target := must(url.Parse(g.Endpoint + "/" + u.bucket + "/" + u.key))(t)
	req := &http.Request{Method: http.MethodPut, URL: target, Host: target.Host, Header: http.Header{}}
	payload := u.declare(req.Header)
	for name, values := range u.header {
		req.Header[name] = values
	}
	if v := req.Header.Get("X-Amz-Content-Sha256"); v != "" {
		payload = v
	}
	req.Header.Set("X-Amz-Content-Sha256", payload)
	creds := aws.Credentials{AccessKeyID: g.AccessKey, SecretAccessKey: g.SecretKey}
	if u.accessKey != "" {
		creds.AccessKeyID = u.accessKey
	}
	if u.secret != "" {
		creds.SecretAccessKey = u.secret
	}
	now := time.Now().UTC()
	req.ContentLength = u.wireLength()
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(t.Context(), creds, req, payload, "s3", stack.Region, now); err != nil {
		t.Fatal(err)
	}
	_, seed, _ := strings.Cut(req.Header.Get("Authorization"), "Signature=")
	body = u.frame(newChunkChain(creds.SecretAccessKey, seed, now))
	var b bytes.Buffer
	fmt.Fprintf(&b, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", target.EscapedPath(), target.Host, req.ContentLength)
	if err := req.Header.Write(&b); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\r\n")
	return b.Bytes(), body
}

// declare sets the headers of the framing and returns the name or hash of the
// payload.
func (u upload) declare(h http.Header) (payload string) {
	payload = "UNSIGNED-PAYLOAD"
	switch u.framing {
	case withMD5:
		sum := md5.Sum(u.body)
		h.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	case withChecksum:
		h.Set("X-Amz-Checksum-Crc32", crcOf(u.body))
	case hashed:
		sum := sha256.Sum256(u.body)
		payload = hex.EncodeToString(sum[:])
	case signedChunks:
		payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	case signedTrailer:
		payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	case trailer:
		payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	}
	if u.chunked() {
		h.Set("Content-Encoding", "aws-chunked")
		h.Set("X-Amz-Decoded-Content-Length", strconv.Itoa(len(u.body)))
	}
	if u.trailed() {
		h.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
	}
	return payload
}

func (u upload) chunked() bool { return u.signed() || u.framing == trailer }
func (u upload) signed() bool  { return u.framing == signedChunks || u.framing == signedTrailer }
func (u upload) trailed() bool { return u.framing == signedTrailer || u.framing == trailer }

// wireLength returns the length of the encoded body, which must be known before
// it is signed.
func (u upload) wireLength() int64 {
	return int64(len(u.frame(newChunkChain("", strings.Repeat("0", 64), time.Unix(0, 0)))))
}

// frame encodes the body.
func (u upload) frame(chain *chunkChain) []byte {
	if !u.chunked() {
		return u.body
	}
	out := make([]byte, 0, len(u.body)+len(u.body)/rawChunk*100+1000)
	for i, rest := 0, u.body; ; i++ {
		data := rest[:min(len(rest), rawChunk)]
		rest = rest[len(data):]
		if len(data) == 0 && u.noFinal {
			return out
		}
		head, end := fmt.Appendf(nil, "%x\r\n", len(data)), []byte("\r\n")
		if u.signed() {
			head = fmt.Appendf(nil, "%x;chunk-signature=%s\r\n", len(data), chain.sign(data))
		}
		if len(data) == 0 && u.trailed() {
			end = u.trailerLines(chain)
		}
		if u.chunk != nil {
			data = bytes.Clone(data)
			u.chunk(i, &data, &head, &end)
		}
		out = append(append(append(out, head...), data...), end...)
		if len(data) == 0 {
			return out
		}
	}
}

// trailerLines returns the lines after the final chunk, including the empty
// one.
func (u upload) trailerLines(chain *chunkChain) []byte {
	value := crcOf(u.body)
	if u.trailerValue != "" {
		value = u.trailerValue
	}
	var line string
	if value != "-" {
		line = "x-amz-checksum-crc32:" + value
	}
	out := line + "\r\n"
	if line == "" {
		out = ""
	}
	if u.signed() {
		signature := chain.signTrailer(line + "\n")
		if u.trailerSignature != "" {
			signature = u.trailerSignature
		}
		out += "x-amz-trailer-signature:" + signature + "\r\n"
	}
	return []byte(out + "\r\n")
}

// crcOf returns the x-amz-checksum-crc32 of b.
func crcOf(b []byte) string {
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.ChecksumIEEE(b))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// chunkChain signs the chunks of an aws-chunked body, as described in Amazon
// S3's API reference under "Signature calculations: transferring a payload in
// multiple chunks".
type chunkChain struct {
	key      []byte
	scope    string
	previous string
}

func newChunkChain(secret, seed string, now time.Time) *chunkChain {
	date := now.Format("20060102")
	key := []byte("AWS4" + secret)
	for _, part := range []string{date, stack.Region, "s3", "aws4_request"} {
		key = hmacOf(key, part)
	}
	return &chunkChain{key, now.Format("20060102T150405Z") + "\n" + date + "/" + stack.Region + "/s3/aws4_request\n", seed}
}

func (c *chunkChain) sign(data []byte) string {
	empty, sum := sha256.Sum256(nil), sha256.Sum256(data)
	return c.next("AWS4-HMAC-SHA256-PAYLOAD\n" + c.scope + c.previous + "\n" + hex.EncodeToString(empty[:]) + "\n" + hex.EncodeToString(sum[:]))
}

func (c *chunkChain) signTrailer(lines string) string {
	sum := sha256.Sum256([]byte(lines))
	return c.next("AWS4-HMAC-SHA256-TRAILER\n" + c.scope + c.previous + "\n" + hex.EncodeToString(sum[:]))
}

func (c *chunkChain) next(text string) string {
	c.previous = hex.EncodeToString(hmacOf(c.key, text))
	return c.previous
}

func hmacOf(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// answer is the answer to a raw request.
type answer struct {
	status int
	code   string // code of the S3 error
	header http.Header
}

// answerTimeout is longer than any answer may take.
const answerTimeout = giveUp

// rawConn returns a connection to a gateway with an overall deadline.
func rawConn(g *stack.Gateway) (*net.TCPConn, error) {
	_, addr, _ := strings.Cut(g.Endpoint, "://")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(answerTimeout))
	return conn.(*net.TCPConn), nil
}

// send sends a whole request and returns the answer. The server may answer and
// close before it has read everything.
func send(g *stack.Gateway, head, body []byte) (answer, error) {
	conn, err := rawConn(g)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	go func() { // ends with the connection
		if _, err := conn.Write(head); err == nil {
			_, _ = conn.Write(body)
		}
	}()
	return readAnswer(conn)
}

func readAnswer(conn net.Conn) (answer, error) {
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	var doc struct{ Code string }
	b, err := io.ReadAll(resp.Body)
	if len(b) > 0 {
		_ = xml.Unmarshal(b, &doc) // other documents have no code
		a.code = doc.Code
	}
	return a, err
}

// abandon sends the request with the first n bytes of its body and disconnects:
// by a reset or, like a process that exits, in order. Then it waits until the
// connection has ended.
func abandon(g *stack.Gateway, head, body []byte, n int, inOrder bool) error {
	conn, err := sendPart(g, head, body[:n])
	if err != nil {
		return err
	}
	defer conn.Close()
	if !inOrder {
		return conn.SetLinger(0)
	}
	if err := conn.CloseWrite(); err != nil {
		return nil //nolint:nilerr // the gateway ended it first
	}
	var network net.Error
	if _, err := io.Copy(io.Discard, conn); errors.As(err, &network) && network.Timeout() {
		return fmt.Errorf("the gateway keeps the connection of a client that has gone: %w", err)
	}
	return nil
}

// sendPart sends the beginning of a request. On a busy machine a gateway may
// refuse the request before everything is sent, so sendPart tries a few times.
func sendPart(g *stack.Gateway, head, part []byte) (conn *net.TCPConn, err error) {
	for range 10 {
		if conn, err = rawConn(g); err != nil {
			return nil, err
		}
		if _, err = conn.Write(append(bytes.Clone(head), part...)); err == nil {
			return conn, nil
		}
		_ = conn.Close()
	}
	return nil, err
}

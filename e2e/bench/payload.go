package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // S3 wants it
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"time"

	"ssegw/e2e/stack"
)

// A payload is how a client signs and frames bodies.
type payload string

const (
	unsigned     payload = "UNSIGNED-PAYLOAD"
	signed       payload = "signed" // by the SHA-256 of the body
	signedChunks payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	trailer      payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER" // with a CRC32C
)

func (p payload) String() string {
	switch p {
	case signedChunks:
		return "signed chunks"
	case trailer:
		return "trailer"
	case signed:
		return "signed"
	}
	return "unsigned"
}

// chunkSize is the length in bytes of the chunks of framed bodies.
const chunkSize = 64 << 10

// A chunkReader frames a body in chunks.
type chunkReader struct {
	body   io.Reader
	left   int64 // bytes of the body
	header func(chunk []byte) string
	end    func() string // after the last chunk
	chunk  [chunkSize]byte
	out    bytes.Buffer
	ended  bool
}

func (r *chunkReader) Read(p []byte) (int, error) {
	if r.out.Len() == 0 && !r.ended {
		n, err := io.ReadFull(r.body, r.chunk[:min(chunkSize, r.left)])
		if err != nil && err != io.EOF {
			return 0, err
		}
		r.left -= int64(n)
		r.out.WriteString(r.header(r.chunk[:n]) + "\r\n")
		r.out.Write(r.chunk[:n])
		if n == 0 {
			r.out.WriteString(r.end())
			r.ended = true
		}
		r.out.WriteString("\r\n")
	}
	return r.out.Read(p)
}

// framedSize returns the length of a framed body of size bytes. extra is the
// length of what a chunk's header has after the size, tail that of what the
// last chunk has after its header.
func framedSize(size, extra, tail int64) int64 {
	n := int64(0)
	for at := int64(0); ; at += chunkSize {
		chunk := min(chunkSize, size-at)
		n += int64(len(fmt.Sprintf("%x", max(chunk, 0)))) + extra + 4
		if chunk <= 0 {
			return n + tail
		}
		n += chunk
	}
}

// frame sets the headers and the length of a request whose body is framed. It
// returns what frames the body once the request is signed.
func (p payload) frame(req *http.Request, body content, reader io.Reader) func(secretKey string, at time.Time) io.Reader {
	req.Header.Set("Content-Encoding", "aws-chunked")
	req.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(body.size))
	if p == trailer {
		req.Header.Set("X-Amz-Trailer", trailerName)
		sum := trailerName + ":" + base64.StdEncoding.EncodeToString(make([]byte, 4)) + "\r\n"
		req.ContentLength = framedSize(body.size, 0, int64(len(sum)))
		return func(string, time.Time) io.Reader { return newTrailerReader(reader, body.size) }
	}
	const signature = ";chunk-signature="
	req.ContentLength = framedSize(body.size, int64(len(signature)+2*sha256.Size), 0)
	return func(secretKey string, at time.Time) io.Reader {
		_, seed, _ := strings.Cut(req.Header.Get("Authorization"), "Signature=")
		s := newChunkSigner(secretKey, at, seed)
		return &chunkReader{
			body: reader, left: body.size, end: func() string { return "" },
			header: func(chunk []byte) string { return fmt.Sprintf("%x", len(chunk)) + signature + s.sign(chunk) },
		}
	}
}

// newTrailerReader frames a body and ends it with its CRC32C.
func newTrailerReader(body io.Reader, size int64) io.Reader {
	sum := crc32.New(castagnoli)
	return &chunkReader{
		body: body, left: size,
		header: func(chunk []byte) string { _, _ = sum.Write(chunk); return fmt.Sprintf("%x", len(chunk)) },
		end: func() string {
			return trailerName + ":" + base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum.Sum32())) + "\r\n"
		},
	}
}

// A chunkSigner signs one chunk after the other.
type chunkSigner struct {
	key         []byte
	time, scope string
	previous    string
}

func newChunkSigner(secretKey string, at time.Time, seed string) *chunkSigner {
	day := at.UTC().Format("20060102")
	key := []byte("AWS4" + secretKey)
	for _, s := range []string{day, stack.Region, "s3", "aws4_request"} {
		key = hmacOf(key, s)
	}
	return &chunkSigner{key, at.UTC().Format("20060102T150405Z"), day + "/" + stack.Region + "/s3/aws4_request", seed}
}

func (s *chunkSigner) sign(chunk []byte) string {
	empty, sum := sha256.Sum256(nil), sha256.Sum256(chunk)
	s.previous = hex.EncodeToString(hmacOf(s.key, strings.Join([]string{
		"AWS4-HMAC-SHA256-PAYLOAD", s.time, s.scope, s.previous, hex.EncodeToString(empty[:]), hex.EncodeToString(sum[:]),
	}, "\n")))
	return s.previous
}

func hmacOf(key []byte, s string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = io.WriteString(h, s)
	return h.Sum(nil)
}

// withMD5 returns the request with the MD5 of its document, which deletes need.
func (r request) withMD5() request {
	sum := md5.Sum([]byte(r.document)) //nolint:gosec // S3 wants it
	return r.with("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
}

// customerHeader are the headers of SSE-C with a key that is the same in all
// requests.
var customerHeader = func() http.Header {
	key := sha256.Sum256([]byte("bench"))
	sum := md5.Sum(key[:]) //nolint:gosec // S3 wants it
	const prefix = "X-Amz-Server-Side-Encryption-Customer-"
	return http.Header{
		prefix + "Algorithm": {"AES256"},
		prefix + "Key":       {base64.StdEncoding.EncodeToString(key[:])},
		prefix + "Key-Md5":   {base64.StdEncoding.EncodeToString(sum[:])},
	}
}()

// header returns what a client sends to seal or open an object.
func (s scheme) header() http.Header {
	if s == sseC {
		return customerHeader
	}
	return nil
}

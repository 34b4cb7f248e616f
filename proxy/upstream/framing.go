package upstream

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Framing is the encoding of a body sent to the store. If the connection
// breaks, a store may commit the incomplete body. FramingTrailer and
// FramingSigned prevent that: their last frame follows only after the whole
// body.
type Framing int32

const (
	FramingAuto    Framing = iota // the first of the others that the store accepts
	FramingTrailer                // aws-chunked, unsigned, with a CRC32C of the data as the trailer
	FramingSigned                 // aws-chunked, with each chunk signed and a signed empty chunk at the end
	FramingPlain                  // no encoding, only a Content-Length
)

// String returns the framing as a value of SSEGW_UPSTREAM_BODY.
func (f Framing) String() string {
	switch f {
	case FramingTrailer:
		return "trailer"
	case FramingSigned:
		return "signed"
	case FramingPlain:
		return "plain"
	default:
		return "auto"
	}
}

// SealedUnit is the length in bytes of a sealed package, except an object's
// last one (docs/FORMAT.md). Chunks and buffers hold whole packages.
const SealedUnit = 64<<10 + 32

// frameChunk is the data length in bytes of a chunk of FramingTrailer, and
// frameHead more than its head has.
const (
	frameChunk = 16 * SealedUnit
	frameHead  = 64
)

// signedChunk is the data length in bytes of a chunk of FramingSigned. Its
// signature precedes its data, so the whole chunk is buffered.
const signedChunk = 64 << 10

// ErrSourceSize is returned when a body is shorter or longer than its declared
// length.
var ErrSourceSize = errors.New("upstream: body differs from its declared length")

// trailerFrame encodes a source as aws-chunked with an unsigned trailer. The
// final chunk and the trailer follow only after src has ended cleanly, so a
// source that fails never becomes a complete body.
type trailerFrame struct {
	src     io.Reader
	left    int64         // data bytes still to read from src
	chunk   int64         // data bytes left in the current chunk
	opened  bool          // a chunk was started and its closing CRLF is due
	pending []byte        // of the encoding, to be read before more data
	name    string        // of the trailer's header
	sum     hash.Hash     // of the data; nil if value is set
	value   func() []byte // the trailer's digest, known after the end of src
	done    bool
}

// trailerFrameSize returns the encoded length in bytes of size data bytes with
// a trailer that has a header name and the base64 of a digest of that length.
func trailerFrameSize(size int64, name string, digest int) int64 {
	n := size
	if full := size / frameChunk; full > 0 {
		n += full * int64(len(strconv.FormatInt(frameChunk, 16))+4)
	}
	if rest := size % frameChunk; rest > 0 {
		n += int64(len(strconv.FormatInt(rest, 16)) + 4)
	}
	n += int64(len("0\r\n") + len(name) + 1 + base64.StdEncoding.EncodedLen(digest) + len("\r\n\r\n"))
	return n
}

func (f *trailerFrame) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(f.pending) > 0 {
			m := copy(p[n:], f.pending)
			f.pending = f.pending[m:]
			n += m
			continue
		}
		if f.done {
			return n, io.EOF
		}
		if f.chunk == 0 {
			if n > 0 && f.left > 0 {
				return n, nil // rather than hold it back until the next chunk begins
			}
			if err := f.next(); err != nil {
				return n, err
			}
			continue
		}
		room := p[n:min(int64(len(p)), int64(n)+f.chunk)]
		if n > 0 && len(room) < SealedUnit && f.chunk > int64(len(room)) {
			return n, nil // rather than split a package to fill the buffer
		}
		m, err := f.src.Read(room)
		if f.sum != nil {
			f.sum.Write(room[:m])
		}
		n += m
		f.chunk -= int64(m)
		f.left -= int64(m)
		if err != nil && (err != io.EOF || f.left > 0) {
			return n, sourceError(err)
		}
	}
	return n, nil
}

// next starts the next chunk, or ends the body after the last one. It waits for
// the first byte of the chunk, so a Read into a small buffer never returns the
// head of a chunk alone.
func (f *trailerFrame) next() error {
	head := ""
	if f.opened {
		head = "\r\n"
	}
	if f.left > 0 {
		var first [1]byte
		if _, err := io.ReadFull(f.src, first[:]); err != nil {
			return sourceError(err)
		}
		if f.sum != nil {
			f.sum.Write(first[:])
		}
		f.chunk = min(f.left, frameChunk)
		f.opened = true
		f.pending = append(fmt.Appendf(nil, "%s%x\r\n", head, f.chunk), first[0])
		f.chunk--
		f.left--
		return nil
	}
	if err := ExpectEnd(f.src); err != nil {
		return err
	}
	digest := f.value
	if digest == nil {
		digest = func() []byte { return f.sum.Sum(nil) }
	}
	f.pending = fmt.Appendf(nil, "%s0\r\n%s:%s\r\n\r\n", head, f.name, base64.StdEncoding.EncodeToString(digest()))
	f.done = true
	return nil
}

// ExpectEnd reads the end of a source, which must be io.EOF. Further data is
// [ErrSourceSize].
func ExpectEnd(src io.Reader) error {
	var one [1]byte
	for {
		n, err := src.Read(one[:])
		if n > 0 {
			return ErrSourceSize
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// sourceError returns ErrSourceSize for an early end of a source: io.EOF would
// read as success.
func sourceError(err error) error {
	if err == io.EOF {
		return ErrSourceSize
	}
	return err
}

// heldReader is the body of FramingPlain. It returns the last bytes only after
// src has ended cleanly: a body with only a Content-Length is complete once
// they are sent, even if src then fails its verification.
type heldReader struct {
	src  io.Reader
	left int64
}

func (h *heldReader) Read(p []byte) (int, error) {
	if h.left == 0 {
		return 0, io.EOF
	}
	n, err := h.src.Read(p[:min(int64(len(p)), h.left)])
	h.left -= int64(n)
	if h.left > 0 {
		if err == io.EOF {
			err = ErrSourceSize
		}
		return n, err
	}
	if err == nil {
		err = ExpectEnd(h.src)
	}
	if err != nil && err != io.EOF {
		return 0, err
	}
	return n, nil
}

// chunkSigner encodes a source as STREAMING-AWS4-HMAC-SHA256-PAYLOAD (Signature
// Version 4 for Amazon S3). Call start before Read.
type chunkSigner struct {
	src       io.Reader
	left      int64 // data bytes still to read from src
	sign      func(string) string
	prefix    string // "AWS4-HMAC-SHA256-PAYLOAD\n" time "\n" scope "\n"
	signature string // of the previous chunk
	pending   []byte // of buffer: what was not read yet
	buffer    []byte // a chunk with its head
	done      bool
}

// signedFrameSize returns the encoded length in bytes of size data bytes.
func signedFrameSize(size int64) int64 {
	overhead := func(n int64) int64 {
		return int64(len(strconv.FormatInt(n, 16)) + len(";chunk-signature=") + 64 + 4)
	}
	n := size + (size/signedChunk)*overhead(signedChunk) + overhead(0)
	if rest := size % signedChunk; rest > 0 {
		n += overhead(rest)
	}
	return n
}

// start sets the function that signs with the request's key, and takes the time
// and the first signature of the chain from the headers of the signed request.
func (c *chunkSigner) start(sign func(string) string, region string, signed http.Header) {
	at := signed.Get("X-Amz-Date")
	date, _, _ := strings.Cut(at, "T")
	c.sign = sign
	c.prefix = "AWS4-HMAC-SHA256-PAYLOAD\n" + at + "\n" + date + "/" + region + "/s3/aws4_request\n"
	_, c.signature, _ = strings.Cut(signed.Get("Authorization"), "Signature=")
}

func (c *chunkSigner) Read(p []byte) (int, error) {
	for len(c.pending) == 0 {
		if c.done {
			return 0, io.EOF
		}
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.pending)
	c.pending = c.pending[n:]
	return n, nil
}

// next makes the next chunk.
func (c *chunkSigner) next() error {
	size := min(c.left, signedChunk)
	const room = 128 // for the chunk's head
	if c.buffer == nil {
		c.buffer = make([]byte, room+signedChunk+2)
	}
	data := c.buffer[room : room+size]
	if _, err := io.ReadFull(c.src, data); err != nil {
		if err == io.ErrUnexpectedEOF {
			err = ErrSourceSize
		}
		return sourceError(err)
	}
	c.left -= size
	if c.left == 0 {
		// The last chunk with data also waits for the clean end: some stores
		// commit as soon as they have the declared length.
		if size > 0 {
			if err := ExpectEnd(c.src); err != nil {
				return err
			}
			c.src = bytes.NewReader(nil)
		} else {
			if err := ExpectEnd(c.src); err != nil {
				return err
			}
			c.done = true
		}
	}
	digest := sha256.Sum256(data)
	c.signature = c.sign(c.prefix + c.signature + "\n" + emptySHA256 + "\n" + hex.EncodeToString(digest[:]))
	head := fmt.Appendf(nil, "%x;chunk-signature=%s\r\n", size, c.signature)
	copy(c.buffer[room-len(head):], head)
	end := room + size
	copy(c.buffer[end:], "\r\n")
	c.pending = c.buffer[room-len(head) : end+2]
	return nil
}

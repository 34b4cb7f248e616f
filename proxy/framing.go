package proxy

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"ssegw/sealer"
)

// Framing is how a body travels to the upstream. A store may commit what it
// got of a body when the connection breaks, so the frames that end in
// something only a whole body has come first.
type Framing int32

const (
	FramingAuto    Framing = iota // the first of the others that the store takes
	FramingTrailer                // aws-chunked, unsigned, ending in a CRC32C of what was sent
	FramingSigned                 // aws-chunked, every chunk signed, ending in a signed empty chunk
	FramingPlain                  // the bytes alone, under Content-Length
)

// String returns the word that SSEGW_UPSTREAM_BODY has for the framing.
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

// framingChoice is the framing in force: the configured one, or the probed one.
type framingChoice struct {
	configured Framing
	probed     atomic.Int32
}

func (f *framingChoice) get() Framing {
	if f.configured != FramingAuto {
		return f.configured
	}
	if p := Framing(f.probed.Load()); p != FramingAuto {
		return p
	}
	return FramingPlain
}

// frameChunk is the data length in bytes of a chunk sent to the upstream: a
// whole number of sealed packages.
const frameChunk = 16 * (sealer.PackageSize + sealer.PackageOverhead)

// signedChunk is the data length in bytes of a signed chunk. Its signature
// comes before its data, so this much is held in memory.
const signedChunk = 64 << 10

var errSourceSize = errors.New("proxy: body differs from its declared length")

// trailerFrame encodes size bytes of src as aws-chunked with an unsigned
// trailer. The final chunk and the trailer follow only after src has ended
// cleanly, so a source that fails never makes a complete body.
type trailerFrame struct {
	src     io.Reader
	left    int64 // data bytes still to come
	chunk   int64 // data bytes left in the open chunk
	opened  bool  // a chunk was opened and its closing CRLF is due
	pending []byte
	name    string
	sum     hash.Hash     // of the data passing, nil where value is set
	value   func() []byte // the trailer's digest, known after the end of src
	done    bool
}

// trailerFrameSize returns the encoded length of size data bytes with a
// trailer header of that name and digest length.
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
			if err := f.next(); err != nil {
				return n, err
			}
			continue
		}
		room := p[n:min(int64(len(p)), int64(n)+f.chunk)]
		if n > 0 && len(room) < sealer.PackageSize+sealer.PackageOverhead && f.chunk > int64(len(room)) {
			return n, nil // a package is not split for the sake of a full buffer
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

// next opens the next chunk, or ends the body when all data has passed.
func (f *trailerFrame) next() error {
	head := ""
	if f.opened {
		head = "\r\n"
	}
	if f.left > 0 {
		f.chunk = min(f.left, frameChunk)
		f.opened = true
		f.pending = fmt.Appendf(nil, "%s%x\r\n", head, f.chunk)
		return nil
	}
	if err := expectEnd(f.src); err != nil {
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

// expectEnd reads the clean end of a source all of whose bytes were read.
func expectEnd(src io.Reader) error {
	var one [1]byte
	for {
		n, err := src.Read(one[:])
		if n > 0 {
			return errSourceSize
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// sourceError makes an early end of a source an error of its own: io.EOF would
// read as success.
func sourceError(err error) error {
	if err == io.EOF {
		return errSourceSize
	}
	return err
}

// heldReader passes size bytes of src on, but the last ones only after src has
// ended cleanly: under Content-Length nothing else keeps a body that fails its
// verification from being complete.
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
			err = errSourceSize
		}
		return n, err
	}
	if err == nil {
		err = expectEnd(h.src)
	}
	if err != nil && err != io.EOF {
		return 0, err
	}
	return n, nil
}

// chunkSigner encodes a body as STREAMING-AWS4-HMAC-SHA256-PAYLOAD. start is
// called when the request's own signature, the seed of the chain, is known.
type chunkSigner struct {
	src       io.Reader
	left      int64
	key       []byte
	prefix    string // "AWS4-HMAC-SHA256-PAYLOAD\n" date "\n" scope "\n"
	signature string // of the chunk before
	pending   []byte
	buffer    []byte
	done      bool
}

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

func (c *chunkSigner) start(secret, region string, now time.Time, authorization string) {
	now = now.UTC()
	date := now.Format("20060102")
	mac := func(key []byte, data string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(data))
		return h.Sum(nil)
	}
	c.key = mac(mac(mac(mac([]byte("AWS4"+secret), date), region), "s3"), "aws4_request")
	c.prefix = "AWS4-HMAC-SHA256-PAYLOAD\n" + now.Format("20060102T150405Z") + "\n" + date + "/" + region + "/s3/aws4_request\n"
	_, c.signature, _ = strings.Cut(authorization, "Signature=")
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

func (c *chunkSigner) next() error {
	size := min(c.left, signedChunk)
	const room = 128 // for the chunk's head
	if c.buffer == nil {
		c.buffer = make([]byte, room+signedChunk+2)
	}
	data := c.buffer[room : room+size]
	if _, err := io.ReadFull(c.src, data); err != nil {
		if err == io.ErrUnexpectedEOF {
			err = errSourceSize
		}
		return sourceError(err)
	}
	c.left -= size
	if c.left == 0 {
		// The last data chunk waits for the clean end too: some stores commit on
		// the declared length alone.
		if size > 0 {
			if err := expectEnd(c.src); err != nil {
				return err
			}
			c.src = bytes.NewReader(nil)
		} else {
			if err := expectEnd(c.src); err != nil {
				return err
			}
			c.done = true
		}
	}
	digest := sha256.Sum256(data)
	h := hmac.New(sha256.New, c.key)
	io.WriteString(h, c.prefix+c.signature+"\n"+emptySHA256+"\n"+hex.EncodeToString(digest[:]))
	c.signature = hex.EncodeToString(h.Sum(nil))
	head := fmt.Appendf(nil, "%x;chunk-signature=%s\r\n", size, c.signature)
	copy(c.buffer[room-len(head):], head)
	end := room + size
	copy(c.buffer[end:], "\r\n")
	c.pending = c.buffer[room-len(head) : end+2]
	return nil
}

package upstream

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"runtime/debug"
	"sync/atomic"

	"ssegw/proxy/task"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// PassedChecksum is a client's checksum that goes to the store as the trailer
// of a plaintext body.
type PassedChecksum struct {
	Name   string        // of its header
	Length int           // of the digest in bytes
	Value  func() []byte // the digest, once the body has ended
}

// Frame makes src, which has size bytes, the body of o in framing f. It sets
// the headers of the framing, and length and hash of the body as sent. passed
// replaces the CRC32C in the trailer; other framings ignore it.
func (o *Request) Frame(src io.Reader, size int64, f Framing, passed *PassedChecksum) {
	switch f {
	case FramingTrailer:
		t := &trailerFrame{src: src, left: size, name: "x-amz-checksum-crc32c"}
		digest := crc32.Size
		if passed != nil {
			t.name, t.value, digest = passed.Name, passed.Value, passed.Length
		} else {
			t.sum = crc32.New(castagnoli)
		}
		o.Header.Set("X-Amz-Trailer", t.name)
		o.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(size))
		o.Body, o.Size, o.Hash = t, trailerFrameSize(size, t.name, digest), unsignedTrailer
	case FramingSigned:
		c := &chunkSigner{src: src, left: size}
		o.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(size))
		o.Body, o.Size, o.Hash, o.signed = c, signedFrameSize(size), signedChunks, c
	default:
		o.Body, o.Size, o.Hash, o.begun = &heldReader{src: src, left: size}, size, unsignedPayload, true
	}
}

// guardedBody is the body of a request to the store. The transport reads it on
// its own goroutine, where a panic would end the process: Read returns it as an
// error instead, and keeps it for Do.
type guardedBody struct {
	r        io.Reader
	panicked atomic.Pointer[task.PanicError]

	buf   *[CopySize]byte // holds begun
	begun []byte          // read by begin
	err   error           // that came with it
}

// wholeBody is the size in bytes up to which a body is read before the request
// is sent. With up to 2 KiB of headers it fits into smallMessage.
const wholeBody = smallMessage - 2<<10

// whole reads the body and gives it to r as bytes in memory. net/http sends
// those with the headers. It sends the headers of other bodies first, alone.
func (b *guardedBody) whole(r *http.Request) error {
	sent := make([]byte, r.ContentLength)
	n, err := 0, error(nil)
	for n < len(sent) && err == nil {
		var more int
		more, err = b.Read(sent[n:])
		n += more
	}
	if err == nil {
		err = ExpectEnd(b)
	}
	switch {
	case err != nil && err != io.EOF:
		return err
	case n < len(sent):
		return ErrSourceSize
	}
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(sent)), nil }
	r.Body, _ = r.GetBody()
	return nil
}

// begin reads the first bytes before the request is sent. A body that fails
// before its first byte must not leave a request with a length and no body at
// the store: some stores take that for an empty object.
func (b *guardedBody) begin() error {
	b.buf = CopyBuffers.Get().(*[CopySize]byte)
	n := 0
	for n == 0 && b.err == nil {
		n, b.err = b.Read(b.buf[:])
	}
	if b.begun = b.buf[:n]; n > 0 {
		return nil // the transport gets the error after the bytes
	}
	return b.err
}

func (b *guardedBody) Read(p []byte) (n int, err error) {
	if len(b.begun) > 0 {
		n = copy(p, b.begun)
		if b.begun = b.begun[n:]; len(b.begun) == 0 {
			CopyBuffers.Put(b.buf)
			b.buf = nil
		}
		return n, nil
	}
	if b.err != nil {
		return 0, b.err
	}
	defer func() {
		if v := recover(); v != nil {
			e := &task.PanicError{Value: v, Stack: debug.Stack()}
			b.panicked.Store(e)
			n, err = 0, e
		}
	}()
	return b.r.Read(p)
}

func (b *guardedBody) Close() error { return nil }

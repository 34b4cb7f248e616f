package sealer

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/minio/sio"
)

// dareHeaderSize is the length of the header of a package (section 5).
const dareHeaderSize = 16

// packageReader reads the left bytes of src that make up an extent. Before it
// passes a package to sio it compares its header with what the layout requires:
// version, cipher, length, and the final flag, which only the last package of
// the stream has. The tag or the nonce of the package authenticates all of
// these, so the comparison proves the position of each package in a stream of
// known size.
type packageReader struct {
	src    io.Reader
	left   int64 // sealed bytes to come, including those in header
	final  bool  // the extent ends with the stream
	cipher Cipher

	header [dareHeaderSize]byte
	unread []byte // part of header not yet returned
	inside int64  // bytes of the current package to come after its header
	err    error
}

func (r *packageReader) Read(p []byte) (int, error) {
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	if len(r.unread) == 0 && r.inside == 0 {
		n, err := r.next(p)
		if n > 0 || err != nil {
			r.err = err
			return n, err
		}
	}
	if len(r.unread) > 0 {
		n := copy(p, r.unread)
		r.unread = r.unread[n:]
		r.left -= int64(n)
		return n, nil
	}
	n, err := readSome(r.src, p[:min(int64(len(p)), r.inside)])
	r.inside -= int64(n)
	r.left -= int64(n)
	if err == io.EOF && r.left == 0 {
		err = nil // the next call returns it
	}
	r.err = wrapSource(err)
	return n, r.err
}

// next starts a package. It reads the header, and whatever arrives with it,
// into p and checks the header there. If p is too short for a header, it keeps
// the header in unread and returns 0.
func (r *packageReader) next(p []byte) (int, error) {
	size := min(r.left, sealedPackageSize)
	buf := p[:min(int64(len(p)), size)]
	if len(buf) < dareHeaderSize {
		buf = r.header[:]
	}
	filled := 0
	// Not io.ReadFull, which would report an end inside the header like a
	// failing source.
	for filled < dareHeaderSize {
		n, err := readSome(r.src, buf[filled:])
		filled += n
		if err != nil && (err != io.EOF || int64(filled) < r.left) {
			return 0, wrapSource(err)
		}
	}
	last := r.final && size == r.left
	length := int64(binary.LittleEndian.Uint16(buf[2:4])) + 1 + PackageOverhead
	if buf[0] != sio.Version20 || buf[1] != byte(r.cipher) || length != size || last != (buf[4]&0x80 != 0) {
		return 0, fmt.Errorf("opening: %w", ErrNotAuthentic)
	}
	r.inside = size - int64(filled)
	if len(p) < dareHeaderSize {
		r.unread = r.header[:]
		return 0, nil
	}
	r.left -= int64(filled)
	return filled, nil
}

// wrapSource maps an early end of the source to ErrNotAuthentic and wraps its
// other errors. It must not pass a bare io.ErrUnexpectedEOF to sio, which would
// take it for the end of a short package.
func wrapSource(err error) error {
	if err == nil {
		return nil
	}
	if err == io.EOF {
		return fmt.Errorf("opening: %w: sealed bytes missing", ErrNotAuthentic)
	}
	return fmt.Errorf("opening: reading source: %w", err)
}

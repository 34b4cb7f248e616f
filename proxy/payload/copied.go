package payload

import (
	"bytes"
	"fmt"
	"hash"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// Copied is a [Plaintext] that does not come straight from a client: the source
// of a copy, or a piece of another body.
type Copied struct {
	R      io.Reader
	Fail   func(error) error     // maps an error of R; nil: errors stay as they are
	Length int64                 // bytes
	Sums   []sigv4.Checksum      // known checksums of the whole body
	failed atomic.Pointer[error] // atomic: the transport reads on its own goroutine
}

// Size returns the length in bytes.
func (b *Copied) Size() int64 { return b.Length }

// Declared returns the known checksums.
func (b *Copied) Declared() []sigv4.Checksum { return b.Sums }

// TrailerAlgorithm returns "": no checksum becomes known at the end.
func (b *Copied) TrailerAlgorithm() string { return "" }

// Checksums returns the known checksums.
func (b *Copied) Checksums() []sigv4.Checksum { return slices.Clone(b.Sums) }

var errSourceChecksum = fmt.Errorf("the store's checksum does not match: %w", sealer.ErrNotAuthentic)

// KeepStored returns the body of a copy of an object that is not sealed, with
// the checksum in stored, the headers of the store's answer. The checksum is
// verified while the body is read. A composite one is replaced by one of the
// whole body.
func (b *Copied) KeepStored(stored http.Header) Plaintext {
	for name := range stored {
		algorithm, _ := strings.CutPrefix(strings.ToLower(name), s3.ChecksumPrefix)
		a, ok := sealer.ParseAlgorithm(strings.ToUpper(algorithm))
		if !ok {
			continue
		}
		digest, ok := sigv4.DecodeChecksum(a.String(), stored.Get(name))
		if !ok || stored.Get(s3.HeaderChecksumType) == s3.Composite {
			return WithChecksum(b, a)
		}
		b.Sums = []sigv4.Checksum{{Algorithm: a.String(), Value: digest}}
		h, _ := sigv4.NewHash(a.String())
		b.R = &checkedReader{b.R, h, digest}
		break
	}
	return b
}

// checkedReader returns io.EOF only if the digest of all it read is want.
type checkedReader struct {
	r    io.Reader
	sum  hash.Hash
	want []byte
}

func (c *checkedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.sum.Write(p[:n])
	if err == io.EOF && !bytes.Equal(c.sum.Sum(nil), c.want) {
		err = errSourceChecksum
	}
	return n, err
}

// Failure returns the error of Read, except io.EOF. It tells the client that
// the source failed, where the store only reports an incomplete body.
func (b *Copied) Failure() error {
	if err := b.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (b *Copied) Read(p []byte) (int, error) {
	n, err := b.R.Read(p)
	if err != nil && err != io.EOF {
		if b.Fail != nil {
			err = b.Fail(err)
		}
		b.failed.CompareAndSwap(nil, &err) // the first counts
	}
	return n, err
}

// Exact reads Left bytes of R and then returns io.EOF. An earlier end of R is
// an error that wraps [upstream.ErrUnavailable].
type Exact struct {
	R io.Reader
	io.Closer
	Left int64
}

func (e *Exact) Read(p []byte) (int, error) {
	if e.Left == 0 {
		return 0, io.EOF
	}
	n, err := e.R.Read(p[:min(int64(len(p)), e.Left)])
	e.Left -= int64(n)
	if err == io.EOF && e.Left > 0 {
		err = fmt.Errorf("%w: the source of a copy ended early", upstream.ErrUnavailable)
	}
	return n, err
}

// Lent reads Left, a buffer that its owner uses again. net/http may read a body
// even after the answer to its request: after TakeBack such a Read fails.
type Lent struct {
	mu    sync.Mutex
	Left  []byte
	taken bool
}

func (l *Lent) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.taken:
		return 0, io.ErrUnexpectedEOF
	case len(l.Left) == 0:
		return 0, io.EOF
	}
	n := copy(p, l.Left)
	l.Left = l.Left[n:]
	return n, nil
}

// TakeBack ends the use of the buffer. Read fails from then on.
func (l *Lent) TakeBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Left, l.taken = nil, true
}

package proxy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
)

// errStalled says that a client's body stood still for longer than IdleTimeout.
var errStalled = errors.New("proxy: the client's body stands still")

// plaintext is the body of an object that is being written: a client's, or that
// of the source of a copy. It ends cleanly only after everything was verified.
type plaintext interface {
	io.Reader
	Size() int64                 // bytes
	Declared() []sigv4.Checksum  // known before the body is read
	TrailerAlgorithm() string    // of the checksum that is known at its end, or ""
	Checksums() []sigv4.Checksum // all, after io.EOF
	failure() error              // the first error that Read returned, io.EOF not counted
}

// clientBody is the client's body, decoded and verified by sigv4. It keeps the
// first error, since net/http wraps or drops what a request body returns.
type clientBody struct {
	*sigv4.Body
	raw    *rollingReader
	failed atomic.Pointer[error] // the transport reads on its own goroutine
}

// failure returns the first error that Read returned, io.EOF not counted.
func (b *clientBody) failure() error {
	if err := b.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// body returns the request's body. Every Read renews the connection's deadline.
func (c *call) body() (*clientBody, error) {
	raw := &rollingReader{
		r:       c.in.Body,
		control: http.NewResponseController(c.w.ResponseWriter),
		idle:    c.IdleTimeout,
	}
	b, err := c.auth.Body(raw)
	if err != nil {
		return nil, err
	}
	raw.least = c.leastRate(b.Size())
	return &clientBody{Body: b, raw: raw}, nil
}

func (b *clientBody) Read(p []byte) (int, error) {
	if err := b.failure(); err != nil {
		return 0, err
	}
	n, err := b.Body.Read(p)
	if err != nil && err != io.EOF {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = errStalled
		}
		err = fmt.Errorf("proxy: reading the client's body: %w", err)
		b.failed.Store(&err)
	}
	return n, err
}

// leastRate is how many bytes in a second a client has to send at least where a
// drip would hold memory, or a place that a stranger has, for ever.
const leastRate = 8 << 10

// leastRate is how many bytes in a second have to come of a body of that size,
// -1 if it is not known; 0: any rate will do.
func (c *call) leastRate(size int64) int64 {
	if c.credential == nil || c.req.Route.XMLBody || size <= smallBody {
		return leastRate
	}
	return 0
}

// rollingReader gives every Read of a connection its own deadline.
type rollingReader struct {
	r       io.Reader
	control *http.ResponseController
	idle    time.Duration // without a byte
	least   int64         // bytes in a second, once idle has passed; 0: any rate will do

	read   int64         // bytes
	waited time.Duration // for them
}

// patience is how long the next Read may wait. Only time spent waiting for the
// client counts: a store that takes the body slowly is not the client's fault.
func (r *rollingReader) patience() time.Duration {
	if r.least == 0 {
		return r.idle
	}
	earned := time.Duration(r.read/r.least) * time.Second
	return min(r.idle, r.idle+earned-r.waited)
}

func (r *rollingReader) Read(p []byte) (int, error) {
	began := time.Now()
	// A connection without deadlines (in tests) has none to renew.
	_ = r.control.SetReadDeadline(began.Add(r.patience()))
	n, err := r.r.Read(p)
	r.read += int64(n)
	r.waited += time.Since(began)
	switch err {
	case nil:
	case io.EOF:
		// net/http goes on reading, to notice a client that leaves: that read has all
		// the time of the answer.
		_ = r.control.SetReadDeadline(time.Time{})
	default:
		// It also waits for the rest of a body before it answers: there will be none.
		_ = r.control.SetReadDeadline(time.Now())
	}
	return n, err
}

// readSmall reads the whole body, at most limit bytes, and returns it only
// after it was verified.
func readSmall(b plaintext, limit int64) ([]byte, error) {
	if b.Size() > limit {
		return nil, s3.ErrorByCode("MaxMessageLengthExceeded")
	}
	var buf bytes.Buffer
	if b.Size() > 0 {
		buf.Grow(int(b.Size()) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(b, limit+1))
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, s3.ErrorByCode("MaxMessageLengthExceeded")
	}
	return buf.Bytes(), nil
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

package payload

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"ssegw/proxy/sigv4"
)

// ErrStalled is returned if a client sends its body too slowly: no byte within
// RollingReader.Idle, or fewer than RollingReader.Least bytes per second.
var ErrStalled = errors.New("payload: the client's body has stalled")

// Client is a client's body, decoded and verified by sigv4. It keeps the first
// error, because net/http wraps or drops the errors of a request's body.
type Client struct {
	*sigv4.Body
	Raw    *RollingReader        // the encoded body, which Body reads
	failed atomic.Pointer[error] // atomic: the transport reads on its own goroutine
}

// Failure returns the first error of Read, except io.EOF.
func (b *Client) Failure() error {
	if err := b.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (b *Client) Read(p []byte) (int, error) {
	if err := b.Failure(); err != nil {
		return 0, err
	}
	n, err := b.Body.Read(p)
	if err != nil && err != io.EOF {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = ErrStalled
		}
		err = fmt.Errorf("payload: reading the client's body: %w", err)
		b.failed.Store(&err)
	}
	return n, err
}

// RollingReader reads a client's body with a new deadline for each Read, until
// Stop.
type RollingReader struct {
	R       io.Reader
	Control *http.ResponseController
	Idle    time.Duration // longest wait for a byte
	Least   int64         // bytes per second that the client must send, after a first Idle; 0: no least rate

	read   int64         // bytes
	waited time.Duration // in Read

	mu      sync.Mutex
	stopped bool // guarded by mu
}

// Stop must be called when the request's handler ends. From then on the
// connection's read deadline belongs to net/http and to the connection's next
// request. If the store has refused a body early, the transport may still be in
// Read. Stop does nothing to a nil reader.
func (r *RollingReader) Stop() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
}

// setDeadline sets the connection's read deadline, unless the reader is
// stopped. It fails only for a connection without deadlines, as in tests.
func (r *RollingReader) setDeadline(t time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		_ = r.Control.SetReadDeadline(t)
	}
}

// timeout returns how long the next Read may wait. Only time spent in Read
// counts, so a store that reads the body slowly does not count against the
// client.
func (r *RollingReader) timeout() time.Duration {
	if r.Least == 0 {
		return r.Idle
	}
	earned := time.Duration(r.read/r.Least) * time.Second
	return min(r.Idle, r.Idle+earned-r.waited)
}

func (r *RollingReader) Read(p []byte) (int, error) {
	began := time.Now()
	r.setDeadline(began.Add(r.timeout()))
	n, err := r.R.Read(p)
	r.read += int64(n)
	r.waited += time.Since(began)
	if err == io.EOF {
		// net/http keeps reading to notice a client that disconnects. That read
		// must not time out before the answer is sent.
		r.setDeadline(time.Time{})
	}
	return n, err
}

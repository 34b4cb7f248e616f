package payload

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"ssegw/proxy/upstream"
)

// Send sends a write, whose body as sent is made from body. A failure of body
// is the error, even if the store answered. An answer of success before the
// whole body was sent wraps [upstream.ErrUnavailable].
func Send(ctx context.Context, store upstream.Client, o upstream.Request, body Plaintext) (http.Header, error) {
	if o.Size == 0 {
		// The transport reads no empty body, so verify its end here.
		if err := upstream.ExpectEnd(body); err != nil {
			return nil, err
		}
	}
	sent := &sentBody{r: o.Body}
	if o.Body != nil {
		sent.left.Store(o.Size)
		o.Body = sent
	}
	resp, err := store.Send(ctx, o) //nolint:bodyclose // Discard closes it
	if failed := body.Failure(); failed != nil {
		if err == nil {
			upstream.Discard(resp)
		}
		return nil, failed
	}
	if err == nil && sent.left.Load() > 0 {
		upstream.Discard(resp)
		return nil, fmt.Errorf("%w: success before the whole body was sent", upstream.ErrUnavailable)
	}
	if err != nil {
		return nil, err
	}
	upstream.Discard(resp)
	return resp.Header, nil
}

// sentBody counts the bytes that the transport has read of a body. The last
// bytes of a framed body come only after it was verified. So if some are left,
// the store has answered before it could have stored the body.
type sentBody struct {
	r    io.Reader
	left atomic.Int64 // bytes; atomic: the transport reads on its own goroutine
}

func (s *sentBody) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.left.Add(-int64(n))
	return n, err
}

// Late makes its bytes at the first Read.
type Late struct {
	Make func() ([]byte, error)
	r    *bytes.Reader
}

func (l *Late) Read(p []byte) (int, error) {
	if l.r == nil {
		b, err := l.Make()
		if err != nil {
			return 0, err
		}
		l.r = bytes.NewReader(b)
	}
	return l.r.Read(p)
}

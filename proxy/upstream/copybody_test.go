package upstream

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// pacedReader returns bytes of data, each Read after a pause, and notes the
// length of the buffer that waited.
type pacedReader struct {
	data  *bytes.Reader
	pause func(at int64) time.Duration
	waits []int
}

func (r *pacedReader) Read(p []byte) (int, error) {
	at := r.data.Size() - int64(r.data.Len())
	if d := r.pause(at); d > 0 {
		r.waits = append(r.waits, len(p))
		time.Sleep(d)
	}
	return r.data.Read(p)
}

// TestCopyBodyWaits: while a young or slow body waits for its source, it has no
// buffer, and while a slow one waits for its destination, it has a small one.
// A fast body has a large one.
func TestCopyBodyWaits(t *testing.T) {
	t.Parallel()
	body := make([]byte, 3*youngBody)
	for i := range body {
		body[i] = byte(rand.Uint32())
	}
	for name, tt := range map[string]struct {
		pause      func(at int64) time.Duration // before a read
		slow       func(at int64) time.Duration // a write
		waits      int                          // bytes of the buffers that waited in reads, 0: none did
		smallAfter int64                        // all further writes are small
	}{
		"fast":           {},
		"young pauses":   {pause: func(at int64) time.Duration { return pauseAt(at, 1<<20, time.Hour) }, waits: 1},
		"slow pauses":    {pause: func(at int64) time.Duration { return pauseFrom(at, 2*youngBody, time.Second) }, waits: 1},
		"slow receiver":  {slow: func(at int64) time.Duration { return pauseFrom(at, 2*youngBody, time.Second) }, smallAfter: 2*youngBody + 2*CopySize},
		"it was slow":    {slow: func(at int64) time.Duration { return pauseAt(at, 2*youngBody, time.Second) }},
		"slow from zero": {slow: func(int64) time.Duration { return time.Second }, smallAfter: 2 * CopySize},
	} {
		synctest.Test(t, func(t *testing.T) {
			none := func(int64) time.Duration { return 0 }
			if tt.pause == nil {
				tt.pause = none
			}
			if tt.slow == nil {
				tt.slow = none
			}
			src := &pacedReader{data: bytes.NewReader(body), pause: tt.pause}
			var got bytes.Buffer
			last := 0
			n, err := CopyBody(writerFunc(func(p []byte) (int, error) {
				at := int64(got.Len())
				time.Sleep(tt.slow(at))
				if tt.smallAfter > 0 && at >= tt.smallAfter && len(p) > slowPiece {
					t.Errorf("%s: %d bytes at once at %d", name, len(p), at)
				}
				if int64(got.Len()+len(p)) < int64(len(body)) {
					last = len(p)
				}
				return got.Write(p)
			}), src)
			if err != nil || n != int64(len(body)) || !bytes.Equal(got.Bytes(), body) {
				t.Errorf("%s: %d bytes, %v", name, n, err)
			}
			if tt.smallAfter == 0 && tt.waits == 0 && last != CopySize {
				t.Errorf("%s: the last writes had %d bytes", name, last)
			}
			small := 0
			for _, w := range src.waits {
				if w <= slowPiece {
					small++
				}
			}
			// The wait that makes a fast body slow is in its large buffer.
			if tt.waits > 0 && (small == 0 || len(src.waits)-small > 1) {
				t.Errorf("%s: of %d waits %d were in small buffers", name, len(src.waits), small)
			}
		})
	}
}

func pauseAt(at, where int64, d time.Duration) time.Duration {
	if at >= where && at < where+CopySize {
		return d
	}
	return 0
}

func pauseFrom(at, where int64, d time.Duration) time.Duration {
	if at >= where {
		return d
	}
	return 0
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestCopyBodyErrors: what was read before an error is written, and both sides'
// errors are returned.
func TestCopyBodyErrors(t *testing.T) {
	t.Parallel()
	errWrite := errors.New("write")
	for _, n := range []int{0, 1, 2, slowPiece, SealedUnit, youngBody - 1, youngBody, youngBody + 1, youngBody + 3*CopySize + 5} {
		data := bytes.Repeat([]byte("x"), n)
		for name, src := range map[string]io.Reader{
			"plain":        bytes.NewReader(data),
			"with its end": iotest.DataErrReader(bytes.NewReader(data)),
			"halves":       iotest.HalfReader(bytes.NewReader(data)),
		} {
			var got bytes.Buffer
			if m, err := CopyBody(&got, src); err != nil || m != int64(n) || got.Len() != n {
				t.Errorf("%d bytes, %s: %d, %v", n, name, m, err)
			}
		}
		var got bytes.Buffer
		if m, err := CopyBody(&got, io.MultiReader(bytes.NewReader(data), iotest.ErrReader(errSource))); !errors.Is(err, errSource) || m != int64(n) || got.Len() != n {
			t.Errorf("%d bytes and an error: %d, %v", n, m, err)
		}
		if m, err := CopyBody(writerFunc(func([]byte) (int, error) { return 0, errWrite }), bytes.NewReader(data)); n > 0 && (!errors.Is(err, errWrite) || m != 0) {
			t.Errorf("%d bytes that cannot be written: %d, %v", n, m, err)
		}
	}
}

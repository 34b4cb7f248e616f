package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
)

// TestBodyFailsEarly: a plain body that fails before its first byte is not
// sent. Some stores take a request whose connection is closed then for an empty
// object.
func TestBodyFailsEarly(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	arrived := make(chan int, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		n, _ := io.Copy(io.Discard, r.Body)
		arrived <- int(n)
	}))
	defer server.Close()
	endpoint, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	send := func(src io.Reader, size int64) error {
		o := Request{Method: http.MethodPut, Bucket: "b", Key: "k", Header: http.Header{}}
		o.Frame(src, size, FramingPlain, nil)
		_, err := New(Config{Endpoint: endpoint}).Anonymous(nil).Exec(t.Context(), o)
		return err
	}
	text := strings.Repeat("x", 3*CopySize)
	failing := func(n int) io.Reader { return io.MultiReader(strings.NewReader(text[:n]), iotest.ErrReader(errSource)) }
	for _, n := range []int{0, 1, 3000} { // the held end of a small body fails before it is sent
		if err := send(failing(n), int64(max(n, 1))); !errors.Is(err, errSource) || !errors.Is(err, ErrUnavailable) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("the store got %d requests", n)
	}
	for _, n := range []int{1, 3000, 2*CopySize + 5} {
		if err := send(failing(n), int64(len(text))); !errors.Is(err, errSource) {
			t.Errorf("%d bytes of more: %v", n, err)
		}
		if got := <-arrived; got == 0 || got > n {
			t.Errorf("%d bytes of %d arrived", got, n)
		}
	}
	for _, n := range []int{1, 3000, len(text)} {
		for name, src := range map[string]io.Reader{"at once": strings.NewReader(text[:n]), "with its end": iotest.DataErrReader(strings.NewReader(text[:n]))} {
			if err := send(src, int64(n)); err != nil {
				t.Errorf("%d bytes %s: %v", n, name, err)
			}
			if got := <-arrived; got != n {
				t.Errorf("%s: %d bytes of %d arrived", name, got, n)
			}
		}
	}
}

// TestSmallBodyAtOnce: a small body in any framing goes out with its headers in
// one write. If it fails, or has another length, nothing is sent.
func TestSmallBodyAtOnce(t *testing.T) {
	t.Parallel()
	var arrived atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		arrived.Store(n)
	}))
	defer server.Close()
	endpoint, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	var writes atomic.Int64
	store := New(Config{Endpoint: endpoint, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return writeCounter{c, &writes}, err
	}}).Anonymous(nil)
	for _, f := range []Framing{FramingTrailer, FramingSigned, FramingPlain} {
		for name, tt := range map[string]struct {
			src    io.Reader
			size   int64
			writes int64
		}{
			"1":             {strings.NewReader("x"), 1, 1},
			"4 KiB":         {strings.NewReader(strings.Repeat("x", 4<<10)), 4 << 10, 1},
			"byte by byte":  {iotest.OneByteReader(strings.NewReader(strings.Repeat("x", 4<<10))), 4 << 10, 1},
			"fails":         {io.MultiReader(strings.NewReader("xxx"), iotest.ErrReader(errSource)), 10, 0},
			"fails at last": {io.MultiReader(strings.NewReader("xxx"), iotest.ErrReader(errSource)), 3, 0},
			"short":         {strings.NewReader("xxx"), 4, 0},
			"long":          {strings.NewReader("xxx"), 2, 0},
		} {
			writes.Store(0)
			o := Request{Method: http.MethodPut, Bucket: "b", Key: "k", Header: http.Header{}}
			o.Frame(tt.src, tt.size, f, nil)
			if f == FramingSigned {
				o.signed.sign = func(string) string { return strings.Repeat("0", 64) }
			}
			_, err := store.Exec(t.Context(), o)
			if (err == nil) != (tt.writes > 0) || writes.Load() != tt.writes {
				t.Errorf("%v, %s: %d writes, want %d: %v", f, name, writes.Load(), tt.writes, err)
			}
			if err == nil && arrived.Load() != o.Size {
				t.Errorf("%v, %s: %d bytes arrived, want %d", f, name, arrived.Load(), o.Size)
			}
		}
	}
}

type writeCounter struct {
	net.Conn
	writes *atomic.Int64
}

func (c writeCounter) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

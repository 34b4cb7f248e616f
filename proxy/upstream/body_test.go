package upstream

import (
	"errors"
	"io"
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

package stack

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// TestBreaker uploads the same body once per break. It checks what the target
// got of it, and that the next request passes.
func TestBreaker(t *testing.T) {
	const size = 300_000
	half := func(n int64) int64 { return n / 2 }
	all := func(n int64) int64 { return n }
	tests := []struct {
		name  string
		brk   Break
		fails bool
		got   int64 // bytes of the body at the target; -1 means any number
	}{
		{"another key", Break{Prefix: "/b/other", At: half}, false, size},
		{"at its start", Break{Prefix: "/b/k", At: func(int64) int64 { return 0 }, Close: true}, true, 0},
		{"in its middle", Break{Prefix: "/b/k", At: half, Close: true}, true, size / 2},
		{"in its middle, by reset", Break{Prefix: "/b/k", At: half}, true, -1},
		{"after all of it", Break{Prefix: "/b/k", At: all, Close: true}, true, size},
		{"in the answer", Break{Prefix: "/b/k", Answer: true}, true, size},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var seen sync.Map // of the target, by path
			srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				n, _ := io.Copy(io.Discard, r.Body)
				seen.Store(r.URL.Path, n)
			}))
			b, err := newBreaker(hostPort(srv.URL))
			if err != nil {
				t.Fatal(err)
			}
			b.Arm(test.brk)
			if err := put(t, b.Endpoint+"/b/k1", size); (err != nil) != test.fails {
				t.Errorf("error %v, want one: %v", err, test.fails)
			}
			if b.Armed(test.brk.Prefix) == test.fails {
				t.Errorf("armed: %v", !test.fails)
			}
			if err := put(t, b.Endpoint+"/b/k2", size); err != nil {
				t.Error("afterwards:", err)
			}
			srv.Close() // wait for its handlers
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			if n, _ := seen.Load("/b/k1"); test.got >= 0 && n != test.got {
				t.Errorf("the target got %v bytes, want %d", n, test.got)
			}
			if n, _ := seen.Load("/b/k2"); n != int64(size) {
				t.Errorf("afterwards the target got %v bytes, want %d", n, size)
			}
		})
	}
}

func put(t *testing.T, url string, size int64) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = size
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// zeros is an endless stream.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

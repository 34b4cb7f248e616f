package stack

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// echo answers with the request's host, request line and body.
func echo(t *testing.T) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("X-Seen", r.Host+" "+r.Method+" "+r.RequestURI)
		_, _ = w.Write(body)
	}))
	t.Cleanup(srv.Close)
	return srv
}

// post sends size bytes and returns the number of bytes that came back.
func post(t *testing.T, url string, size int) (int64, error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post(url, "text/plain", bytes.NewReader(make([]byte, size)))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return io.Copy(io.Discard, resp.Body)
}

func TestCut(t *testing.T) {
	const size = 1 << 20
	tests := []struct {
		name     string
		up, down int64
		fails    bool
	}{
		{"nothing armed", Unlimited, Unlimited, false},
		{"at once", 1, Unlimited, true},
		{"in the request", size / 2, Unlimited, true},
		{"in the answer", Unlimited, size / 2, true},
		{"after all of it", 2 * size, 2 * size, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := newCut(hostPort(echo(t).URL))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.Arm(test.up, test.down)
			n, err := post(t, c.Endpoint, size)
			if (err != nil) != test.fails {
				t.Errorf("got %d bytes and error %v, want an error: %v", n, err, test.fails)
			}
			if want := map[bool]int{true: 1}[test.fails]; c.Cuts() != want {
				t.Errorf("%d cuts, want %d", c.Cuts(), want)
			}
			c.Arm(Unlimited, Unlimited)
			if n, err := post(t, c.Endpoint, size); err != nil || n != size {
				t.Errorf("afterwards: %d bytes, %v", n, err)
			}
		})
	}
}

func TestCutDeliversExactly(t *testing.T) {
	c, err := newCut(hostPort(echo(t).URL))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for left, want := range map[int64]int{1: 0, 2: 1, 10: 9, 100: 64} {
		c.Arm(left, Unlimited)
		if got, cut := c.spend(toTarget, 64); got != want || cut != (left <= 64) {
			t.Errorf("limit %d: %d bytes pass, cut %v; want %d", left, got, cut, want)
		}
	}
}

func TestCutRefuses(t *testing.T) {
	c, err := newCut(hostPort(echo(t).URL))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Refuse(true)
	if _, err := post(t, c.Endpoint, 1); err == nil {
		t.Error("a refused connection worked")
	}
	c.Refuse(false)
	if _, err := post(t, c.Endpoint, 1); err != nil {
		t.Error(err)
	}
}

func TestCounterChangesNothing(t *testing.T) {
	c, err := newCounter(echo(t).URL, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const target = "/bucket/a%2Fb//c%20d/?x=1;2&prefix=%C3%BC&flag"
	req, err := http.NewRequest(http.MethodPut, c.Endpoint+target, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "signed.example"
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "body" {
		t.Errorf("body %q, %v", body, err)
	}
	if got, want := resp.Header.Get("X-Seen"), "signed.example PUT "+target; got != want {
		t.Errorf("the target saw %q, want %q", got, want)
	}
	if n := c.Count("PUT", "/bucket/"); n != 1 {
		t.Errorf("%d requests counted, want 1", n)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	c.Reset()
	if n := len(c.Calls()); n != 0 {
		t.Errorf("%d requests after Reset", n)
	}
}

func TestParseProc(t *testing.T) {
	rss, peak, err := parseStatus([]byte("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n"))
	if err != nil || rss != 1<<20 || peak != 2<<20 {
		t.Errorf("parseStatus: %d, %d, %v", rss, peak, err)
	}
	if _, _, err := parseStatus([]byte("Name:\tx\nVmRSS:\t1024 kB\n")); err == nil {
		t.Error("parseStatus accepts a status without VmHWM")
	}
	cpu, err := parseStat([]byte("42 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0"))
	if err != nil || cpu.Seconds() != 2 {
		t.Errorf("parseStat: %v, %v", cpu, err)
	}
	if _, err := parseStat([]byte("42 (x) S 1")); err == nil {
		t.Error("parseStat accepts a short line")
	}
}

func TestFreeAddr(t *testing.T) {
	seen := make(map[string]bool)
	for range 100 {
		addr, err := freeAddr()
		if err != nil || seen[addr] {
			t.Fatalf("%q given twice, or %v", addr, err)
		}
		seen[addr] = true
	}
}

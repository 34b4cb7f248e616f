package upstream

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestEarlyAnswer sends writes to a store that answers before it has read the
// body, and closes the connection. The answer must arrive.
func TestEarlyAnswer(t *testing.T) {
	t.Parallel()
	const answer = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 7\r\n\r\nrefused"
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 100)) // unread data makes the kernel reset the connection
			_, _ = io.WriteString(c, answer)
			_ = c.Close()
		}
	}()
	tr := newTransport(Config{}, 2*time.Minute, 2*time.Minute)
	defer tr.CloseIdleConnections()
	target := &url.URL{Scheme: "http", Host: l.Addr().String(), Path: "/"}
	body := bytes.Repeat([]byte("x"), 8<<20)
	for range 200 {
		r := (&http.Request{
			Method: http.MethodPut, URL: target, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		}).WithContext(t.Context())
		resp, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusBadRequest || !strings.HasPrefix(string(doc), "refused") {
			t.Fatalf("%d %q, %v", resp.StatusCode, doc, err)
		}
	}
}

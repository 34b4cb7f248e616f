package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ssegw/proxy/s3"
)

// TestLinger refuses uploads without reading their bodies. So much of the body
// is on its way that closing the connection would reset it. The client, which
// reads after it has written, still gets the answer.
func TestLinger(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	for range 5 {
		sending := make(chan struct{})
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-sending
			c := &call{gw: &Server{times: times{linger: giveUp}}, in: r, w: &answer{ResponseWriter: w}}
			s3.WriteError(c.w, r, s3.ErrServiceUnavailable, "")
			linger(c)
		}))
		conn, err := net.Dial("tcp", strings.TrimPrefix(srv.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(giveUp))
		fmt.Fprintf(conn, "PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", size)
		if _, err := conn.Write(make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
		close(sending)
		if _, err := conn.Write(make([]byte, size-64<<10)); err != nil {
			t.Errorf("writing: %v", err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("the answer is lost: %v", err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusServiceUnavailable || !resp.Close {
			t.Errorf("status %d, close %v, %v", resp.StatusCode, resp.Close, err)
		}
		_ = conn.Close()
		srv.Close()
	}
}

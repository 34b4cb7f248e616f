package upstream

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// TestAnswerTimeouts checks how long the store has to answer each kind of
// request.
func TestAnswerTimeouts(t *testing.T) {
	t.Parallel()
	s := New(Config{Endpoint: &url.URL{Scheme: "http", Host: "store"}})
	for name, tt := range map[string]struct {
		o    Request
		want time.Duration
	}{
		"small":    {Request{Method: http.MethodGet}, answerTimeout},
		"document": {Request{Method: http.MethodPost, Size: 4 << 20}, answerTimeout},
		"long":     {Request{Method: http.MethodPut, Size: longBody + 1}, idleTimeout},
		"copy":     {Request{Method: http.MethodPut, Copies: true}, copyFactor * idleTimeout},
	} {
		if got := s.transport(&tt.o).(*http.Transport).ResponseHeaderTimeout; got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// TestZeroCaller: a client whose caller was forgotten has no rights: its
// requests are not signed.
func TestZeroCaller(t *testing.T) {
	var got http.Header
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header }))
	defer server.Close()
	endpoint, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Endpoint: endpoint, Region: "us-east-1", Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "id", SecretAccessKey: "secret"}, nil
	})})
	for _, c := range []struct {
		name   string
		client Client
		signed bool
	}{{"zero", Client{store: s}, false}, {"anonymous", s.Anonymous(nil), false}, {"own", s.Own(), true}} {
		if _, err := c.client.Exec(t.Context(), Request{Method: http.MethodGet, Bucket: "b"}); err != nil {
			t.Fatal(err)
		}
		if signed := got.Get("Authorization") != ""; signed != c.signed {
			t.Errorf("%s: signed is %t", c.name, signed)
		}
	}
}

// TestWritesHaveALength: every request without a body that may change something
// carries Content-Length: 0. A store could wait for a body otherwise.
func TestWritesHaveALength(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	requests := make(chan string)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			request := "\n"
			for r := textproto.NewReader(bufio.NewReader(conn)); ; {
				line, err := r.ReadLine()
				if err != nil || line == "" {
					break
				}
				request += line + "\n"
			}
			requests <- request
			_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
			_ = conn.Close()
		}
	}()
	s := New(Config{Endpoint: &url.URL{Scheme: "http", Host: l.Addr().String()}})
	for _, method := range []string{"PUT", "POST", "DELETE", "GET", "HEAD"} {
		ended := make(chan error, 1)
		go func() {
			_, err := s.Anonymous(nil).Exec(t.Context(), Request{Method: method, Bucket: "b", Key: "k"})
			ended <- err
		}()
		request := <-requests
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if has, want := strings.Contains(request, "\nContent-Length: 0\n"), method != "GET" && method != "HEAD"; has != want || strings.Contains(request, "Transfer-Encoding") {
			t.Errorf("%s: %s", method, request)
		}
	}
}

// TestConnectionsAreKept checks that connections are kept however many were in
// use at a time, and that all but the first resume its TLS session.
func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	const calls = 20
	var opened, resumed, arrived atomic.Int64
	release := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.TLS.DidResume {
			resumed.Add(1)
		}
		if arrived.Add(1) == 1+calls {
			close(release)
		}
		if r.URL.Path != "/first" {
			<-release
		}
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.StartTLS()
	defer server.Close()
	endpoint, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Endpoint: endpoint, TLS: server.Client().Transport.(*http.Transport).TLSClientConfig, MaxConns: calls})
	head := func(bucket string) {
		if _, err := s.Anonymous(nil).Exec(t.Context(), Request{Method: http.MethodHead, Bucket: bucket}); err != nil {
			t.Error(err)
		}
	}
	head("first")
	for range 2 { // the second time on connections that were kept
		var all sync.WaitGroup
		for range calls {
			all.Go(func() { head("b") })
		}
		all.Wait()
		if n := opened.Load(); n > calls {
			t.Errorf("%d connections for %d requests at a time", n, calls)
		}
	}
	if n := resumed.Load(); n < calls-1 {
		t.Errorf("%d of %d connections resumed the session", n, calls-1)
	}
}

// TestHost: the Host header leaves out a default port, as clients do.
func TestHost(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]string{
		"http://store": "store", "http://store:80": "store", "http://store:443": "store:443", "https://[::1]:443": "[::1]", "https://store:9000": "store:9000",
	} {
		u, err := url.Parse(endpoint)
		if err != nil {
			t.Fatal(err)
		}
		if got := hostOf(u); got != want {
			t.Errorf("%s: %s, want %s", endpoint, got, want)
		}
	}
}

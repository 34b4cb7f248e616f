package stack

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A Front stands in front of a KES server, with the server's own certificate.
// It makes the server slow or faulty on demand. Until then it passes encrypted
// bytes unchanged.
type Front struct {
	Endpoint string // https://127.0.0.1:PORT
	target   string
	listener net.Listener
	ill      *http.Server // answers instead of KES
	illConns chan net.Conn
	wg       sync.WaitGroup

	mu     sync.Mutex
	fault  FrontFault
	conns  map[net.Conn]struct{}
	closed bool
}

// FrontFault is what a front does with connections. The zero value passes them
// on.
type FrontFault struct {
	Delay  time.Duration // delays every piece that KES sends
	Status int           // answers every request with this status instead of KES
	Probes bool          // with Status: answer /version correctly
}

// StartFront starts a front of a KES server. It returns the front, and the
// server with the front's endpoint.
func (s *Stack) StartFront(k *KES) (*Front, *KES, error) {
	cert, err := tls.LoadX509KeyPair(filepath.Join(k.home, "server.crt"), filepath.Join(k.home, "server.key"))
	if err != nil {
		return nil, nil, fmt.Errorf("stack: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, fmt.Errorf("stack: %w", err)
	}
	f := &Front{
		Endpoint: "https://" + l.Addr().String(), target: strings.TrimPrefix(k.Endpoint, "https://"),
		listener: l, illConns: make(chan net.Conn), conns: make(map[net.Conn]struct{}),
	}
	f.ill = &http.Server{
		Handler: http.HandlerFunc(f.answer), ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12},
	}
	f.wg.Go(func() { _ = f.ill.ServeTLS(chanListener{f.illConns, l}, "", "") })
	f.wg.Go(f.serve)
	s.own(f.Close)
	fronted := *k
	fronted.Endpoint = f.Endpoint
	return f, &fronted, nil
}

// Set changes the fault and closes the existing connections.
func (f *Front) Set(fault FrontFault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
	for c := range f.conns {
		reset(c)
	}
}

// Close ends the front and its connections.
func (f *Front) Close() error {
	f.mu.Lock()
	f.closed = true
	for c := range f.conns {
		reset(c)
	}
	f.mu.Unlock()
	err := f.listener.Close()
	_ = f.ill.Close() // its listener is closed already
	f.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (f *Front) serve() {
	defer close(f.illConns)
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		fault, closed := f.fault, f.closed
		f.conns[client] = struct{}{}
		f.mu.Unlock()
		switch {
		case closed:
			reset(client)
		case fault.Status != 0:
			f.illConns <- client // the server accepts from this channel until it is closed
		default:
			f.wg.Go(func() { f.pass(client, fault.Delay) })
		}
	}
}

// pass passes a connection on.
func (f *Front) pass(client net.Conn, delay time.Duration) {
	defer f.drop(client)
	target, err := net.Dial("tcp", f.target)
	if err != nil {
		reset(client)
		return
	}
	f.mu.Lock()
	f.conns[target] = struct{}{}
	f.mu.Unlock()
	defer f.drop(target)
	var pumps sync.WaitGroup
	pumps.Go(func() {
		_, _ = io.Copy(target, client)
		endWrite(target)
	})
	pumps.Go(func() {
		_, _ = io.Copy(delayed{client, delay}, target)
		reset(client)
	})
	pumps.Wait()
}

func (f *Front) drop(c net.Conn) {
	f.mu.Lock()
	delete(f.conns, c)
	f.mu.Unlock()
	_ = c.Close() // a reset has closed it already
}

// answer answers instead of KES.
func (f *Front) answer(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	fault := f.fault
	f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if fault.Probes && r.URL.Path == "/version" {
		_, _ = io.WriteString(w, `{"version":"front"}`)
		return
	}
	w.WriteHeader(max(fault.Status, http.StatusServiceUnavailable))
	_, _ = io.WriteString(w, `{"message":"on demand"}`)
}

// delayed delays writes.
type delayed struct {
	net.Conn
	delay time.Duration
}

func (d delayed) Write(p []byte) (int, error) {
	time.Sleep(d.delay)
	return d.Conn.Write(p)
}

// chanListener accepts connections from a channel.
type chanListener struct {
	conns chan net.Conn
	net.Listener
}

func (l chanListener) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

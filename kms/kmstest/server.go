package kmstest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/minio/kms-go/kes"

	"ssegw/kms"
)

// DefaultKey is the name of the KES key that every store starts with. Config
// sets it as the default key.
const DefaultKey = "default-key"

// Server is a KES server. It is safe for concurrent use and stops when its test
// ends.
type Server struct {
	t        testing.TB
	store    *store
	network  *Network // nil for TCP
	addr     string
	caFile   string
	pageSize int
	handler  http.Handler

	mu       sync.Mutex
	run      *run // nil while stopped
	fault    *fault
	requests map[Op]int
	resumed  int
}

// run is the state of a server between Start and Stop.
type run struct {
	http   *http.Server
	ctx    context.Context // ends at Stop
	cancel context.CancelFunc
	active sync.WaitGroup // requests, and the accept loop
}

// Option configures a server in NewServer.
type Option func(*Server)

// WithStore makes the server share keys, clients, certificate and network with
// other.
func WithStore(other *Server) Option {
	return func(s *Server) { s.store, s.network = other.store, other.network }
}

// WithKeys creates KES keys.
func WithKeys(names ...string) Option {
	return func(s *Server) {
		for _, name := range names {
			s.CreateKey(name)
		}
	}
}

// WithPageSize sets the maximum number of names in one listing. The default is
// 1024, as in KES.
func WithPageSize(n int) Option { return func(s *Server) { s.pageSize = n } }

// WithNetwork makes the server listen on n instead of TCP, and clients from its
// Config dial on n.
func WithNetwork(n *Network) Option { return func(s *Server) { s.network = n } }

// NewServer starts a server on a free port of 127.0.0.1. WithStore must come
// before options that create keys.
func NewServer(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s := &Server{
		t:        t,
		pageSize: 1024,
		fault:    newFault(Fault{}),
		requests: make(map[Op]int),
	}
	s.store = newStore(t)
	for _, opt := range opts {
		opt(s)
	}
	s.caFile = filepath.Join(t.TempDir(), "kes-ca.pem")
	if err := os.WriteFile(s.caFile, s.store.certPEM, 0o600); err != nil {
		t.Fatalf("kmstest: %v", err)
	}
	s.handler = s.routes()
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// timeout is long enough for a busy machine.
const timeout = 2 * time.Minute

// Config returns the configuration of a client for this server and others,
// which must share its store. An endpoint may be silent for more than a minute,
// so tests do not depend on the speed of the machine. Tests of servers that
// hang set a shorter Timeout.
func (s *Server) Config(others ...*Server) kms.Config {
	c := kms.Config{
		Endpoints:  []string{s.Endpoint()},
		APIKey:     s.APIKey(),
		CAPath:     s.caFile,
		DefaultKey: DefaultKey,

		Timeout: timeout,
	}
	if s.network != nil {
		c.Dial = s.network.Dial
	}
	for _, other := range others {
		c.Endpoints = append(c.Endpoints, other.Endpoint())
	}
	return c
}

// Endpoint returns https://host:port of the server. It does not change when the
// server is stopped and started.
func (s *Server) Endpoint() string { return "https://" + s.addr }

// APIKey returns the API key of a client that the server accepts.
func (s *Server) APIKey() string { return s.store.apiKey.String() }

// CAFile returns the path of a PEM file with the server's certificate.
func (s *Server) CAFile() string { return s.caFile }

// Stop closes the listener and all connections at once, like a killed server.
// It returns when no request is running. It may be called twice.
func (s *Server) Stop() {
	s.mu.Lock()
	r := s.run
	s.run = nil
	s.mu.Unlock()
	if r == nil {
		return
	}
	r.cancel()
	r.http.Close() //nolint:errcheck // the listener may be closed already
	r.active.Wait()
}

// Start starts the server again, on the same port. It may be called twice.
func (s *Server) Start() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil {
		return
	}
	ln, err := s.listen()
	if err != nil {
		s.t.Fatalf("kmstest: %v", err)
	}
	s.addr = ln.Addr().String()
	r := &run{}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.http = &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { s.serve(r, w, req) }),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return s.handshake(r)
			},
			Certificates: []tls.Certificate{s.store.cert},
			ClientAuth:   tls.RequestClientCert,
			// To resume a session both sides write at the same time, which
			// blocks for ever in a Network: its connections have no buffer.
			SessionTicketsDisabled: s.network != nil,
		},
	}
	s.run = r
	r.active.Go(func() {
		r.http.ServeTLS(ln, "", "") //nolint:errcheck // ends with Stop
	})
}

// listen listens on the server's address, or on a free one the first time. It
// picks a port below 32768, which the system does not assign by itself, so the
// port stays free while the server is stopped.
func (s *Server) listen() (ln net.Listener, err error) {
	switch {
	case s.network != nil:
		return s.network.Listen(s.addr)
	case s.addr != "":
		return net.Listen("tcp", s.addr)
	}
	for range 100 {
		var b [2]byte
		rand.Read(b[:])
		ln, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 12_000+binary.BigEndian.Uint16(b[:])%20_000))
		if err == nil {
			break
		}
	}
	return ln, err
}

// enter adds a request to those that Stop waits for. It returns false if Stop
// was called.
func (s *Server) enter(r *run) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != r {
		return false
	}
	r.active.Add(1)
	return true
}

// handshake blocks TLS handshakes while the server hangs.
func (s *Server) handshake(r *run) (*tls.Config, error) {
	f := s.currentFault()
	if f.Hang && len(f.Ops) == 0 && f.Times == 0 {
		return nil, f.wait(r.ctx) // nil, nil continues the handshake
	}
	return nil, nil // keeps the current configuration
}

// Resumed returns how many requests came through connections that resumed a TLS
// session.
func (s *Server) Resumed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resumed
}

// CreateKey creates a KES key unless it exists.
func (s *Server) CreateKey(name string) {
	if err := kms.ValidKeyName(name); err != nil {
		s.t.Fatalf("kmstest: %v", err)
	}
	s.store.create(name, s.store.apiKey.Identity())
}

// DeleteKey deletes a KES key. Data keys sealed under it can no longer be
// opened.
func (s *Server) DeleteKey(name string) { s.store.remove(name) }

// HasKey reports whether a KES key exists.
func (s *Server) HasKey(name string) bool {
	_, ok := s.store.get(name)
	return ok
}

// Deny makes all requests for a KES key fail with 403, until Allow.
func (s *Server) Deny(name string) { s.store.deny(name, true) }

// Allow undoes Deny.
func (s *Server) Allow(name string) { s.store.deny(name, false) }

// AddIdentity makes the server accept one more client, by the identity of its
// public key.
func (s *Server) AddIdentity(id kes.Identity) { s.store.admit(id) }

// Requests returns how many requests for an operation have arrived since the
// start or the last ResetRequests. Refused and failed requests count too.
func (s *Server) Requests(op Op) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[op]
}

// AllRequests returns a copy of all counts.
func (s *Server) AllRequests() map[Op]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.requests)
}

// ResetRequests resets all counts to zero.
func (s *Server) ResetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.requests)
}

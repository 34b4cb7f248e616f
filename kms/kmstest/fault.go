package kmstest

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Fault is a way for requests to fail. The zero Fault is none. Delay comes
// first; of the others, the first that is set decides: Hang, Drop, DropAnswer,
// Status or Body.
type Fault struct {
	// Delay is how long an answer takes.
	Delay time.Duration
	// Hang leaves requests without an answer until the next SetFault, after
	// which they are carried out. Where it is for all operations and any number
	// of times, TLS handshakes hang too, as those of a process that was sent
	// SIGSTOP do.
	Hang bool
	// Drop closes the connection, with nothing done.
	Drop bool
	// DropAnswer carries the request out and closes the connection in place of
	// the answer.
	DropAnswer bool
	// Status is answered, with Message as KES sends errors, or with Body.
	Status  int
	Message string
	// Body is answered as it is, with Status or 200.
	Body []byte

	// Ops are the operations that fail; empty means all.
	Ops []Op
	// Times is how many requests fail; 0 means all.
	Times int
}

// SetFault makes requests fail from now on, in place of any fault before; the
// zero Fault ends it. Requests that hang are let go.
func (s *Server) SetFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.fault.over)
	s.fault = newFault(f)
}

// fault is a Fault in force.
type fault struct {
	Fault
	over chan struct{} // closed when another takes its place

	mu   sync.Mutex
	left int
}

func newFault(f Fault) *fault {
	return &fault{Fault: f, over: make(chan struct{}), left: f.Times}
}

func (s *Server) currentFault() *fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// applies reports whether a request fails, and takes one from what is left of
// them.
func (f *fault) applies(op Op) bool {
	if len(f.Ops) > 0 && !slices.Contains(f.Ops, op) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Times == 0 {
		return true
	}
	if f.left == 0 {
		return false
	}
	f.left--
	return true
}

// wait returns nil when the fault is over, and an error when ctx ends first.
func (f *fault) wait(ctx context.Context) error {
	select {
	case <-f.over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// serve counts a request, makes it fail if it is to, and otherwise carries it
// out.
func (s *Server) serve(r *run, w http.ResponseWriter, req *http.Request) {
	if !s.enter(r) {
		panic(http.ErrAbortHandler)
	}
	defer r.active.Done()
	if !readBody(w, req) {
		return
	}
	op := opOf(req)
	s.mu.Lock()
	s.requests[op]++
	f := s.fault
	s.mu.Unlock()
	if !f.applies(op) {
		s.handler.ServeHTTP(w, req)
		return
	}
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-req.Context().Done():
			panic(http.ErrAbortHandler)
		case <-r.ctx.Done():
			panic(http.ErrAbortHandler)
		}
	}
	s.fail(r, f, w, req)
}

func (s *Server) fail(r *run, f *fault, w http.ResponseWriter, req *http.Request) {
	switch {
	case f.Hang:
		ctx, cancel := context.WithCancel(req.Context())
		defer cancel()
		defer context.AfterFunc(r.ctx, cancel)()
		if f.wait(ctx) != nil {
			panic(http.ErrAbortHandler)
		}
		s.handler.ServeHTTP(w, req)
	case f.Drop:
		panic(http.ErrAbortHandler) // closes the connection
	case f.DropAnswer:
		s.handler.ServeHTTP(discard{http.Header{}}, req)
		panic(http.ErrAbortHandler)
	case f.Body != nil:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(max(f.Status, http.StatusOK))
		w.Write(bytes.Clone(f.Body)) //nolint:errcheck // the client may be gone
	case f.Status != 0:
		fail(w, f.Status, f.Message)
	default:
		s.handler.ServeHTTP(w, req)
	}
}

// discard is a ResponseWriter to nowhere.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

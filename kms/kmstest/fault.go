package kmstest

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Fault describes how requests fail. The zero Fault means no failures. Delay is
// applied first. Of the others, the first that is set takes effect: Hang, Drop,
// DropAnswer, Status or Body.
type Fault struct {
	// Delay is the time before each answer.
	Delay time.Duration
	// OneByOne delays requests one after another, in order of arrival, as an
	// overloaded server does.
	OneByOne bool
	// Hang blocks requests until the next SetFault. They are then carried out.
	// If Ops is empty and Times is 0, TLS handshakes hang too, as they do for a
	// process stopped by SIGSTOP.
	Hang bool
	// Drop closes the connection without doing anything.
	Drop bool
	// DropAnswer carries out the request and closes the connection instead of
	// answering.
	DropAnswer bool
	// Status is the status to answer with. The body is Message, as KES sends
	// errors, or Body if that is set.
	Status  int
	Message string
	// Body is sent verbatim, with Status or 200.
	Body []byte

	// Ops are the operations that fail. Empty means all.
	Ops []Op
	// Times is the number of requests that fail. 0 means all.
	Times int
}

// SetFault sets how requests fail from now on and releases requests that hang.
// It replaces any earlier fault; the zero Fault ends it.
func (s *Server) SetFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.fault.over)
	s.fault = newFault(f)
}

// fault is a Fault in effect.
type fault struct {
	Fault
	over chan struct{} // closed when the fault is replaced
	turn chan struct{} // holds an element while a request is delayed one by one

	mu   sync.Mutex
	left int
}

func newFault(f Fault) *fault {
	return &fault{Fault: f, over: make(chan struct{}), turn: make(chan struct{}, 1), left: f.Times}
}

func (s *Server) currentFault() *fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// applies reports whether a request fails, and counts it if so.
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

// wait returns nil when the fault is over, or an error if ctx ends first.
func (f *fault) wait(ctx context.Context) error {
	select {
	case <-f.over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// serve counts a request and carries it out, or makes it fail.
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
	if req.TLS.DidResume {
		s.resumed++
	}
	f := s.fault
	s.mu.Unlock()
	if !f.applies(op) {
		s.handler.ServeHTTP(w, req)
		return
	}
	if f.Delay > 0 && !f.delay(req.Context(), r.ctx) {
		panic(http.ErrAbortHandler)
	}
	s.fail(r, f, w, req)
}

// delay waits for Delay. It returns false if the request or the server ends
// first.
func (f *fault) delay(request, server context.Context) bool {
	if f.OneByOne {
		select {
		case f.turn <- struct{}{}:
			defer func() { <-f.turn }()
		case <-request.Done():
			return false
		case <-server.Done():
			return false
		}
	}
	timer := time.NewTimer(f.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-request.Done():
		return false
	case <-server.Done():
		return false
	}
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

// discard is a ResponseWriter that discards everything.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

package stack

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Break describes where a [Breaker] ends the connection of one upload.
type Break struct {
	// Prefix of the request's target, "/bucket/key". Other requests pass.
	Prefix string
	// At returns how many bytes of the body to deliver, as encoded on the wire.
	// Its argument is the length of the body. If it returns that length, the
	// whole body is delivered and only the answer is lost, while the target may
	// still be working on it.
	At func(length int64) int64
	// Answer delivers the whole body and breaks at the first byte of the
	// answer.
	Answer bool
	// Close ends the connection to the target in order instead of resetting it,
	// as the kernel does for a process that dies.
	Close bool
}

// Breaker is a TCP proxy for HTTP/1.1 that breaks single uploads at an exact
// byte of their body. Other requests may pass at the same time.
type Breaker struct {
	Endpoint string // http://127.0.0.1:PORT
	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	breaks map[string]Break // by prefix
	conns  map[net.Conn]struct{}
	closed bool
}

// StartBreaker starts a proxy in front of an endpoint (http://HOST:PORT). At
// first everything passes.
func (s *Stack) StartBreaker(endpoint string) (*Breaker, error) {
	b, err := newBreaker(hostPort(endpoint))
	if err != nil {
		return nil, err
	}
	s.own(b.Close)
	return b, nil
}

func newBreaker(target string) (*Breaker, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	b := &Breaker{
		Endpoint: "http://" + l.Addr().String(), target: target, listener: l,
		breaks: make(map[string]Break), conns: make(map[net.Conn]struct{}),
	}
	b.wg.Go(b.serve)
	return b, nil
}

// Arm makes the next PUT whose target has the prefix of brk break.
func (b *Breaker) Arm(brk Break) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.breaks[brk.Prefix] = brk
}

// Armed reports whether the break with that prefix still waits for its upload.
func (b *Breaker) Armed(prefix string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.breaks[prefix]
	return ok
}

// Close ends the proxy and its connections.
func (b *Breaker) Close() error {
	err := b.listener.Close()
	b.mu.Lock()
	b.closed = true
	for c := range b.conns {
		reset(c)
	}
	b.mu.Unlock()
	b.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (b *Breaker) serve() {
	for {
		client, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.wg.Go(func() { b.forward(client) })
	}
}

func (b *Breaker) forward(client net.Conn) {
	defer b.drop(client)
	target, err := net.Dial("tcp", b.target)
	if err != nil || !b.keep(client) {
		reset(client)
		return
	}
	defer b.drop(target)
	if !b.keep(target) {
		reset(target)
		return
	}
	var lost atomic.Bool // do not deliver the next answer
	var pumps sync.WaitGroup
	pumps.Go(func() { b.requests(target, client, &lost) })
	pumps.Go(func() { answers(client, target, &lost) })
	pumps.Wait()
}

// answers copies from the target until it ends, or until an answer must be
// lost.
func answers(client, target net.Conn, lost *atomic.Bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := target.Read(buf)
		if n > 0 && lost.Load() {
			reset(client)
			_, _ = io.Copy(io.Discard, target) // the target ends when it is done
			return
		}
		if n > 0 {
			if _, werr := client.Write(buf[:n]); werr != nil {
				reset(target)
				return
			}
		}
		if err != nil {
			reset(client) // after the last answer, or with the target's reset
			return
		}
	}
}

// requests copies requests to the target until one of them must break.
func (b *Breaker) requests(target, client net.Conn, lost *atomic.Bool) {
	in := bufio.NewReaderSize(client, 64<<10)
	for {
		head, err := readHead(in)
		if err != nil {
			endWrite(target)
			return
		}
		length, err := bodyLength(head)
		if err != nil {
			reset(target)
			reset(client)
			return
		}
		brk, breaks := b.match(head)
		deliver := length
		if breaks && !brk.Answer {
			deliver = min(brk.At(length), length)
		}
		lost.Store(breaks)
		if _, err = target.Write(head); err == nil {
			_, err = io.CopyN(target, in, deliver)
		}
		if err != nil { // the client or the target disconnected
			endWrite(target)
			return
		}
		if breaks && !brk.Answer {
			b.end(target, client, brk.Close)
			return
		}
	}
}

// end breaks a connection.
func (b *Breaker) end(target, client net.Conn, inOrder bool) {
	if inOrder {
		endWrite(target)
	} else {
		reset(target)
	}
	reset(client)
}

// match removes and returns the break that is armed for a request, if any.
func (b *Breaker) match(head []byte) (Break, bool) {
	path, isPut := strings.CutPrefix(string(head[:bytes.IndexByte(head, '\n')]), "PUT ")
	b.mu.Lock()
	defer b.mu.Unlock()
	for prefix, brk := range b.breaks {
		if isPut && strings.HasPrefix(path, prefix) {
			delete(b.breaks, prefix)
			return brk, true
		}
	}
	return Break{}, false
}

// readHead reads a request up to and including the empty line.
func readHead(r *bufio.Reader) ([]byte, error) {
	var head []byte
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		head = append(head, line...)
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return head, nil
		}
	}
}

// bodyLength returns the Content-Length of a request. A body in HTTP chunks is
// an error.
func bodyLength(head []byte) (int64, error) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		return 0, err
	}
	if r.ContentLength < 0 {
		return 0, errors.New("stack: a body without Content-Length")
	}
	return r.ContentLength, nil
}

func (b *Breaker) keep(conn net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.conns[conn] = struct{}{}
	return true
}

func (b *Breaker) drop(conn net.Conn) {
	b.mu.Lock()
	delete(b.conns, conn)
	b.mu.Unlock()
	_ = conn.Close() // a reset has closed it already
}

// endWrite ends one direction in order. The peer has a moment to finish its
// work, and then the connection is closed.
func endWrite(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	_ = conn.SetReadDeadline(time.Now().Add(startTimeout))
}

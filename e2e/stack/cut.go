package stack

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Unlimited in a [Cut.Arm] call means no limit for a direction.
const Unlimited = -1

// Cut is a TCP proxy in front of one address that breaks connections on demand.
type Cut struct {
	Endpoint string // http://127.0.0.1:PORT
	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	refuse bool
	left   [2]int64 // bytes until the next cut, per direction, or Unlimited
	cuts   int
	conns  map[net.Conn]struct{}
	closed bool
}

// The two directions, as indices of Cut.left.
const (
	toTarget = iota
	toClient
)

// StartCut starts a proxy in front of an endpoint (http://HOST:PORT). At first
// nothing is armed.
func (s *Stack) StartCut(endpoint string) (*Cut, error) {
	c, err := newCut(hostPort(endpoint))
	if err != nil {
		return nil, err
	}
	s.own(c.Close)
	return c, nil
}

func newCut(target string) (*Cut, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	c := &Cut{
		Endpoint: "http://" + l.Addr().String(), target: target, listener: l,
		left: [2]int64{Unlimited, Unlimited}, conns: make(map[net.Conn]struct{}),
	}
	c.wg.Go(c.serve)
	return c, nil
}

// Arm makes the proxy reset a connection. It resets the one that carries the
// up-th byte from now on to the target, or the down-th byte to the client,
// counted over all connections. That byte and later ones are not delivered. A
// cut disarms both directions.
func (c *Cut) Arm(up, down int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = [2]int64{up, down}
}

// Cuts returns how many connections Arm has cut so far.
func (c *Cut) Cuts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cuts
}

// Refuse makes the proxy reset all existing and new connections until it is
// called with false.
func (c *Cut) Refuse(refuse bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = refuse
	if refuse {
		c.resetAll()
	}
}

// Close ends the proxy and its connections.
func (c *Cut) Close() error {
	err := c.listener.Close()
	c.mu.Lock()
	c.closed = true
	c.resetAll()
	c.mu.Unlock()
	c.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (c *Cut) resetAll() {
	for conn := range c.conns {
		reset(conn)
	}
}

func (c *Cut) serve() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.wg.Go(func() { c.forward(client) })
	}
}

func (c *Cut) forward(client net.Conn) {
	defer c.drop(client)
	if !c.keep(client) {
		reset(client)
		return
	}
	target, err := net.Dial("tcp", c.target)
	if err != nil {
		reset(client)
		return
	}
	defer c.drop(target)
	if !c.keep(target) {
		reset(target)
		reset(client)
		return
	}
	var pumps sync.WaitGroup
	pumps.Go(func() { c.pump(target, client, toTarget) })
	pumps.Go(func() { c.pump(client, target, toClient) })
	pumps.Wait()
}

// pump copies until the source ends or the direction's limit is reached.
func (c *Cut) pump(dst, src net.Conn, direction int) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		allowed, cut := c.spend(direction, n)
		if _, werr := dst.Write(buf[:allowed]); werr != nil || cut {
			reset(dst)
			reset(src)
			return
		}
		if err != nil {
			if tcp, ok := dst.(*net.TCPConn); ok && errors.Is(err, io.EOF) {
				_ = tcp.CloseWrite()
			} else {
				reset(dst)
			}
			return
		}
	}
}

// spend subtracts n bytes from the direction's limit. It returns how many may
// pass.
func (c *Cut) spend(direction, n int) (allowed int, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := c.left[direction]
	if left == Unlimited || n == 0 {
		return n, false
	}
	if int64(n) < left {
		c.left[direction] -= int64(n)
		return n, false
	}
	c.left = [2]int64{Unlimited, Unlimited}
	c.cuts++
	return max(int(left)-1, 0), true
}

func (c *Cut) keep(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuse || c.closed {
		return false
	}
	c.conns[conn] = struct{}{}
	return true
}

func (c *Cut) drop(conn net.Conn) {
	c.mu.Lock()
	delete(c.conns, conn)
	c.mu.Unlock()
	_ = conn.Close() // a reset has closed it already
}

// reset closes a connection so that the peer sees a reset instead of the end of
// the stream.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

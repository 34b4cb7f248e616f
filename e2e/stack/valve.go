package stack

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// A valve passes the connections of a service on. When shut, it accepts
// connections, keeps them open, and passes nothing, like a process that was
// sent SIGSTOP. Unlike such a process, it stays shut even if another program
// sends SIGCONT, as programs that throttle others do.
type valve struct {
	addr, target string
	wg           sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil if nothing listens, because the service does not run
	conns    map[net.Conn]struct{}
	open     chan struct{} // closed while the valve is open
	shut     bool
}

func newValve(addr, target string) *valve {
	v := &valve{addr: addr, target: target, conns: make(map[net.Conn]struct{}), open: make(chan struct{})}
	close(v.open)
	return v
}

// listen starts accepting connections.
func (v *valve) listen() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", v.addr)
	if err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	v.listener = l
	v.wg.Go(func() { v.serve(l) })
	return nil
}

// close refuses new connections and ends existing ones.
func (v *valve) close() error {
	v.turn(false)
	v.mu.Lock()
	l := v.listener
	v.listener = nil
	for c := range v.conns {
		reset(c)
	}
	v.mu.Unlock()
	if l == nil {
		return nil
	}
	err := l.Close()
	v.wg.Wait()
	return err
}

// turn shuts or opens the valve.
func (v *valve) turn(shut bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case shut && !v.shut:
		v.open = make(chan struct{})
	case !shut && v.shut:
		close(v.open)
	}
	v.shut = shut
}

func (v *valve) serve(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		v.wg.Go(func() { v.pass(client) })
	}
}

// keep adds a connection to those that close ends. It fails if close has been
// called.
func (v *valve) keep(c net.Conn) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.listener == nil {
		return errors.New("stack: closed")
	}
	v.conns[c] = struct{}{}
	return nil
}

func (v *valve) drop(c net.Conn) {
	v.mu.Lock()
	delete(v.conns, c)
	v.mu.Unlock()
	_ = c.Close() // a reset has closed it already
}

func (v *valve) pass(client net.Conn) {
	defer v.drop(client)
	target, err := net.Dial("tcp", v.target)
	if err == nil {
		defer v.drop(target)
		err = errors.Join(v.keep(client), v.keep(target))
	}
	if err != nil {
		reset(client)
		return
	}
	var pumps sync.WaitGroup
	pump := func(to, from net.Conn) {
		_, _ = io.Copy(valved{to, v}, from)
		endWrite(to)
	}
	pumps.Go(func() { pump(target, client) })
	pumps.Go(func() { pump(client, target) })
	pumps.Wait()
}

// valved writes only while the valve is open.
type valved struct {
	net.Conn
	*valve
}

func (w valved) Write(p []byte) (int, error) {
	w.mu.Lock()
	open := w.open
	w.mu.Unlock()
	<-open
	return w.Conn.Write(p)
}

package proxy

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"ssegw/proxy/upstream"
)

// life is the life of a gateway that a test can kill. What fails in it panics,
// as in a scope.
type life struct {
	*scope
	ctx  context.Context
	stop context.CancelFunc // ends the requests of its clients

	mu    sync.Mutex
	dead  bool
	conns map[net.Conn]bool // to the store
}

func newLife(t testing.TB) *life {
	l := &life{scope: &scope{TB: t}, conns: map[net.Conn]bool{}}
	l.ctx, l.stop = context.WithCancel(t.Context())
	l.Cleanup(l.stop)
	return l
}

func (l *life) Context() context.Context { return l.ctx }

// connect gives a gateway's client of the store connections that end with the
// life.
func (l *life) connect(c *upstream.Config) {
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case l.dead:
			_ = conn.Close()
			return nil, net.ErrClosed
		}
		l.conns[conn] = true
		return conn, nil
	}
}

// kill ends the life as SIGKILL ends a process: its clients get no answers, and
// nothing of what it still does reaches the store.
func (l *life) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	l.stop()
	for conn := range l.conns {
		_ = conn.Close()
	}
}

// crash kills a gateway at one of its requests to the store.
type crash struct {
	at        int  // the request, from 0
	persisted bool // the store carries that request out
	life      *life

	mu     sync.Mutex
	seen   int // requests
	struck bool
	busy   sync.WaitGroup // requests that the store carries out
}

// hook counts the requests to the store and kills the gateway.
func (c *crash) hook(w http.ResponseWriter, r *http.Request, next http.Handler) {
	c.mu.Lock()
	dead := c.struck
	c.struck = c.struck || c.seen == c.at
	strikes := c.struck && !dead
	c.seen++
	if !dead {
		c.busy.Add(1)
		defer c.busy.Done()
	}
	c.mu.Unlock()
	switch {
	case dead:
		panic(http.ErrAbortHandler)
	case !strikes:
		next.ServeHTTP(w, r)
		return
	case c.persisted:
		next.ServeHTTP(httptest.NewRecorder(), r)
	}
	c.life.kill()
	panic(http.ErrAbortHandler)
}

// over waits until the store has ended what it was doing, and reports whether
// the gateway was killed.
func (c *crash) over() bool {
	c.busy.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.struck
}

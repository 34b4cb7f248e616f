package stack

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// TestValve checks that a shut valve accepts connections and passes nothing,
// and that nothing listens if the service does not run.
func TestValve(t *testing.T) {
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	go func() { // an echo
		for {
			c, err := target.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	v := newValve(addr, target.Addr().String())
	if _, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("before listen: %v", err)
	}
	if err := v.listen(); err != nil {
		t.Fatal(err)
	}
	send := func(c net.Conn) {
		t.Helper()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	receive := func(c net.Conn, within time.Duration) error {
		_ = c.SetReadDeadline(time.Now().Add(within))
		_, err := io.ReadFull(c, make([]byte, 1))
		return err
	}
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := dial()
	defer old.Close()
	send(old)
	if err := receive(old, startTimeout); err != nil {
		t.Errorf("open: %v", err)
	}
	v.turn(true)
	fresh := dial()
	defer fresh.Close()
	for what, c := range map[string]net.Conn{"old": old, "fresh": fresh} {
		send(c)
		if err := receive(c, 50*time.Millisecond); !isTimeout(err) {
			t.Errorf("shut: the %s connection: %v", what, err)
		}
	}
	v.turn(false)
	for what, c := range map[string]net.Conn{"old": old, "fresh": fresh} {
		if err := receive(c, startTimeout); err != nil {
			t.Errorf("open again: the %s connection: %v", what, err)
		}
	}
	v.turn(true)
	if err := v.close(); err != nil {
		t.Error(err)
	}
	if err := receive(old, startTimeout); err == nil || isTimeout(err) {
		t.Errorf("after close: %v", err)
	}
	if _, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after close: %v", err)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

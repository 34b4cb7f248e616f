package proxy

import (
	"io"
	"net/http"
	"strings"
	"time"
)

// lingerBytes bounds what is read of a refused request.
const lingerBytes = 64 << 20

// linger lets the client of a refused upload see why. Clients that asked for a
// 100 Continue send their body after a second without one. net/http closes such
// a connection right after the answer, with the body unread, so that the kernel
// resets it and the client loses the answer. Here the body is read, for a while,
// until the client has seen the answer and closes.
func (c *call) linger() {
	if c.in.ContentLength == 0 || !strings.EqualFold(c.in.Header.Get("Expect"), "100-continue") {
		return
	}
	control := http.NewResponseController(c.w.ResponseWriter)
	// A client that can't be reached needs no more.
	if control.Flush() != nil || control.SetReadDeadline(time.Now().Add(c.times.linger)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.in.Body, lingerBytes)
}

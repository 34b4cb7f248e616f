package proxy

import (
	"io"
	"net/http"
	"strings"
	"time"
)

// lingerBytes is how much of a refused request's body is read, at most.
const lingerBytes = 64 << 20

// linger lets the client of a refused upload read the answer. A client that
// waits for 100 Continue sends its body after about a second anyway. net/http
// closes such a connection right after the answer. With the body unread the
// kernel then resets the connection, and the client loses the answer. So linger
// reads the body for a while, until the client has seen the answer and closes.
func linger(c *call) {
	if c.in.ContentLength == 0 || !strings.EqualFold(c.in.Header.Get("Expect"), "100-continue") {
		return
	}
	control := http.NewResponseController(c.w.ResponseWriter)
	// If this fails, the client is gone.
	if control.Flush() != nil || control.SetReadDeadline(time.Now().Add(c.gw.times.linger)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.in.Body, lingerBytes)
}

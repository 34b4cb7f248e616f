package proxy

import (
	"maps"
	"net/http"
	"strings"
	"time"
)

// answer counts what is sent to the client.
type answer struct {
	http.ResponseWriter
	status int
	bytes  int64
	idle   time.Duration // a client may stop reading this long
	toPage bool          // the request came from a page, so that CORS headers belong to the answer
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.begin(status)
	}
	a.ResponseWriter.WriteHeader(status)
}

// begin makes the headers what the client gets.
func (a *answer) begin(status int) {
	a.status = status
	h := a.Header()
	sent := http.Header{}
	for name, values := range h {
		if !isCORS(name) || a.toPage {
			sent[spelled(name)] = values
		}
	}
	clear(h)
	maps.Copy(h, sent)
}

// spelled is a header's name in the spelling that Amazon documents. Clients of
// HTTP/1.1 compare names by case, though they should not.
func spelled(name string) string {
	lower := strings.ToLower(name)
	switch {
	case lower == "etag":
		return "ETag"
	case strings.HasPrefix(lower, "x-amz-"), strings.HasPrefix(lower, "x-ssegw-"):
		return lower
	}
	return http.CanonicalHeaderKey(name)
}

// Write gives every piece of an answer its own deadline, so that a client which
// stops reading does not hold the request and its upstream connection.
func (a *answer) Write(p []byte) (int, error) {
	if a.idle > 0 {
		// A connection without deadlines (in tests) has none to renew.
		_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(time.Now().Add(a.idle))
	}
	if a.status == 0 {
		a.begin(http.StatusOK)
	}
	n, err := a.ResponseWriter.Write(p)
	a.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

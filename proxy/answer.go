package proxy

import (
	"net/http"
	"strconv"
	"time"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

// answer is the ResponseWriter of one request. It records status and length for
// the log, and sets the header spelling and the write deadlines.
type answer struct {
	http.ResponseWriter
	status int
	bytes  int64
	idle   time.Duration // the client may stop reading this long; 0: forever
	toPage bool          // the request has an Origin: CORS headers are sent
}

// WriteHeader implements http.ResponseWriter. Interim statuses (1xx) do not
// count as the answer's.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.begin(status)
	}
	a.ResponseWriter.WriteHeader(status)
}

// begin records the status, drops CORS headers that no page asked for, and
// spells the other headers as Amazon does.
func (a *answer) begin(status int) {
	a.status = status
	h := a.Header()
	for name, values := range h {
		spelled := s3.Spelled(name) // of a name that was already spelled, it is the same
		switch {
		case upstream.IsCORS(name) && !a.toPage:
			delete(h, name)
		case spelled != name:
			delete(h, name)
			h[spelled] = values
		}
	}
}

// Write sends p under a write deadline of its own. A client that stops reading
// cannot hold the request and its connection to the store for longer.
func (a *answer) Write(p []byte) (int, error) {
	if a.idle > 0 {
		// Connections in tests have no deadlines.
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

// sendXML answers with v as an XML document.
func (a *answer) sendXML(status int, v any) error {
	doc, err := s3.MarshalXML(v)
	if err != nil {
		return err
	}
	return a.sendDocument(status, doc)
}

// sendDocument answers with an XML document.
func (a *answer) sendDocument(status int, doc []byte) error {
	a.Header().Set("Content-Type", "application/xml")
	a.Header().Set("Content-Length", strconv.Itoa(len(doc)))
	a.WriteHeader(status)
	_, err := a.Write(doc)
	return err
}

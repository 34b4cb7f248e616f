package proxy

import (
	"net/http"

	"ssegw/proxy/payload"
)

// openBody returns the request's body, decoded and verified while it is read.
// Each Read renews the connection's read deadline.
func openBody(c *call) (*payload.Client, error) {
	raw := &payload.RollingReader{
		R:       c.in.Body,
		Control: http.NewResponseController(c.w.ResponseWriter),
		Idle:    c.gw.IdleTimeout,
	}
	b, err := c.auth.Body(raw)
	if err != nil {
		return nil, err
	}
	raw.Least = leastRate(c, b.Size())
	c.body = raw
	return &payload.Client{Body: b, Raw: raw}, nil
}

// minRate is the rate in bytes per second below which some bodies are refused.
// Without it a slow client could hold memory, or a place of anonymous clients,
// forever.
const minRate = 8 << 10

// leastRate returns the minimum rate of a body in bytes per second; 0 is no
// minimum. size is the body's size, -1 if unknown.
func leastRate(c *call, size int64) int64 {
	if c.credential == nil || c.req.Route.XMLBody || size <= smallBody {
		return minRate
	}
	return 0
}

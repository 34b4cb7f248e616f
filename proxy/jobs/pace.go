package jobs

import (
	"context"
	"io"

	"golang.org/x/time/rate"
)

// paceBurst is how many bytes may pass at once, whatever the rate.
const paceBurst = 1 << 20

// pace slows a job down to the rates that its settings allow.
type pace struct {
	objects *rate.Limiter // nil: no limit
	bytes   *rate.Limiter // nil: no limit
}

func newPace(s *Settings) *pace {
	p := &pace{}
	if s.ObjectsRate > 0 {
		p.objects = rate.NewLimiter(rate.Limit(s.ObjectsRate), 1)
	}
	if s.BytesRate > 0 {
		p.bytes = rate.NewLimiter(rate.Limit(s.BytesRate), paceBurst)
	}
	return p
}

// object waits until the next object may begin.
func (p *pace) object(ctx context.Context) error {
	if p.objects == nil {
		return ctx.Err()
	}
	return p.objects.Wait(ctx)
}

// reader returns a function that slows a body down; nil: there is no limit.
func (p *pace) reader(ctx context.Context) func(io.Reader) io.Reader {
	if p.bytes == nil {
		return nil
	}
	return func(r io.Reader) io.Reader { return &pacedReader{ctx, r, p.bytes} }
}

// pacedReader waits after each Read until its bytes are allowed.
type pacedReader struct {
	ctx   context.Context
	r     io.Reader
	limit *rate.Limiter
}

func (p *pacedReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b[:min(len(b), paceBurst)])
	if n > 0 {
		if err := p.limit.WaitN(p.ctx, n); err != nil {
			return 0, err
		}
	}
	return n, err
}

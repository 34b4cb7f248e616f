package jobs

import (
	"cmp"
	"context"
	"io"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// paceBurst is how many bytes may pass at once, whatever the rate.
const paceBurst = 1 << 20

// Pace is how fast a job may be. What is nil stays as it is.
type Pace struct {
	Parallel    *int     // as in Settings
	BytesRate   *int64   // as in Settings
	ObjectsRate *float64 // as in Settings
}

// apply changes settings.
func (p *Pace) apply(s *Settings) {
	if p.Parallel != nil {
		s.Parallel = *p.Parallel
	}
	if p.BytesRate != nil {
		s.BytesRate = *p.BytesRate
	}
	if p.ObjectsRate != nil {
		s.ObjectsRate = *p.ObjectsRate
	}
}

// takePace takes over the pace of other settings, and reports whether it is
// another one.
func (s *Settings) takePace(from *Settings) bool {
	was := *s
	s.Parallel, s.BytesRate, s.ObjectsRate = from.Parallel, from.BytesRate, from.ObjectsRate
	return s.Parallel != was.Parallel || s.BytesRate != was.BytesRate || s.ObjectsRate != was.ObjectsRate
}

// pace slows a job down to what its settings allow. The settings may change
// while the job runs.
type pace struct {
	mu             sync.Mutex
	objects, bytes *rate.Limiter
	parallel       int           // objects at one time
	busy           int           // objects at this time
	changed        chan struct{} // closed when the rates change
	freed          chan struct{} // closed when an object may begin
}

func newPace(s *Settings) *pace {
	p := &pace{objects: rate.NewLimiter(rate.Inf, 1), bytes: rate.NewLimiter(rate.Inf, paceBurst), changed: make(chan struct{}), freed: make(chan struct{})}
	p.set(s)
	return p
}

// set changes the pace, also for objects that wait already.
func (p *pace) set(s *Settings) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.objects.SetLimit(limitOf(s.ObjectsRate))
	p.bytes.SetLimit(limitOf(float64(s.BytesRate)))
	p.parallel = cmp.Or(s.Parallel, DefaultParallel)
	close(p.changed)
	p.changed = make(chan struct{})
	p.free()
}

// limitOf is a rate of the settings, of which 0 means no limit.
func limitOf(r float64) rate.Limit {
	if r == 0 {
		return rate.Inf
	}
	return rate.Limit(r)
}

// free wakes those that wait in begin. The caller holds p.mu.
func (p *pace) free() {
	close(p.freed)
	p.freed = make(chan struct{})
}

// begin waits until one more object may be worked on. The caller calls end
// afterwards, unless begin returns an error.
func (p *pace) begin(ctx context.Context) error {
	for {
		p.mu.Lock()
		if p.busy < p.parallel {
			p.busy++
			p.mu.Unlock()
			return nil
		}
		freed := p.freed
		p.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *pace) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	p.free()
}

// object waits until the next object may begin.
func (p *pace) object(ctx context.Context) error { return p.wait(ctx, p.objects, 1) }

// wait waits until n more may pass.
func (p *pace) wait(ctx context.Context, l *rate.Limiter, n int) error {
	for {
		p.mu.Lock()
		changed, turn := p.changed, l.ReserveN(time.Now(), n)
		p.mu.Unlock()
		timer := time.NewTimer(turn.Delay())
		select {
		case <-timer.C:
			return ctx.Err()
		case <-changed:
		case <-ctx.Done():
		}
		timer.Stop()
		turn.Cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// reader returns a function that slows a body down.
func (p *pace) reader(ctx context.Context) func(io.Reader) io.Reader {
	return func(r io.Reader) io.Reader { return &pacedReader{ctx, r, p} }
}

// pacedReader waits after each Read until its bytes are allowed.
type pacedReader struct {
	ctx  context.Context
	r    io.Reader
	pace *pace
}

func (p *pacedReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b[:min(len(b), paceBurst)])
	if n > 0 && p.pace.bytes.Limit() != rate.Inf {
		if err := p.pace.wait(p.ctx, p.pace.bytes, n); err != nil {
			return 0, err
		}
	}
	return n, err
}

package task

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// ErrFull is returned by Enter if there is no place in time.
var ErrFull = errors.New("task: too many requests at once")

// Places bounds the requests that are served at one time. Further requests wait
// for a place for a short time: first those with a credential, in the order in
// which they came, then strangers, which have none. Strangers get at most half
// of the places. As many requests may wait as there are places.
type Places struct {
	wait      time.Duration
	known     line
	strangers line
	mu        sync.Mutex
	taken     int // by all
	strange   int // of those, by strangers
}

// line is a queue with a bound for the places that its requests have and
// another one, of the same size, for those that wait.
type line struct {
	most    int
	waiting *list.List // of chan struct{}, which is closed when a place is given
}

// NewPlaces returns n places, n/2 of them for strangers, but at least one.
// Requests wait for up to the given time; 0: they do not wait.
func NewPlaces(n int, wait time.Duration) *Places {
	return &Places{wait: wait, known: line{n, list.New()}, strangers: line{max(1, n/2), list.New()}}
}

// Place is the place of one request.
type Place struct {
	places  *Places
	strange bool // it counts as a stranger's
}

// Enter takes a place, which the caller gives back with [Place.Leave]. It
// returns [ErrFull] if there is none in time or if too many requests wait, and
// the cause of ctx if that ends first.
func (p *Places) Enter(ctx context.Context, strange bool) (*Place, error) {
	place := &Place{p, strange}
	p.mu.Lock()
	if p.take(strange) {
		p.mu.Unlock()
		return place, nil
	}
	l := p.line(strange)
	if p.wait == 0 || l.waiting.Len() >= l.most {
		p.mu.Unlock()
		return nil, ErrFull
	}
	given := make(chan struct{})
	element := l.waiting.PushBack(given)
	p.mu.Unlock()

	timer := time.NewTimer(p.wait)
	defer timer.Stop()
	err := ErrFull
	select {
	case <-given:
		return place, nil
	case <-timer.C:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-given: // meanwhile
		if errors.Is(err, ErrFull) {
			return place, nil
		}
		p.release(strange)
	default:
		l.waiting.Remove(element)
	}
	return nil, err
}

// Full reports whether Enter would refuse even a request with a credential at
// once.
func (p *Places) Full() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken == p.known.most && (p.wait == 0 || p.known.waiting.Len() >= p.known.most)
}

func (p *Places) line(strange bool) *line {
	if strange {
		return &p.strangers
	}
	return &p.known
}

// take takes a place if there is one. Requests that wait for such a place have
// been given it already. The caller holds p.mu.
func (p *Places) take(strange bool) bool {
	if p.taken == p.known.most || strange && p.strange == p.strangers.most {
		return false
	}
	p.taken++
	if strange {
		p.strange++
	}
	return true
}

// release gives a place back. The caller holds p.mu.
func (p *Places) release(strange bool) {
	p.taken--
	if strange {
		p.strange--
	}
	p.give()
}

// give gives free places to the requests that wait. The caller holds p.mu.
func (p *Places) give() {
	for _, strange := range [...]bool{false, true} {
		l := p.line(strange)
		for l.waiting.Len() > 0 && p.take(strange) {
			close(l.waiting.Remove(l.waiting.Front()).(chan struct{}))
		}
	}
}

// Taken returns how many places are taken, and how many of them by strangers.
func (p *Places) Taken() (all, strangers int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken, p.strange
}

// Known marks the request as one with a credential, so that another stranger
// can enter.
func (p *Place) Known() {
	p.places.mu.Lock()
	defer p.places.mu.Unlock()
	if p.strange {
		p.strange = false
		p.places.strange--
		p.places.give()
	}
}

// Leave gives the place back. Call it once.
func (p *Place) Leave() {
	p.places.mu.Lock()
	defer p.places.mu.Unlock()
	p.places.release(p.strange)
}

// Share bounds what all requests together hold of one resource, such as bytes
// of memory or requests to the store. Requests with a credential and strangers
// have separate bounds.
type Share struct{ Known, Strangers *semaphore.Weighted }

// NewShare returns a share with the two bounds, in units of the resource.
func NewShare(known, strangers int64) Share {
	return Share{semaphore.NewWeighted(known), semaphore.NewWeighted(strangers)}
}

// Of returns the bound for strangers, or for requests with a credential.
func (s Share) Of(strange bool) *semaphore.Weighted {
	if strange {
		return s.Strangers
	}
	return s.Known
}

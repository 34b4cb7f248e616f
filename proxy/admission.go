package proxy

import (
	"context"
	"time"

	"golang.org/x/sync/semaphore"

	"ssegw/proxy/s3"
)

// What requests hold at one time is bounded: places, and bytes in memory.
// Requests that no credential vouches for, which includes forms until their
// policy is verified, share a part of each bound. They cannot take what the
// holders of credentials need.

// Bounds of the bytes in memory, for requests with a credential and for others.
const (
	smallBodies, strangersBodies = 256 << 20, 32 << 20 // of small bodies
	documents, strangersDocs     = 64 << 20, 16 << 20  // of documents, such as that of a DeleteObjects
	formFiles, strangersFiles    = 256 << 20, 64 << 20 // of the files of forms
)

// allLooks bounds the requests to the store that are under way to look at single
// entries of listings and deletes, for all clients with a credential together;
// strangersLooks does so for all others, and listLooks for one page.
const (
	allLooks, strangersLooks = 128, 32
	listLooks                = 16
)

// looking runs look, which looks at one entry, as soon as its client's share of the
// looks allows.
func (c *reader) looking(ctx context.Context, look func() error) error {
	looks := c.looks.of(c.credential)
	if err := looks.Acquire(ctx, 1); err != nil {
		return context.Cause(ctx)
	}
	defer looks.Release(1)
	return look()
}

// reserveTimeout is how long a request waits for its memory.
const reserveTimeout = 5 * time.Second

// places bounds the requests that are served at one time.
type places struct {
	all       chan struct{}
	strangers chan struct{} // those of all that have no credential: half
}

func newPlaces(n int) places {
	return places{make(chan struct{}, n), make(chan struct{}, max(1, n/2))}
}

// place is where one request is served.
type place struct {
	places
	strange bool // it counts as one of the strangers'
}

// enter takes a place, or returns ErrSlowDown. It never waits.
func (p places) enter(strange bool) (*place, error) {
	if strange && !take(p.strangers) {
		return nil, s3.ErrSlowDown
	}
	if !take(p.all) {
		if strange {
			<-p.strangers
		}
		return nil, s3.ErrSlowDown
	}
	return &place{p, strange}, nil
}

func take(c chan struct{}) bool {
	select {
	case c <- struct{}{}:
		return true
	default:
		return false
	}
}

// known makes the place one of a request with a credential.
func (p *place) known() {
	if p.strange {
		<-p.strangers
		p.strange = false
	}
}

// leave gives the place back.
func (p *place) leave() {
	p.known()
	<-p.all
}

// share bounds what all requests hold of one thing: bytes in memory for one
// purpose, or looks.
type share struct{ known, strangers *semaphore.Weighted }

func newShare(known, strangers int64) share {
	return share{semaphore.NewWeighted(known), semaphore.NewWeighted(strangers)}
}

// of is the part of the share for clients with that credential.
func (s share) of(credential *Credential) *semaphore.Weighted {
	if credential == nil {
		return s.strangers
	}
	return s.known
}

// reserve waits for n bytes of a share, and returns what gives them back. It
// returns ErrSlowDown when they do not become free in time.
func (c *call) reserve(s share, n int64) (free func(), err error) {
	bytes := s.of(c.credential)
	free = func() { bytes.Release(n) }
	if bytes.TryAcquire(n) {
		return free, nil // however late it is: Acquire looks at the time first
	}
	ctx, cancel := context.WithTimeout(c.ctx(), c.reserveTimeout)
	defer cancel()
	if err := bytes.Acquire(ctx, n); err != nil {
		return nil, s3.ErrSlowDown.With(err)
	}
	return free, nil
}

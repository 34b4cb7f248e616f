package task

import (
	"errors"

	"golang.org/x/sync/semaphore"
)

// ErrFull is returned by Enter if there is no free place.
var ErrFull = errors.New("task: too many requests at once")

// Places bounds the requests that are served at one time. Strangers are
// requests without a credential, and get at most half of the places. The length
// of a channel is the number of places taken.
type Places struct {
	All       chan struct{}
	Strangers chan struct{} // those of All that strangers have
}

// NewPlaces returns n places, n/2 of them for strangers, but at least one.
func NewPlaces(n int) Places {
	return Places{make(chan struct{}, n), make(chan struct{}, max(1, n/2))}
}

// Place is the place of one request.
type Place struct {
	Places
	strange bool // it counts as a stranger's
}

// Enter takes a place, which the caller gives back with [Place.Leave]. It
// returns [ErrFull] if there is none, and never waits.
func (p Places) Enter(strange bool) (*Place, error) {
	if strange && !take(p.Strangers) {
		return nil, ErrFull
	}
	if !take(p.All) {
		if strange {
			<-p.Strangers
		}
		return nil, ErrFull
	}
	return &Place{p, strange}, nil
}

func take(c chan struct{}) bool {
	select {
	case c <- struct{}{}:
		return true
	default:
		return false
	}
}

// Known marks the request as one with a credential, so that another stranger
// can enter.
func (p *Place) Known() {
	if p.strange {
		<-p.Strangers
		p.strange = false
	}
}

// Leave gives the place back. Call it once.
func (p *Place) Leave() {
	p.Known()
	<-p.All
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

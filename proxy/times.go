package proxy

import "time"

// times are how long a Server waits, where its configuration does not say it.
type times struct {
	kms     time.Duration // for a KMS call of a request, which may try several endpoints
	abandon time.Duration // for the store to take back an upload; goes on when the client has left
	forget  time.Duration // for the store to remove an upload's records; goes on when the client has left
	linger  time.Duration // for a client to see why its upload is refused
}

// serverTimes: a client is told within a second that the KMS does not answer,
// rather than kept waiting.
var serverTimes = times{kms: 900 * time.Millisecond, abandon: 10 * time.Second, forget: 20 * time.Second, linger: 2 * time.Second}

// stateTimes are the times of a State.
type stateTimes struct {
	retry  time.Duration // between attempts to open it
	open   time.Duration // an attempt takes at most
	look   time.Duration // a look at the stored rules takes at most
	poll   time.Duration // between looks: a replica knows a changed rule after at most this and a request
	maxAge time.Duration // of the rules behind an answer in plaintext
	stale  time.Duration // of the rules behind any other answer
}

var ruleTimes = stateTimes{
	retry: time.Second, open: 30 * time.Second,
	look: 5 * time.Second, poll: 2 * time.Second, maxAge: time.Second, stale: 5 * time.Second,
}

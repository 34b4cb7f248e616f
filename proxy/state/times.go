package state

import "time"

// Times are the timeouts and intervals of a State.
type Times struct {
	Retry  time.Duration // pause between attempts to open the state
	Open   time.Duration // timeout of an attempt
	Probe  time.Duration // timeout of the probes in it, and the pause before those that did not end are repeated
	Look   time.Duration // timeout of a read of the stored rules or root, and of a read or write of the Memory
	Poll   time.Duration // pause between reads; a replica learns of a changed rule or root after this and one read
	MaxAge time.Duration // maximum age of the rules behind an answer in plaintext
	Stale  time.Duration // maximum age of the rules behind any other answer
	Roots  time.Duration // minimum time between two looks for one unknown root, and between two listings of the old roots
	Save   time.Duration // minimum time between two writes of the Memory
	Last   time.Duration // timeout of its last write
}

// DefaultTimes are the times of a Config without any.
var DefaultTimes = Times{
	Retry: time.Second, Open: 30 * time.Second, Probe: 15 * time.Second,
	Look: 5 * time.Second, Poll: 2 * time.Second, MaxAge: time.Second, Stale: 5 * time.Second, Roots: 10 * time.Second,
	Save: time.Minute, Last: 2 * time.Second,
}

package kms

import "sync"

const (
	// callsPerHedge limits hedges to 5 % of the calls: if the cluster is slow as
	// a whole, each of them makes it slower.
	callsPerHedge = 20
	// hedgesAtOnce is how many hedges may be saved up for the moment when an
	// endpoint becomes slow.
	hedgesAtOnce = 10
)

// hedgeBudget decides whether a call may ask a second endpoint while the first
// one works on it. So n calls cause at most n/callsPerHedge + hedgesAtOnce
// hedges. The zero value has saved up all it can.
type hedgeBudget struct {
	mu    sync.Mutex
	spent int // in calls: that many must come before everything is saved up again
}

// earn records a call.
func (b *hedgeBudget) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent = max(0, b.spent-1)
}

// take takes a hedge. It returns false if there is none left.
func (b *hedgeBudget) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.spent+callsPerHedge > hedgesAtOnce*callsPerHedge {
		return false
	}
	b.spent += callsPerHedge
	return true
}

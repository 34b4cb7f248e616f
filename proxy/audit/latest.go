package audit

import (
	"slices"
	"sync"
)

const latestMost = 1000 // records

// latest is a ring of records.
type latest struct {
	mu   sync.Mutex
	ring []Record
	next int // where the next record goes
}

func (l *latest) add(r *Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ring) < latestMost {
		l.ring = append(l.ring, *r)
		return
	}
	l.ring[l.next] = *r
	l.next = (l.next + 1) % latestMost
}

// list returns the records, the newest first.
func (l *latest) list() []Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := append(slices.Clone(l.ring[l.next:]), l.ring[:l.next]...)
	slices.Reverse(all)
	return all
}

package kms

import (
	"container/list"
	"sync"
	"time"
)

// expiring is a map of bounded size whose entries expire. An entry lives for a
// fixed time after put, whether it is used or not. A timer then wipes it, even
// if no calls are made. All entries live equally long, so they expire in the
// order they were put. If the map is full, the oldest entry is removed early.
type expiring[K comparable, V any] struct {
	ttl  time.Duration // 0 stores nothing
	size int
	wipe func(*V)

	mu      sync.Mutex
	entries map[K]*list.Element // of *entry[K, V]
	ages    *list.List          // oldest first
	timer   *time.Timer         // for the oldest entry; nil until the first put
}

type entry[K comparable, V any] struct {
	key   K
	value V
	ends  time.Time
}

func newExpiring[K comparable, V any](ttl time.Duration, size int, wipe func(*V)) *expiring[K, V] {
	return &expiring[K, V]{ttl: ttl, size: size, wipe: wipe, entries: make(map[K]*list.Element), ages: list.New()}
}

// use calls f with the value for k and reports whether there is one. The value
// stays valid while f runs.
func (m *expiring[K, V]) use(k K, f func(*V)) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	element, ok := m.entries[k]
	if !ok {
		return false
	}
	e := element.Value.(*entry[K, V])
	if !time.Now().Before(e.ends) {
		return false // expired, but the timer has not fired yet
	}
	f(&e.value)
	return true
}

// put stores v under k and takes ownership of it. A previous value is wiped.
func (m *expiring[K, V]) put(k K, v V) {
	if m.ttl <= 0 {
		m.wipe(&v)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if element, ok := m.entries[k]; ok {
		m.remove(element)
	}
	if m.ages.Len() >= m.size {
		m.remove(m.ages.Front())
	}
	m.entries[k] = m.ages.PushBack(&entry[K, V]{k, v, time.Now().Add(m.ttl)})
	if m.timer == nil {
		m.timer = time.AfterFunc(m.ttl, m.expire)
	} else if m.ages.Len() == 1 {
		m.timer.Reset(m.ttl)
	}
}

// expire removes expired entries and resets the timer for the oldest that
// remains.
func (m *expiring[K, V]) expire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.ages.Len() > 0 {
		oldest := m.ages.Front()
		if left := time.Until(oldest.Value.(*entry[K, V]).ends); left > 0 {
			m.timer.Reset(left)
			return
		}
		m.remove(oldest)
	}
}

// remove removes an entry and wipes its value. The caller holds m.mu, so the
// value has no readers.
func (m *expiring[K, V]) remove(element *list.Element) {
	e := m.ages.Remove(element).(*entry[K, V])
	delete(m.entries, e.key)
	m.wipe(&e.value)
}

// drop removes the entries for which gone returns true.
func (m *expiring[K, V]) drop(gone func(K, *V) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, element := range m.entries {
		if e := element.Value.(*entry[K, V]); gone(e.key, &e.value) {
			m.remove(element)
		}
	}
}

// dropOne removes the entry for k, if any.
func (m *expiring[K, V]) dropOne(k K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if element, ok := m.entries[k]; ok {
		m.remove(element)
	}
}

// clear removes all entries.
func (m *expiring[K, V]) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.ages.Len() > 0 {
		m.remove(m.ages.Front())
	}
	if m.timer != nil {
		m.timer.Stop()
	}
}

// len returns the number of entries.
func (m *expiring[K, V]) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ages.Len()
}

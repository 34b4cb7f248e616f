package kms

import (
	"container/list"
	"sync"
	"time"
)

// expiring is a map of bounded size. An entry stays for a fixed time from when
// it was put, whether it is used or not, and is wiped when that time is up,
// also when nobody calls. Since all stay equally long, entries end in the order
// in which they were put; where there are too many, the oldest goes early.
type expiring[K comparable, V any] struct {
	ttl  time.Duration // 0 keeps nothing
	size int
	wipe func(*V)

	mu      sync.Mutex
	entries map[K]*list.Element // of *entry[K, V]
	ages    *list.List          // oldest first
	timer   *time.Timer         // of the oldest; nil until there was one
}

type entry[K comparable, V any] struct {
	key   K
	value V
	ends  time.Time
}

func newExpiring[K comparable, V any](ttl time.Duration, size int, wipe func(*V)) *expiring[K, V] {
	return &expiring[K, V]{ttl: ttl, size: size, wipe: wipe, entries: make(map[K]*list.Element), ages: list.New()}
}

// use calls f with the value of k, which stays as it is for as long as f runs,
// and reports whether there is one.
func (m *expiring[K, V]) use(k K, f func(*V)) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	element, ok := m.entries[k]
	if !ok {
		return false
	}
	e := element.Value.(*entry[K, V])
	if !time.Now().Before(e.ends) {
		return false // the timer is late
	}
	f(&e.value)
	return true
}

// put takes v over, in place of the value that k had.
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

// expire removes what has ended and sets the timer for what is then the oldest.
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

// remove wipes a value. The caller holds m.mu, so that nobody reads it.
func (m *expiring[K, V]) remove(element *list.Element) {
	e := m.ages.Remove(element).(*entry[K, V])
	delete(m.entries, e.key)
	m.wipe(&e.value)
}

// drop removes the entries that gone says so of.
func (m *expiring[K, V]) drop(gone func(K, *V) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, element := range m.entries {
		if e := element.Value.(*entry[K, V]); gone(e.key, &e.value) {
			m.remove(element)
		}
	}
}

// dropOne removes the value of k, if there is one.
func (m *expiring[K, V]) dropOne(k K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if element, ok := m.entries[k]; ok {
		m.remove(element)
	}
}

// clear removes everything.
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

// len returns how many entries there are.
func (m *expiring[K, V]) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ages.Len()
}

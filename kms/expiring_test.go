package kms

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// wiped collects the values that a map has wiped.
type wiped struct {
	mu     sync.Mutex
	values []int
}

func (w *wiped) wipe(v *int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.values = append(w.values, *v)
	*v = 0
}

func (w *wiped) all() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.values)
}

func TestExpiring(t *testing.T) {
	t.Parallel()
	var w wiped
	m := newExpiring[string](time.Hour, 3, w.wipe)
	get := func(k string) (got int) {
		m.use(k, func(v *int) { got = *v })
		return got
	}
	for i, k := range []string{"a", "b", "c"} {
		m.put(k, i+1)
	}
	m.put("a", 4) // now the newest
	m.put("d", 5) // replaces b
	if got := []int{get("a"), get("b"), get("c"), get("d")}; !slices.Equal(got, []int{4, 0, 3, 5}) {
		t.Errorf("got %v", got)
	}
	if got := w.all(); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("wiped %v, want 1 and 2", got)
	}
	m.clear()
	if got := w.all(); !slices.Equal(got, []int{1, 2, 3, 4, 5}) || m.len() != 0 || get("a") != 0 {
		t.Errorf("after clear: wiped %v, %d left", got, m.len())
	}
}

func TestExpiringKeepsNothingWithoutTime(t *testing.T) {
	t.Parallel()
	var w wiped
	m := newExpiring[string](0, 3, w.wipe)
	m.put("a", 1)
	if m.use("a", func(*int) {}) || !slices.Equal(w.all(), []int{1}) {
		t.Error("kept")
	}
}

// Each entry expires at its own time, even after the map was empty for a while.
func TestExpiringEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var w wiped
		const ttl = 50 * time.Millisecond
		m := newExpiring[int](ttl, 100, w.wipe)
		for round := range 2 {
			start := time.Now()
			for i := range 5 {
				m.put(i, round*5+i+1)
				time.Sleep(time.Millisecond)
			}
			for len(w.all()) < round*5+5 {
				if time.Since(start) > 10*time.Second {
					t.Fatalf("wiped %v", w.all())
				}
				time.Sleep(time.Millisecond)
			}
			if d := time.Since(start); d < ttl {
				t.Errorf("all ended after %v", d)
			}
		}
		if got := w.all(); !slices.IsSorted(got) || m.len() != 0 {
			t.Errorf("wiped %v, %d left", got, m.len())
		}
	})
}

// If a value has left the map before the flight lands, it is wiped after the
// last caller has copied it.
func TestFlightIsWiped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var w wiped
		g := newFlights[string](DefaultPatience, w.wipe)
		m := make(chan struct{})
		var callers sync.WaitGroup
		for range 5 {
			callers.Go(func() {
				v, err := g.do(t.Context(), "k", func(context.Context) (int, error) { <-m; return 7, nil })
				if v != 7 || err != nil {
					t.Errorf("got %d, %v", v, err)
				}
			})
		}
		for {
			g.mu.Lock()
			f := g.flying["k"]
			waiting := f != nil && f.callers == 5
			g.mu.Unlock()
			if waiting {
				break
			}
			time.Sleep(time.Millisecond)
		}
		close(m)
		callers.Wait()
		if got := w.all(); !slices.Equal(got, []int{7}) {
			t.Errorf("wiped %v, want 7 once", got)
		}
		g.begin(t.Context(), "k", func(context.Context) (int, error) { return 8, nil })
		g.wait.Wait()
		if got := w.all(); !slices.Equal(got, []int{7, 8}) {
			t.Errorf("wiped %v: 8 had no callers", got)
		}
	})
}

package kms

import "testing"

// Over any number of calls, hedges are at most 5 % and those saved up.
func TestHedgeBudget(t *testing.T) {
	t.Parallel()
	var b hedgeBudget
	take := func() (n int) {
		for b.take() {
			n++
		}
		return n
	}
	if n := take(); n != hedgesAtOnce {
		t.Errorf("%d hedges at first, want %d", n, hedgesAtOnce)
	}
	taken := 0
	for range 1000 {
		b.earn()
		taken += take()
	}
	if taken != 1000/callsPerHedge {
		t.Errorf("%d hedges in 1000 calls, want %d", taken, 1000/callsPerHedge)
	}
	for range 1000 {
		b.earn()
	}
	if n := take(); n != hedgesAtOnce {
		t.Errorf("%d hedges saved up in 1000 calls, want %d", n, hedgesAtOnce)
	}
}

package kms

import (
	"crypto/tls"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/kms-go/kes"
	"go.uber.org/zap"
)

func TestAPIKeyCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	key, err := kes.GenerateAPIKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	start := time.Now()
	clock := start
	id, err := newIdentity(Config{APIKey: key.String()}, func() time.Time { return clock })
	if err != nil {
		t.Fatal(err)
	}
	last, changes := id.Get(), 0
	for range 400 {
		renewed := id.Refresh(zap.NewNop())
		cert := id.Get()
		if renewed != (cert != last) {
			t.Errorf("after %v: renewed %v", clock.Sub(start), renewed)
		}
		if got := kesIdentity(cert); got != key.Identity() {
			t.Fatalf("identity is %v, want %v", got, key.Identity())
		}
		if left := cert.Leaf.NotAfter.Sub(clock); left < 29*day || cert.Leaf.NotBefore.After(clock.Add(-clockSkew+time.Second)) {
			t.Fatalf("after %v: valid from %v to %v", clock.Sub(start), cert.Leaf.NotBefore, cert.Leaf.NotAfter)
		}
		if cert != last {
			last, changes = cert, changes+1
		}
		clock = clock.Add(day)
	}
	if changes != 6 { // every 60 days
		t.Errorf("%d new certificates in 400 days, want 6", changes)
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	p := &pool{}
	for _, url := range []string{"a", "b", "c"} {
		p.endpoints = append(p.endpoints, &endpoint{url: url})
	}
	for _, want := range []string{"bca", "cab", "abc", "bca"} {
		got := ""
		for _, e := range p.order() {
			got += e.url
		}
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func newTestPool(t *testing.T, urls ...string) *pool {
	t.Helper()
	p := newPool(urls, nil, &tls.Config{MinVersion: tls.VersionTLS12}, timeoutsOf(Config{}), zap.NewNop())
	t.Cleanup(p.shut)
	return p
}

// Results of attempts that began before the last outage ended say nothing about
// the time after it.
func TestOldFailuresDoNotCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newTestPool(t, "https://127.0.0.1:1", "https://127.0.0.1:2")
		e := p.endpoints[0]
		p.failed(e, 0, errNoAnswer)
		p.well(e)
		p.failed(e, 0, errNoAnswer)
		for range strikeLimit {
			p.struck(e, 0)
		}
		if e.health.open {
			t.Error("opened by failures of the era before")
		}
		p.failed(e, 1, errNoAnswer)
		if !e.health.open {
			t.Error("not opened by a failure of this era")
		}
	})
}

func TestStrikesInARow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newTestPool(t, "https://127.0.0.1:1", "https://127.0.0.1:2")
		a, b := p.endpoints[0], p.endpoints[1]
		for range 2 {
			p.struck(a, 0)
			p.struck(a, 0)
			p.answered(a)
		}
		if a.health.open {
			t.Error("opened by strikes with answers between them")
		}
		for range strikeLimit {
			p.struck(a, 0)
			p.struck(b, 0)
		}
		if !a.health.open || b.health.open {
			t.Error("want the first open, and the last one left in use")
		}
	})
}

// If an endpoint fails soon after each successful probe, it is probed less
// often, and so gets fewer calls.
func TestProbesGetRarer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newTestPool(t, "https://127.0.0.1:1")
		e := p.endpoints[0]
		var rests, pauses []time.Duration
		for range 4 {
			p.failed(e, e.health.era, errNoAnswer)
			rests, pauses = append(rests, e.health.rest), append(pauses, e.health.pause)
			p.judge(e, e.health.era, nil)
		}
		const ms = time.Millisecond
		if diff := cmp.Diff([]time.Duration{50 * ms, 100 * ms, 200 * ms, 200 * ms}, rests); diff != "" {
			t.Errorf("rests (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]time.Duration{200 * ms, 400 * ms, 800 * ms, 1000 * ms}, pauses); diff != "" {
			t.Errorf("pauses (-want +got):\n%s", diff)
		}
		e.health.closedAt = time.Now().Add(-settled)
		p.failed(e, e.health.era, errNoAnswer)
		if e.health.rest != firstRest || e.health.pause != firstPause {
			t.Errorf("after a time without failures: %v, %v", e.health.rest, e.health.pause)
		}
	})
}

// If an endpoint fails for being slow again and again, it is tried less and
// less often, whatever Status finds.
func TestSlowEndpointIsTriedLess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newTestPool(t, "https://127.0.0.1:1", "https://127.0.0.1:2")
		e := p.endpoints[0]
		var pauses []time.Duration
		for range 7 {
			for range strikeLimit {
				p.struck(e, e.health.era)
			}
			p.well(e)
			if !e.health.open {
				t.Fatal("not put aside, or let in for its version")
			}
			pauses = append(pauses, e.health.pause)
			p.judge(e, e.health.era, nil)
		}
		const ms = time.Millisecond
		if diff := cmp.Diff([]time.Duration{200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, lastSlowPause, lastSlowPause}, pauses); diff != "" {
			t.Errorf("pauses (-want +got):\n%s", diff)
		}
		p.failed(e, e.health.era, errNoAnswer)
		if e.health.pause != lastPause {
			t.Errorf("once it has failed: %v, want %v", e.health.pause, lastPause)
		}
	})
}

func TestHedgeDelay(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, tt := range []struct {
		means []time.Duration
		open  int // how many breakers are open, starting with the first
		want  time.Duration
	}{
		{[]time.Duration{0}, 0, minHedge},
		{[]time.Duration{ms, 300 * ms}, 0, minHedge},
		{[]time.Duration{300 * ms, ms}, 0, minHedge},
		{[]time.Duration{ms, 30 * ms, 300 * ms}, 1, 120 * ms},
		{[]time.Duration{40 * ms, 30 * ms}, 0, 120 * ms},
		{[]time.Duration{time.Second, time.Second}, 0, 250 * ms},
		{[]time.Duration{ms}, 1, 250 * ms},
	} {
		p := &pool{timeouts: timeouts{attempt: 500 * ms}}
		for i, mean := range tt.means {
			e := &endpoint{health: health{open: i < tt.open}}
			e.counters.mean.Store(int64(mean))
			p.endpoints = append(p.endpoints, e)
		}
		if got := p.hedgeAfter(); got != tt.want {
			t.Errorf("means %v, %d open: got %v, want %v", tt.means, tt.open, got, tt.want)
		}
	}
}

package kms

import (
	"testing"
	"time"

	"github.com/minio/kms-go/kes"
)

func TestAPIKeyCertificateIsRenewed(t *testing.T) {
	key, err := kes.GenerateAPIKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	start := time.Now()
	clock := start
	id := &apiKeyIdentity{key: key, now: func() time.Time { return clock }}
	first, err := id.certificate()
	if err != nil {
		t.Fatal(err)
	}
	last, changes := first, 0
	for range 400 {
		cert, err := id.certificate()
		if err != nil {
			t.Fatal(err)
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
	newTestPool := func() *pool {
		p := &pool{}
		for _, url := range []string{"a", "b", "c"} {
			p.endpoints = append(p.endpoints, &endpoint{url: url})
		}
		return p
	}
	order := func(p *pool, at time.Duration) (s string) {
		for _, e := range p.order(at) {
			s += e.url
		}
		return s
	}
	at := time.Minute
	p := newTestPool()
	for _, want := range []string{"bca", "cab", "abc", "bca"} {
		if got := order(p, at); got != want {
			t.Errorf("all in good health: got %s, want %s", got, want)
		}
	}

	p = newTestPool()
	if !p.endpoints[1].markFailed(at) || p.endpoints[1].markFailed(at) {
		t.Error("the first failure, and no other, is a change")
	}
	for _, want := range []string{"cab", "cab", "acb"} {
		if got := order(p, at+cooldown-1); got != want {
			t.Errorf("b failed: got %s, want %s", got, want)
		}
	}
	if got := order(p, at+cooldown); got != "bca" {
		t.Errorf("cooldown over: got %s, want b first", got)
	}
	if got := order(p, at+cooldown); got != "cab" {
		t.Errorf("another is trying b: got %s, want b last", got)
	}
	if !p.endpoints[1].markHealthy() || p.endpoints[1].markHealthy() {
		t.Error("the first answer, and no other, is a change")
	}
	if got := order(p, at+cooldown); got != "abc" {
		t.Errorf("b is back: got %s, want abc", got)
	}

	for _, e := range p.endpoints {
		e.markFailed(at)
	}
	if got := order(p, at); got != "bca" {
		t.Errorf("all failed: got %s, want all of them", got)
	}
	if got := order(p, at+cooldown); got != "cab" {
		t.Errorf("all may be tried: got %s, want all of them", got)
	}
}

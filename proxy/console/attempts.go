package console

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// attempts limits failed sign-ins: by address, and at a higher rate in all.
type attempts struct {
	mu        sync.Mutex
	all       *rate.Limiter
	byAddress map[string]*rate.Limiter
}

// Limits of failed sign-ins.
const (
	attemptsBurst    = 5
	attemptsEvery    = 12 * time.Second
	attemptsAllBurst = 60
	attemptsAllEvery = time.Second
	attemptsMost     = 10_000 // addresses
)

func newAttempts() *attempts {
	return &attempts{
		all:       rate.NewLimiter(rate.Every(attemptsAllEvery), attemptsAllBurst),
		byAddress: map[string]*rate.Limiter{},
	}
}

// try calls verify unless too many attempts have failed. It calls one at a
// time, so parallel attempts do not get around the limit. allowed is false if
// it did not call verify.
func (a *attempts) try(address string, verify func() bool) (verified, allowed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.limiter(networkOf(address))
	if l.Tokens() < 1 || a.all.Tokens() < 1 {
		return false, false
	}
	if verify() {
		return true, true
	}
	l.Allow()
	a.all.Allow()
	return false, true
}

// limiter returns the limiter of an address.
func (a *attempts) limiter(address string) *rate.Limiter {
	l := a.byAddress[address]
	if l == nil {
		if len(a.byAddress) >= attemptsMost {
			a.forget()
		}
		l = rate.NewLimiter(rate.Every(attemptsEvery), attemptsBurst)
		a.byAddress[address] = l
	}
	return l
}

// forget drops the addresses without recent failures, or all of them if there
// are too many others. The limit of all attempts holds then.
func (a *attempts) forget() {
	for address, l := range a.byAddress {
		if l.Tokens() >= attemptsBurst {
			delete(a.byAddress, address)
		}
	}
	if len(a.byAddress) >= attemptsMost {
		clear(a.byAddress)
	}
}

// networkOf returns the network that a client can choose addresses from: 64
// bits of an IPv6 address, all of an IPv4 address.
func networkOf(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Unmap().Is4() {
		return address
	}
	return netip.PrefixFrom(ip.WithZone(""), 64).Masked().String()
}

package proxy

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// origin is where a client's request comes from, as the policies of a store see
// it: aws:SourceIp, aws:UserAgent and aws:Referer.
type origin struct {
	address, agent, referer string
}

// origin is what the store is told about the client; nil: nothing.
func (c *reader) origin() *origin {
	if !c.ForwardClient {
		return nil
	}
	return &origin{
		address: clientAddress(c.in, c.TrustedProxies), agent: c.in.Header.Get("User-Agent"), referer: c.in.Header.Get("Referer"),
	}
}

// tell puts the origin into the headers of a request to the store, in the form
// that MinIO and Ceph RGW read.
func (o *origin) tell(h http.Header) {
	if o == nil {
		return
	}
	h.Set("X-Forwarded-For", o.address)
	if o.agent != "" {
		h.Set("User-Agent", o.agent)
	}
	if o.referer != "" {
		h.Set("Referer", o.referer)
	}
}

// clientAddress is the IP address that a request comes from: the nearest one that
// is not of a trusted proxy. Each proxy adds to X-Forwarded-For the address that it
// was reached from, so what stands before an untrusted one is that one's word.
func clientAddress(r *http.Request, trusted []netip.Prefix) string {
	address := parseAddress(r.RemoteAddr)
	chain := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, before := range slices.Backward(chain) {
		isProxy := func(p netip.Prefix) bool { return p.Contains(address) }
		next := parseAddress(strings.TrimSpace(before))
		if !slices.ContainsFunc(trusted, isProxy) || !next.IsValid() {
			break
		}
		address = next
	}
	if !address.IsValid() {
		return "unknown"
	}
	return address.String()
}

// parseAddress parses an IP address, with or without a port; the zero address
// stands for anything else.
func parseAddress(text string) netip.Addr {
	if both, err := netip.ParseAddrPort(text); err == nil {
		return both.Addr().Unmap().WithZone("")
	}
	address, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap().WithZone("")
}

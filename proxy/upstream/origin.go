package upstream

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Origin is where a client's request comes from. The store's policies see it as
// aws:SourceIp, aws:UserAgent and aws:Referer.
type Origin struct {
	Address, Agent, Referer string
}

// setHeaders adds the origin to the headers of a request to the store, in the
// form that MinIO and Ceph RGW read. It does nothing if o is nil.
func (o *Origin) setHeaders(h http.Header) {
	if o == nil {
		return
	}
	h.Set("X-Forwarded-For", o.Address)
	if o.Agent != "" {
		h.Set("User-Agent", o.Agent)
	}
	if o.Referer != "" {
		h.Set("Referer", o.Referer)
	}
}

// clientAddress returns the IP address that a request comes from: the nearest
// address that is not a trusted proxy's, or "unknown". Each proxy appends to
// X-Forwarded-For the address of its peer, so entries before an untrusted
// address could be forged.
func clientAddress(r *http.Request, trusted []netip.Prefix) string {
	address := parseAddress(r.RemoteAddr)
	chain := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, entry := range slices.Backward(chain) {
		next := parseAddress(strings.TrimSpace(entry))
		if !isTrusted(address, trusted) || !next.IsValid() {
			break
		}
		address = next
	}
	if !address.IsValid() {
		return "unknown"
	}
	return address.String()
}

func isTrusted(address netip.Addr, trusted []netip.Prefix) bool {
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(address) })
}

// IsHTTPS reports whether a client uses https, as far as the gateway or a
// trusted proxy sees it (X-Forwarded-Proto).
func IsHTTPS(r *http.Request, trusted []netip.Prefix) bool {
	return r.TLS != nil || isTrusted(parseAddress(r.RemoteAddr), trusted) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// parseAddress parses an IP address with or without a port. It returns the zero
// Addr for anything else.
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

// OriginOf returns where a client's request comes from. It uses X-Forwarded-For
// as far as trusted proxies have sent it.
func OriginOf(r *http.Request, trusted []netip.Prefix) *Origin {
	return &Origin{Address: clientAddress(r, trusted), Agent: r.Header.Get("User-Agent"), Referer: r.Header.Get("Referer")}
}

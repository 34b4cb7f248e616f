package proxy

import (
	"net/http"
	"net/netip"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

func TestClientAddress(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tt := range []struct {
		remote string
		chain  []string
		want   string
	}{
		{"192.0.2.1:1234", nil, "192.0.2.1"},
		{"[2001:db8::1]:1234", nil, "2001:db8::1"},
		{"[::ffff:192.0.2.1]:1234", nil, "192.0.2.1"},
		{"192.0.2.1:1234", []string{"198.51.100.9"}, "192.0.2.1"}, // not from a trusted proxy
		{"10.1.1.1:1234", []string{"198.51.100.9"}, "198.51.100.9"},
		{"10.1.1.1:1234", []string{"203.0.113.1, 198.51.100.9"}, "198.51.100.9"}, // the first is the client's word
		{"10.1.1.1:1234", []string{"198.51.100.9, 10.2.2.2"}, "198.51.100.9"},
		{"10.1.1.1:1234", []string{"198.51.100.9", "10.2.2.2"}, "198.51.100.9"},
		{"[fd00::1]:1", []string{"198.51.100.9:4711"}, "198.51.100.9"},
		{"10.1.1.1:1234", []string{"[2001:db8::9]"}, "2001:db8::9"},
		{"10.1.1.1:1234", []string{"junk, 10.2.2.2"}, "10.2.2.2"},
		{"10.1.1.1:1234", []string{"junk"}, "10.1.1.1"},
		{"10.1.1.1:1234", nil, "10.1.1.1"},
		{"@", nil, "unknown"},
	} {
		r := &http.Request{RemoteAddr: tt.remote, Header: http.Header{"X-Forwarded-For": tt.chain}}
		if got := upstream.OriginOf(r, trusted).Address; got != tt.want {
			t.Errorf("%s, %q: %s, want %s", tt.remote, tt.chain, got, tt.want)
		}
	}
}

// TestForwardClient: if the setting is on, the store learns who the client is,
// with every request made for the client. Otherwise it does not.
func TestForwardClient(t *testing.T) {
	t.Parallel()
	for _, on := range []bool{false, true} {
		g := newGateway(t, withConfig(func(c *Config) { c.ForwardClient = on }))
		pairs := []string{"User-Agent", "someone/1", "Referer", "https://example.com/", "X-Forwarded-For", "198.51.100.9"}
		g.put("/bucket/k", []byte("data"), append(pairs, s3.HeaderSSE, s3.AES256)...).want(t, 200, "")
		g.get("/bucket/k", append(pairs, "Range", "bytes=-2")...).want(t, 206, "")
		g.head("/bucket/k", pairs...).want(t, 200, "")
		g.put("/bucket/copy", nil, append(pairs, "X-Amz-Copy-Source", "bucket/k")...).want(t, 200, "")
		g.delete("/bucket/k", pairs...).want(t, 204, "")
		want := map[string]string{"X-Forwarded-For": "", "User-Agent": "ssegw", "Referer": ""}
		if on {
			want = map[string]string{"X-Forwarded-For": "127.0.0.1", "User-Agent": "someone/1", "Referer": "https://example.com/"}
		}
		for _, r := range g.upstream.requests("/bucket/") {
			for name, value := range want {
				if got := r.Header.Get(name); got != value {
					t.Errorf("on=%t: %s %s has %s %q, want %q", on, r.Method, r.Path, name, got, value)
				}
			}
		}
	}
}

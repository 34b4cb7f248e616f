package proxy

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
)

// disagree makes the store refuse signatures over white space that stores
// normalize differently, as MinIO refuses those of the SDK for Go.
func (g *testGateway) disagree() {
	g.upstream.on("", "/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		_, list, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
		list, _, _ = strings.Cut(list, ",")
		for name := range strings.SplitSeq(list, ";") {
			if strings.Contains(r.Header.Get(name), "\t") || strings.Contains(r.Header.Get(name), "\u3000") {
				memFail(w, 403, "SignatureDoesNotMatch", name)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// TestWhiteSpaceTowardsStore: white space in a client's header never makes the
// store refuse the gateway's signature.
func TestWhiteSpaceTowardsStore(t *testing.T) {
	t.Parallel()
	for name, rules := range map[string][]gatewayOption{"plain": nil, "sealed": {withRule(testBucket, state.Rule{Algorithm: s3.AES256})}} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, append(rules, withConfig(func(c *Config) { c.ForwardClient = true }))...)
			g.put("/bucket/source", []byte("x")).want(t, 200, "")
			g.disagree()
			for _, h := range [][2]string{
				{"Cache-Control", "no-cache,\tmax-age=0"},
				{"Content-Disposition", "attachment; filename=\"a\u3000b\""},
				{"Content-Type", "text/plain;\tcharset=utf-8"},
				{"Content-Language", "de,  en"},
				{"X-Amz-Meta-A", "a  b"},
				{"X-Amz-Meta-A", "\t a \t"},
			} {
				g.put("/bucket/k", []byte("x"), h[:]...).want(t, 200, "")
				if got := g.get("/bucket/k").header.Get(h[0]); got != strings.Trim(h[1], " \t") {
					t.Errorf("%s: %q became %q", h[0], h[1], got)
				}
			}
			g.put("/bucket/k", []byte("x"), "X-Amz-Meta-A", "a\u3000\tb").want(t, 200, "")
			if got := s3.DecodeWords(g.get("/bucket/k").header.Get("X-Amz-Meta-A")); got != "a\u3000\tb" {
				t.Errorf("metadata outside ASCII became %q", got)
			}
			for _, h := range [][2]string{{"If-None-Match", "\"x\",\t\"y\""}, {"Origin", "a\tb"}, {"Referer", "a\u3000b"}, {"User-Agent", "a\tb"}} {
				g.get("/bucket/k", h[:]...).want(t, 200, "")
			}
			const odd = "a\tb"
			g.put("/bucket/new", []byte("x"), "X-Amz-Meta-A", odd).want(t, 400, "InvalidArgument")
			g.put("/bucket/new", []byte("x"), "X-Amz-Website-Redirect-Location", "/"+odd).want(t, 400, "InvalidArgument")
			g.put("/bucket/new", nil, "X-Amz-Copy-Source", "/bucket/source", "X-Amz-Metadata-Directive", "REPLACE", "X-Amz-Meta-A", odd).want(t, 400, "InvalidArgument")
			g.do(clientRequest{method: "POST", path: "/bucket/new", query: url.Values{"uploads": {""}}, header: headers("X-Amz-Meta-A", odd)}).want(t, 400, "InvalidArgument")
			g.head("/bucket/new").want(t, 404, "")
		})
	}
}

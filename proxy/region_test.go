package proxy

import (
	"net/http"
	"strings"
	"testing"

	"ssegw/proxy/sigv4"
)

// TestRegion signs writes, in each framing, for another region than the
// gateway's. The gateway refuses them and names its region, or accepts them if
// it accepts any. To the store it always signs for the store's region.
func TestRegion(t *testing.T) {
	t.Parallel()
	anyRegion := func(s *gatewaySetup) { s.config.Region = sigv4.AnyRegion }
	strict, open := newGateway(t), newGateway(t, anyRegion)
	for _, mode := range []string{modeHash, modeUnsigned, modeTrailer, modeSigned, modeSignedTrailer} {
		c := clientRequest{method: http.MethodPut, path: "/bucket/key", body: pattern(150_000, 1), mode: mode, region: "eu-central-1"}
		r := strict.do(c)
		r.want(t, http.StatusBadRequest, sigv4.CodeAuthorizationMalformed)
		if !strings.Contains(string(r.body), "<Region>"+clientRegion+"</Region>") {
			t.Errorf("%q: the refusal does not name the region: %s", mode, r.body)
		}
		open.do(c).want(t, http.StatusOK, "")
		wantObject(t, open, "/bucket/key", c.body, 1)
		c.region = ""
		open.do(c).want(t, http.StatusOK, "")
	}
}

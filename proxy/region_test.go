package proxy

import (
	"io"
	"net/http"
	"net/url"
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

// TestLocations: clients see the gateway's region wherever they ask for the one
// to sign for, and the store sees its own.
func TestLocations(t *testing.T) {
	t.Parallel()
	constraint := func(region string) string {
		return `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>` + region + `</LocationConstraint></CreateBucketConfiguration>`
	}
	for region, want := range map[string]string{clientRegion: "></LocationConstraint>", "eu-1": ">eu-1<", sigv4.AnyRegion: ">zone<"} {
		g := newGateway(t, func(s *gatewaySetup) { s.config.Region = region })
		g.upstream.on("", "/bucket", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			w.Header().Set("X-Amz-Bucket-Region", "zone")
			if r.URL.Query().Has("location") {
				_, _ = w.Write([]byte("<LocationConstraint>zone</LocationConstraint>"))
			}
		})
		signed := region
		if region == sigv4.AnyRegion {
			signed = "any"
		}
		r := g.do(clientRequest{method: http.MethodGet, path: "/bucket", query: url.Values{"location": {""}}, region: signed})
		if r.want(t, 200, ""); !strings.Contains(string(r.body), want) {
			t.Errorf("%s: %s", region, r.body)
		}
		r = g.do(clientRequest{method: http.MethodHead, path: "/bucket", region: signed})
		if got := r.header.Get("X-Amz-Bucket-Region"); got != region && (region != sigv4.AnyRegion || got != "zone") {
			t.Errorf("%s: HEAD says %s", region, got)
		}
		g.upstream.on(http.MethodPut, "/new", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			body, _ := io.ReadAll(r.Body)
			if got := string(body); got != constraint("other") && (region == sigv4.AnyRegion || got != constraint(upstreamRegion)) {
				t.Errorf("%s: the store gets %s", region, got)
			}
		})
		for _, named := range []string{region, "other"} {
			if region == sigv4.AnyRegion {
				named = "other"
			}
			g.do(clientRequest{method: http.MethodPut, path: "/new", body: []byte(constraint(named)), region: signed}).want(t, 200, "")
		}
	}
}

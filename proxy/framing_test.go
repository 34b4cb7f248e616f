package proxy

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssegw/proxy/probe"
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/upstream"
)

// TestUpstreamFraming looks at what the store is sent for bodies of each kind.
func TestUpstreamFraming(t *testing.T) {
	t.Parallel()
	type sent struct{ SHA, Trailer, Algorithm, SHA256, MD5 string }
	small, large := pattern(1000, 1), pattern(1<<20+1, 1)
	sum := sumText("SHA256", small)
	tests := []struct {
		name    string
		framing upstream.Framing
		request clientRequest
		want    sent
	}{
		{"sealed", upstream.FramingTrailer, clientRequest{body: large, header: headers(s3.HeaderSSE, s3.AES256)}, sent{SHA: modeTrailer, Trailer: "x-amz-checksum-crc32c"}},
		{"sealed", upstream.FramingSigned, clientRequest{body: large, header: headers(s3.HeaderSSE, s3.AES256)}, sent{SHA: modeSigned}},
		{"sealed", upstream.FramingPlain, clientRequest{body: large, header: headers(s3.HeaderSSE, s3.AES256)}, sent{SHA: modeUnsigned}},
		{"sealed with checksum", upstream.FramingTrailer, clientRequest{
			body: small, header: headers(s3.HeaderSSE, s3.AES256, "X-Amz-Checksum-Sha256", sum, "X-Amz-Sdk-Checksum-Algorithm", "SHA256"),
		}, sent{SHA: modeTrailer, Trailer: "x-amz-checksum-crc32c"}},
		{"plain", upstream.FramingTrailer, clientRequest{body: large}, sent{SHA: modeSigned}},
		{"plain with checksum", upstream.FramingTrailer, clientRequest{body: small, header: headers("X-Amz-Checksum-Sha256", sum)}, sent{SHA: modeUnsigned, Algorithm: "SHA256", SHA256: sum}},
		{"plain with MD5", upstream.FramingTrailer, clientRequest{body: small, header: headers("Content-Md5", sumText("MD5", small))}, sent{SHA: modeUnsigned, MD5: sumText("MD5", small)}},
		{"plain with trailer", upstream.FramingTrailer, clientRequest{body: small, mode: modeTrailer, algorithm: "SHA1"}, sent{SHA: modeTrailer, Trailer: "x-amz-checksum-sha1", Algorithm: "SHA1"}},
		{"plain with trailer", upstream.FramingSigned, clientRequest{body: small, mode: modeTrailer}, sent{SHA: modeSigned}},
		{"plain with trailer", upstream.FramingPlain, clientRequest{body: small, mode: modeTrailer}, sent{SHA: modeUnsigned}},
		{"plain, empty", upstream.FramingTrailer, clientRequest{}, sent{SHA: modeUnsigned}},
	}
	for _, tt := range tests {
		t.Run(tt.name+"/"+tt.framing.String(), func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withFraming(tt.framing))
			c := tt.request
			c.method, c.path = http.MethodPut, "/bucket/k"
			g.do(c).want(t, 200, "")
			requests := g.upstream.requests("/bucket/k")
			if len(requests) != 1 {
				t.Fatalf("%d requests", len(requests))
			}
			h := requests[0].Header
			got := sent{
				h.Get("X-Amz-Content-Sha256"), h.Get("X-Amz-Trailer"), h.Get("X-Amz-Sdk-Checksum-Algorithm"),
				h.Get(sigv4.HeaderName("SHA256")), h.Get("Content-Md5"),
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
			if g.get("/bucket/k").want(t, 200, ""); !bytes.Equal(g.get("/bucket/k").body, tt.request.body) {
				t.Error("not read back")
			}
		})
	}
}

// TestFramingProbe: the gateway chooses the first framing that the store
// accepts and verifies.
func TestFramingProbe(t *testing.T) {
	t.Parallel()
	refuse := func(sha string) hook {
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Header.Get("X-Amz-Content-Sha256") == sha {
				memFail(w, 501, "NotImplemented", sha)
				return
			}
			next.ServeHTTP(w, r)
		}
	}
	neither := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		refuse(modeSigned)(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { refuse(modeTrailer)(w, r, next) }))
	}
	tests := []struct {
		name  string
		hook  hook
		eager bool
		want  upstream.Framing
	}{
		{"all", nil, false, upstream.FramingTrailer},
		{"no trailers", refuse(modeTrailer), false, upstream.FramingSigned},
		{"neither", neither, false, upstream.FramingPlain},
		{"verifies nothing", nil, true, upstream.FramingPlain},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u := newMemUpstream(t)
			u.eager = tt.eager
			if tt.hook != nil {
				u.on(http.MethodPut, "/"+testStateBucket+"/"+probe.Prefix, tt.hook)
			}
			g := newGateway(t, withUpstream(u), withFraming(upstream.FramingAuto))
			if got := g.Upstream.Framing(); got != tt.want {
				t.Errorf("chosen: %s, want %s", got, tt.want)
			}
			for _, key := range u.keys(testStateBucket) {
				if strings.HasPrefix(key, probe.Prefix) {
					t.Error("a probe's object is left behind")
				}
			}
		})
	}
}

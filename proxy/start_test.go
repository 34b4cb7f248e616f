package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssegw/kms/kmstest"
	"ssegw/proxy/probe"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
)

// startRequests is how many requests the first start of a gateway sends to a
// store, where it is not as many as to a store without peculiarities.
var startRequests = map[string]int{
	"":                                    78,
	"ETags without quotes":                82,
	"Expires as a date":                   141,
	"If-Match of nothing creates":         81,
	"conditions in PutObject alone":       79,
	"copies keep metadata":                69,
	"copies without tags":                 80,
	"no CopyObject":                       67,
	"no ETag of a Complete":               82,
	"no condition on multipart sources":   77,
	"no condition on the source":          70,
	"no conditional writes":               81,
	"no odd keys":                         76,
	"no tags":                             75,
	"no trailers, no empty signed bodies": 79,
	"odd answers":                         52,
	"short values":                        106,
	"uploads without tags":                80,
}

// TestStartRequests counts the requests of a start.
func TestStartRequests(t *testing.T) {
	t.Parallel()
	count := func(t *testing.T, name string, u *memUpstream) {
		t.Helper()
		newGateway(t, withUpstream(u), withFraming(upstream.FramingAuto), notOpened()).open()
		want, differs := startRequests[name]
		if !differs {
			want = startRequests[""]
		}
		if got := len(u.requests("/")); got != want {
			t.Errorf("%q: %d requests, want %d", name, got, want)
		}
		for _, key := range u.keys(testStateBucket) {
			if strings.HasPrefix(key, probe.Prefix) {
				t.Errorf("%q: %s is left over", name, key)
			}
		}
	}
	count(t, "", newMemUpstream(t))
	short := newMemUpstream(t)
	short.maxValue = 256
	count(t, "short values", short)
	for name, ways := range storeWays {
		u := newMemUpstream(t)
		u.ways = ways
		count(t, name, u)
	}
}

// delayed is a store that takes a time for each request.
func delayed(d time.Duration) hook {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		<-time.After(d)
		next.ServeHTTP(w, r)
	}
}

// capabilities returns what a gateway has found, by name.
func (g *testGateway) capabilities() map[string]string {
	found := map[string]string{}
	for name, value := range g.Upstream.Capabilities().All() {
		found[name] = value
	}
	return found
}

// TestStartSlow: a gateway starts at a slow store. What its probes have not
// found by then, they find later.
func TestStartSlow(t *testing.T) {
	t.Parallel()
	want := newGateway(t, withFraming(upstream.FramingAuto)).capabilities()
	for _, tt := range []struct {
		each, start time.Duration // at most
		known       bool          // everything is known after the start
	}{
		{300 * time.Millisecond, 9 * time.Second, true},
		{time.Second, 30 * time.Second, false},
		{2500 * time.Millisecond, 65 * time.Second, false},
	} {
		t.Run(tt.each.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				u := newMemUpstreamOn(t, &kmstest.Network{})
				u.ways = delayed(tt.each)
				g := newGateway(t, withUpstream(u), withFraming(upstream.FramingAuto), notOpened())
				began := time.Now()
				stop := g.start()
				defer stop()
				if took := time.Since(began); took > tt.start {
					t.Errorf("the start took %s", took)
				}
				if known := g.logs.FilterMessageSnippet("have not ended").Len() == 0; known != tt.known {
					t.Errorf("everything known: %t", known)
				}
				time.Sleep(3 * time.Minute)
				synctest.Wait()
				if diff := cmp.Diff(want, g.capabilities()); diff != "" {
					t.Errorf("found (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestStartUnprobed: while nothing is known of a store, its gateway serves what
// is safe at each store, and finds out the rest once the store answers.
func TestStartUnprobed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := newMemUpstreamOn(t, &kmstest.Network{})
		u.on("", "/"+testStateBucket+"/"+probe.Prefix, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		})
		g := newGateway(t, withUpstream(u), withFraming(upstream.FramingAuto), notOpened())
		began := time.Now()
		defer g.start()()
		if took := time.Since(began); took > state.DefaultTimes.Open {
			t.Errorf("the start took %s", took)
		}
		g.put("/bucket/k", []byte("old")).want(t, 200, "")
		g.put("/bucket/k", []byte("new"), "If-None-Match", "*").want(t, 412, "PreconditionFailed")
		g.put("/bucket/none", []byte("new"), "If-Match", `"0123"`).want(t, 404, "NoSuchKey")
		wantBody(t, g, "/bucket/k", "old")
		g.put("/bucket/copy", nil, "X-Amz-Copy-Source", "bucket/k").want(t, 200, "")
		u.unhook()
		time.Sleep(3 * state.DefaultTimes.Probe)
		synctest.Wait()
		if got := g.capabilities(); got["framing"] != "trailer" || got["put_if_match"] != "quoted" || !g.logged("store probed") {
			t.Errorf("found %v", got)
		}
	})
}

package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssegw/kms/kmstest"
	"ssegw/proxy/probe"
	"ssegw/proxy/upstream"
)

// probeRequests are kinds of requests with which the gateway probes a store.
var probeRequests = map[string]func(r *http.Request) bool{
	"any":           func(*http.Request) bool { return true },
	"PUT":           func(r *http.Request) bool { return r.Method == http.MethodPut && len(r.URL.Query()) == 0 },
	"long values":   func(r *http.Request) bool { return len(r.Header.Get("X-Amz-Meta-P")) > 32 },
	"values":        func(r *http.Request) bool { return r.Header.Get("X-Amz-Meta-P") != "" },
	"names":         func(r *http.Request) bool { return r.Header.Get("X-Amz-Meta-Probe-5f_x") != "" },
	"HEAD":          func(r *http.Request) bool { return r.Method == http.MethodHead },
	"GET":           func(r *http.Request) bool { return r.Method == http.MethodGet },
	"Create":        func(r *http.Request) bool { return r.URL.Query().Has("uploads") },
	"Create, names": func(r *http.Request) bool { return r.URL.Query().Has("uploads") && r.Header.Get("Expires") != "" },
	"UploadPart":    func(r *http.Request) bool { return r.URL.Query().Has("partNumber") },
	"Complete":      func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") },
	"If-Match":      func(r *http.Request) bool { return r.Header.Get("If-Match") != "" },
	"copies":        func(r *http.Request) bool { return r.Header.Get("X-Amz-Copy-Source") != "" },
	"tags":          func(r *http.Request) bool { return r.Header.Get("X-Amz-Tagging") != "" },
	"GET of tags":   func(r *http.Request) bool { return r.URL.Query().Has("tagging") },
	"framed bodies": func(r *http.Request) bool {
		return strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-")
	},
	"directories":     func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/") },
	"DELETE of probe": func(r *http.Request) bool { return r.Method == http.MethodDelete && len(r.URL.Query()) == 0 },
}

// failures are the ways in which a store fails for a while.
var failures = map[string]hook{
	"500": answerWith(500, "InternalError"),
	"503": answerWith(503, "SlowDown"),
	"cut": func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) },
}

// failingFirst fails the first n probes of a kind.
func failingFirst(n int64, matches func(*http.Request) bool, fail hook) hook {
	var seen atomic.Int64
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if matches(r) && seen.Add(1) <= n {
			fail(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// TestTransientFailures: a store fails some times in a row while it is probed.
// The gateway then assumes that the store can do least, and finds out later
// what it can do.
func TestTransientFailures(t *testing.T) {
	t.Parallel()
	for name, ways := range map[string]hook{"": nil, "no metadata over 256 bytes": nil, "uploads without underscores": storeWays["uploads without underscores"], "conditions ignored": storeWays["conditions ignored"]} {
		gateway := func(t *testing.T) *testGateway {
			u := newMemUpstreamOn(t, &kmstest.Network{})
			u.ways = ways
			if strings.Contains(name, "256") {
				u.maxValue = 256
			}
			return newGateway(t, withUpstream(u), withFraming(upstream.FramingAuto), notOpened())
		}
		var want, least map[string]string
		synctest.Test(t, func(t *testing.T) {
			g := gateway(t)
			defer g.start()()
			want = g.capabilities()
			g = gateway(t)
			g.upstream.on("", "/"+testStateBucket+"/"+probe.Prefix, failures["503"])
			defer g.start()()
			least = g.capabilities()
		})
		for kind, matches := range probeRequests {
			for failure, fail := range failures {
				for _, times := range []int64{3, 9} {
					t.Run(fmt.Sprintf("%s/%s/%s/%d", name, kind, failure, times), func(t *testing.T) {
						t.Parallel()
						synctest.Test(t, func(t *testing.T) {
							g := gateway(t)
							g.upstream.on("", "/"+testStateBucket+"/"+probe.Prefix, failingFirst(times, matches, fail))
							defer g.start()()
							for capability, value := range g.capabilities() {
								if value != want[capability] && value != least[capability] && !refusesMore(capability, value, want[capability]) {
									t.Errorf("%s: %q, want %q or %q", capability, value, want[capability], least[capability])
								}
							}
							time.Sleep(5 * time.Minute)
							synctest.Wait()
							if diff := cmp.Diff(want, g.capabilities()); diff != "" {
								t.Errorf("found (-want +got):\n%s", diff)
							}
						})
					})
				}
			}
		}
	}
}

// refusesMore reports whether the gateway refuses all headers that it must, and
// others.
func refusesMore(capability, value, want string) bool {
	if capability != "headers_refused" {
		return false
	}
	for part := range strings.SplitSeq(want, ", ") {
		if !strings.Contains(value, part) && part != "none" {
			return false
		}
	}
	return true
}

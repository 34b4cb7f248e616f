package proxy

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"ssegw/proxy/probe"
)

// deleteUnder sends a DeleteObjects of /bucket/k under an ETag that no object
// has.
func deleteUnder(g *testGateway) clientAnswer {
	return g.do(clientRequest{method: http.MethodPost, path: "/bucket", query: url.Values{"delete": {""}}, body: []byte("<Delete><Object><Key>k</Key><ETag>&quot;0123&quot;</ETag></Object></Delete>")})
}

// onProbe is a hook for the gateway's probes, objects and buckets.
func onProbe(run hook) hook {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		q := r.URL.Query()
		if strings.Contains(r.URL.Path, probe.Prefix) || q.Has("delete") && strings.TrimSuffix(r.URL.Path, "/") == "/"+testStateBucket {
			run(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// TestSubresourcesNeedEvidence: that a probe outlives an operation proves
// nothing, if the store would not have destroyed it anyhow.
func TestSubresourcesNeedEvidence(t *testing.T) {
	t.Parallel()
	metrics := clientRequest{method: http.MethodDelete, path: "/empty", query: url.Values{"metrics": {""}, "id": {"a"}}}
	retention := clientRequest{method: http.MethodPut, path: "/bucket/k", query: url.Values{"retention": {""}}, body: []byte("<Retention/>")}
	conditional := func(g *testGateway) clientAnswer { return deleteUnder(g) }
	send := func(r clientRequest) func(*testGateway) clientAnswer {
		return func(g *testGateway) clientAnswer { return g.do(r) }
	}
	for name, tt := range map[string]struct {
		ways   string
		method string
		hook   hook
		send   func(*testGateway) clientAnswer
	}{
		"DeleteObjects is refused": {"conditions ignored", http.MethodPost, answerWith(403, "AccessDenied"), conditional},
		"DeleteObjects is unknown": {"conditions ignored", http.MethodPost, answerWith(501, "NotImplemented"), conditional},
		"buckets stay":             {"no sub-resources", http.MethodDelete, answerWith(403, "AccessDenied"), send(metrics)},
		"one 500 for a bucket":     {"no sub-resources", http.MethodDelete, failingOnce(http.MethodDelete), send(metrics)},
		"one 500 for an object":    {"no sub-resources", http.MethodPut, failingOnce("<Probe/>"), send(retention)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newMemUpstream(t)
			g := newGateway(t, withUpstream(u))
			u.ways = storeWays[tt.ways]
			u.makeBucket("empty")
			g.put("/bucket/k", []byte("data")).want(t, 200, "")
			u.on(tt.method, "/", onProbe(tt.hook))
			for range 2 {
				tt.send(g).want(t, 501, "NotImplemented")
				g.do(clientRequest{method: http.MethodHead, path: "/empty"}).want(t, 200, "")
				wantBody(t, g, "/bucket/k", "data")
			}
		})
	}
}

// failingOnce answers one request with 500: the first DELETE, or the first PUT
// of a document with that length.
func failingOnce(what string) hook {
	var failed atomic.Bool
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if (r.Method == what || r.ContentLength == int64(len(what))) && !failed.Swap(true) {
			memFail(w, 500, "InternalError", "for once")
			return
		}
		next.ServeHTTP(w, r)
	}
}

// TestProbeErrorsStayInside: a client does not get the error of a probe. Once
// the store is well again, the operation works.
func TestProbeErrorsStayInside(t *testing.T) {
	t.Parallel()
	for _, failure := range []hook{answerWith(500, "InternalError"), answerWith(503, "SlowDown"), answerWith(403, "AccessDenied"), answerWith(404, "NoSuchBucket"), failures["cut"]} {
		for name, send := range map[string]func(*testGateway) clientAnswer{
			"delete": deleteUnder,
			"metrics": func(g *testGateway) clientAnswer {
				return g.do(clientRequest{method: http.MethodDelete, path: "/empty", query: url.Values{"metrics": {""}, "id": {"a"}}})
			},
			"retention": func(g *testGateway) clientAnswer {
				return g.do(clientRequest{method: http.MethodPut, path: "/bucket/k", query: url.Values{"retention": {""}}, body: []byte("<Retention/>")})
			},
		} {
			g := newGateway(t)
			g.upstream.makeBucket("empty")
			g.put("/bucket/k", []byte("data")).want(t, 200, "")
			g.upstream.on("", "/", onProbe(failure))
			r := send(g)
			nothing := name == "metrics" && r.status == 204 // there are none to delete
			if !nothing && r.code != "ServiceUnavailable" && r.code != "NotImplemented" || strings.Contains(string(r.body), probe.Prefix) || strings.Contains(string(r.body), testStateBucket) {
				t.Errorf("%s: %d %s", name, r.status, r.body)
			}
			g.upstream.unhook()
			if r := send(g); r.status >= 300 {
				t.Errorf("%s, later: %d %s", name, r.status, r.body)
			}
		}
	}
}

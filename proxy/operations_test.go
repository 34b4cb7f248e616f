package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssegw/proxy/s3"
)

// routeRequest returns a request for a row of the table, with all of its
// parameters or with the identifying ones only.
func routeRequest(r s3.Route, all bool) clientRequest {
	c := clientRequest{method: r.Method, query: url.Values{}, header: http.Header{}}
	switch {
	case r.Action == s3.WriteGetObjectResponse:
		c.path = "/WriteGetObjectResponse"
	case r.Level == s3.Service:
		c.path = "/"
	case r.Level == s3.Bucket:
		c.path = "/bucket"
	default:
		c.path = "/bucket/dir/key"
	}
	keys := slices.Clone(r.Query)
	if all {
		keys = append(keys, r.Optional...)
	}
	for _, k := range keys {
		value, ok := map[string]string{"list-type": "2", "partNumber": "1", "max-keys": "5", "max-parts": "5"}[k]
		if !ok {
			value = "value"
		}
		c.query.Set(k, value)
	}
	if r.CopySource {
		c.header.Set("X-Amz-Copy-Source", "bucket/source")
	}
	switch {
	case r.Action == s3.PostObject:
		c.header.Set("Content-Type", "multipart/form-data; boundary=b")
		c.body = []byte("--b--\r\n")
	case r.XMLBody:
		c.body = []byte("<Document>of " + r.Action + "</Document>")
	}
	return c
}

// arrived is what the store saw of a request.
type arrived struct {
	Method, Path, Body string
	Query              url.Values
}

// TestEveryRoute sends a request for every row of the table of operations.
// Forwarded operations arrive as sent, once. Operations that the gateway does
// not serve are refused before the store sees anything. None becomes a plain
// operation on the bucket or object.
func TestEveryRoute(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	var mu sync.Mutex
	var seen []arrived
	g.upstream.on("", "/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasPrefix(r.URL.Path, "/"+testStateBucket+"/") || strings.HasPrefix(r.URL.Path, "/ssegw-probe-") {
			next.ServeHTTP(w, r)
			return
		}
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		seen = append(seen, arrived{r.Method, r.URL.Path, string(body), r.URL.Query()})
		mu.Unlock()
		w.Header().Set("X-Amz-Request-Charged", "of the store")
	})
	counts := map[string]int{}
	for _, route := range s3.Routes() {
		for _, all := range []bool{false, true} {
			c := routeRequest(route, all)
			seen = nil
			a := g.do(c)
			what := fmt.Sprintf("%s %s %s?%s: %d %s", route.Action, c.method, c.path, c.query.Encode(), a.status, a.code)
			_, served := operations[route.Action]
			switch {
			case served:
				counts["served"]++
				if a.status == http.StatusNotImplemented && len(c.query) == len(route.Query) {
					t.Errorf("%s: has code and is refused", what)
				}
				for _, s := range seen {
					if s.Query.Has("encryption") {
						t.Errorf("%s: the store saw %+v", what, s)
					}
				}
			case route.Class == s3.Forward:
				counts["forwarded"]++
				want := []arrived{{c.method, c.path, string(c.body), c.query}}
				if route.Action == s3.Preflight {
					want[0].Query = url.Values{} // it repeats those of the request it asks about
				}
				if diff := cmp.Diff(want, seen); diff != "" {
					t.Errorf("%s: the store saw (-want +got):\n%s", what, diff)
				}
				if a.status != 200 || a.header.Get("X-Amz-Request-Charged") != "of the store" {
					t.Errorf("%s: not the store's answer", what)
				}
			default:
				counts["refused"]++
				if a.status != http.StatusNotImplemented || a.code != "NotImplemented" {
					t.Errorf("%s, want 501", what)
				}
				if len(seen) > 0 {
					t.Errorf("%s: the store saw %+v", what, seen)
				}
			}
		}
	}
	if got, want := counts["served"]+counts["forwarded"]+counts["refused"], 2*len(s3.Routes()); got != want || counts["forwarded"] < 100 {
		t.Errorf("%d requests of %d: %v", got, want, counts)
	}
}

// TestOperationsAreRoutes: every handler is for an operation of the table that
// the table does not refuse.
func TestOperationsAreRoutes(t *testing.T) {
	t.Parallel()
	for action := range operations {
		i := slices.IndexFunc(s3.Routes(), func(r s3.Route) bool { return r.Action == action })
		if i < 0 || s3.Routes()[i].Class == s3.Refuse {
			t.Errorf("code for %s, row %d", action, i)
		}
	}
}

// TestUnknownSubResources sends operations that are not in the table. The store
// sees nothing, because it could know them, or take them for the plain
// operation.
func TestUnknownSubResources(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/key", []byte("x")).want(t, 200, "")
	g.upstream.forget()
	tests := []struct{ method, path, query string }{
		{"PUT", "/bucket/key", "unheard-of"},
		{"PUT", "/bucket/key", "policy"},
		{"PUT", "/bucket/key", "ownershipControls"},
		{"DELETE", "/bucket/key", "encryption"},
		{"DELETE", "/bucket/key", "acl"},
		{"DELETE", "/bucket/key", "unheard-of"},
		{"DELETE", "/bucket", "acl"},
		{"DELETE", "/bucket", "versioning"},
		{"DELETE", "/bucket", "unheard-of"},
		{"PUT", "/bucket", "unheard-of"},
		{"PUT", "/bucket", "uploads"},
		{"PUT", "/bucket", "tagging&acl"},
		{"POST", "/bucket/key", "unheard-of"},
		{"POST", "/bucket", "unheard-of"},
		{"GET", "/bucket/key", "unheard-of"},
		{"GET", "/bucket", "unheard-of"},
		{"HEAD", "/bucket/key", "unheard-of"},
		{"PATCH", "/bucket/key", ""},
		{"TRACE", "/bucket/key", ""},
		{"DELETE", "/", ""},
	}
	for _, test := range tests {
		query, err := url.ParseQuery(test.query)
		if err != nil {
			t.Fatal(err)
		}
		a := g.do(clientRequest{method: test.method, path: test.path, query: query})
		if a.status != 400 && a.status != 405 && a.status != 501 {
			t.Errorf("%s %s?%s: %d %s", test.method, test.path, test.query, a.status, a.code)
		}
		if seen := g.upstream.requests("/bucket"); len(seen) > 0 {
			t.Errorf("%s %s?%s: the store saw %+v", test.method, test.path, test.query, seen)
		}
	}
	if g.upstream.object(testBucket, "key") == nil {
		t.Error("the object is gone")
	}
}

// TestUnsignedRoutes: no operation is reached with a wrong signature.
func TestUnsignedRoutes(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, route := range s3.Routes() {
		if route.Action == s3.Preflight {
			continue // a browser's, which cannot be signed
		}
		c := routeRequest(route, false)
		c.tamper = func(r *http.Request) {
			r.Header.Set("Authorization", r.Header.Get("Authorization")[:len(r.Header.Get("Authorization"))-4]+"0000")
		}
		if a := g.do(c); a.status != 403 || a.code != "SignatureDoesNotMatch" && c.method != "HEAD" {
			t.Errorf("%s: %d %s", route.Action, a.status, a.code)
		}
	}
	for _, seen := range g.upstream.requests("/") {
		if !strings.HasPrefix(seen.Path, "/"+testStateBucket) {
			t.Errorf("the store saw %s %s", seen.Method, seen.Path)
		}
	}
}

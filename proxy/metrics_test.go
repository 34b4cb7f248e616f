package proxy

import (
	"net/http"
	"strings"
	"testing"

	"ssegw/proxy/s3"
)

// TestMetrics counts requests by operation and status, for every outcome. No
// label has text that a client chose.
func TestMetrics(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/canary-key", []byte("x"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	g.get("/bucket/canary-key").want(t, 200, "")
	g.get("/bucket/canary-other").want(t, 404, "NoSuchKey")
	g.do(clientRequest{method: "PUT", path: "/bucket/canary-key", query: map[string][]string{"canary": {""}}}).want(t, 501, "NotImplemented")
	g.do(clientRequest{method: "GET", path: "/canary_bucket"}).want(t, 400, "InvalidBucketName")
	g.do(clientRequest{method: "GET", path: "/bucket/canary-key", tamper: func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 canary") }})
	g.do(clientRequest{method: "CANARY", path: "/bucket/canary-key"}).want(t, 405, "MethodNotAllowed")

	for _, test := range []struct {
		op, code string
		want     float64
	}{
		{"PutObject", "200", 1}, {"GetObject", "200", 1}, {"GetObject", "404", 1}, {"Unknown", "501", 1},
		{"Unknown", "400", 1}, {"GetObject", "400", 1}, {"Unknown", "405", 1},
	} {
		eventually(t, test.op+" "+test.code, func() bool { // counted after the answer
			return g.counter("ssegw_http_requests_total", "op="+test.op, "code="+test.code) == test.want
		})
	}
	families, err := g.gathered.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.Contains(strings.ToLower(f.String()), "canary") {
			t.Errorf("%s holds what a client sent", f.GetName())
		}
		if !strings.HasPrefix(f.GetName(), "ssegw_") || f.GetHelp() == "" {
			t.Errorf("%s: %q", f.GetName(), f.GetHelp())
		}
	}
	for _, f := range families {
		if f.GetName() == "ssegw_http_in_flight" && f.GetMetric()[0].GetGauge().GetValue() != 0 {
			t.Errorf("still in flight: %v", f)
		}
	}
}

// TestMetricsCountsListing: a page whose sizes are not known costs HEADs, the
// next one none.
func TestMetricsCountsListing(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/a", []byte("x"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	g.put("/bucket/b", []byte("x"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	other := g.replica()
	for range 2 {
		if got := len(other.list(testBucket, "list-type=2")); got != 2 {
			t.Fatalf("%d entries", got)
		}
		if got := other.counter("ssegw_list_heads_total"); got != 2 {
			t.Errorf("%v HEADs, want 2", got)
		}
	}
}

package proxy

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"ssegw/kms"
	"ssegw/proxy/s3"
)

// gauge returns the value of a gauge without labels, or with one endpoint's.
func (g *testGateway) gauge(name string) float64 {
	g.t.Helper()
	families, err := g.gathered.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	g.t.Fatalf("no metric %s", name)
	return 0
}

// TestKESMetrics: what the KMS client counts is shown as it is, and as
// Prometheus wants it.
func TestKESMetrics(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	endpoint := "endpoint=" + g.kes.Endpoint()
	generated := g.counter("ssegw_kes_requests_total", endpoint, "op=generate", "result=ok")
	g.put("/bucket/k", nil, s3.HeaderSSE, s3.AWSKMS).want(t, 200, "")
	g.put("/bucket/s", nil, s3.HeaderSSE, s3.AES256).want(t, 200, "")
	g.put("/bucket/s", nil, s3.HeaderSSE, s3.AES256).want(t, 200, "")
	g.put("/bucket/n", nil, s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "nokey").want(t, 404, "kms:KeyNotFound")
	for _, tt := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"ssegw_kes_requests_total", []string{endpoint, "op=generate", "result=ok"}, generated + 2},
		{"ssegw_kes_requests_total", []string{endpoint, "op=generate", "result=refused"}, 1},
		{"ssegw_dek_shared_made_total", nil, 1},
		{"ssegw_dek_shared_used_total", nil, 2},
		{"ssegw_kes_hedges_total", []string{endpoint}, 0},
	} {
		if got := g.counter(tt.name, tt.labels...); got != tt.want {
			t.Errorf("%s%v is %v, want %v", tt.name, tt.labels, got, tt.want)
		}
	}
	if up := g.gauge("ssegw_kes_endpoint_up"); up != 1 {
		t.Errorf("up is %v", up)
	}
	g.kes.Stop()
	g.put("/bucket/k", nil, s3.HeaderSSE, s3.AWSKMS).want(t, 503, "ServiceUnavailable")
	if up := g.gauge("ssegw_kes_endpoint_up"); up != 0 {
		t.Errorf("up is %v after a failure", up)
	}
	if n := g.counter("ssegw_kes_requests_total", endpoint, "op=generate", "result=failed"); n != 1 {
		t.Errorf("%v failed requests, want 1", n)
	}

	strict := prometheus.NewPedanticRegistry()
	strict.MustRegister(kms.Collector(g.KMS))
	families, err := strict.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "ssegw_kes_request_duration_seconds" {
			h := f.GetMetric()[0].GetHistogram()
			if h.GetSampleCount() < 3 || h.GetSampleSum() <= 0 || len(h.GetBucket()) < 10 {
				t.Errorf("histogram %v", h)
			}
			return
		}
	}
	t.Error("no histogram of the answers' times")
}

package kms

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Collector returns a collector of the Prometheus metrics of a client.
func Collector(c *Client) prometheus.Collector { return collector{c} }

// collector exports the counters of a client. Its label values are bounded:
// they are constants, and the endpoints in the client's configuration.
type collector struct {
	client *Client
}

// Descriptions of the metrics.
var (
	kesEndpoint = []string{"endpoint"}

	kesUp       = prometheus.NewDesc("ssegw_kes_endpoint_up", "1 while calls go to the endpoint, 0 from a failure until a probe is answered.", kesEndpoint, nil)
	kesRequests = prometheus.NewDesc("ssegw_kes_requests_total", "Requests to KES, by operation and how they ended: ok, refused, failed, timeout.",
		[]string{"endpoint", "op", "result"}, nil)
	kesDuration = prometheus.NewDesc("ssegw_kes_request_duration_seconds", "Time from request to the end of KES's answer.", kesEndpoint, nil)
	kesHedges   = prometheus.NewDesc("ssegw_kes_hedges_total", "Requests made because another endpoint was slow.", kesEndpoint, nil)
	kesCalls    = prometheus.NewDesc("ssegw_kes_call_duration_seconds", "Duration of calls to KES, answered or not, over all requests of a call.", nil, nil)
	kesStrikes  = prometheus.NewDesc("ssegw_kes_strikes_total", "Calls that another endpoint, asked later, answered first.", kesEndpoint, nil)

	dekHits       = prometheus.NewDesc("ssegw_dek_cache_hits_total", "Data keys opened without asking KES.", nil, nil)
	dekMisses     = prometheus.NewDesc("ssegw_dek_cache_misses_total", "Data keys that were not in the cache.", nil, nil)
	dekCached     = prometheus.NewDesc("ssegw_dek_cache_entries", "Data keys in the cache.", nil, nil)
	dekSharedMade = prometheus.NewDesc("ssegw_dek_shared_made_total", "Data keys made for many objects of a bucket.", nil, nil)
	dekSharedUsed = prometheus.NewDesc("ssegw_dek_shared_used_total", "Objects sealed with such a data key.", nil, nil)
	dekShared     = prometheus.NewDesc("ssegw_dek_shared_entries", "Data keys in use for many objects of a bucket.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (m collector) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, out) }

// Collect implements [prometheus.Collector].
func (m collector) Collect(out chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	histogram := func(d *prometheus.Desc, l Latency, labels ...string) {
		out <- prometheus.MustNewConstHistogram(d, l.Count, l.Sum.Seconds(), l.Buckets, labels...)
	}
	for _, e := range m.client.Endpoints() {
		up := 1
		if e.Open {
			up = 0
		}
		gauge(kesUp, up, e.Endpoint)
		for _, r := range e.Requests {
			counter(kesRequests, r.Count, e.Endpoint, r.Op, r.Result)
		}
		histogram(kesDuration, e.Latency, e.Endpoint)
		counter(kesHedges, e.Hedges, e.Endpoint)
		counter(kesStrikes, e.Strikes, e.Endpoint)
	}
	s := m.client.Stats()
	histogram(kesCalls, s.Calls)
	counter(dekHits, s.CacheHits)
	counter(dekMisses, s.CacheMisses)
	gauge(dekCached, s.Cached)
	counter(dekSharedMade, s.SharedMade)
	counter(dekSharedUsed, s.SharedUsed)
	gauge(dekShared, s.Shared)
}

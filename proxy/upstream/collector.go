package upstream

import "github.com/prometheus/client_golang/prometheus"

// Collector exports the capabilities of a store as metrics. Their labels are
// bounded: the names are constants, and each name has one value at a time.
func Collector(s *Store) prometheus.Collector { return collector{s} }

type collector struct{ store *Store }

var capability = prometheus.NewDesc("ssegw_store_capability", "1 for what probes have found of the store; see the log line of the start.", []string{"name", "value"}, nil)

// Describe implements [prometheus.Collector].
func (c collector) Describe(descs chan<- *prometheus.Desc) { descs <- capability }

// Collect implements [prometheus.Collector]. Before the first probe there is
// nothing to tell.
func (c collector) Collect(metrics chan<- prometheus.Metric) {
	if c.store.found.Load() == nil {
		return
	}
	for name, value := range c.store.Capabilities().All() {
		metrics <- prometheus.MustNewConstMetric(capability, prometheus.GaugeValue, 1, name, value)
	}
}

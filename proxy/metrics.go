package proxy

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the metrics of Server. No label holds a bucket or a key.
type metrics struct {
	requests  *prometheus.CounterVec
	in, out   prometheus.Counter // bytes of bodies
	duration  *prometheus.HistogramVec
	inFlight  prometheus.Gauge
	panics    prometheus.Counter
	integrity *prometheus.CounterVec
	listHeads prometheus.Counter
}

// newMetrics registers the metrics with r, unless it is nil.
func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ssegw_http_requests_total", Help: "Requests answered, by S3 operation and status.",
		}, []string{"op", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ssegw_http_request_duration_seconds", Help: "Time from request to the end of its answer, by S3 operation.",
			Buckets: prometheus.ExponentialBuckets(0.001, 3, 11),
		}, []string{"op"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ssegw_http_in_flight", Help: "Requests being served.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ssegw_panics_total", Help: "Requests that ended in a panic.",
		}),
		integrity: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ssegw_integrity_failures_total", Help: "Objects that the store returned altered, by the check that failed.",
		}, []string{"reason"}),
		listHeads: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ssegw_list_heads_total", Help: "Requests made to learn what a listing page shows of single entries.",
		}),
	}
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ssegw_http_bytes_total", Help: "Bytes of bodies, in from clients as declared, and out to them.",
	}, []string{"direction"})
	m.in, m.out = bytes.WithLabelValues("in"), bytes.WithLabelValues("out")
	if r != nil {
		r.MustRegister(m.requests, bytes, m.duration, m.inFlight, m.panics, m.integrity, m.listHeads)
	}
	return m
}

func (m *metrics) observe(action string, status int, took time.Duration, in, out int64) {
	m.requests.WithLabelValues(action, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(action).Observe(took.Seconds())
	m.in.Add(float64(max(in, 0)))
	m.out.Add(float64(out))
}

// integrityFailed counts an object that the store returned altered.
func (m *metrics) integrityFailed(reason string) { m.integrity.WithLabelValues(reason).Inc() }

// Package admin is what operators and their tools call: health for load
// balancers and mc on the S3 address, metrics and profiles on the private one.
package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ssegw/kms"
)

// Config holds what a Server needs. All fields are required.
type Config struct {
	KMS      *kms.Client
	State    func() error                // nil once the gateway's state is open
	Upstream func(context.Context) error // nil when the object store answers
	Metrics  prometheus.Gatherer
}

// Bounds of a health check.
const (
	checkTimeout = 2 * time.Second
	checkMaxAge  = time.Second // an answer serves that long, however many ask
)

// Server answers operators. It is safe for concurrent use.
type Server struct {
	Config
	draining atomic.Bool

	mu   sync.Mutex // held by the one check under way
	last health
	at   time.Time
}

// health is what the last check found, part by part.
type health struct {
	State    string `json:"state"`
	Upstream string `json:"upstream"`
	KMS      string `json:"kms"`

	// Endpoints are shown on the private address alone: on the other anybody may ask.
	Endpoints []endpoint `json:"kms_endpoints,omitempty"`
}

// endpoint is a KES endpoint as calls have found it.
type endpoint struct {
	URL   string  `json:"endpoint"`
	State string  `json:"state"`           // online, or offline from a failure until a probe is answered
	Error string  `json:"error,omitempty"` // why it is offline
	P50   float64 `json:"p50_ms"`          // of the time of its answers, rounded up
	P99   float64 `json:"p99_ms"`
}

const (
	online  = "online"
	offline = "offline"
)

// New returns the server that cfg describes.
func New(cfg Config) *Server { return &Server{Config: cfg} }

// Drain makes the gateway not ready, so that load balancers stop sending.
func (s *Server) Drain() { s.draining.Store(true) }

// Operator serves the paths below /minio/ on the S3 address, as MinIO has them:
// health/live (the process serves), health/ready (state, store and KMS),
// health/cluster (state and store: reads of what is known need no KMS).
func (s *Server) Operator() http.Handler { return s.health(func(h health) health { return h }) }

// health serves the health checks; detail adds what may be shown to who asks there.
func (s *Server) health(detail func(health) health) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/minio/health/live", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("/minio/health/ready", func(w http.ResponseWriter, r *http.Request) {
		h := detail(s.check(r.Context()))
		s.answer(w, h, h.State == online && h.Upstream == online && h.KMS == online)
	})
	cluster := func(w http.ResponseWriter, r *http.Request) {
		h := detail(s.check(r.Context()))
		s.answer(w, h, h.State == online && h.Upstream == online)
	}
	mux.HandleFunc("/minio/health/cluster", cluster)
	mux.HandleFunc("/minio/health/cluster/read", cluster)
	return mux
}

// Private serves metrics, profiles and health on the admin address.
func (s *Server) Private() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/minio/health/", s.health(s.withEndpoints))
	mux.Handle("/metrics", promhttp.HandlerFor(s.Metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// withEndpoints adds the state of each KES endpoint.
func (s *Server) withEndpoints(h health) health {
	for _, e := range s.KMS.Endpoints() {
		state := online
		if e.Open {
			state = offline
		}
		h.Endpoints = append(h.Endpoints, endpoint{
			e.Endpoint, state, e.Err, milliseconds(e.Latency.Quantile(0.5)), milliseconds(e.Latency.Quantile(0.99)),
		})
	}
	return h
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// answer says which parts are missing.
func (s *Server) answer(w http.ResponseWriter, h health, ok bool) {
	status := http.StatusOK
	if s.draining.Load() {
		h.State = "draining"
		ok = false
	}
	if !ok {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(h) // a prober that has gone needs no answer
}

// check asks all parts, at most once per checkMaxAge.
func (s *Server) check(ctx context.Context) health {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) < checkMaxAge {
		return s.last
	}
	// Those who wait for the lock share the answer: one who leaves must not spoil it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	h := health{State: offline, Upstream: offline, KMS: offline}
	var wait sync.WaitGroup
	wait.Go(func() {
		if s.Upstream(ctx) == nil {
			h.Upstream = online
		}
	})
	wait.Go(func() {
		for _, e := range s.KMS.Status(ctx) {
			if e.Online {
				h.KMS = online
			}
		}
	})
	if s.State() == nil {
		h.State = online
	}
	wait.Wait()
	s.last, s.at = h, time.Now()
	return h
}

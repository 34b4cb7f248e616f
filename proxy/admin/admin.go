// Package admin is what operators and their tools call: health for load
// balancers and the part of MinIO's admin API that mc needs on the S3 address,
// metrics and profiles on the private one.
//
// Only the root credential may use the admin API. Health checks tell anybody
// which part is missing, and no more.
package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/http/pprof"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"ssegw/kms"
	"ssegw/proxy/sigv4"
)

// Config holds what a Server needs. All fields are required but Audit.
type Config struct {
	KMS      *kms.Client
	State    func() error                // nil once the gateway's state is open
	Upstream func(context.Context) error // nil when the object store answers
	Restart  func(dryRun bool) error     // puts the settings as they are now in force, or tries them

	// Audit takes note of a use of a KES key by the operator; nil: nobody does.
	Audit func(use KeyUse)

	AccessKey string // of the root credential
	SecretKey string // of the root credential

	// Others returns the secret keys of the credentials that may not use the admin
	// API, and are to be told so.
	Others func(accessKey string) (secretKey string, ok bool)

	Region  string // that S3 clients sign for, or sigv4.AnyRegion
	Version string // of the gateway
	Log     *zap.Logger
	Metrics prometheus.Gatherer
}

// Format prints no secret, whatever the verb.
func (c Config) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "admin.Config{AccessKey: %q, Region: %q}", c.AccessKey, c.Region)
}

// KeyUse is one use of a KES key through the admin API.
type KeyUse struct {
	RequestID string
	Action    string // KMSCreateKey or KMSKeyStatus
	KESKey    string
	Use       string // create or check
	Result    string // ok, or the code of the error
}

// Bounds of a health check.
const (
	checkTimeout = 2 * time.Second
	checkMaxAge  = time.Second // an answer serves that long, however many ask
)

// Server answers operators. It is safe for concurrent use.
type Server struct {
	Config
	started  time.Time
	verifier *sigv4.Verifier
	draining atomic.Bool

	checking chan struct{} // of capacity 1: the one check under way is in it
	last     health        // of the last check; for the one in checking, as is at
	at       time.Time
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
func New(cfg Config) *Server {
	return &Server{
		Config:   cfg,
		started:  time.Now(),
		checking: make(chan struct{}, 1),
		verifier: sigv4.New(sigv4.Config{Region: cfg.Region, Secret: cfg.secret}),
	}
}

// secret returns the secret key of any credential.
func (c *Config) secret(accessKey string) (string, bool) {
	if accessKey == c.AccessKey {
		return c.SecretKey, true
	}
	return c.Others(accessKey)
}

// Drain makes the gateway not ready, so that load balancers stop sending.
func (s *Server) Drain() { s.draining.Store(true) }

// Operator serves the paths below /minio/ on the S3 address, as MinIO has them.
func (s *Server) Operator() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/minio/health/", s.health(func(h health) health { return h }))
	mux.HandleFunc("GET /minio/admin/v3/info", s.api(s.info))
	mux.HandleFunc("POST /minio/admin/v3/service", s.api(s.service))
	mux.HandleFunc("POST /minio/kms/v1/key/create", s.api(s.createKey))
	mux.HandleFunc("GET /minio/kms/v1/key/list", s.api(s.listKeys))
	mux.HandleFunc("GET /minio/kms/v1/key/status", s.api(s.keyStatus))
	mux.HandleFunc("GET /minio/kms/v1/status", s.api(s.kmsStatus))
	mux.HandleFunc("GET /minio/kms/v1/version", s.api(s.kmsVersion))
	mux.HandleFunc("GET /minio/kms/v1/metrics", s.api(s.kmsMetrics))
	mux.HandleFunc("/minio/admin/", s.api(notHere))
	mux.HandleFunc("/minio/kms/", s.api(notHere))
	mux.Handle("GET /minio/v2/metrics/", s.scrape())
	mux.Handle("GET /minio/metrics/v3/", s.scrape())
	return mux
}

// health serves the health checks: live (the process serves), ready (state and
// store, and a data key can be made), cluster (state and store: reads of what is known need no KMS).
// detail adds what may be shown to who asks there.
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
	writeJSON(w, status, h)
}

// recovered logs a panic in the check of a part, which is offline then.
func (s *Server) recovered(part string) {
	if p := recover(); p != nil {
		s.Log.Error("panic", zap.String("checking", part), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
	}
}

// check asks all parts, at most once per checkMaxAge.
func (s *Server) check(ctx context.Context) health {
	s.checking <- struct{}{}
	defer func() { <-s.checking }()
	if time.Since(s.at) < checkMaxAge {
		return s.last
	}
	// Those who wait share the answer: one who leaves must not spoil it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	h := health{State: offline, Upstream: offline, KMS: offline}
	var wait sync.WaitGroup
	wait.Go(func() {
		defer s.recovered("the store")
		if s.Upstream(ctx) == nil {
			h.Upstream = online
		}
	})
	wait.Go(func() {
		defer s.recovered("KES")
		// An endpoint that tells its version may still refuse keys: one is asked for.
		if s.KMS.TryGenerate(ctx, s.KMS.DefaultKey()) == nil {
			h.KMS = online
		}
	})
	if s.State() == nil {
		h.State = online
	}
	wait.Wait()
	s.last, s.at = h, time.Now()
	return h
}

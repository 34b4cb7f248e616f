// Package admin serves operators and their tools. On the S3 address it serves
// health checks for load balancers and the part of MinIO's admin API that mc
// needs. On the private address it serves metrics and profiles.
//
// Only the root credential may use the admin API. Health checks need no
// credential; on the S3 address they reveal only which part is missing.
//
// docs/ARCHITECTURE.md is the map.
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
	"ssegw/proxy/jobs"
	"ssegw/proxy/sigv4"
)

// Config holds what a Server needs. All fields except Audit are required.
type Config struct {
	KMS      *kms.Client
	Jobs     *jobs.Engine
	State    func() error                // nil once the gateway's state is open
	Upstream func(context.Context) error // nil when the object store answers
	Restart  func(dryRun bool) error     // applies the current settings, or with dryRun only checks them

	// Audit records an operator's use of a KES key. It may be nil.
	Audit func(use KeyUse)

	AccessKey string // of the root credential
	SecretKey string // of the root credential

	// Others returns the secret keys of the other credentials. They may not use
	// the admin API; their requests are verified and then denied.
	Others func(accessKey string) (secretKey string, ok bool)

	Region  string // region that S3 clients sign for, or sigv4.AnyRegion
	Version string // of the gateway
	Log     *zap.Logger
	Metrics prometheus.Gatherer
}

// Format prints no secrets under any verb.
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

// Limits of a health check.
const (
	checkTimeout = 2 * time.Second
	checkMaxAge  = time.Second // all callers share a result for that long
)

// Server answers operators. It is safe for concurrent use.
type Server struct {
	Config
	started  time.Time
	verifier *sigv4.Verifier
	draining atomic.Bool

	checking chan struct{} // of capacity 1; holds a token while a check runs
	last     Health        // result of the last check; owned by the holder of the token, like at
	at       time.Time
}

// Health is the result of a check, part by part. Each is Online or Offline.
type Health struct {
	State    string `json:"state"`
	Upstream string `json:"upstream"`
	KMS      string `json:"kms"`

	// Endpoints is only set on the private address: on the other, anyone may
	// ask.
	Endpoints []Endpoint `json:"kms_endpoints,omitempty"`
}

// Endpoint is the state of a KES endpoint, as calls have found it.
type Endpoint struct {
	URL   string  `json:"endpoint"`
	State string  `json:"state"`           // Online, or Offline from a failure until a probe succeeds
	Error string  `json:"error,omitempty"` // why it is Offline
	P50   float64 `json:"p50_ms"`          // latency of its answers, rounded up
	P99   float64 `json:"p99_ms"`
}

// The states of parts and endpoints.
const (
	Online  = "online"
	Offline = "offline"
)

// New returns a server for cfg.
func New(cfg Config) *Server {
	return &Server{
		Config:   cfg,
		started:  time.Now(),
		checking: make(chan struct{}, 1),
		verifier: sigv4.New(sigv4.Config{Region: cfg.Region, Secret: cfg.secret}),
	}
}

// secret returns the secret key for any access key.
func (c *Config) secret(accessKey string) (string, bool) {
	if accessKey == c.AccessKey {
		return c.SecretKey, true
	}
	return c.Others(accessKey)
}

// Drain reports the gateway as not ready, so that load balancers stop sending
// requests.
func (s *Server) Drain() { s.draining.Store(true) }

// Operator serves the paths below /minio/ on the S3 address, as MinIO does.
func (s *Server) Operator() http.Handler {
	mux, b := http.NewServeMux(), batch{s}
	mux.Handle("/minio/health/", s.health(func(h Health) Health { return h }))
	mux.HandleFunc("GET /minio/admin/v3/info", s.api(s.info))
	mux.HandleFunc("POST /minio/admin/v3/service", s.api(s.service))
	mux.HandleFunc("POST /minio/admin/v3/start-job", s.api(b.start))
	mux.HandleFunc("GET /minio/admin/v3/list-jobs", s.api(b.list))
	mux.HandleFunc("GET /minio/admin/v3/describe-job", s.api(b.describe))
	mux.HandleFunc("GET /minio/admin/v3/status-job", s.api(b.status))
	mux.HandleFunc("DELETE /minio/admin/v3/cancel-job", s.api(b.cancel))
	mux.HandleFunc("GET /minio/admin/v3/metrics", s.api(b.metrics))
	mux.HandleFunc("POST /minio/kms/v1/key/create", s.api(s.createKey))
	mux.HandleFunc("GET /minio/kms/v1/key/list", s.api(s.listKeys))
	mux.HandleFunc("GET /minio/kms/v1/key/status", s.api(s.keyStatus))
	mux.HandleFunc("GET /minio/kms/v1/status", s.api(s.kmsStatus))
	mux.HandleFunc("GET /minio/kms/v1/version", s.api(s.kmsVersion))
	mux.HandleFunc("GET /minio/kms/v1/metrics", s.api(s.kmsMetrics))
	mux.HandleFunc("/minio/admin/", s.api(notImplemented))
	mux.HandleFunc("/minio/kms/", s.api(notImplemented))
	mux.Handle("GET /minio/v2/metrics/", s.scrape())
	mux.Handle("GET /minio/metrics/v3/", s.scrape())
	return mux
}

// health serves the health checks. live: the process serves. ready: the state
// is open, the store answers, and a data key can be made. cluster: the state is
// open and the store answers, which is enough to read cached data without KES.
// detail adds what callers on this address may see.
func (s *Server) health(detail func(Health) Health) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/minio/health/live", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("/minio/health/ready", func(w http.ResponseWriter, r *http.Request) {
		h := detail(s.check(r.Context()))
		s.answer(w, h, h.State == Online && h.Upstream == Online && h.KMS == Online)
	})
	cluster := func(w http.ResponseWriter, r *http.Request) {
		h := detail(s.check(r.Context()))
		s.answer(w, h, h.State == Online && h.Upstream == Online)
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
func (s *Server) withEndpoints(h Health) Health {
	for _, e := range s.KMS.Endpoints() {
		state := Online
		if e.Open {
			state = Offline
		}
		h.Endpoints = append(h.Endpoints, Endpoint{
			e.Endpoint, state, e.Err, milliseconds(e.Latency.Quantile(0.5)), milliseconds(e.Latency.Quantile(0.99)),
		})
	}
	return h
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// answer sends h. The status is 503 unless ok is true and the gateway is not
// draining.
func (s *Server) answer(w http.ResponseWriter, h Health, ok bool) {
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

// recovered logs a panic in the check of a part, which then counts as offline.
func (s *Server) recovered(part string) {
	if p := recover(); p != nil {
		s.Log.Error("panic", zap.String("checking", part), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
	}
}

// Health returns the state of all parts, and of each KES endpoint. It is at
// most a second old.
func (s *Server) Health(ctx context.Context) Health { return s.withEndpoints(s.check(ctx)) }

// check asks all parts, at most once per checkMaxAge.
func (s *Server) check(ctx context.Context) Health {
	s.checking <- struct{}{}
	defer func() { <-s.checking }()
	if time.Since(s.at) < checkMaxAge {
		return s.last
	}
	// All waiting callers share the answer, so one that leaves must not cancel
	// it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	h := Health{State: Offline, Upstream: Offline, KMS: Offline}
	var wait sync.WaitGroup
	wait.Go(func() {
		defer s.recovered("the store")
		if s.Upstream(ctx) == nil {
			h.Upstream = Online
		}
	})
	wait.Go(func() {
		defer s.recovered("KES")
		// An endpoint that reports its version may still refuse keys, so make
		// one.
		if s.KMS.TryGenerate(ctx, s.KMS.DefaultKey()) == nil {
			h.KMS = Online
		}
	})
	if s.State() == nil {
		h.State = Online
	}
	wait.Wait()
	s.last, s.at = h, time.Now()
	return h
}

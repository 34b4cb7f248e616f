package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"ssegw/kms"
	"ssegw/kms/kmstest"
)

var errAway = errors.New("store.internal:9000 is away")

// parts are the dependencies of a Server. A test can switch each of them off.
type parts struct {
	kes             *kmstest.Server
	state, upstream atomic.Pointer[error]
	asked           atomic.Int32 // number of checks of the upstream
	restarts        []bool       // the dryRun argument of each
	restart         error
}

const (
	accessKey = "root-access"
	secretKey = "canary-root-secret"

	otherAccessKey = "other-access" // of a credential that may do nothing here
	otherSecretKey = "canary-other-secret"
)

func newServer(t *testing.T) (*Server, *parts) {
	t.Helper()
	p := &parts{kes: kmstest.NewServer(t, kmstest.WithNetwork(&kmstest.Network{}))}
	client, err := kms.New(p.kes.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "test_total", Help: "test"})
	registry.MustRegister(counter)
	return New(Config{
		KMS:   client,
		State: func() error { return load(&p.state) },
		Restart: func(dryRun bool) error {
			p.restarts = append(p.restarts, dryRun)
			return p.restart
		},
		AccessKey: accessKey, SecretKey: secretKey, Region: "us-east-1", Version: "ssegw test",
		Others:  func(accessKey string) (string, bool) { return otherSecretKey, accessKey == otherAccessKey },
		Log:     zap.NewNop(),
		Metrics: registry,
		Upstream: func(context.Context) error {
			p.asked.Add(1)
			return load(&p.upstream)
		},
	}), p
}

func load(p *atomic.Pointer[error]) error {
	if err := p.Load(); err != nil {
		return *err
	}
	return nil
}

func (p *parts) set(t *testing.T, state, upstream, kes bool) {
	t.Helper()
	for part, ok := range map[*atomic.Pointer[error]]bool{&p.state: state, &p.upstream: upstream} {
		part.Store(nil)
		if !ok {
			part.Store(&errAway)
		}
	}
	if !kes {
		p.kes.Stop()
	} else {
		p.kes.Start()
	}
}

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestHealth(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		state, upstream, kms bool
		live, ready, cluster int
	}{
		"all online":             {true, true, true, 200, 200, 200},
		"state not open":         {false, true, true, 200, 503, 503},
		"store away":             {true, false, true, 200, 503, 503},
		"KMS away":               {true, true, false, 200, 503, 200},
		"starting with KMS away": {false, true, false, 200, 503, 503},
		"all away":               {false, false, false, 200, 503, 503},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, p := newServer(t)
				p.set(t, test.state, test.upstream, test.kms)
				for path, want := range map[string]int{
					"/minio/health/live":         test.live,
					"/minio/health/ready":        test.ready,
					"/minio/health/cluster":      test.cluster,
					"/minio/health/cluster/read": test.cluster,
				} {
					for where, h := range map[string]http.Handler{"S3 address": s.Operator(), "admin address": s.Private()} {
						if got, body := get(t, h, path); got != want {
							t.Errorf("%s on the %s: %d, want %d: %s", path, where, got, want, body)
						}
					}
				}
			})
		})
	}
}

// TestHealthAnswer checks that an answer names the missing parts, but not where
// they are.
func TestHealthAnswer(t *testing.T) {
	t.Parallel()
	s, p := newServer(t)
	p.set(t, true, false, true)
	w := httptest.NewRecorder()
	s.Operator().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/minio/health/ready", nil))
	var got map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"state": "online", "upstream": "offline", "kms": "online"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if ct := w.Header().Get("Content-Type"); ct != "application/json" {
		t.Errorf("Content-Type %q", ct)
	}
	if body := w.Body.String(); strings.Contains(body, "store.internal") || strings.Contains(body, "127.0.0.1") {
		t.Errorf("names an endpoint: %s", body)
	}
}

// TestHealthEndpoints checks that operators see each KES endpoint as calls have
// found it.
func TestHealthEndpoints(t *testing.T) {
	t.Parallel()
	s, p := newServer(t)
	for _, want := range []string{Online, Offline} {
		p.set(t, true, true, want == Online)
		s.KMS.Status(t.Context())
		_, body := get(t, s.Private(), "/minio/health/ready")
		var got Health
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Endpoints) != 1 || got.Endpoints[0].URL != p.kes.Endpoint() || got.Endpoints[0].State != want ||
			(got.Endpoints[0].Error != "") != (want == Offline) || got.Endpoints[0].P99 <= 0 {
			t.Errorf("want %s, got %s", want, body)
		}
		if _, body := get(t, s.Operator(), "/minio/health/ready"); strings.Contains(body, p.kes.Endpoint()) {
			t.Errorf("names an endpoint to anybody: %s", body)
		}
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	s, _ := newServer(t)
	h := s.Operator()
	if status, body := get(t, h, "/minio/health/ready"); status != 200 {
		t.Fatalf("before: %d %s", status, body)
	}
	s.Drain()
	for path, want := range map[string]int{"/minio/health/live": 200, "/minio/health/ready": 503, "/minio/health/cluster": 503} {
		status, body := get(t, h, path)
		if status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
		if want == 503 && !strings.Contains(body, `"state":"draining"`) {
			t.Errorf("%s: %s", path, body)
		}
	}
}

// TestHealthNeedsADataKey checks that a KES which answers but makes no data key
// counts as offline for readiness, and that all callers share one attempt.
func TestHealthNeedsADataKey(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*kmstest.Server){
		"key deleted": func(kes *kmstest.Server) { kes.DeleteKey(kmstest.DefaultKey) },
		"policy":      func(kes *kmstest.Server) { kes.Deny(kmstest.DefaultKey) },
		"key store sealed": func(kes *kmstest.Server) {
			kes.SetFault(kmstest.Fault{Status: 503, Ops: []kmstest.Op{kmstest.OpGenerate}})
		},
		"no answer": func(kes *kmstest.Server) {
			kes.SetFault(kmstest.Fault{Hang: true, Ops: []kmstest.Op{kmstest.OpGenerate}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, p := newServer(t)
				spoil(p.kes)
				for range 3 {
					if status, body := get(t, s.Operator(), "/minio/health/ready"); status != 503 || !strings.Contains(body, `"kms":"offline"`) {
						t.Errorf("ready: %d %s", status, body)
					}
				}
				if n := p.kes.Requests(kmstest.OpGenerate); n != 1 {
					t.Errorf("KES was asked for %d keys, want 1", n)
				}
				if status, body := get(t, s.Operator(), "/minio/health/cluster"); status != 200 {
					t.Errorf("cluster: %d %s", status, body)
				}
				if !s.KMS.Status(t.Context())[0].Online {
					t.Error("the endpoint does not tell its version: the test is wrong")
				}
			})
		})
	}
}

// TestCheckIsShared checks that many probers at once cost the store one
// request, and that an old answer is refreshed.
func TestCheckIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newServer(t)
		h := s.Operator()
		var wait sync.WaitGroup
		for range 50 {
			wait.Go(func() { get(t, h, "/minio/health/ready") })
		}
		wait.Wait()
		if n := p.asked.Load(); n != 1 {
			t.Errorf("the store was asked %d times, want 1", n)
		}
		p.set(t, true, false, true)
		if status, _ := get(t, h, "/minio/health/ready"); status != 200 {
			t.Errorf("a fresh answer was not kept: %d", status)
		}
		time.Sleep(checkMaxAge)
		if status, _ := get(t, h, "/minio/health/ready"); status != 503 || p.asked.Load() != 2 {
			t.Errorf("an old answer was kept: %d, asked %d times", status, p.asked.Load())
		}
	})
}

// TestCheckOutlivesProber checks that a prober which leaves does not spoil the
// answer for the others that wait.
func TestCheckOutlivesProber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := newServer(t)
		s.Upstream = func(ctx context.Context) error { return ctx.Err() }
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := s.check(ctx); got.Upstream != Online || got.KMS != Online {
			t.Errorf("%+v", got)
		}
	})
}

// TestCheckIsBounded checks that the gateway gives up on a hanging KES cluster
// and store, and that all callers wait for the same check, not one after the
// other.
func TestCheckIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newServer(t)
		p.kes.SetFault(kmstest.Fault{Hang: true})
		defer p.kes.SetFault(kmstest.Fault{})
		s.Upstream = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		start := time.Now()
		var wait sync.WaitGroup
		for range 20 {
			wait.Go(func() {
				got := s.check(t.Context())
				if diff := cmp.Diff(Health{State: Online, Upstream: Offline, KMS: Offline}, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
		wait.Wait()
		if took := time.Since(start); took != checkTimeout {
			t.Errorf("20 probers waited %s, want %s", took, checkTimeout)
		}
	})
}

// TestHealthPanic checks that a panic in the check of a part does not end the
// process.
func TestHealthPanic(t *testing.T) {
	t.Parallel()
	s, _ := newServer(t)
	s.Upstream = func(context.Context) error { panic("boom") }
	if got := s.check(t.Context()); got.Upstream != Offline {
		t.Errorf("%+v", got)
	}
}

func TestPrivate(t *testing.T) {
	t.Parallel()
	s, _ := newServer(t)
	tests := []struct {
		path, contains string
		status         int
	}{
		{"/metrics", "test_total 0", 200},
		{"/debug/pprof/", "goroutine", 200},
		{"/debug/pprof/goroutine?debug=1", "goroutine profile", 200},
		{"/debug/pprof/cmdline", "Unknown profile", 404}, // arguments and environment stay private
		{"/", "", 404},
		{"/bucket/key", "", 404},
	}
	for _, test := range tests {
		if status, body := get(t, s.Private(), test.path); status != test.status || !strings.Contains(body, test.contains) {
			t.Errorf("%s: %d %.100q", test.path, status, body)
		}
	}
}

// TestOperatorHidesPrivate checks that the S3 address serves neither metrics
// nor profiles.
func TestOperatorHidesPrivate(t *testing.T) {
	t.Parallel()
	s, _ := newServer(t)
	server := httptest.NewServer(s.Operator())
	defer server.Close()
	for _, path := range []string{"/metrics", "/debug/pprof/", "/minio/health/../../metrics", "/minio/health/"} {
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d %.80q", path, resp.StatusCode, body)
		}
	}
}

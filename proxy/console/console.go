// Package console serves operators who look rather than type: a few pages, in
// any browser, with the state of the gateway, the rules of buckets, KES keys
// and jobs.
//
// The console is a client of the gateway. It changes rules with requests to
// the gateway's own S3 API, so checks and errors are those of the API, and it
// starts jobs with the engine that commands use.
//
// Invariants:
//
//   - Every page but the sign-in needs a session. A session that may only look
//     changes nothing.
//   - A change is a POST from a page of the console, and is in the audit file.
//   - Pages have no inline scripts and styles, and load nothing from elsewhere.
//   - No page, URL or log has a secret. A link for signing in works once, for a
//     few minutes.
//   - What the console remembers is bounded.
//
// docs/ARCHITECTURE.md is the map; docs/CONSOLE.md describes the pages.
package console

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"ssegw/kms"
	"ssegw/proxy/admin"
	"ssegw/proxy/audit"
	"ssegw/proxy/check"
	"ssegw/proxy/jobs"
	"ssegw/proxy/state"
)

// Config holds what a Server needs. All fields are required unless they say
// otherwise.
type Config struct {
	KMS    *kms.Client
	State  *state.State
	Jobs   *jobs.Engine
	Check  check.Config
	Health func(ctx context.Context) admin.Health
	S3     http.Handler // the gateway's S3 API
	Audit  *audit.File
	// Metrics are the gateway's own, for the plots.
	Metrics prometheus.Gatherer

	AccessKey string // of the root credential
	SecretKey string // of the root credential
	// Viewer returns the secret key of another credential that may look at the
	// console.
	Viewer func(accessKey string) (secretKey string, ok bool)
	// IsSecure reports whether a browser uses https, here or towards a proxy;
	// onS3 tells whether the request came to the S3 address.
	IsSecure func(r *http.Request, onS3 bool) bool
	// Address returns the address of the client that sent a request. Failed
	// sign-ins are counted by it.
	Address func(r *http.Request) string

	Region         string // that requests to S3 are signed for
	AutoEncryption string // of buckets without a rule: off, sse-s3 or sse-kms
	Version        string // of the gateway
	Store          string // URL of the store
	SealedOnly     string // which buckets serve sealed objects only: auto, always or never
	Log            *zap.Logger
}

// Format prints no secrets under any verb.
func (c Config) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "console.Config{AccessKey: %q, Version: %q}", c.AccessKey, c.Version)
}

// Server serves the console. It is safe for concurrent use.
type Server struct {
	Config
	started   time.Time
	history   *history
	attempts  *attempts
	ended     *ended
	seals     func() seals
	api       *api
	views     *views
	checks    checks
	overviews overviews
}

// seals are the sealings of a console. They are derived when a browser first
// needs them, which takes time.
type seals struct{ sessions, links *sealing }

// New returns a console. Run must run for as long as it serves.
func New(cfg Config) *Server {
	s := &Server{Config: cfg, started: time.Now(), history: newHistory(cfg.Metrics, cfg.KMS), attempts: newAttempts(), views: newViews()}
	s.seals = sync.OnceValue(func() seals {
		master := masterKey(cfg.SecretKey)
		return seals{newSealing(master, "session"), newSealing(master, "link")}
	})
	s.ended = newEnded(cfg.State, cfg.Log)
	s.api = newAPI(cfg.S3, cfg.Region, cfg.AccessKey, cfg.SecretKey)
	return s
}

// Run records the history that the plots show, until ctx ends. Then it waits
// for a check that runs.
func (s *Server) Run(ctx context.Context) {
	s.history.run(ctx)
	s.checks.stop()
}

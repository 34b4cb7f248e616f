package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"ssegw/proxy/audit"
	"ssegw/proxy/check"
	"ssegw/proxy/console"
	"ssegw/proxy/jobs"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
	"ssegw/sealer"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"ssegw/config"
	"ssegw/kms"
	"ssegw/proxy"
	"ssegw/proxy/admin"
)

// gateway holds everything that depends on one configuration, wired together.
// The listeners and their HTTP servers are not part of it: they outlive a
// restart.
type gateway struct {
	cfg         *config.Config
	log         *zap.Logger
	client      *kms.Client
	state       *state.State
	operator    *admin.Server
	jobs        *jobs.Engine
	credentials *credentials
	audit       *audit.File
	console     *console.Server
	tls         *tls.Config // for S3 clients; nil means plain http
	s3          http.Handler
	private     http.Handler

	requests sync.WaitGroup // requests that this gateway serves
	serving  sync.WaitGroup // the jobs
	stop     context.CancelFunc
	ended    chan error // result of running the state
}

// newGateway wires a gateway. It does not use the network, so an error means a
// wrong setting. like is the state of the gateway that this one will replace,
// or nil.
func newGateway(ctx context.Context, cfg *config.Config, restart func(bool) error, like *state.State) (_ *gateway, err error) {
	g := &gateway{cfg: cfg, ended: make(chan error, 1)}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	if g.log, err = newLogger(cfg.LogLevel); err != nil {
		return nil, err
	}
	if g.client, err = newKMS(cfg, g.log); err != nil {
		return nil, err
	}
	store, err := newUpstream(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if g.credentials, err = openCredentials(cfg.CredentialsFile, cfg.AccessKey, g.log); err != nil {
		return nil, err
	}
	if cfg.TLSCertFile != "" {
		if g.tls, err = serverTLS(cfg.TLSCertFile, cfg.TLSKeyFile, cfg.HTTP2 == config.HTTP2On, g.log); err != nil {
			return nil, err
		}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if g.audit, err = newAudit(cfg, g.log, registry); err != nil {
		return nil, err
	}
	g.state = state.New(state.Config{Bucket: cfg.State, Upstream: store, KMS: g.client, Log: g.log, Like: like})
	g.operator = admin.New(admin.Config{
		KMS: g.client, State: g.state.Ready, Upstream: g.state.CheckUpstream, Restart: restart,
		AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey.Reveal(), Others: g.credentials.secret,
		Audit: g.auditKeyUse, Version: version(), Region: cfg.Region, Log: g.log, Metrics: registry,
	})
	proxies, err := trustedProxies(cfg.TrustedProxies)
	if err != nil {
		return nil, err
	}
	require, err := requirements(cfg.Require)
	if err != nil {
		return nil, err
	}
	server := proxy.New(proxy.Config{
		Upstream: store, KMS: g.client, State: g.state,
		AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey.Reveal(), Credentials: g.credentials.find,
		Region: cfg.Region, Domains: cfg.Domain,
		AutoEncryption:     autoEncryption[cfg.AutoEncryption],
		SealedOnly:         sealedOnly[cfg.SealedOnly],
		Require:            require,
		PresignedV2:        cfg.SigV2 == config.SigV2Presigned,
		ForwardClient:      cfg.ForwardClient == config.ForwardClientOn,
		TrustedProxies:     proxies,
		TLSTerminated:      cfg.TLSTerminated,
		WarnHeaderDigest:   cfg.HeaderDigest == config.HeaderDigestWarn,
		StrictHeaderDigest: cfg.HeaderDigest == config.HeaderDigestStrict,
		MaxRequests:        cfg.MaxRequests,
		KMSTimeout:         cfg.KMSPatience,
		Operator:           g.operator.Operator(),
		Audit:              g.audit,
		Log:                g.log, Metrics: registry,
	})
	g.s3, g.jobs = server, newJobs(g, server, store)
	g.operator.Jobs = g.jobs
	g.console = newConsole(g, server, store, proxies, registry)
	g.private = withConsole(g.operator.Private(), g.console)
	if cfg.Console == config.ConsoleOn {
		g.s3 = g.console.Beside(server, func(host string) bool { _, ok := s3.BucketOfHost(host, cfg.Domain); return ok })
	}
	return g, nil
}

// newConsole returns the console of a gateway.
func newConsole(g *gateway, server *proxy.Server, store *upstream.Store, proxies []netip.Prefix, metrics prometheus.Gatherer) *console.Server {
	cfg := g.cfg
	return console.New(console.Config{
		KMS: g.client, State: g.state, Jobs: g.jobs, Health: g.operator.Health, S3: server, Audit: g.audit, Metrics: metrics,
		Check: check.Config{
			Upstream: store, State: g.state, KMS: g.client, KMSTimeout: cfg.KMSTimeout,
			WarnHeaderDigest: cfg.HeaderDigest == config.HeaderDigestWarn, Log: g.log,
		},
		AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey.Reveal(), Viewer: g.credentials.viewer,
		Address: func(r *http.Request) string { return upstream.OriginOf(r, proxies).Address },
		Region:  cfg.Region, AutoEncryption: string(cfg.AutoEncryption), Version: version(), Store: cfg.UpstreamEndpoint.String(),
		SealedOnly: string(cfg.SealedOnly), Log: g.log,
		IsSecure: func(r *http.Request, onS3 bool) bool {
			return upstream.IsHTTPS(r, proxies) || onS3 && cfg.TLSTerminated
		},
	})
}

// withConsole adds the console to what the admin address serves.
func withConsole(private http.Handler, c *console.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", private)
	mux.Handle(console.PathOnAdmin, c.Handler(console.PathOnAdmin))
	mux.Handle("GET /{$}", http.RedirectHandler(console.PathOnAdmin, http.StatusFound))
	return mux
}

// newJobs returns the engine of the gateway's jobs.
func newJobs(g *gateway, server *proxy.Server, store *upstream.Store) *jobs.Engine {
	return jobs.New(jobs.Config{
		State: g.state, Upstream: store, KMS: g.client, Log: g.log,
		Objects: jobs.Objects{
			Rewrite: func(ctx context.Context, bucket string, listed *s3.Entry, kind jobs.Kind, choose jobs.Choose, unconditional bool, pace func(io.Reader) io.Reader) (int64, error) {
				return server.Rewrite(ctx, &proxy.Rewrite{
					Action: s3.Action("Job:" + kind), Object: sealer.Binding{Bucket: bucket, Key: listed.Key}, Listed: listed,
					Choose: choose, Unconditional: unconditional, Pace: pace,
				})
			},
			Access: server.OwnAccess, Rule: server.DefaultSealing,
		},
	})
}

// auditKeyUse records an operator's use of a KES key.
func (g *gateway) auditKeyUse(u admin.KeyUse) {
	g.audit.Record(&audit.Record{
		Time: time.Now().UTC(), RequestID: u.RequestID, AccessKey: g.cfg.AccessKey, Action: u.Action,
		KESKey: u.KESKey, Use: u.Use, Result: u.Result,
	})
}

// start opens the state, keeps it up to date and runs jobs until the gateway is
// retired.
func (g *gateway) start() {
	ctx := g.open()
	go g.credentials.watch(ctx)
	g.serving.Go(func() { g.console.Run(ctx) })
	g.serving.Go(func() { g.jobs.Serve(ctx) })
}

// open opens the state and keeps it up to date until the gateway is retired,
// which ends the context that open returns.
func (g *gateway) open() context.Context {
	var ctx context.Context
	ctx, g.stop = context.WithCancel(context.Background())
	go func() { g.ended <- g.state.Run(ctx) }()
	return ctx
}

// failEarly is how long waitReady tolerates failing attempts to open the state.
const failEarly = 3 * time.Second

// waitReady waits until the state is open, which needs the store and KES. The
// error names what is missing.
func (g *gateway) waitReady(ctx context.Context) error {
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for g.state.Ready() != nil {
		select {
		case err := <-g.ended:
			g.ended <- err // for retire
			return err
		case <-ctx.Done():
			return fmt.Errorf("the state is not open in time: %w", ctx.Err())
		case <-tick.C:
			if err := g.state.Waiting(); err != nil && time.Since(began) > failEarly {
				return err
			}
		}
	}
	return nil
}

// retire ends the gateway once its requests are answered.
func (g *gateway) retire() {
	g.requests.Wait()
	if g.stop != nil {
		g.stop()
		g.serving.Wait()
		<-g.ended //nolint:errcheck // an earlier receiver has reported it
	}
	g.close()
}

// close releases what newGateway opened. It writes pending audit records first.
func (g *gateway) close() {
	if g.audit != nil {
		g.audit.Close()
	}
	if g.client != nil {
		g.client.Close()
	}
	if g.log != nil {
		_ = g.log.Sync() // standard error may not be a file
	}
}

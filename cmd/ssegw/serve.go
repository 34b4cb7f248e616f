package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sync/errgroup"

	"ssegw/config"
	"ssegw/kms"
	"ssegw/proxy"
	"ssegw/proxy/admin"
)

// gateway is everything that serves, wired together.
type gateway struct {
	cfg      *config.Config
	log      *zap.Logger
	state    *proxy.State
	operator *admin.Server
	audit    *proxy.Audit // nil: none
	s3       *http.Server
	private  *http.Server
}

// serve runs the gateway until ctx ends, then lets requests in flight finish.
func serve(ctx context.Context, cfg *config.Config) error {
	if os.Getenv("GOGC") == "" {
		// Little is ever live, so Go's default collects garbage all the time: this
		// costs some 10 MiB and saves a tenth of the processor on small objects.
		debug.SetGCPercent(400)
	}
	log, err := newLogger(cfg.LogLevel)
	if err != nil {
		return err
	}
	defer func() { _ = log.Sync() }()
	// What fails before anything is asked of the network is a setting.
	client, err := newKMS(cfg, log)
	if err != nil {
		return fmt.Errorf("%w: %w", errSettings, err)
	}
	defer client.Close()
	g, err := newGateway(ctx, cfg, client, log)
	if err != nil {
		return fmt.Errorf("%w: %w", errSettings, err)
	}
	if g.audit != nil {
		defer g.audit.Close()
	}
	return g.run(ctx)
}

func newGateway(ctx context.Context, cfg *config.Config, client *kms.Client, log *zap.Logger) (*gateway, error) {
	upstream, err := newUpstream(ctx, cfg)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	audit, err := newAudit(cfg, log, registry)
	if err != nil {
		return nil, err
	}
	state := proxy.NewState(proxy.StateConfig{Bucket: cfg.State, Upstream: upstream, KMS: client, Log: log})
	operator := admin.New(admin.Config{KMS: client, State: state.Ready, Upstream: state.CheckUpstream, Metrics: registry})
	handler := proxy.New(proxy.Config{
		Upstream: upstream, KMS: client, State: state,
		AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey.Reveal(),
		Region: cfg.Region, Domains: cfg.Domain,
		AutoEncryption:   autoEncryption[cfg.AutoEncryption],
		SealedOnly:       sealedOnly[cfg.SealedOnly],
		TLSTerminated:    cfg.TLSTerminated,
		WarnHeaderDigest: cfg.HeaderDigest == config.HeaderDigestWarn,
		MaxRequests:      cfg.MaxRequests,
		Operator:         operator.Operator(),
		Audit:            audit,
		Log:              log, Metrics: registry,
	})
	g := &gateway{cfg: cfg, log: log, state: state, operator: operator, audit: audit}
	g.s3 = newServer(handler, log)
	g.private = newServer(operator.Private(), log)
	if cfg.TLSCertFile != "" {
		if g.s3.TLSConfig, err = serverTLS(cfg.TLSCertFile, cfg.TLSKeyFile); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// newServer returns an HTTP server with the bounds that S3 needs: 8 KiB of
// headers are allowed there, and no body has a total deadline.
func newServer(h http.Handler, log *zap.Logger) *http.Server {
	errorLog, err := zap.NewStdLogAt(log, zapcore.DebugLevel)
	if err != nil {
		panic(err) // debug is a level
	}
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          errorLog,
	}
}

// run serves on both addresses until ctx ends or a part fails for good.
func (g *gateway) run(ctx context.Context) error {
	listener, err := net.Listen("tcp", g.cfg.Address)
	if err != nil {
		return fmt.Errorf("listening for S3: %w", err)
	}
	private, err := net.Listen("tcp", g.cfg.AdminAddress)
	if err != nil {
		return fmt.Errorf("listening for operators: %w", err)
	}
	if g.s3.TLSConfig != nil {
		listener = tls.NewListener(listener, g.s3.TLSConfig)
	}
	g.log.Info("serving", zap.String("address", listener.Addr().String()), zap.String("admin_address", private.Addr().String()),
		zap.Bool("tls", g.s3.TLSConfig != nil), zap.String("version", version()))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return g.state.Run(ctx) })
	group.Go(func() error { return served(g.s3.Serve(listener)) })
	group.Go(func() error { return served(g.private.Serve(private)) })
	group.Go(func() error { return g.drain(ctx) })
	return group.Wait()
}

// served is the error of a server that was not asked to stop.
func served(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// drain waits for the end of ctx, then stops the servers: the gateway stops
// being ready and accepting, and requests in flight have DrainTimeout to finish.
func (g *gateway) drain(ctx context.Context) error {
	<-ctx.Done()
	g.operator.Drain()
	g.log.Info("draining", zap.Duration("timeout", g.cfg.DrainTimeout))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.DrainTimeout)
	defer cancel()
	if err := g.s3.Shutdown(ctx); err != nil {
		g.log.Warn("requests were cut off", zap.Error(err))
		_ = g.s3.Close()
	}
	_ = g.private.Close()
	return nil
}

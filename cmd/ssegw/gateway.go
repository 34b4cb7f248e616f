package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"ssegw/config"
	"ssegw/kms"
	"ssegw/proxy"
	"ssegw/proxy/admin"
)

// gateway is everything that one configuration stands for, wired together: all
// but the listeners and their HTTP servers, which outlive a restart.
type gateway struct {
	cfg      *config.Config
	log      *zap.Logger
	client   *kms.Client
	state    *proxy.State
	operator *admin.Server
	tls      *tls.Config // for S3 clients; nil: plain http
	s3       http.Handler
	private  http.Handler

	requests sync.WaitGroup // that this gateway serves
	stop     context.CancelFunc
	ended    chan error // what running the state ended with
}

// newGateway wires a gateway. It asks nothing of the network: what fails here is
// a setting.
func newGateway(ctx context.Context, cfg *config.Config, restart func(bool) error) (*gateway, error) {
	log, err := newLogger(cfg.LogLevel)
	if err != nil {
		return nil, err
	}
	client, err := newKMS(cfg, log)
	if err != nil {
		return nil, err
	}
	upstream, err := newUpstream(ctx, cfg)
	if err != nil {
		client.Close()
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	state := proxy.NewState(proxy.StateConfig{Bucket: cfg.State, Upstream: upstream, KMS: client, Log: log})
	g := &gateway{cfg: cfg, log: log, client: client, state: state, ended: make(chan error, 1)}
	g.operator = admin.New(admin.Config{
		KMS: client, State: state.Ready, Upstream: state.CheckUpstream, Restart: restart,
		AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey.Reveal(),
		Version: version(), Region: cfg.Region, Log: log, Metrics: registry,
	})
	g.s3 = proxy.New(proxy.Config{
		Upstream: upstream, KMS: client, State: state,
		AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey.Reveal(),
		Region: cfg.Region, Domains: cfg.Domain,
		AutoEncryption:   autoEncryption[cfg.AutoEncryption],
		SealedOnly:       sealedOnly[cfg.SealedOnly],
		TLSTerminated:    cfg.TLSTerminated,
		WarnHeaderDigest: cfg.HeaderDigest == config.HeaderDigestWarn,
		MaxRequests:      cfg.MaxRequests,
		Operator:         g.operator.Operator(),
		Log:              log, Metrics: registry,
	})
	g.private = g.operator.Private()
	if cfg.TLSCertFile != "" {
		if g.tls, err = serverTLS(cfg.TLSCertFile, cfg.TLSKeyFile); err != nil {
			client.Close()
			return nil, err
		}
	}
	return g, nil
}

// start opens the state and keeps it fresh until the gateway is retired.
func (g *gateway) start() {
	var ctx context.Context
	ctx, g.stop = context.WithCancel(context.Background())
	go func() { g.ended <- g.state.Run(ctx) }()
}

// waitReady waits until the state is open, which takes the store and KES. The
// error says what is missing.
func (g *gateway) waitReady(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for g.state.Ready() != nil {
		select {
		case err := <-g.ended:
			g.ended <- err // for retire
			return err
		case <-ctx.Done():
			if err := g.state.Waiting(); err != nil {
				return err
			}
			return fmt.Errorf("the state is not open in time: %w", ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// retire ends the gateway once its requests are answered.
func (g *gateway) retire() {
	g.requests.Wait()
	if g.stop != nil {
		g.stop()
		<-g.ended
	}
	g.client.Close()
	_ = g.log.Sync()
}

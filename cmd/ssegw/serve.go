package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"ssegw/proxy/state"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"ssegw/config"
)

// restartTimeout is how long a restart waits for the new configuration to open
// the state before it gives up and keeps the current one. A distant store takes
// seconds.
const restartTimeout = 20 * time.Second

type serveCommand struct{}

// Run serves until a stop signal arrives.
func (serveCommand) Run(ctx context.Context) error {
	cfg, err := settings()
	if err != nil {
		return err
	}
	return serve(ctx, cfg)
}

// daemon is the running command: the current gateway, and the listeners and
// HTTP servers, which stay when a restart replaces the gateway.
type daemon struct {
	ctx     context.Context // ends at the stop signal
	group   *errgroup.Group
	s3      *front
	private *front

	restarting sync.Mutex     // held during a restart
	retiring   sync.WaitGroup // replaced gateways that still serve requests

	mu      sync.RWMutex // guards current
	current *gateway
}

// serve runs the gateway until ctx ends, then lets requests in flight finish.
func serve(ctx context.Context, cfg *config.Config) error {
	tuneGC()
	d := &daemon{}
	d.group, d.ctx = errgroup.WithContext(ctx)
	// newGateway does not use the network, so an error means a wrong setting.
	g, err := newGateway(ctx, cfg, d.restart, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", errSettings, err)
	}
	d.current = g
	limitMemory(d.ctx, g.log)
	go releaseMemory(d.ctx)
	d.s3 = d.newFront(g.log, func(g *gateway) http.Handler { return g.s3 }, func(g *gateway) *tls.Config { return g.tls })
	d.private = d.newFront(g.log, func(g *gateway) http.Handler { return g.private }, nil)
	return d.run(g)
}

// run serves on both addresses until the stop signal or a permanent failure.
func (d *daemon) run(g *gateway) error {
	listener, err := listen(g.cfg.Address)
	if err != nil {
		return fmt.Errorf("listening for S3: %w", err)
	}
	private, err := listen(g.cfg.AdminAddress)
	if err != nil {
		return fmt.Errorf("listening for operators: %w", err)
	}
	g.start()
	d.s3.serve(listener)
	d.private.serve(private)
	d.announce("serving")
	d.group.Go(func() error {
		// Before the signal, only an error that no retry can fix ends the
		// state.
		select {
		case err := <-g.ended:
			g.ended <- err // for retire
			return err
		case <-d.ctx.Done():
			return nil
		}
	})
	d.group.Go(d.drain)
	return d.group.Wait()
}

func (d *daemon) announce(what string) {
	g := d.enter()
	defer g.requests.Done()
	warnDescriptors(g.cfg, g.log)
	g.log.Info(what, zap.String("address", d.s3.addr()), zap.String("admin_address", d.private.addr()),
		zap.Bool("tls", g.tls != nil), zap.String("version", version()))
}

// enter returns the current gateway and registers a request with it. The
// gateway stays open until the caller calls requests.Done.
func (d *daemon) enter() *gateway {
	d.mu.RLock()
	defer d.mu.RUnlock()
	d.current.requests.Add(1)
	return d.current
}

// restart reads the settings again and replaces the current gateway once the
// new one has opened its state. On an error the current gateway stays. Each
// request in flight is finished by the gateway that began it. No connection is
// refused or cut meanwhile. With dryRun, restart only checks the settings and
// that their addresses are free.
func (d *daemon) restart(dryRun bool) error {
	d.restarting.Lock()
	defer d.restarting.Unlock()
	cfg, err := config.Load(os.Environ())
	if err != nil {
		return err
	}
	var like *state.State
	if d.current.state.Ready() == nil {
		like = d.current.state
	}
	g, err := newGateway(d.ctx, cfg, d.restart, like)
	if err != nil {
		return err
	}
	s3, private, err := d.listenChanged(cfg)
	if err == nil && !dryRun {
		g.start()
		ctx, cancel := context.WithTimeout(d.ctx, restartTimeout)
		defer cancel()
		err = g.waitReady(ctx)
	}
	if err != nil || dryRun {
		closeAll(s3, private)
		g.retire()
		return err
	}
	d.replace(g, s3, private)
	return nil
}

// listenChanged listens on the addresses that changed. It returns nil for an
// address that stays the same.
func (d *daemon) listenChanged(cfg *config.Config) (s3, private net.Listener, err error) {
	if cfg.Address != d.current.cfg.Address {
		if s3, err = listen(cfg.Address); err != nil {
			return nil, nil, err
		}
	}
	if cfg.AdminAddress != d.current.cfg.AdminAddress {
		if private, err = listen(cfg.AdminAddress); err != nil {
			closeAll(s3)
			return nil, nil, err
		}
	}
	return s3, private, nil
}

func closeAll(listeners ...net.Listener) {
	for _, l := range listeners {
		if l != nil {
			_ = l.Close()
		}
	}
}

// replace makes g the current gateway. No request begins while g takes over the
// rules.
func (d *daemon) replace(g *gateway, s3, private net.Listener) {
	d.mu.Lock()
	old := d.current
	g.state.TakeOver()
	d.current = g
	d.mu.Unlock()
	d.s3.serve(s3)
	d.private.serve(private)
	d.announce("restarted")
	d.retiring.Go(old.retire)
}

// drain waits for the stop signal and then stops the servers. The gateway is no
// longer ready and accepts no connections. Requests in flight have DrainTimeout
// to finish.
func (d *daemon) drain() error {
	<-d.ctx.Done()
	d.restarting.Lock() // never unlocked: no restart may begin from here on
	g := d.current
	g.operator.Drain()
	g.log.Info("draining", zap.Duration("timeout", g.cfg.DrainTimeout))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.ctx), g.cfg.DrainTimeout)
	defer cancel()
	if err := d.s3.server.Shutdown(ctx); err != nil {
		g.log.Warn("requests were cut off", zap.Error(err))
		_ = d.s3.server.Close()
	}
	_ = d.private.server.Close()
	g.stop()
	g.serving.Wait()
	<-g.ended //nolint:errcheck // an earlier receiver has reported it
	g.close()
	d.finishRetiring()
	return nil
}

// finishRetiring gives replaced gateways time to write pending records. Their
// requests have been answered or cut off.
func (d *daemon) finishRetiring() {
	done := make(chan struct{})
	go func() {
		d.retiring.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Second): // a request does not end
	}
}

// front is an address with its HTTP server. The current gateway answers.
type front struct {
	daemon *daemon
	server *http.Server
	tls    func(*gateway) *tls.Config // nil means never TLS
	base   *tls.Config                // of all TLS connections

	mu       sync.Mutex
	listener net.Listener // nil before the first serve
}

// newFront returns a front with limits that suit S3: S3 allows 8 KiB of
// headers, and a body has no overall deadline.
func (d *daemon) newFront(log *zap.Logger, handler func(*gateway) http.Handler, conf func(*gateway) *tls.Config) *front {
	errorLog, err := zap.NewStdLogAt(log, zap.DebugLevel)
	if err != nil {
		panic(err) // debug is a level
	}
	answer := func(w http.ResponseWriter, r *http.Request) {
		g := d.enter()
		defer g.requests.Done()
		handler(g).ServeHTTP(w, r)
	}
	current := func() *tls.Config {
		g := d.enter()
		defer g.requests.Done()
		return conf(g)
	}
	return &front{daemon: d, tls: conf, base: withTickets(current), server: &http.Server{
		Handler:           http.HandlerFunc(answer),
		HTTP2:             http2Limits,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          errorLog,
	}}
}

func listen(address string) (net.Listener, error) { return net.Listen("tcp", address) }

// serve accepts connections on listener, which replaces the previous listener.
// Connections that the previous one accepted stay open. A nil listener changes
// nothing.
func (f *front) serve(listener net.Listener) {
	if listener == nil {
		return
	}
	f.mu.Lock()
	before := f.listener
	f.listener = listener
	f.mu.Unlock()
	f.daemon.group.Go(func() error {
		err := f.server.Serve(&accepting{listener, f})
		if errors.Is(err, http.ErrServerClosed) || f.current() != listener {
			return nil
		}
		return err
	})
	if before != nil {
		_ = before.Close()
	}
}

func (f *front) current() net.Listener {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.listener
}

func (f *front) addr() string { return f.current().Addr().String() }

// accepting is a listener that speaks TLS if the current gateway does.
type accepting struct {
	net.Listener
	front *front
}

func (a *accepting) Accept() (net.Conn, error) {
	conn, err := a.Listener.Accept()
	if err != nil || a.front.tls == nil {
		return conn, err
	}
	g := a.front.daemon.enter()
	defer g.requests.Done()
	if a.front.tls(g) != nil {
		return tls.Server(conn, a.front.base), nil
	}
	return conn, nil
}

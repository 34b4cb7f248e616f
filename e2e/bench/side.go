package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"ssegw/e2e/stack"
)

// storeDiscard is this program's own store, in addition to those of the stack.
const storeDiscard = "discard"

// A side is a store, a gateway and bare proxies, which all speak http or all
// speak https.
type side struct {
	*rig
	sideKind
	server  *stack.Store
	gateway *stack.Gateway
	cert    stack.Certificate // of the sink and the bare proxies, with https
	sink    *sink             // nil: another store
	targets []*target
	writer  *target // another gateway, which writes what is listed cold; see fillPages
}

// A target is one way to the store.
type target struct {
	name    string
	client  *client
	process process // in the middle; nil: none, or it is not known
	sink    *sink   // that counts requests; nil: none
}

// Names of targets.
const (
	nameDirect  = "direct"
	nameBare    = "bare proxy"
	nameSio     = "bare proxy + sio"
	nameOther   = "other gateway"
	nameHTTP2   = "gateway, HTTP/2"
	nameGateway = "gateway"
)

// startSide starts a side and makes a bucket for each scheme.
func startSide(ctx context.Context, r *rig, kind sideKind) (*side, error) {
	s := &side{rig: r, sideKind: kind}
	var err error
	if s.tls {
		if s.cert, err = stack.NewCertificate(r.dir, "bench"); err != nil {
			return nil, err
		}
	}
	if s.server, err = s.startStore(ctx); err != nil {
		return nil, err
	}
	s.gateway, err = r.stack.StartGateway(ctx, stack.GatewayOptions{
		KES: []*stack.KES{r.kes}, Upstream: s.server, TLS: s.tls, Env: s.gatewayEnv(),
	})
	if err != nil {
		return nil, err
	}
	if err := s.addTargets(ctx); err != nil {
		return nil, err
	}
	if err := s.through().makeBuckets(ctx); err != nil {
		return nil, err
	}
	return s, s.checkSealing(ctx)
}

// gatewayEnv returns the gateway's settings. Buckets have rules of their own.
func (s *side) gatewayEnv() map[string]string {
	env := map[string]string{"SSEGW_TLS_TERMINATED": "true"} // SSE-C over http
	if s.tls {
		env = map[string]string{
			"SSEGW_HTTP2":           "on", // clients choose
			"SSEGW_UPSTREAM_CAPATH": s.server.CAFile,
		}
	}
	maps.Copy(env, s.options.settings)
	return env
}

// startStore starts the store of the side.
func (s *side) startStore(ctx context.Context) (*stack.Store, error) {
	if s.store != storeDiscard {
		return s.stack.StartStore(ctx, s.store, stack.StoreOptions{TLS: s.tls})
	}
	var err error
	if s.sink, err = startSink(s.cert); err != nil {
		return nil, err
	}
	s.closers = append(s.closers, s.sink.Close)
	// The sink does not check signatures, so any credentials will do.
	return &stack.Store{Endpoint: s.sink.endpoint, CAFile: s.cert.CertFile, AccessKey: "discard", SecretKey: "discard-secret"}, nil
}

// addTargets makes the ways to the store. The bare proxy with sio changes
// bodies without signing them again, which only the sink accepts.
func (s *side) addTargets(ctx context.Context) error {
	store := login{s.server.Endpoint, s.server.AccessKey, s.server.SecretKey, s.server.CAFile}
	if err := s.addTarget(nameDirect, store, false, nil); err != nil {
		return err
	}
	for _, name := range []string{nameBare, nameSio} {
		if name == nameSio && s.sink == nil {
			continue
		}
		bare, err := startBare(bareOptions{
			target: s.server.Endpoint, seal: name == nameSio, cert: s.cert.CertFile, key: s.cert.KeyFile, ca: s.server.CAFile,
		})
		if err != nil {
			return err
		}
		s.closers = append(s.closers, bare.Close)
		if err := s.addTarget(name, login{bare.endpoint, store.accessKey, store.secretKey, s.cert.CertFile}, false, bare); err != nil {
			return err
		}
	}
	if err := s.addOther(ctx); err != nil {
		return err
	}
	gateway := login{s.gateway.Endpoint, s.gateway.AccessKey, s.gateway.SecretKey, s.gateway.CAFile}
	process, err := newGatewayProcess(ctx, s.gateway)
	if err != nil {
		return err
	}
	if s.tls {
		if err := s.addTarget(nameHTTP2, gateway, true, process); err != nil {
			return err
		}
	}
	return s.addTarget(nameGateway, gateway, false, process)
}

// login is how to reach a server.
type login struct{ endpoint, accessKey, secretKey, caFile string }

func (s *side) addTarget(name string, to login, http2 bool, p process) error {
	c, err := newClient(to.endpoint, to.accessKey, to.secretKey, to.caFile, http2)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func() error { c.transport.CloseIdleConnections(); return nil })
	t := &target{name: name, client: c, process: p}
	if name != nameOther {
		t.sink = s.sink
	}
	s.targets = append(s.targets, t)
	return nil
}

// addOther adds the gateway that the options name by its URL, to the side of
// its protocol, and makes its buckets.
func (s *side) addOther(ctx context.Context) error {
	o := s.options.other
	if o.endpoint == "" || s.store != s.options.store || strings.HasPrefix(o.endpoint, "https:") != s.tls {
		return nil
	}
	var p process
	if s.options.otherPID != 0 {
		p = otherProcess(s.options.otherPID)
	}
	if err := s.addTarget(nameOther, o, false, p); err != nil {
		return err
	}
	return s.target(nameOther).makeBuckets(ctx)
}

// makeBuckets makes a bucket for each scheme.
func (t *target) makeBuckets(ctx context.Context) error {
	for _, row := range schemes {
		if err := t.makeBucket(ctx, row.bucket, row.rule); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return nil
}

// checkSealing checks that the gateway does the work to be measured: an object
// reads back whole through it, and is not plaintext in the store.
func (s *side) checkSealing(ctx context.Context) error {
	body := newContent(4 << 10)
	for _, sc := range []scheme{sseS3, sseKMS, bucketKeys} {
		o := request{bucket: sc.bucket(), key: "get/sealed"}
		if err := s.through().client.put(ctx, o, body); err != nil {
			return err
		}
		if err := s.through().client.get(ctx, o, body); err != nil {
			return err
		}
		if err := s.targets[0].client.get(ctx, o, body); !errors.Is(err, errContent) {
			return fmt.Errorf("the gateway does not seal: reading an object from the store directly: %w", cmp.Or(err, errPlaintext))
		}
	}
	return nil
}

var errPlaintext = errors.New("it is the plaintext")

// target returns the target of a name, or nil if the side does not have it.
func (s *side) target(name string) *target {
	for _, t := range s.targets {
		if t.name == name {
			return t
		}
	}
	return nil
}

// through returns the target that uses the gateway.
func (s *side) through() *target { return s.target(nameGateway) }

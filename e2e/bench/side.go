package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"ssegw/e2e/stack"
)

// storeDiscard is this program's own store, in addition to those of the stack.
const storeDiscard = "discard"

// A side is a store, a gateway and bare proxies, which all speak http or all
// speak https.
type side struct {
	*rig
	tls     bool
	store   *stack.Store
	gateway *stack.Gateway
	cert    stack.Certificate // of the sink and the bare proxies, with https
	sink    *sink             // nil: another store
	targets []*target
}

// A target is one way to the store.
type target struct {
	name   string
	client *client
	cpu    func() (time.Duration, error) // CPU time used by the process in the middle; nil if there is none
	calls  func(context.Context) (calls, error)
}

// Names of targets.
const (
	nameDirect  = "direct"
	nameBare    = "bare proxy"
	nameSio     = "bare proxy + sio"
	nameHTTP2   = "gateway, HTTP/2"
	nameGateway = "gateway"
)

// startSide starts a side and makes a bucket for each scheme.
func startSide(ctx context.Context, r *rig, tls bool) (*side, error) {
	s := &side{rig: r, tls: tls}
	var err error
	if tls {
		if s.cert, err = stack.NewCertificate(r.dir, "bench"); err != nil {
			return nil, err
		}
	}
	if s.store, err = s.startStore(ctx); err != nil {
		return nil, err
	}
	s.gateway, err = r.stack.StartGateway(ctx, stack.GatewayOptions{
		KES: []*stack.KES{r.kes}, Upstream: s.store, TLS: tls, Env: s.gatewayEnv(),
	})
	if err != nil {
		return nil, err
	}
	if err := s.addTargets(); err != nil {
		return nil, err
	}
	for _, row := range schemes {
		if err := s.through().makeBucket(ctx, row.bucket, row.rule); err != nil {
			return nil, err
		}
	}
	return s, s.checkSealing(ctx)
}

// gatewayEnv returns the gateway's settings. Buckets have rules of their own.
func (s *side) gatewayEnv() map[string]string {
	if !s.tls {
		return map[string]string{"SSEGW_TLS_TERMINATED": "true"} // SSE-C over http
	}
	return map[string]string{
		"SSEGW_HTTP2":           "on", // clients choose
		"SSEGW_UPSTREAM_CAPATH": s.store.CAFile,
	}
}

// startStore starts the store that the options name.
func (s *side) startStore(ctx context.Context) (*stack.Store, error) {
	if s.options.store != storeDiscard {
		return s.stack.StartStore(ctx, s.options.store, stack.StoreOptions{TLS: s.tls})
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
func (s *side) addTargets() error {
	if err := s.addTarget(nameDirect, s.store.Endpoint, s.store.CAFile, false, nil); err != nil {
		return err
	}
	for _, name := range []string{nameBare, nameSio} {
		if name == nameSio && s.sink == nil {
			continue
		}
		bare, err := startBare(bareOptions{
			target: s.store.Endpoint, seal: name == nameSio, cert: s.cert.CertFile, key: s.cert.KeyFile, ca: s.store.CAFile,
		})
		if err != nil {
			return err
		}
		s.closers = append(s.closers, bare.Close)
		if err := s.addTarget(name, bare.endpoint, s.cert.CertFile, false, bare.cpu); err != nil {
			return err
		}
	}
	if s.tls {
		if err := s.addTarget(nameHTTP2, s.gateway.Endpoint, s.gateway.CAFile, true, s.gatewayCPU); err != nil {
			return err
		}
	}
	return s.addTarget(nameGateway, s.gateway.Endpoint, s.gateway.CAFile, false, s.gatewayCPU)
}

func (s *side) addTarget(name, endpoint, ca string, http2 bool, cpu func() (time.Duration, error)) error {
	accessKey, secretKey := s.store.AccessKey, s.store.SecretKey
	if name == nameGateway || name == nameHTTP2 {
		accessKey, secretKey = s.gateway.AccessKey, s.gateway.SecretKey
	}
	c, err := newClient(endpoint, accessKey, secretKey, ca, http2)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func() error { c.transport.CloseIdleConnections(); return nil })
	s.targets = append(s.targets, &target{name: name, client: c, cpu: cpu, calls: s.calls})
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

func (s *side) gatewayCPU() (time.Duration, error) {
	u, err := s.gateway.Usage()
	return u.CPU, err
}

// bare returns the target that uses the bare proxy.
func (s *side) bare() *target { return s.targets[1] }

// through returns the target that uses the gateway.
func (s *side) through() *target { return s.targets[len(s.targets)-1] }

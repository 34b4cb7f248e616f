package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"ssegw/e2e/stack"
)

// storeDiscard is this program's own store, in addition to those of the stack.
const storeDiscard = "discard"

// A rig is everything that runs during the measurement.
type rig struct {
	stack   *stack.Stack
	kes     *stack.KES
	store   *stack.Store
	gateway *stack.Gateway
	cert    stack.Certificate // of sink and bare proxies, with -tls
	sink    *sink             // nil: another store
	targets []*target         // direct, bare proxies, gateways
	closers []func() error
}

// A target is one way to the store.
type target struct {
	name   string
	client *client
	cpu    func() (time.Duration, error) // CPU time used by the process in the middle; nil if there is none
	calls  func(context.Context) (calls, error)
}

// newRig starts everything, with files below dir, and makes the bucket.
func newRig(ctx context.Context, dir string, o options) (r *rig, err error) {
	r = &rig{}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	fmt.Fprintln(os.Stderr, "Building and starting KES, the store and ssegw ...")
	if r.stack, err = stack.New(dir); err != nil {
		return r, err
	}
	if o.tls {
		if r.cert, err = stack.NewCertificate(dir, "bench"); err != nil {
			return r, err
		}
	}
	store, err := r.startStore(ctx, o)
	if err != nil {
		return r, err
	}
	r.store = store
	if r.kes, err = r.stack.StartKES(ctx, stack.KESOptions{}); err != nil {
		return r, err
	}
	r.gateway, err = r.stack.StartGateway(ctx, stack.GatewayOptions{
		KES: []*stack.KES{r.kes}, Upstream: store, TLS: o.tls, Env: gatewayEnv(o, store),
	})
	if err != nil {
		return r, err
	}
	if err := r.addTargets(o); err != nil {
		return r, err
	}
	if err := r.targets[0].client.makeBucket(ctx, bucket); err != nil {
		return r, err
	}
	return r, r.checkSealing(ctx)
}

func gatewayEnv(o options, store *stack.Store) map[string]string {
	env := map[string]string{"SSEGW_AUTO_ENCRYPTION": o.encryption}
	if o.encryption == bucketKeys {
		env["SSEGW_AUTO_ENCRYPTION"] = "sse-kms"
	}
	if o.tls {
		env["SSEGW_HTTP2"] = "on" // clients choose
		env["SSEGW_UPSTREAM_CAPATH"] = store.CAFile
	}
	return env
}

// bucketKeys is SSE-KMS with a data key that the objects of a bucket share.
const bucketKeys = "bucket-keys"

// addTargets makes the ways to the store. The bare proxy with sio changes
// bodies without signing them again, which only the sink accepts.
func (r *rig) addTargets(o options) error {
	if err := r.addTarget("direct", r.store.Endpoint, r.store.CAFile, false, nil); err != nil {
		return err
	}
	for _, seal := range []bool{false, true} {
		if seal && r.sink == nil {
			continue
		}
		bare, err := startBare(bareOptions{target: r.store.Endpoint, seal: seal, cert: r.cert.CertFile, key: r.cert.KeyFile, ca: r.store.CAFile})
		if err != nil {
			return err
		}
		r.closers = append(r.closers, bare.Close)
		name := nameBare
		if seal {
			name = nameSio
		}
		if err := r.addTarget(name, bare.endpoint, r.cert.CertFile, false, bare.cpu); err != nil {
			return err
		}
	}
	if o.tls {
		if err := r.addTarget("gateway, HTTP/2", r.gateway.Endpoint, r.gateway.CAFile, true, r.gatewayCPU); err != nil {
			return err
		}
	}
	if err := r.addTarget("gateway", r.gateway.Endpoint, r.gateway.CAFile, false, r.gatewayCPU); err != nil {
		return err
	}
	if o.encryption == bucketKeys {
		for _, t := range r.targets[len(r.targets)-2:] {
			if strings.HasPrefix(t.name, "gateway") {
				t.client.sealing = http.Header{"X-Amz-Server-Side-Encryption": {"aws:kms"}, "X-Amz-Server-Side-Encryption-Bucket-Key-Enabled": {"true"}}
			}
		}
	}
	return nil
}

// Names of targets that others are compared with.
const (
	nameBare = "bare proxy"
	nameSio  = "bare proxy + sio"
)

func (r *rig) addTarget(name, endpoint, ca string, http2 bool, cpu func() (time.Duration, error)) error {
	accessKey, secretKey := r.store.AccessKey, r.store.SecretKey
	if strings.HasPrefix(name, "gateway") {
		accessKey, secretKey = r.gateway.AccessKey, r.gateway.SecretKey
	}
	c, err := newClient(endpoint, accessKey, secretKey, ca, http2)
	if err != nil {
		return err
	}
	r.targets = append(r.targets, &target{name: name, client: c, cpu: cpu, calls: r.calls})
	return nil
}

// checkSealing checks that the gateway does the work to be measured: an object
// reads back whole through it, and is not plaintext in the store.
func (r *rig) checkSealing(ctx context.Context) error {
	const key = "get/sealed"
	body := newContent(small.size)
	if err := r.through().client.put(ctx, key, body); err != nil {
		return err
	}
	if err := r.through().client.get(ctx, key, body); err != nil {
		return err
	}
	if err := r.targets[0].client.get(ctx, key, body); !errors.Is(err, errContent) {
		return fmt.Errorf("the gateway does not seal: reading an object from the store directly: %w", cmp.Or(err, errPlaintext))
	}
	return nil
}

var errPlaintext = errors.New("it is the plaintext")

// startStore starts the store of the given name.
func (r *rig) startStore(ctx context.Context, o options) (*stack.Store, error) {
	if o.store != storeDiscard {
		return r.stack.StartStore(ctx, o.store, stack.StoreOptions{TLS: o.tls})
	}
	s, err := startSink(r.cert)
	if err != nil {
		return nil, err
	}
	r.sink = s
	r.closers = append(r.closers, s.Close)
	// The sink does not check signatures, so any credentials will do.
	return &stack.Store{Endpoint: s.endpoint, CAFile: r.cert.CertFile, AccessKey: "discard", SecretKey: "discard-secret"}, nil
}

// Close ends everything that the rig started.
func (r *rig) Close() error {
	var errs []error
	for _, t := range r.targets {
		t.client.transport.CloseIdleConnections()
	}
	if r.stack != nil {
		errs = append(errs, r.stack.Close())
	}
	for _, c := range r.closers {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

func (r *rig) gatewayCPU() (time.Duration, error) {
	u, err := r.gateway.Usage()
	return u.CPU, err
}

// bare returns the target that uses the bare proxy.
func (r *rig) bare() *target { return r.targets[1] }

// through returns the target that uses the gateway.
func (r *rig) through() *target { return r.targets[len(r.targets)-1] }

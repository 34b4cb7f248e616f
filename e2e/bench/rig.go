package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
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
	targets []*target // direct, bare, gateway
	closers []func() error
}

// A target is one way to the store.
type target struct {
	name   string
	client *client
	cpu    func() (time.Duration, error) // CPU time used by the process in the middle; nil if there is none
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
	store, err := r.startStore(ctx, o.store)
	if err != nil {
		return r, err
	}
	r.store = store
	if r.kes, err = r.stack.StartKES(ctx, stack.KESOptions{}); err != nil {
		return r, err
	}
	r.gateway, err = r.stack.StartGateway(ctx, stack.GatewayOptions{
		KES: []*stack.KES{r.kes}, Upstream: store, Env: map[string]string{"SSEGW_AUTO_ENCRYPTION": o.encryption},
	})
	if err != nil {
		return r, err
	}
	bare, err := startBare(store.Endpoint)
	if err != nil {
		return r, err
	}
	r.closers = append(r.closers, bare.Close)
	r.targets = []*target{
		{name: "direct", client: newClient(store.Endpoint, store.AccessKey, store.SecretKey)},
		{name: "bare proxy", client: newClient(bare.endpoint, store.AccessKey, store.SecretKey), cpu: bare.cpu},
		{name: "gateway", client: newClient(r.gateway.Endpoint, r.gateway.AccessKey, r.gateway.SecretKey), cpu: r.gatewayCPU},
	}
	if err := r.targets[0].client.makeBucket(ctx); err != nil {
		return r, err
	}
	return r, r.checkSealing(ctx)
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
func (r *rig) startStore(ctx context.Context, name string) (*stack.Store, error) {
	if name != storeDiscard {
		return r.stack.StartStore(ctx, name, stack.StoreOptions{})
	}
	s, err := startSink()
	if err != nil {
		return nil, err
	}
	r.closers = append(r.closers, s.Close)
	// The sink does not check signatures, so any credentials will do.
	return &stack.Store{Endpoint: s.endpoint, AccessKey: "discard", SecretKey: "discard-secret"}, nil
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

// through returns the target that uses the gateway.
func (r *rig) through() *target { return r.targets[len(r.targets)-1] }

// Package check implements ssegw check and ssegw inspect.
//
// Run tests what a gateway needs from KES and the store. Inspect shows how an
// object is sealed and which parts of it are authentic. Both report Findings. A
// Finding never holds a secret, and one that is a warning or a failure has a
// remedy. Neither needs an open state, and neither creates a key, a bucket or a
// root. Run writes only probe objects to the state bucket, Inspect writes
// nothing.
//
// docs/ARCHITECTURE.md is the map.
package check

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"ssegw/kms"
	"ssegw/proxy/probe"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
)

// Limits are the time limits of Run. Removing a probe after a timeout takes up
// to 300 ms more.
type Limits struct {
	All    time.Duration // for all checks
	Each   time.Duration // for one check
	Settle time.Duration // for a store to notice a broken connection
}

// DefaultLimits are the limits of a Config without any.
var DefaultLimits = Limits{All: 29 * time.Second, Each: 4 * time.Second, Settle: time.Second}

// Config holds what the checks need. All fields except Limits are required.
type Config struct {
	Upstream         *upstream.Store
	State            *state.State // need not be open
	KMS              *kms.Client
	KMSTimeout       time.Duration // for opening a data key in Inspect
	WarnHeaderDigest bool          // clients can read objects with changed content headers
	Log              *zap.Logger
	Limits           Limits // of Run; the zero value means DefaultLimits
}

// checker runs the checks in order and remembers what later ones need.
type checker struct {
	Config
	store  upstream.Client // the store, with the gateway's own rights
	limits Limits
	report func(Finding)
	skews  []skew

	// Why later checks are not tried; "" means that they are.
	skipKES   string // those that need KES
	skipRoot  string // those that need the root
	skipStore string // those that need the store, its credential or the state bucket
}

// Run tests everything that a gateway needs from KES and the store, and calls
// report after each check. With DefaultLimits it takes at most half a minute.
// It creates no key, bucket or root. It writes probe objects to the state
// bucket and removes them again.
func (c Config) Run(ctx context.Context, report func(Finding)) {
	limits := c.Limits
	if limits == (Limits{}) {
		limits = DefaultLimits
	}
	ctx, cancel := context.WithTimeout(ctx, limits.All)
	defer cancel()
	k := &checker{Config: c, store: c.Upstream.Own(), limits: limits, report: report}
	k.checkEndpoints(ctx)
	k.run(ctx, fmt.Sprintf("KES key %s", c.KMS.DefaultKey()), k.skipKES, k.checkKey)
	if !k.run(ctx, "store "+c.Upstream.Endpoint(), "", k.checkStore) {
		k.skipStore = "the store does not answer"
	}
	k.run(ctx, "clock", "", k.checkClock)
	k.checkState(ctx)
	k.checkProbes(ctx)
}

// prober probes the store in the state bucket.
func (k *checker) prober() probe.Prober {
	return probe.Prober{Client: k.store, Bucket: k.State.Bucket()}
}

// run runs one check and reports whether later checks can depend on it. If skip
// is not empty, it is the reason not to try the check.
func (k *checker) run(ctx context.Context, name, skip string, check func(context.Context) Finding) bool {
	if err := ctx.Err(); skip == "" && err != nil {
		skip = "the checks were interrupted"
		if errors.Is(err, context.DeadlineExceeded) {
			skip = "the earlier checks took too long"
		}
	}
	found := notTried("%s", skip)
	if skip == "" {
		ctx, cancel := context.WithTimeout(ctx, k.limits.Each)
		defer cancel()
		found = check(ctx)
	}
	k.report(found.named(name))
	return found.Status == StatusOK || found.Status == StatusWarning
}

// checkEndpoints asks all KES endpoints at the same time. An endpoint that is
// down is only a warning if another one answers.
func (k *checker) checkEndpoints(ctx context.Context) {
	endpoints := k.KMS.Status(ctx)
	online := 0
	for _, e := range endpoints {
		if e.Online {
			online++
			k.skews = append(k.skews, skew{e.Endpoint, e.Skew})
		}
	}
	if online == 0 {
		k.skipKES = noKES
	}
	for _, e := range endpoints {
		found := okay("answers in %s%s", e.Latency.Round(time.Millisecond/10), versionOf(e))
		if !e.Online {
			found = failed(reachRemedy(e.Err, "KES", "MINIO_KMS_KES_ENDPOINT", "MINIO_KMS_KES_CAPATH"), "%s", e.Err)
			if online > 0 {
				found.Status = StatusWarning
			}
		}
		k.report(found.named("KES " + e.Endpoint))
	}
}

// versionOf describes the version of KES. It returns "" for development builds,
// which report none.
func versionOf(e kms.EndpointStatus) string {
	if e.Version == "" || e.Version == "<unknown>" {
		return ""
	}
	return ", version " + e.Version
}

// checkKey generates a data key under the default key and opens it again.
func (k *checker) checkKey(ctx context.Context) Finding {
	name := k.KMS.DefaultKey()
	err := k.KMS.Check(ctx, name)
	opening := errors.Is(err, kms.ErrCheckUnseal)
	switch {
	case err == nil:
		return okay("generates and opens data keys for the identity %s", k.KMS.Identity())
	case errors.Is(err, kms.ErrKeyNotFound) && !opening:
		return okay("does not exist yet: the start creates it, and the policy must allow /v1/key/create/%s", name)
	case errors.Is(err, kms.ErrNotAllowed) && opening:
		return failed(policyRemedy(k.KMS, name, "decrypt"), "KES generates data keys but does not open them: %s", reason(err))
	case errors.Is(err, kms.ErrNotAllowed):
		return failed(policyRemedy(k.KMS, name, "generate", "decrypt"), "KES does not generate data keys: %s", reason(err))
	}
	return failed("check the log of KES", "%s", reason(err))
}

// policyRemedy tells the operator to allow the operations on key in the KES
// policy.
func policyRemedy(client *kms.Client, key string, operations ...string) string {
	paths := ""
	for i, operation := range operations {
		if i > 0 {
			paths += " and "
		}
		paths += "/v1/key/" + operation + "/" + key
	}
	return fmt.Sprintf("allow %s in the KES policy of the identity %s", paths, client.Identity())
}

// skew is how far another machine's clock is ahead of this machine's.
type skew struct {
	who string
	by  time.Duration
}

// A skew above noticedSkew is a warning, one above refusedSkew a failure.
// Stores refuse signatures that are 15 minutes off.
const (
	noticedSkew = time.Minute
	refusedSkew = 15 * time.Minute
)

// checkClock compares the clocks of all servers that answered with this
// machine's.
func (k *checker) checkClock(context.Context) Finding {
	if len(k.skews) == 0 {
		return notTried("neither the store nor KES reported the time")
	}
	worst, differ := k.skews[0], false
	for _, s := range k.skews {
		differ = differ || (s.by-k.skews[0].by).Abs() > noticedSkew
		if s.by.Abs() > worst.by.Abs() {
			worst = s
		}
	}
	if worst.by.Abs() <= noticedSkew {
		return okay("differs by at most %s", worst.by.Abs())
	}
	remedy := "set the clock of this machine, for example by NTP"
	if differ {
		remedy = "set the clock of " + worst.who + ", for example by NTP"
	}
	direction := "ahead of"
	if worst.by < 0 {
		direction = "behind"
	}
	found := warning(remedy, "the clock of %s is %s %s this machine's", worst.who, worst.by.Abs(), direction)
	if worst.by.Abs() > refusedSkew {
		found.Status = StatusFailed
	}
	return found
}

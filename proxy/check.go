package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ssegw/kms"
)

// checkBounds are the bounds of a Check. Removing a probe that has run out of time
// takes probeCleanup more.
type checkBounds struct {
	all    time.Duration // of all checks
	each   time.Duration // of one
	settle time.Duration // that a store gets to notice a connection that broke
}

var checkTimes = checkBounds{all: 29 * time.Second, each: 4 * time.Second, settle: time.Second}

// checker does the checks in their order, and remembers what later ones need.
type checker struct {
	*Server
	limits checkBounds
	report func(Finding)

	skews  []skew
	noKES  string // why checks that need KES are not tried; ""
	noRoot string // the same of those that need the root
	no     string // the same of those that need the store, its credential or the state bucket
}

// Check tries everything that a gateway needs of KES and of the store, and calls
// report with what it finds, one check after the other. It takes half a
// minute at most. No key, bucket or root is made; what it writes are probe objects in the state
// bucket, which are removed again.
func (s *Server) Check(ctx context.Context, report func(Finding)) {
	s.checkWithin(ctx, checkTimes, report)
}

func (s *Server) checkWithin(ctx context.Context, limits checkBounds, report func(Finding)) {
	ctx, cancel := context.WithTimeout(ctx, limits.all)
	defer cancel()
	k := &checker{Server: s, limits: limits, report: report}
	k.checkEndpoints(ctx)
	k.run(ctx, fmt.Sprintf("KES key %s", s.KMS.DefaultKey()), k.noKES, k.checkKey)
	if !k.run(ctx, "store "+s.Upstream.endpoint.String(), "", k.checkStore) {
		k.no = "the store does not answer"
	}
	k.run(ctx, "clock", "", k.checkClock)
	k.checkState(ctx)
	k.checkProbes(ctx)
}

// run does one check, unless something is in the way of it, and reports whether
// later ones can build on it.
func (k *checker) run(ctx context.Context, name, inTheWay string, check func(context.Context) Finding) bool {
	if err := ctx.Err(); inTheWay == "" && err != nil {
		inTheWay = "the checks were interrupted"
		if errors.Is(err, context.DeadlineExceeded) {
			inTheWay = "the checks before took too long"
		}
	}
	found := notTried("%s", inTheWay)
	if inTheWay == "" {
		ctx, cancel := context.WithTimeout(ctx, k.limits.each)
		defer cancel()
		found = check(ctx)
	}
	k.report(found.named(name))
	return found.Status == StatusOK || found.Status == StatusWarning
}

// checkEndpoints asks all KES endpoints at once. One that is down is a warning as
// long as another is not.
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
		k.noKES = noKES
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

// versionOf is the version of KES in words, if it says one: builds that are no
// release do not.
func versionOf(e kms.EndpointStatus) string {
	if e.Version == "" || e.Version == "<unknown>" {
		return ""
	}
	return ", version " + e.Version
}

// checkKey generates a data key of the default key and opens it again.
func (k *checker) checkKey(ctx context.Context) Finding {
	name := k.KMS.DefaultKey()
	err := k.KMS.Check(ctx, name)
	opening := errors.Is(err, kms.ErrCheckUnseal)
	switch {
	case err == nil:
		return okay("generates data keys and opens them, for the identity %s", k.KMS.Identity())
	case errors.Is(err, kms.ErrKeyNotFound) && !opening:
		return okay("is not there yet: the start makes it, for which the policy must allow /v1/key/create/%s", name)
	case errors.Is(err, kms.ErrNotAllowed) && opening:
		return failed(policyRemedy(k.KMS, name, "decrypt"), "KES generates data keys and does not open them: %s", reason(err))
	case errors.Is(err, kms.ErrNotAllowed):
		return failed(policyRemedy(k.KMS, name, "generate", "decrypt"), "KES generates no data keys: %s", reason(err))
	}
	return failed("look into the log of KES", "%s", reason(err))
}

// policyRemedy says what the policy of KES lacks.
func policyRemedy(client *kms.Client, key string, operations ...string) string {
	paths := ""
	for i, operation := range operations {
		if i > 0 {
			paths += " and "
		}
		paths += "/v1/key/" + operation + "/" + key
	}
	return fmt.Sprintf("allow %s in the policy of KES that has the identity %s", paths, client.Identity())
}

// skew is how far another machine's clock is ahead of ours.
type skew struct {
	who string
	by  time.Duration
}

// Bounds of skews. Stores refuse signatures that are 15 minutes off.
const (
	noticedSkew = time.Minute
	refusedSkew = 15 * time.Minute
)

// checkClock compares the clocks of those that answered with ours.
func (k *checker) checkClock(context.Context) Finding {
	if len(k.skews) == 0 {
		return notTried("neither the store nor KES says what time it is")
	}
	worst, differ := k.skews[0], false
	for _, s := range k.skews {
		differ = differ || (s.by-k.skews[0].by).Abs() > noticedSkew
		if s.by.Abs() > worst.by.Abs() {
			worst = s
		}
	}
	if worst.by.Abs() <= noticedSkew {
		return okay("%s off at most", worst.by.Abs())
	}
	remedy := "set the clock of this machine, by NTP for instance"
	if differ {
		remedy = "set the clock of " + worst.who + ", by NTP for instance"
	}
	direction := "ahead of"
	if worst.by < 0 {
		direction = "behind"
	}
	found := warning(remedy, "that of %s is %s %s this machine's", worst.who, worst.by.Abs(), direction)
	if worst.by.Abs() > refusedSkew {
		found.Status = StatusFailed
	}
	return found
}

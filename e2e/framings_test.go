package e2e

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"ssegw/e2e/stack"
)

// TestForcedFramings breaks uploads under the settings of SSEGW_UPSTREAM_BODY
// other than auto and logs what the stores make of them. docs/UPSTREAMS.md has
// the results. With chunks, nothing incomplete appears. With plain bodies, some
// stores keep a truncated object, but nothing incomplete of a sealed object can
// be read.
func TestForcedFramings(t *testing.T) {
	t.Parallel()
	long(t)
	onStores(t, func(t *testing.T, r *rig) {
		breaker := must(r.stack.StartBreaker(r.store.Endpoint))(t)
		first := r.faultGateway(t, breaker.Endpoint, nil)
		var cases []broken
		for _, setting := range []string{"trailer", "signed", "plain"} {
			if !may(t, setting) {
				continue
			}
			g := must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{
				Like: first, Env: map[string]string{"SSEGW_UPSTREAM_BODY": setting},
			}))(t)
			some := someBroken(t, setting)
			putOld(t, g, some)
			each(t, some, func(b broken) error { return breakUpstream(t, breaker, g, b) })
			if err := g.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			cases = append(cases, some...)
		}
		r.settle(t, first)
		client := sdkOf(t, first)
		for _, b := range cases {
			state, err := stateOf(t, client, b)
			t.Logf("%-60s %s: %v", b.name, state, err)
			if state != stateBad {
				continue
			}
			if setting, _, _ := strings.Cut(b.upload.key, "/"); setting != "plain" {
				t.Errorf("%s: %v", b.name, err)
			}
			var api smithy.APIError
			if b.upload.bucket == sealedBucket && (!errors.As(err, &api) || api.ErrorCode() != "XSsegwObjectNotAuthentic") {
				t.Errorf("%s: %v", b.name, err)
			}
		}
	})
}

// someBroken returns the uploads that stores most likely accept as complete: 3
// MiB in two framings, over an older object, with a connection that is closed
// in order.
func someBroken(t *testing.T, prefix string) []broken {
	t.Helper()
	var out []broken
	for _, b := range brokenUploads(t, prefix, never) {
		f := b.upload.framing
		if (f == unsigned || f == withMD5 || f == trailer) && b.old != nil && len(b.upload.body) == int(3*mib) {
			b.inOrder = true
			out = append(out, b)
		}
	}
	return out
}

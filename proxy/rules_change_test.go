package proxy

import (
	"context"

	"ssegw/proxy/state"
)

// setRule stores the bucket's rule in place of any other; nil removes it.
func setRule(ctx context.Context, s *state.State, bucket string, rule *state.Rule) error {
	return s.ChangeRule(ctx, bucket, func(*state.Rule) (*state.Rule, error) { return rule, nil })
}

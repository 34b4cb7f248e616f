package proxy

import "context"

// setRule stores the bucket's rule, whatever it was; nil removes it.
func (s *State) setRule(ctx context.Context, bucket string, rule *Rule) error {
	return s.changeRule(ctx, bucket, func(*Rule) (*Rule, error) { return rule, nil })
}

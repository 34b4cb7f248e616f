package proxy

import (
	"context"
	"errors"
	"net/http"
)

// CheckUpstream asks the upstream for the state bucket: nil says that the store
// answers and takes the gateway's credentials. A missing bucket is an answer.
func (s *State) CheckUpstream(ctx context.Context) error {
	resp, err := s.cfg.Upstream.expect(ctx, outgoing{method: http.MethodHead, bucket: s.cfg.Bucket})
	var answered *upstreamError
	if errors.As(err, &answered) && answered.status < 500 && answered.status != http.StatusForbidden {
		return nil
	}
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

package upstream

import (
	"net/http"
	"testing"
	"time"
)

// TestAnswerTimeouts checks how long the store has to answer each kind of
// request.
func TestAnswerTimeouts(t *testing.T) {
	t.Parallel()
	s := New(Config{})
	for name, tt := range map[string]struct {
		o    Request
		want time.Duration
	}{
		"small":    {Request{Method: http.MethodGet}, answerTimeout},
		"document": {Request{Method: http.MethodPost, Size: 4 << 20}, answerTimeout},
		"long":     {Request{Method: http.MethodPut, Size: longBody + 1}, idleTimeout},
		"copy":     {Request{Method: http.MethodPut, Copies: true}, copyFactor * idleTimeout},
	} {
		if got := s.transport(&tt.o).(*http.Transport).ResponseHeaderTimeout; got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

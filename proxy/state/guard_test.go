package state

import (
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestPanicInState checks that a panic in a sweep or a refresh of the rules is
// logged and does not end the process.
func TestPanicInState(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.ErrorLevel)
	s := &State{cfg: Config{Log: zap.New(core)}}
	s.guard("testing", func() { panic("boom") })
	if n := logs.FilterMessage("panic").Len(); n != 1 {
		t.Errorf("%d panics logged, want 1", n)
	}
}

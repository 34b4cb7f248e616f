package kms

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// A panic in a flight, or while an endpoint answers, becomes an error of the
// call.
func TestPanics(t *testing.T) {
	t.Parallel()
	flights := newFlights[string](DefaultPatience, func(*int) {})
	_, err := flights.do(t.Context(), "k", func(context.Context) (int, error) { panic("boom") })
	var p *panicError
	if !errors.As(err, &p) || p.value != "boom" || !strings.Contains(string(p.stack), "TestPanics") {
		t.Errorf("flight: %v", err)
	}
	e := &endpoint{url: "https://kes"} // without a transport
	if _, err := e.send(t.Context(), versionCall); !errors.As(err, &p) {
		t.Errorf("endpoint: %v", err)
	}
}

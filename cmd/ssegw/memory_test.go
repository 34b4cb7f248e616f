package main

import (
	"strings"
	"syscall"
	"testing"

	"ssegw/kms/kmstest"
)

// TestReleaser plays the looks of a gateway's life. Each step tells what the
// heap holds and what was allocated since the last step, in MiB.
func TestReleaser(t *testing.T) {
	t.Parallel()
	var r releaser
	var now memory
	for i, step := range []struct {
		held, allocated uint64
		due             bool
		left            uint64 // after the release
		why             string
	}{
		{20, 20, false, 0, "a small heap is left alone"},
		{300, 2000, false, 0, "a burst goes on"},
		{300, 76, false, 0, "it still goes on"},
		{300, 1, true, 40, "the burst is over"},
		{45, 5, false, 0, "there is nothing to release"},
		{51, 6, false, 0, "little has come since"},
		{72, 1, true, 72, "much has come since, and it turns out to be in use"},
		{75, 1, false, 0, "it rests"},
		{75, 1, false, 0, "it rests twice as long, because the release was in vain"},
		{75, 1, true, 30, "what was in use is garbage now"},
		{75, 1, false, 0, "it rests again"},
		{40, 1, false, 0, "the collector has run"},
		{70, 20, false, 0, "the heap grows"},
		{70, 1, true, 30, "it has grown and is quiet"},
	} {
		now.held, now.allocated = step.held<<20, now.allocated+step.allocated<<20
		if due := r.due(now); due != step.due {
			t.Fatalf("step %d: due %v, but %s", i, due, step.why)
		}
		if step.due {
			before := now.held
			now.held = step.left << 20
			r.released(before, now)
		}
	}
	if m := readMemory(); m.held == 0 || m.allocated == 0 {
		t.Errorf("the runtime tells %+v", m)
	}
}

// TestMemoryLimit checks that the operator's GOMEMLIMIT stays.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	p := start(t, environment(newStore(t), kmstest.NewServer(t), "GOMEMLIMIT=300MiB"))
	if line := p.logged(`"msg":"memory is limited"`); !strings.Contains(line, "314572800") {
		t.Errorf("logged: %q", line)
	}
	p.signal(syscall.SIGTERM)
	p.wait()
}

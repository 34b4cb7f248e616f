package main

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"ssegw/config"
	"ssegw/kms/kmstest"
	"ssegw/proxy/check"
)

func TestDescriptors(t *testing.T) {
	t.Parallel()
	cfg := &config.Config{KESEndpoint: "https://kes-{1...3}:7373", MaxRequests: 1000}
	const need = 3*1000 + 256 + 3*64 + 256
	for _, tt := range []struct {
		limit  uint64
		status check.Status
		remedy string // a part of it
	}{
		{1 << 20, check.StatusOK, ""},
		{need, check.StatusOK, ""},
		{need - 1, check.StatusWarning, "SSEGW_MAX_REQUESTS to 999"},
		{need - 300, check.StatusWarning, "raise the limit to 3704 "},
		{need - 300, check.StatusWarning, "SSEGW_MAX_REQUESTS to 900"},
		{256, check.StatusWarning, "ulimit -n in a shell)"},
	} {
		f := descriptorsFinding(cfg, tt.limit)
		if f.Status != tt.status || !strings.Contains(f.Remedy, tt.remedy) || (f.Remedy == "") != (tt.remedy == "") {
			t.Errorf("%d: %+v", tt.limit, f)
		}
	}
}

// TestLowLimitOfDescriptors checks that a gateway uses descriptors up to the
// hard limit, and that it and ssegw check warn if those are too few.
func TestLowLimitOfDescriptors(t *testing.T) {
	t.Parallel()
	store, kes := newStore(t), kmstest.NewServer(t)
	limited := func(limits string, env []string, args ...string) *exec.Cmd {
		cmd := command(t.Context(), t, env, args...)
		cmd.Args = append([]string{"/bin/sh", "-c", limits + ` exec "$0" "$@"`}, cmd.Args...)
		cmd.Path = cmd.Args[0]
		return cmd
	}
	env := environment(store, kes, "SSEGW_MAX_REQUESTS=100")
	for limits, warned := range map[string]bool{"ulimit -Sn 100; ulimit -Hn 2000;": false, "ulimit -n 800;": true} {
		p := startCommand(t, limited(limits, env))
		if line := p.logged("limit of file descriptors is low", "remedy"); (line != "") != warned {
			t.Errorf("%s logged %q", limits, line)
		}
		p.signal(syscall.SIGTERM)
		p.wait()
		out, _ := limited(limits, env, "check").CombinedOutput() // other checks fail at this store
		if shown := strings.Contains(string(out), "or set SSEGW_MAX_REQUESTS to "); shown != warned {
			t.Errorf("%s check printed %s", limits, out)
		}
	}
}

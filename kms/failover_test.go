package kms_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ssegw/kms"
	"ssegw/kms/kmstest"
)

const (
	// attempt is how long an endpoint may be silent in tests with servers that hang.
	attempt = 500 * time.Millisecond
	// patience is the same in tests that do not depend on it.
	patience = time.Minute
)

// cluster starts n servers in memory that share a store, and a client for all
// of them whose attempts take at most timeout. Tests that depend on time call
// it in a synctest bubble, whose clock is independent of the machine.
func cluster(t *testing.T, n int, timeout time.Duration) ([]*kmstest.Server, *kms.Client, *observer.ObservedLogs) {
	t.Helper()
	return newCluster(t, n, timeout, kmstest.WithNetwork(&kmstest.Network{}))
}

// tcpCluster is like cluster, over TCP.
func tcpCluster(t *testing.T, n int) ([]*kmstest.Server, *kms.Client, *observer.ObservedLogs) {
	t.Helper()
	return newCluster(t, n, patience)
}

func newCluster(t *testing.T, n int, timeout time.Duration, opts ...kmstest.Option) ([]*kmstest.Server, *kms.Client, *observer.ObservedLogs) {
	t.Helper()
	servers := []*kmstest.Server{kmstest.NewServer(t, opts...)}
	for range n - 1 {
		servers = append(servers, kmstest.NewServer(t, kmstest.WithStore(servers[0])))
	}
	config := servers[0].Config(servers[1:]...)
	config.Timeout = timeout * 9 / 5
	core, logs := observer.New(zap.InfoLevel)
	config.Log = zap.New(core)
	return servers, newClient(t, config), logs
}

// roundTrip generates a data key and unseals it.
func roundTrip(ctx context.Context, client *kms.Client) error {
	return client.Check(ctx, kmstest.DefaultKey)
}

func total(servers []*kmstest.Server) (n int) {
	for _, s := range servers {
		for _, requests := range s.AllRequests() {
			n += requests
		}
	}
	return n
}

func TestCallsAreSpread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, _ := cluster(t, 3, patience)
		for range 30 {
			if _, err := client.Generate(t.Context(), kmstest.DefaultKey, kms.Context{"a": "b"}); err != nil {
				t.Fatal(err)
			}
		}
		for i, s := range servers {
			if n := s.Requests(kmstest.OpGenerate); n != 10 {
				t.Errorf("server %d got %d of 30 calls, want 10", i, n)
			}
		}
	})
}

func TestOneEndpointFails(t *testing.T) {
	t.Parallel()
	faults := []struct {
		name  string
		start func(*kmstest.Server)
	}{
		{"stopped", func(s *kmstest.Server) { s.Stop() }},
		{"drops connections", func(s *kmstest.Server) { s.SetFault(kmstest.Fault{Drop: true}) }},
		{"loses answers", func(s *kmstest.Server) { s.SetFault(kmstest.Fault{DropAnswer: true}) }},
		{"hangs", func(s *kmstest.Server) { s.SetFault(kmstest.Fault{Hang: true}) }},
		{"slow", func(s *kmstest.Server) { s.SetFault(kmstest.Fault{Delay: time.Minute}) }},
		{"500", func(s *kmstest.Server) { s.SetFault(kmstest.Fault{Status: 500, Message: "failed to read key"}) }},
		{"501", func(s *kmstest.Server) { s.SetFault(kmstest.Fault{Status: 501}) }},
		{"502", func(s *kmstest.Server) { s.SetFault(kmstest.Fault{Status: 502, Body: []byte("<html>")}) }},
		{"503", func(s *kmstest.Server) { s.SetFault(kmstest.Fault{Status: 503}) }},
		{"answers without end", func(s *kmstest.Server) { s.SetFault(kmstest.Fault{Body: make([]byte, 4<<20)}) }},
	}
	for _, fault := range faults {
		for _, warm := range []bool{false, true} {
			t.Run(fault.name+map[bool]string{false: "", true: ", connections open"}[warm], func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					servers, client, _ := cluster(t, 2, attempt)
					for range 2 {
						if warm {
							if err := roundTrip(t.Context(), client); err != nil {
								t.Fatal(err)
							}
						}
					}
					fault.start(servers[0])
					start := time.Now()
					for range 10 {
						if err := roundTrip(t.Context(), client); err != nil {
							t.Fatal(err)
						}
					}
					// One attempt may find out. All other calls must avoid the
					// endpoint.
					if d := time.Since(start); d > 5*attempt {
						t.Errorf("20 calls took %v", d)
					}
				})
			})
		}
	}
}

func TestBodyIsSentWholeToTheNextEndpoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, _ := cluster(t, 3, patience)
		kctx := kms.Context{"bucket": "bucket/" + strings.Repeat("long/", 200)}
		for _, s := range servers[:2] {
			s.SetFault(kmstest.Fault{Status: 503})
		}
		dk, err := client.Generate(t.Context(), kmstest.DefaultKey, kctx)
		if err != nil {
			t.Fatal(err)
		}
		// The data key is bound to the context. KES would reject a truncated
		// body, but would accept an empty one and use no context.
		if _, err := client.Unseal(t.Context(), kmstest.DefaultKey, dk.Sealed, kctx); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Unseal(t.Context(), kmstest.DefaultKey, dk.Sealed, kms.Context{"a": "b"}); !errors.Is(err, kms.ErrInvalidCiphertext) {
			t.Errorf("got %v, want ErrInvalidCiphertext", err)
		}
	})
}

func TestRefusalIsFinal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, logs := cluster(t, 3, patience)
		for _, status := range []int{400, 401, 403, 404, 408, 429} {
			for _, s := range servers {
				s.ResetRequests()
				s.SetFault(kmstest.Fault{Status: status, Message: "no"})
			}
			if _, err := client.Generate(t.Context(), kmstest.DefaultKey, kms.Context{"a": "b"}); err == nil || errors.Is(err, kms.ErrUnreachable) {
				t.Errorf("%d: got %v", status, err)
			}
			if n := total(servers); n != 1 {
				t.Errorf("%d: %d requests, want 1", status, n)
			}
		}
		if n := logs.Len(); n != 0 {
			t.Errorf("%d log lines: an endpoint that refuses has not failed", n)
		}
	})
}

// fast returns the error of f, which must take less than 100 ms by the clock of
// the test's bubble. A retry that sleeps takes longer.
func fast(t *testing.T, f func() error) error {
	t.Helper()
	start := time.Now()
	err := f()
	if took := time.Since(start); took >= 100*time.Millisecond {
		t.Errorf("took %v", took)
	}
	return err
}

func TestAllEndpointsDownFailsFast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, _ := cluster(t, 3, patience)
		if err := roundTrip(t.Context(), client); err != nil { // with open connections, too
			t.Fatal(err)
		}
		for _, s := range servers {
			s.Stop()
		}
		for _, f := range []func() error{
			func() error { return roundTrip(t.Context(), client) },
			func() error { return client.Ensure(t.Context(), "k") },
			func() error { return client.Create(t.Context(), "k") },
			func() error { return client.Describe(t.Context(), "k") },
			func() error { _, err := client.List(t.Context(), ""); return err },
		} {
			err := fast(t, f)
			if !errors.Is(err, kms.ErrUnreachable) || !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("got %v, want ErrUnreachable and its cause", err)
			}
			for _, s := range servers {
				if !strings.Contains(err.Error(), s.Endpoint()) {
					t.Errorf("%v does not name %s", err, s.Endpoint())
				}
			}
		}
		servers[1].Start()
		if err := roundTrip(t.Context(), client); err != nil {
			t.Errorf("once one is back: %v", err)
		}
	})
}

func TestAllEndpointsAnswer503FailsFast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, _ := cluster(t, 2, patience)
		for _, s := range servers {
			s.SetFault(kmstest.Fault{Status: 503, Message: "key store is not reachable"})
		}
		err := fast(t, func() error {
			servers[0].ResetRequests()
			servers[1].ResetRequests()
			return roundTrip(t.Context(), client)
		})
		if !errors.Is(err, kms.ErrUnreachable) || !strings.Contains(err.Error(), "key store is not reachable") {
			t.Errorf("got %v, want ErrUnreachable with what KES said", err)
		}
		if n := servers[0].Requests(kmstest.OpGenerate) + servers[1].Requests(kmstest.OpGenerate); n != 2 {
			t.Errorf("%d requests, want one for each endpoint", n)
		}
	})
}

func TestAllEndpointsHungIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, _ := cluster(t, 2, attempt)
		for _, s := range servers {
			s.SetFault(kmstest.Fault{Hang: true})
		}
		start := time.Now()
		err := roundTrip(t.Context(), client)
		if d := time.Since(start); d < attempt || d > 4*attempt {
			t.Errorf("took %v, want little more than one attempt of %v: the second begins before the first ends", d, attempt)
		}
		if !errors.Is(err, kms.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want ErrUnreachable that is not the caller's deadline", err)
		}
	})
}

func TestHungEndpointLeavesTimeForTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, _ := cluster(t, 2, patience)
		servers[0].SetFault(kmstest.Fault{Hang: true})
		for range 2 { // each endpoint is first once
			ctx, cancel := context.WithTimeout(t.Context(), time.Second) // shorter than one attempt
			_, err := client.Generate(ctx, kmstest.DefaultKey, kms.Context{"a": "b"})
			cancel()
			if err != nil {
				t.Errorf("a hung endpoint used the whole deadline up: %v", err)
			}
		}
	})
}

func TestCallersDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, logs := cluster(t, 2, patience)
		for _, s := range servers {
			s.SetFault(kmstest.Fault{Hang: true})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := client.Generate(ctx, kmstest.DefaultKey, kms.Context{"a": "b"})
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("took %v", d)
		}
		if !errors.Is(err, kms.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want ErrUnreachable and DeadlineExceeded", err)
		}
		if n := logs.Len(); n != 0 {
			t.Errorf("%d log lines: endpoints were blamed for the caller's deadline", n)
		}
	})
}

func TestCallersCancellation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, logs := cluster(t, 1, patience)
		servers[0].SetFault(kmstest.Fault{Hang: true, Ops: []kmstest.Op{kmstest.OpGenerate}})
		why := errors.New("client went away")
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := client.Generate(ctx, kmstest.DefaultKey, kms.Context{"a": "b"})
			done <- err
		}()
		for total(servers) == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel(why)
		err := <-done
		if !errors.Is(err, context.Canceled) || !errors.Is(err, why) || errors.Is(err, kms.ErrUnreachable) {
			t.Errorf("got %v, want the cancellation and its cause alone", err)
		}
		if n := total(servers); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
		if n := logs.Len(); n != 0 {
			t.Errorf("%d log lines: an endpoint was blamed for the cancellation", n)
		}
		if _, err := client.Generate(ctx, kmstest.DefaultKey, kms.Context{"a": "b"}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want Canceled", err)
		}
		if n := total(servers); n != 1 {
			t.Errorf("a call whose context has ended was sent")
		}
	})
}

func TestFailureAndRecoveryAreLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, logs := cluster(t, 1, patience)
		servers[0].Stop()
		for range 3 {
			if err := roundTrip(t.Context(), client); !errors.Is(err, kms.ErrUnreachable) {
				t.Fatal(err)
			}
		}
		servers[0].Start()
		for range 3 {
			if err := roundTrip(t.Context(), client); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for _, entry := range logs.All() {
			got = append(got, entry.Message)
			if entry.ContextMap()["endpoint"] != servers[0].Endpoint() {
				t.Errorf("%v does not name the endpoint", entry)
			}
		}
		if s := strings.Join(got, "; "); s != "KES endpoint failed; KES endpoint answers again" {
			t.Errorf("got %q", s)
		}
	})
}

// A restart of KES closes idle connections. A call that uses such a connection
// must not fail, and must not be sent without its body.
func TestRestartBetweenCalls(t *testing.T) {
	t.Parallel()
	servers, client, logs := tcpCluster(t, 1)
	for range 20 {
		if err := roundTrip(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		servers[0].Stop()
		servers[0].Start()
	}
	if n := logs.Len(); n != 0 {
		t.Errorf("%d log lines, first: %v", n, logs.All()[0])
	}
}

func TestCreateWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, _ := cluster(t, 2, patience)
		lost := kmstest.Fault{DropAnswer: true, Ops: []kmstest.Op{kmstest.OpCreate}, Times: 1}
		for _, s := range servers {
			s.SetFault(lost)
		}
		// Both servers create the key, or find it created, and lose the answer.
		if err := client.Create(t.Context(), "k1"); !errors.Is(err, kms.ErrUnreachable) {
			t.Errorf("got %v, want ErrUnreachable", err)
		}
		if !servers[0].HasKey("k1") {
			t.Fatal("the fault made no key: the test is wrong")
		}
		// A later call did not create that key.
		if err := client.Create(t.Context(), "k1"); !errors.Is(err, kms.ErrKeyExists) {
			t.Errorf("got %v, want ErrKeyExists", err)
		}
		// One server creates the key and loses the answer, the other reports
		// that the key exists: this client created it.
		servers[0].SetFault(lost)
		confirmed := 0
		for _, name := range []string{"k2", "k3"} { // the one that loses the answer is first in one of the two calls
			client.Status(t.Context()) // closes both breakers
			servers[0].ResetRequests()
			servers[1].ResetRequests()
			if err := client.Create(t.Context(), name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if servers[0].Requests(kmstest.OpCreate) == 1 && servers[1].Requests(kmstest.OpCreate) == 1 {
				confirmed++
			}
		}
		if confirmed != 1 {
			t.Errorf("%d calls lost an answer, want 1: the test is wrong", confirmed)
		}
	})
}

func TestCreateAfterAFailureOfAKeyThatWasThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, _ := cluster(t, 2, patience)
		other := newOtherClient(t, servers[0])
		if err := other.Create(t.Context(), "theirs"); err != nil {
			t.Fatal(err)
		}
		servers[0].Stop()
		for range 2 {
			if err := client.Create(t.Context(), "theirs"); !errors.Is(err, kms.ErrKeyExists) {
				t.Errorf("got %v, want ErrKeyExists: another client made the key", err)
			}
		}
	})
}

// One server is killed and restarted again and again while eight callers keep
// calling. They must not notice.
func TestNoErrorsWhileServersRestart(t *testing.T) {
	t.Parallel()
	servers, client, _ := tcpCluster(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	var calls [8]atomic.Int64
	for i := range calls {
		callers.Go(func() {
			for ctx.Err() == nil {
				if err := roundTrip(t.Context(), client); err != nil {
					t.Error(err)
					return
				}
				calls[i].Add(1)
			}
		})
	}
	// renewed waits until all calls in progress have started after renewed was
	// called.
	renewed := func() {
		for i := range calls {
			for before := calls[i].Load(); calls[i].Load() < before+2 && !t.Failed(); {
				time.Sleep(time.Millisecond)
			}
		}
	}
	for i := range 10 {
		servers[i%2].Stop()
		renewed()
		servers[i%2].Start()
		renewed()
	}
	cancel()
	callers.Wait()
}

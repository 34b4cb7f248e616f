package kms_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ssegw/kms"
	"ssegw/kms/kmstest"
)

var (
	generate = []kmstest.Op{kmstest.OpGenerate}
	decrypt  = []kmstest.Op{kmstest.OpDecrypt}
)

// generateKey makes one call.
func generateKey(ctx context.Context, client *kms.Client) error {
	_, err := client.Generate(ctx, kmstest.DefaultKey, kms.Context{"a": "b"})
	return err
}

// eventually waits until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func TestSlowEndpointIsHedgedAndPutAside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, _ := cluster(t, 2, patience)
		servers[0].SetFault(kmstest.Fault{Delay: time.Minute, Ops: generate})
		for i := range 6 { // each server is first in three of the calls
			if client.Endpoints()[0].Open {
				t.Errorf("put aside before call %d", i)
			}
			start := time.Now()
			if err := generateKey(t.Context(), client); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("call %d took %v", i, d)
			}
		}
		slow, quick := client.Endpoints()[0], client.Endpoints()[1]
		if !slow.Open || slow.Strikes != 3 || quick.Hedges < 3 || quick.Strikes != 0 || quick.Open {
			t.Errorf("strikes of the slow one %d, hedges to the other %d, strikes of that %d", slow.Strikes, quick.Hedges, quick.Strikes)
		}
	})
}

// An endpoint whose keys are slow, but within the timeout of an attempt, costs
// callers little. That its version is fast does not close its breaker over and
// over.
func TestLateEndpointCostsLittle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const callers, late, slow = 4, 300 * time.Millisecond, 150 * time.Millisecond
		servers, client, _ := cluster(t, 2, attempt)
		for range 4 {
			if err := roundTrip(t.Context(), client); err != nil {
				t.Fatal(err)
			}
		}
		servers[0].SetFault(kmstest.Fault{Delay: late, Ops: generate})
		servers[0].ResetRequests()
		var calls, over atomic.Int64
		var wait sync.WaitGroup
		for end := time.Now().Add(4 * time.Second); time.Now().Before(end); {
			for range callers {
				wait.Go(func() {
					start := time.Now()
					if err := generateKey(t.Context(), client); err != nil {
						t.Error(err)
					}
					calls.Add(1)
					if time.Since(start) > slow {
						over.Add(1)
					}
				})
			}
			wait.Wait()
			time.Sleep(5 * time.Millisecond)
		}
		asked := servers[0].Requests(kmstest.OpGenerate)
		t.Logf("%d calls, %d over %v, %d requests to the late server", calls.Load(), over.Load(), slow, asked)
		if over.Load() > 8 {
			t.Errorf("%d of %d calls took more than %v", over.Load(), calls.Load(), slow)
		}
		if asked > 100 {
			t.Errorf("the late server was asked for %d keys", asked)
		}
	})
}

// If all endpoints are slow, none of them fails, and after a while each call is
// sent only once.
func TestSlowClusterStaysInUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, logs := cluster(t, 3, patience)
		for _, s := range servers {
			s.SetFault(kmstest.Fault{Delay: 60 * time.Millisecond, Ops: generate})
		}
		for range 20 {
			if err := generateKey(t.Context(), client); err != nil {
				t.Fatal(err)
			}
		}
		open := 0
		for i, s := range servers {
			s.ResetRequests()
			if client.Endpoints()[i].Open {
				open++
			}
		}
		if open == len(servers) {
			t.Error("all were put aside for being slow")
		}
		for range 9 {
			if err := generateKey(t.Context(), client); err != nil {
				t.Fatal(err)
			}
		}
		if n := servers[0].Requests(kmstest.OpGenerate) + servers[1].Requests(kmstest.OpGenerate) + servers[2].Requests(kmstest.OpGenerate); n > 12 {
			t.Errorf("%d requests for 9 calls, log: %v", n, logs.All())
		}
	})
}

// storm makes calls from several callers until stop is closed, and returns how
// many failed.
func storm(t *testing.T, client *kms.Client, callers int, stop <-chan struct{}) int64 {
	t.Helper()
	var failed atomic.Int64
	var wait sync.WaitGroup
	for range callers {
		wait.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				err := generateKey(ctx, client)
				cancel()
				switch {
				case errors.Is(err, kms.ErrUnreachable):
					failed.Add(1)
				case err != nil:
					t.Error(err)
				default:
					time.Sleep(time.Millisecond) // answers take no time in memory
				}
			}
		})
	}
	wait.Wait()
	return failed.Load()
}

// A hundred callers that retry after each error must not overload a cluster
// that is down or failing.
func TestNoStorm(t *testing.T) {
	t.Parallel()
	const callers, seconds = 100, 2
	tests := []struct {
		name  string
		fault kmstest.Fault
		most  int // requests per second and endpoint
	}{
		{"connections are closed", kmstest.Fault{Drop: true}, 30},
		{"hung", kmstest.Fault{Hang: true}, 30},
		{"503 to all", kmstest.Fault{Status: 503}, 30},
		// Probes succeed. Each time, the calls that wait are sent, up to 64,
		// and not more often than every 200 ms.
		{"503 to data keys alone", kmstest.Fault{Status: 503, Ops: generate}, 500},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				servers, client, _ := cluster(t, 2, 100*time.Millisecond)
				for _, s := range servers {
					s.SetFault(tt.fault)
				}
				// Do not count the first calls, before the breakers open.
				for _, e := range []int{0, 1} {
					eventually(t, "the breaker is open", func() bool {
						if err := generateKey(t.Context(), client); err == nil {
							t.Fatal("a call succeeded")
						}
						return client.Endpoints()[e].Open
					})
				}
				for _, s := range servers {
					s.ResetRequests()
				}
				stop := make(chan struct{})
				time.AfterFunc(seconds*time.Second, func() { close(stop) })
				start := time.Now()
				failed := storm(t, client, callers, stop)
				took := time.Since(start)
				if failed < callers {
					t.Errorf("%d calls failed, want at least one of each caller", failed)
				}
				if took > (seconds+5)*time.Second { // the last calls get a second, on a machine that may be busy
					t.Errorf("calls ended %v after the first began: they outlast their deadlines", took)
				}
				for i := range servers {
					perSecond := float64(total(servers[i:i+1])) / took.Seconds()
					if perSecond > float64(tt.most) {
						t.Errorf("server %d saw %.0f requests/s, want at most %d", i, perSecond, tt.most)
					}
					t.Logf("server %d: %.0f requests/s for %.0f failed calls/s", i, perSecond, float64(failed)/took.Seconds())
				}
			})
		})
	}
}

// When one endpoint is back, calls succeed within a second, however long all
// endpoints were down.
func TestRecoveryIsNoticedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, _ := cluster(t, 2, attempt)
		for _, s := range servers {
			s.Stop()
		}
		stop, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			storm(t, client, 10, stop)
		}()
		time.Sleep(2 * time.Second) // longer than the longest pause between probes
		servers[1].Start()
		start := time.Now()
		eventually(t, "a data key was made", func() bool { return servers[1].Requests(kmstest.OpGenerate) > 0 })
		if d := time.Since(start); d > time.Second {
			t.Errorf("noticed after %v", d)
		}
		close(stop)
		<-ended

		// It also recovers without callers: the first call succeeds.
		servers[1].Stop()
		for generateKey(t.Context(), client) == nil {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		servers[1].Start()
		start = time.Now()
		if err := generateKey(t.Context(), client); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("took %v", d)
		}
	})
}

// An endpoint is judged by how it performs, not by how long callers wait.
func TestHungEndpointIsFoundThoughCallersLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, _ := cluster(t, 1, 200*time.Millisecond)
		servers[0].SetFault(kmstest.Fault{Hang: true})
		eventually(t, "the breaker is open", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			if err := generateKey(ctx, client); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, kms.ErrUnreachable) {
				t.Fatal(err)
			}
			return client.Endpoints()[0].Open
		})
		if e := client.Endpoints()[0]; e.Err != "no answer in time" || e.Requests[0].Result != "timeout" {
			t.Errorf("got %+v", e)
		}
	})
}

func TestCallsInFlightAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, _ := cluster(t, 1, patience)
		servers[0].SetFault(kmstest.Fault{Hang: true, Ops: generate})
		ctx, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() { generateKey(ctx, client) }) //nolint:errcheck // canceled
		}
		eventually(t, "64 requests", func() bool { return servers[0].Requests(kmstest.OpGenerate) == 64 })
		short, cancelShort := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancelShort()
		if err := generateKey(short, client); !errors.Is(err, kms.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want ErrUnreachable and DeadlineExceeded", err)
		}
		if n := servers[0].Requests(kmstest.OpGenerate); n != 64 {
			t.Errorf("%d requests, want 64", n)
		}
		if e := client.Endpoints()[0]; e.Open {
			t.Error("an endpoint was blamed for calls that waited")
		}
		cancel()
		callers.Wait()
	})
}

// Callers who leave do not free their slots while KES still works on their
// requests.
func TestCallersWhoLeaveKeepTheirSlots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, _ := cluster(t, 1, patience)
		servers[0].SetFault(kmstest.Fault{Hang: true, Ops: generate})
		// wave starts 100 callers, who leave when left is closed.
		wave := func(left <-chan struct{}) *sync.WaitGroup {
			ctx, cancel := context.WithCancel(t.Context())
			var callers sync.WaitGroup
			for range 100 {
				callers.Go(func() {
					if err := generateKey(ctx, client); !errors.Is(err, context.Canceled) {
						t.Errorf("got %v, want Canceled", err)
					}
				})
			}
			go func() {
				<-left
				cancel()
			}()
			return &callers
		}
		left := make(chan struct{})
		callers := wave(left)
		eventually(t, "64 requests", func() bool { return servers[0].Requests(kmstest.OpGenerate) == 64 })
		close(left)
		callers.Wait()
		for range 4 {
			left := make(chan struct{})
			time.AfterFunc(100*time.Millisecond, func() { close(left) })
			wave(left).Wait()
		}
		if n := servers[0].Requests(kmstest.OpGenerate); n != 64 {
			t.Errorf("%d requests of 500 callers, want 64", n)
		}
		servers[0].SetFault(kmstest.Fault{})
		if err := generateKey(t.Context(), client); err != nil {
			t.Errorf("once KES has answered: %v", err)
		}
	})
}

func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, logs := cluster(t, 2, patience)
		for _, s := range servers {
			s.SetFault(kmstest.Fault{Hang: true})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := generateKey(ctx, client); err == nil {
			t.Fatal("no error")
		}
		start := time.Now()
		client.Close()
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("took %v: abandoned requests were not ended", d)
		}
		for what, call := range map[string]func() error{
			"Generate": func() error { return generateKey(t.Context(), client) },
			"GenerateShared": func() error {
				_, err := client.GenerateShared(t.Context(), kmstest.DefaultKey, kms.BucketContext("b"))
				return err
			},
			"UnsealCached": func() error {
				_, _, err := client.UnsealCached(t.Context(), kmstest.DefaultKey, []byte("sealed"), kms.BucketContext("b"))
				return err
			},
		} {
			if err := call(); !errors.Is(err, kms.ErrUnreachable) {
				t.Errorf("%s of a closed client: %v", what, err)
			}
		}
		client.Close()
		if n := logs.Len(); n != 0 {
			t.Errorf("%d log lines: endpoints were blamed for the end", n)
		}
	})
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	servers, client, _ := cluster(t, 1, patience)
	server := servers[0]
	if err := roundTrip(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	if err := client.Describe(t.Context(), "nokey"); !errors.Is(err, kms.ErrKeyNotFound) {
		t.Fatal(err)
	}
	server.SetFault(kmstest.Fault{Status: 503, Message: "sealed", Ops: []kmstest.Op{kmstest.OpList, kmstest.OpVersion}})
	if _, err := client.List(t.Context(), ""); !errors.Is(err, kms.ErrUnreachable) {
		t.Fatal(err)
	}
	e := client.Endpoints()[0]
	if e.Endpoint != server.Endpoint() || !e.Open || e.Err != "KES answered 503: sealed" {
		t.Errorf("got %+v", e)
	}
	got := make(map[string]uint64)
	for _, r := range e.Requests {
		if r.Op != "version" { // skip probes
			got[r.Op+" "+r.Result] = r.Count
		}
	}
	want := map[string]uint64{"generate ok": 1, "unseal ok": 1, "describe refused": 1, "list failed": 1}
	for k, n := range want {
		if got[k] != n {
			t.Errorf("%s: %d, want %d", k, got[k], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if e.Latency.Count != 3 || e.Latency.Sum <= 0 || e.Latency.Quantile(0.5) <= 0 || e.Latency.Quantile(1) < e.Latency.Quantile(0.5) {
		t.Errorf("latency %+v", e.Latency)
	}
	server.SetFault(kmstest.Fault{})
	eventually(t, "the breaker is closed", func() bool { return !client.Endpoints()[0].Open })
	if e := client.Endpoints()[0]; e.Err != "" {
		t.Errorf("well, and %q", e.Err)
	}
}

// An answer to Status that is too slow for a probe does not close a breaker.
func TestLateStatusLeavesTheBreakerOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, _ := cluster(t, 1, attempt)
		servers[0].SetFault(kmstest.Fault{Status: 503})
		if err := generateKey(t.Context(), client); !errors.Is(err, kms.ErrUnreachable) {
			t.Fatal(err)
		}
		servers[0].SetFault(kmstest.Fault{Delay: 400 * time.Millisecond, Ops: []kmstest.Op{kmstest.OpVersion}})
		if s := client.Status(t.Context())[0]; !s.Online {
			t.Fatalf("the test is wrong: %+v", s)
		}
		if !client.Endpoints()[0].Open {
			t.Error("the breaker was closed")
		}
		servers[0].SetFault(kmstest.Fault{})
		eventually(t, "the breaker is closed", func() bool {
			client.Status(t.Context())
			return !client.Endpoints()[0].Open
		})
	})
}

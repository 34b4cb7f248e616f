package kms_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ssegw/kms"
	"ssegw/kms/kmstest"
)

// burst starts that many calls at once, each with the patience of a client, and
// calls ended with the result of each. It waits until all have ended.
func burst(t *testing.T, client *kms.Client, calls int, ended func(error)) {
	t.Helper()
	var wait sync.WaitGroup
	var mu sync.Mutex
	for range calls {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), kms.DefaultPatience)
			defer cancel()
			err := generateKey(ctx, client)
			mu.Lock()
			defer mu.Unlock()
			ended(err)
		})
	}
	wait.Wait()
}

func hedges(client *kms.Client) (n uint64) {
	for _, e := range client.Endpoints() {
		n += e.Hedges
	}
	return n
}

// A cluster that is slow because of a burst is waited for, and hedges do not
// make it slower: each call takes far longer than the delay of a hedge.
func TestSlowClusterIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, endpoints := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			const calls = 400
			servers, client, logs := cluster(t, endpoints, attempt)
			for _, s := range servers {
				s.SetFault(kmstest.Fault{Delay: time.Duration(endpoints) * 20 * time.Millisecond, OneByOne: true, Ops: generate})
			}
			start := time.Now()
			burst(t, client, calls, func(err error) {
				if err != nil {
					t.Error(err)
				}
			})
			if took := time.Since(start); took < 8*time.Second || took > 9*time.Second {
				t.Errorf("took %v: the test is wrong", took)
			}
			if n := logs.Len(); n != 0 {
				t.Errorf("%d log lines, first: %v", n, logs.All()[0])
			}
			asked := 0
			for _, s := range servers {
				asked += s.Requests(kmstest.OpGenerate)
			}
			if limit := calls + calls/20 + 10; asked > limit {
				t.Errorf("%d requests for %d calls, want at most %d", asked, calls, limit)
			}
			if n := hedges(client); int(n) != asked-calls {
				t.Errorf("%d hedges counted, %d made", n, asked-calls)
			}
		})
	}
}

// A cluster that answers nobody is refused within a second, however many
// callers there are.
func TestSilentClusterIsRefusedSoon(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]kmstest.Fault{
		"hung":           {Hang: true},
		"key store hung": {Hang: true, Ops: generate},
		"very slow":      {Delay: time.Minute, Ops: generate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				servers, client, _ := cluster(t, 3, attempt)
				for _, s := range servers {
					s.SetFault(fault)
				}
				for range 3 { // from all breakers closed, and while they are open
					start := time.Now()
					burst(t, client, 500, func(err error) {
						if took := time.Since(start); took > kms.DefaultTimeout {
							t.Errorf("refused after %v", took)
						}
						if !errors.Is(err, kms.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
							t.Errorf("got %v, want ErrUnreachable that is not the caller's deadline", err)
						}
					})
				}
			})
		})
	}
}

// Callers that wait for a slow cluster learn within a second that it has fallen
// silent.
func TestSlowClusterFallsSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, _ := cluster(t, 1, attempt)
		servers[0].SetFault(kmstest.Fault{Delay: 50 * time.Millisecond, OneByOne: true, Ops: generate})
		// The requests that the server has then are still answered.
		time.AfterFunc(3*time.Second, func() { servers[0].SetFault(kmstest.Fault{Hang: true}) })
		answered, last := 0, time.Now()
		burst(t, client, 200, func(err error) {
			switch {
			case err == nil:
				answered++
				last = time.Now()
			case !errors.Is(err, kms.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded):
				t.Error(err)
			case time.Since(last) > kms.DefaultTimeout:
				t.Errorf("refused %v after the last answer", time.Since(last))
			}
		})
		if answered < 60 || answered > 130 {
			t.Errorf("%d calls were answered: the test is wrong", answered)
		}
	})
}

// Calls are served in the order in which they came.
func TestCallsAreServedInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const calls = 150 // more than may be in flight
		servers, client, _ := cluster(t, 1, attempt)
		servers[0].SetFault(kmstest.Fault{Delay: 10 * time.Millisecond, OneByOne: true, Ops: generate})
		var order, want []int
		var mu sync.Mutex
		var wait sync.WaitGroup
		for i := range calls {
			want = append(want, i)
			wait.Go(func() {
				if err := generateKey(t.Context(), client); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
			})
			synctest.Wait() // until the call waits for an answer or a place
		}
		wait.Wait()
		if !slices.Equal(order, want) {
			t.Errorf("served in the order %v", order)
		}
	})
}

// A request that gets no answer from endpoints that answer others is sent again,
// and is not an endpoint's fault. Its caller has an answer within a second.
func TestLostRequest(t *testing.T) {
	t.Parallel()
	for _, endpoints := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			servers, client, logs := cluster(t, endpoints, attempt)
			dk := sealedKey(t, client, kms.Context{"b": "b/k"})
			for _, s := range servers {
				s.SetFault(kmstest.Fault{Hang: true, Times: 1, Ops: decrypt})
			}
			start := time.Now()
			err := besideOthers(t, client, func() error {
				_, err := client.Unseal(t.Context(), dk.KeyName, dk.Sealed, kms.Context{"b": "b/k"})
				return err
			})
			if took := time.Since(start); err != nil || took > time.Second {
				t.Errorf("%d endpoints: after %v: %v", endpoints, took, err)
			}
			if n := logs.Len(); n != 0 || client.Endpoints()[0].Open {
				t.Errorf("an endpoint was blamed: %v", logs.All())
			}
		})
	}
}

// A request that gets no answer although it is sent again is given up after
// Patience.
func TestPatienceEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers, client, logs := cluster(t, 1, attempt)
		dk := sealedKey(t, client, kms.Context{"b": "b/k"})
		servers[0].SetFault(kmstest.Fault{Hang: true, Ops: decrypt})
		start := time.Now()
		err := besideOthers(t, client, func() error {
			_, err := client.Unseal(t.Context(), dk.KeyName, dk.Sealed, kms.Context{"b": "b/k"})
			return err
		})
		if took := time.Since(start); took < kms.DefaultPatience || took > kms.DefaultPatience+time.Second {
			t.Errorf("given up after %v", took)
		}
		if !errors.Is(err, kms.ErrUnreachable) {
			t.Errorf("got %v, want ErrUnreachable", err)
		}
		if n := logs.Len(); n != 0 || client.Endpoints()[0].Open {
			t.Errorf("the endpoint was blamed: %v", logs.All())
		}
		if asked := servers[0].Requests(kmstest.OpDecrypt); asked != 3 {
			t.Errorf("asked %d times", asked)
		}
	})
}

// besideOthers makes a call, and generates data keys until it ends.
func besideOthers(t *testing.T, client *kms.Client, call func() error) error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- call() }()
	for {
		select {
		case err := <-ended:
			return err
		case <-time.After(100 * time.Millisecond):
			if err := generateKey(t.Context(), client); err != nil {
				t.Error(err)
			}
		}
	}
}

// When an endpoint hangs, its calls go to another one even without hedges. They
// do so as soon as the endpoint has failed one of them.
func TestFailoverIsNoHedge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const calls = 18 // they earn no hedge
		servers, client, _ := cluster(t, 2, attempt)
		servers[0].SetFault(kmstest.Fault{Hang: true})
		client.SpendHedges()
		start := time.Now()
		ended := func(err error) {
			if err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took > attempt+100*time.Millisecond {
				t.Errorf("took %v", took)
			}
		}
		var wait sync.WaitGroup
		wait.Go(func() { burst(t, client, calls/2, ended) })
		time.Sleep(attempt - 10*time.Millisecond)
		burst(t, client, calls/2, ended)
		wait.Wait()
		if n := hedges(client); n != 0 {
			t.Errorf("%d hedges", n)
		}
		if n := servers[1].Requests(kmstest.OpGenerate); n != calls {
			t.Errorf("%d requests to the other, want %d", n, calls)
		}
	})
}

// A burst of new connections resumes the TLS session of the first one.
func TestSessionIsResumed(t *testing.T) {
	t.Parallel()
	const calls = 10
	servers, client, _ := tcpCluster(t, 1)
	if err := generateKey(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	servers[0].SetFault(kmstest.Fault{Hang: true, Ops: generate})
	servers[0].ResetRequests()
	var wait sync.WaitGroup
	for range calls {
		wait.Go(func() {
			if err := generateKey(t.Context(), client); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "all requests", func() bool { return servers[0].Requests(kmstest.OpGenerate) == calls })
	servers[0].SetFault(kmstest.Fault{})
	wait.Wait()
	if n := servers[0].Resumed(); n != calls-1 { // one had a connection
		t.Errorf("%d of %d calls were on a resumed session", n, calls)
	}
}

package kms_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ssegw/kms"
	"ssegw/kms/kmstest"
)

// keeper starts a server and a client that caches data keys. change modifies
// the configuration.
func keeper(t *testing.T, change func(*kms.Config)) (*kmstest.Server, *kms.Client) {
	t.Helper()
	server := kmstest.NewServer(t, kmstest.WithNetwork(&kmstest.Network{}), kmstest.WithKeys("other"))
	config := server.Config()
	change(&config)
	return server, newClient(t, config)
}

func cached(ttl time.Duration) func(*kms.Config) {
	return func(c *kms.Config) { c.CacheTTL = ttl }
}

// sealedKey returns a data key under the default key, for a context.
func sealedKey(t *testing.T, client *kms.Client, kctx kms.Context) kms.DataKey {
	t.Helper()
	dk, err := client.Generate(t.Context(), kmstest.DefaultKey, kctx)
	if err != nil {
		t.Fatal(err)
	}
	return dk
}

func TestUnsealCached(t *testing.T) {
	t.Parallel()
	server, client := keeper(t, cached(time.Hour))
	kctx := kms.Context{"b": "b/k"}
	dk := sealedKey(t, client, kctx)
	for i := range 5 {
		key, hit, err := client.UnsealCached(t.Context(), dk.KeyName, dk.Sealed, kms.Context{"b": "b/k"})
		if err != nil {
			t.Fatal(err)
		}
		if key != dk.Plaintext {
			t.Fatalf("call %d: another key", i)
		}
		if hit != (i > 0) {
			t.Errorf("call %d: cached %v", i, hit)
		}
		key.Wipe() // a copy
	}
	if n := server.Requests(kmstest.OpDecrypt); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	if s := client.Stats(); s.CacheHits != 4 || s.CacheMisses != 1 || s.Cached != 1 {
		t.Errorf("got %+v", s)
	}

	server.Stop() // an entry is only for its own name, context and sealed form
	for name, f := range map[string]func() error{
		"other context": func() error {
			_, _, err := client.UnsealCached(t.Context(), dk.KeyName, dk.Sealed, kms.Context{"b": "b/l"})
			return err
		},
		"other key": func() error {
			_, _, err := client.UnsealCached(t.Context(), "other", dk.Sealed, kctx)
			return err
		},
		"other form": func() error {
			_, _, err := client.UnsealCached(t.Context(), dk.KeyName, dk.Sealed[1:], kctx)
			return err
		},
		"the uncached call": func() error {
			_, err := client.Unseal(t.Context(), dk.KeyName, dk.Sealed, kctx)
			return err
		},
	} {
		if err := f(); !errors.Is(err, kms.ErrUnreachable) {
			t.Errorf("%s: got %v, want ErrUnreachable", name, err)
		}
	}
	if key, _, err := client.UnsealCached(t.Context(), dk.KeyName, dk.Sealed, kctx); err != nil || key != dk.Plaintext {
		t.Errorf("with KES away: %v", err)
	}
}

func TestCachedKeyEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const ttl = 300 * time.Millisecond
		server, client := keeper(t, cached(ttl))
		kctx := kms.Context{"b": "b/k"}
		dk := sealedKey(t, client, kctx)
		open := func() (bool, error) {
			_, hit, err := client.UnsealCached(t.Context(), dk.KeyName, dk.Sealed, kctx)
			return hit, err
		}
		start := time.Now()
		if _, err := open(); err != nil {
			t.Fatal(err)
		}
		server.Stop()
		hits := 0
		for { // reads must not extend its life
			hit, err := open()
			took := time.Since(start)
			if err != nil {
				if took < ttl {
					t.Errorf("gone after %v", took)
				}
				break
			}
			if !hit {
				t.Fatal("KES was asked, and is stopped")
			}
			hits++
			if took > ttl {
				t.Fatal("does not end")
			}
			time.Sleep(ttl / 10)
		}
		if hits == 0 {
			t.Error("never kept")
		}
		eventually(t, "the key is wiped without another call", func() bool { return client.Stats().Cached == 0 })
		server.Start()
		if hit, err := open(); hit || err != nil {
			t.Errorf("afterwards: cached %v, %v", hit, err)
		}
	})
}

func TestCacheOff(t *testing.T) {
	t.Parallel()
	server, client := keeper(t, cached(0))
	kctx := kms.Context{"b": "b/k"}
	dk := sealedKey(t, client, kctx)
	for range 3 {
		if _, hit, err := client.UnsealCached(t.Context(), dk.KeyName, dk.Sealed, kctx); hit || err != nil {
			t.Errorf("cached %v, %v", hit, err)
		}
	}
	if n := server.Requests(kmstest.OpDecrypt); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
	if s := client.Stats(); s.Cached != 0 || s.CacheHits != 0 || s.CacheMisses != 3 {
		t.Errorf("got %+v", s)
	}
}

func TestErrorsAreNotCached(t *testing.T) {
	t.Parallel()
	server, client := keeper(t, cached(time.Hour))
	kctx := kms.Context{"b": "b/k"}
	dk := sealedKey(t, client, kctx)
	server.Deny(dk.KeyName)
	if key, _, err := client.UnsealCached(t.Context(), dk.KeyName, dk.Sealed, kctx); !errors.Is(err, kms.ErrNotAllowed) || key != (kms.Secret{}) {
		t.Errorf("got %v, want ErrNotAllowed and no key", err)
	}
	server.Allow(dk.KeyName)
	if _, hit, err := client.UnsealCached(t.Context(), dk.KeyName, dk.Sealed, kctx); hit || err != nil {
		t.Errorf("cached %v, %v", hit, err)
	}
}

// Concurrent calls for one data key share one request, even if the first caller
// leaves.
func TestOneFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, ttl := range []time.Duration{0, time.Hour} {
			server, client := keeper(t, cached(ttl))
			kctx := kms.Context{"b": "b/k"}
			dk := sealedKey(t, client, kctx)
			server.SetFault(kmstest.Fault{Hang: true, Ops: []kmstest.Op{kmstest.OpDecrypt}})
			first, leave := context.WithCancel(t.Context())
			left := make(chan error, 1)
			go func() {
				_, _, err := client.UnsealCached(first, dk.KeyName, dk.Sealed, kctx)
				left <- err
			}()
			eventually(t, "the first request", func() bool { return server.Requests(kmstest.OpDecrypt) == 1 })
			var others sync.WaitGroup
			for range 20 {
				others.Go(func() {
					key, _, err := client.UnsealCached(t.Context(), dk.KeyName, dk.Sealed, kctx)
					if err != nil || key != dk.Plaintext {
						t.Errorf("got %v", err)
					}
				})
			}
			eventually(t, "all wait", func() bool { return client.Stats().CacheMisses == 21 })
			leave()
			if err := <-left; !errors.Is(err, context.Canceled) || errors.Is(err, kms.ErrUnreachable) {
				t.Errorf("the one who left got %v, want Canceled", err)
			}
			time.Sleep(10 * time.Millisecond) // the last caller has been counted, but may not be waiting yet
			server.SetFault(kmstest.Fault{})
			others.Wait()
			if n := server.Requests(kmstest.OpDecrypt); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		}
	})
}

func TestUnsealCachedOfACallerWhoHasLeft(t *testing.T) {
	t.Parallel()
	server, client := keeper(t, cached(time.Hour))
	kctx := kms.Context{"b": "b/k"}
	dk := sealedKey(t, client, kctx)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := client.UnsealCached(ctx, dk.KeyName, dk.Sealed, kctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
	if n := server.Requests(kmstest.OpDecrypt); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}

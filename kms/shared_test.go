package kms_test

import (
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ssegw/kms"
	"ssegw/kms/kmstest"
)

// share requests a shared data key under the default key.
func share(t *testing.T, client *kms.Client, kctx kms.Context) kms.DataKey {
	t.Helper()
	dk, err := client.GenerateShared(t.Context(), kmstest.DefaultKey, kctx)
	if err != nil {
		t.Fatal(err)
	}
	return dk
}

func TestGenerateShared(t *testing.T) {
	t.Parallel()
	server, client := keeper(t, cached(time.Hour))
	kctx := kms.BucketContext("b")
	var wait sync.WaitGroup
	var mu sync.Mutex
	keys := make(map[kms.Secret]int)
	for range 100 {
		wait.Go(func() {
			dk, err := client.GenerateShared(t.Context(), kmstest.DefaultKey, kctx)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			keys[dk.Plaintext]++
			mu.Unlock()
			dk.Plaintext.Wipe() // a copy
		})
	}
	wait.Wait()
	if n := server.Requests(kmstest.OpGenerate); n != 1 || len(keys) != 1 {
		t.Errorf("%d requests and %d keys, want one each", n, len(keys))
	}
	dk := share(t, client, kctx)
	if dk.KeyName != kmstest.DefaultKey || len(dk.Sealed) == 0 || keys[dk.Plaintext] != 100 {
		t.Errorf("another key: %v", dk)
	}
	if key, hit, err := client.UnsealCached(t.Context(), dk.KeyName, dk.Sealed, kctx); err != nil || !hit || key != dk.Plaintext {
		t.Errorf("opening one's own: cached %v, %v", hit, err)
	}
	if key, err := client.Unseal(t.Context(), dk.KeyName, dk.Sealed, kctx); err != nil || key != dk.Plaintext {
		t.Errorf("KES does not open it: %v", err)
	}
	if s := client.Stats(); s.SharedMade != 1 || s.SharedUsed != 101 || s.Shared != 1 {
		t.Errorf("got %+v", s)
	}

	if other := share(t, client, kms.BucketContext("c")); other.Plaintext == dk.Plaintext {
		t.Error("two buckets share a key")
	}
	other, err := client.GenerateShared(t.Context(), "other", kctx)
	if err != nil {
		t.Fatal(err)
	}
	if other.Plaintext == dk.Plaintext || other.KeyName != "other" {
		t.Error("two KES keys share a data key")
	}
	if again := share(t, client, kctx); again.Plaintext != dk.Plaintext {
		t.Error("the key of one bucket took the place of another's")
	}
}

func TestGenerateSharedRefuses(t *testing.T) {
	t.Parallel()
	server, client := keeper(t, cached(0))
	for _, tt := range []struct {
		name string
		kctx kms.Context
		want error
	}{
		{"nokey", kms.BucketContext("b"), kms.ErrKeyNotFound},
		{"a/b", kms.BucketContext("b"), kms.ErrInvalidKeyName},
		{kmstest.DefaultKey, nil, kms.ErrContextRequired},
	} {
		for range 2 { // errors are not cached
			if dk, err := client.GenerateShared(t.Context(), tt.name, tt.kctx); !errors.Is(err, tt.want) || dk.Plaintext != (kms.Secret{}) {
				t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
			}
		}
	}
	if n := server.Requests(kmstest.OpGenerate); n != 2 {
		t.Errorf("%d requests, want 2 for the key that is not there", n)
	}
	server.CreateKey("nokey")
	if _, err := client.GenerateShared(t.Context(), "nokey", kms.BucketContext("b")); err != nil {
		t.Error(err)
	}
}

// No key is used more often than allowed, even by concurrent callers.
func TestSharedUses(t *testing.T) {
	t.Parallel()
	const uses, callers = 7, 100
	server, client := keeper(t, func(c *kms.Config) { c.SharedUses = uses })
	var wait sync.WaitGroup
	var mu sync.Mutex
	keys := make(map[kms.Secret]int)
	for range callers {
		wait.Go(func() {
			dk, err := client.GenerateShared(t.Context(), kmstest.DefaultKey, kms.BucketContext("b"))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			keys[dk.Plaintext]++
			mu.Unlock()
		})
	}
	wait.Wait()
	for _, n := range keys {
		if n > uses {
			t.Errorf("a key was used %d times, may be %d times", n, uses)
		}
	}
	if n := server.Requests(kmstest.OpGenerate); n > callers {
		t.Errorf("%d requests for %d callers", n, callers)
	}
}

func TestSharedInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const interval = 500 * time.Millisecond
		server, client := keeper(t, func(c *kms.Config) { c.SharedInterval, c.SharedUses = interval, math.MaxInt32 })
		kctx := kms.BucketContext("b")
		start := time.Now()
		first := share(t, client, kctx)
		server.Stop()
		for {
			dk, err := client.GenerateShared(t.Context(), kmstest.DefaultKey, kctx)
			took := time.Since(start)
			if err != nil {
				if !errors.Is(err, kms.ErrUnreachable) || took < interval {
					t.Errorf("after %v: %v", took, err)
				}
				break
			}
			if dk.Plaintext != first.Plaintext {
				t.Fatal("a key from nowhere")
			}
			if took > interval {
				t.Fatal("used past its interval")
			}
			time.Sleep(interval / 10)
		}
		server.Start()
		if second := share(t, client, kctx); second.Plaintext == first.Plaintext {
			t.Error("used past its interval")
		}
		eventually(t, "the key is wiped without another call", func() bool { return client.Stats().Shared == 0 })
	})
}

// When KES tells a renewal or any other call that a KES key is gone or not
// allowed, nothing more is sealed under it.
func TestSharedKeyIsDroppedWithItsKESKey(t *testing.T) {
	t.Parallel()
	const uses = 10
	kctx := kms.BucketContext("b")
	for end, want := range map[string]error{"deleted": kms.ErrKeyNotFound, "denied": kms.ErrNotAllowed} {
		for _, by := range []string{"renewal", "unseal", "unseal with another KES key"} {
			t.Run(end+", "+by, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					server, client := keeper(t, func(c *kms.Config) { c.SharedUses, c.CacheTTL = uses, time.Hour })
					old := sealedKey(t, client, kms.Context{"b": "b/k"})
					dk := share(t, client, kctx)
					gone := dk.KeyName
					if by == "unseal with another KES key" {
						gone = "other"
					}
					if end == "deleted" {
						server.DeleteKey(gone)
					} else {
						server.Deny(gone)
					}
					if by == "renewal" {
						for range uses/5*4 - 1 {
							share(t, client, kctx)
						}
						eventually(t, "the key is dropped", func() bool { return client.Stats().Shared == 0 })
					} else if _, _, err := client.UnsealCached(t.Context(), gone, old.Sealed, kms.Context{"b": "b/k"}); !errors.Is(err, want) {
						t.Fatalf("got %v, want %v", err, want)
					}
					if gone != dk.KeyName {
						if again := share(t, client, kctx); again.Plaintext != dk.Plaintext {
							t.Error("the key of another KES key was dropped")
						}
						return
					}
					if _, err := client.GenerateShared(t.Context(), gone, kctx); !errors.Is(err, want) {
						t.Errorf("sealed under a key that is gone: got %v, want %v", err, want)
					}
					if _, hit, err := client.UnsealCached(t.Context(), gone, dk.Sealed, kctx); hit || !errors.Is(err, want) {
						t.Errorf("kept for reading: cached %v, %v", hit, err)
					}
				})
			})
		}
	}
}

// A use of a key in its last fifth replaces it without waiting.
func TestSharedKeyIsReplacedAheadOfTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const interval = 2 * time.Second
		server, client := keeper(t, func(c *kms.Config) { c.SharedInterval = interval })
		kctx := kms.BucketContext("b")
		first := share(t, client, kctx)
		time.Sleep(interval * 85 / 100)
		server.SetFault(kmstest.Fault{Hang: true, Ops: generate})
		if dk := share(t, client, kctx); dk.Plaintext != first.Plaintext {
			t.Error("replaced before it was used: the test is slow, or nothing was kept")
		}
		eventually(t, "KES is asked", func() bool { return server.Requests(kmstest.OpGenerate) == 2 })
		server.SetFault(kmstest.Fault{})
		eventually(t, "the next key", func() bool { return share(t, client, kctx).Plaintext != first.Plaintext })
		if n := server.Requests(kmstest.OpGenerate); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	})
}

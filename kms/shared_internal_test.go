package kms

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestSharedOnce: callers who find no key at the same time share one, however
// the first of them and the last overlap.
func TestSharedOnce(t *testing.T) {
	t.Parallel()
	for range 2000 {
		s := newSharedKeys(time.Hour, 1000, time.Minute)
		var wait sync.WaitGroup
		for range 8 {
			wait.Go(func() {
				_, err := s.get(t.Context(), keyID{name: "key"}, func(context.Context) (DataKey, error) { return DataKey{KeyName: "key"}, nil })
				if err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if n := s.made.Load(); n != 1 {
			t.Fatalf("%d keys were made", n)
		}
	}
}

// TestUnsealOnce is TestSharedOnce for the cache of opened data keys.
func TestUnsealOnce(t *testing.T) {
	t.Parallel()
	for range 2000 {
		c := newKeyCache(time.Hour, time.Minute)
		var opened atomic.Int64
		var wait sync.WaitGroup
		for range 8 {
			wait.Go(func() {
				_, _, err := c.get(t.Context(), cacheKey{}, func(context.Context) (Secret, error) {
					opened.Add(1)
					return Secret{1}, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if n := opened.Load(); n != 1 {
			t.Fatalf("opened %d times", n)
		}
	}
}

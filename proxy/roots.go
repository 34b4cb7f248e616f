package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"ssegw/kms"
	"ssegw/sealer"
)

// Old roots are those of earlier installations at the same store, or in other state
// buckets. An operator puts their records beside the present root, and the facts
// of their objects open again. Nothing is sealed under them.

const (
	rootsPrefix = "roots/"         // of the records of old roots
	maxOldRoots = 100              // that are looked at
	rootsPause  = 10 * time.Second // between two looks for them
	rootsLook   = 5 * time.Second  // that a look may take
)

// oldRoots are the old roots that were found.
type oldRoots struct {
	mu     sync.Mutex // held by the one look under way
	looked time.Time  // when the last look began; under mu
	pause  time.Duration
	known  atomic.Pointer[map[sealer.RootID]sealer.Root]
}

func (o *oldRoots) get(id sealer.RootID) (sealer.Root, bool) {
	known := o.known.Load()
	if known == nil {
		return sealer.Root{}, false
	}
	root, ok := (*known)[id]
	return root, ok
}

// rootOf returns the root of that ID: the present one, or an old one. An unknown ID
// makes the state look for old roots again, at most once in a while. The error is
// sealer.ErrUnknownRoot.
func (s *State) rootOf(ctx context.Context, id sealer.RootID) (sealer.Root, error) {
	if root := s.Root(); root.ID == id {
		return root, nil
	}
	if root, ok := s.oldRoot(ctx, id); ok {
		return root, nil
	}
	return sealer.Root{}, fmt.Errorf("%w: %s", sealer.ErrUnknownRoot, id)
}

// oldRoot returns the old root of that ID.
func (s *State) oldRoot(ctx context.Context, id sealer.RootID) (sealer.Root, bool) {
	if root, ok := s.old.get(id); ok {
		return root, true
	}
	s.lookForRoots(ctx)
	return s.old.get(id)
}

// lookForRoots reads the old roots in the state bucket. One that does not open is
// logged, and no reason not to serve what others open.
func (s *State) lookForRoots(ctx context.Context) {
	s.old.mu.Lock()
	defer s.old.mu.Unlock()
	now := time.Now()
	if now.Sub(s.old.looked) < s.old.pause {
		return
	}
	s.old.looked = now
	// Others wait for the look: a client that leaves must not end it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rootsLook)
	defer cancel()
	page, err := s.page(ctx, rootsPrefix, "")
	if err != nil {
		s.cfg.Log.Warn("old roots not read", zap.Error(err))
		return
	}
	known := map[sealer.RootID]sealer.Root{}
	if before := s.old.known.Load(); before != nil {
		maps.Copy(known, *before)
	}
	for i, e := range page.Entries {
		if i == maxOldRoots {
			s.cfg.Log.Warn("there are more old roots than are read", zap.Int("read", maxOldRoots))
			break
		}
		root, err := s.openOldRoot(ctx, e.Key)
		if err != nil {
			s.cfg.Log.Warn("old root not opened", zap.String("name", e.Key), zap.Error(err))
			continue
		}
		known[root.ID] = root
	}
	s.old.known.Store(&known)
}

// openOldRoot opens a record below roots/. KES has bound its data key to the bucket
// that the root was made in: this one, or the one that the record's name names.
func (s *State) openOldRoot(ctx context.Context, name string) (sealer.Root, error) {
	b, _, err := s.cfg.Upstream.get(ctx, s.cfg.Bucket, name, maxRootRecord)
	if err != nil {
		return sealer.Root{}, err
	}
	record, err := sealer.ParseRootRecord(b)
	if err != nil {
		return sealer.Root{}, err
	}
	if root, ok := s.old.get(record.ID); ok {
		return root, nil
	}
	root, err := s.openRootOf(ctx, record, s.cfg.Bucket)
	if errors.Is(err, kms.ErrInvalidCiphertext) {
		root, err = s.openRootOf(ctx, record, strings.TrimPrefix(name, rootsPrefix))
	}
	return root, err
}

// openRootOf opens the record of a root that was made in that bucket.
func (s *State) openRootOf(ctx context.Context, record *sealer.RootRecord, bucket string) (sealer.Root, error) {
	kctx, err := kms.ObjectContext(bucket, rootObject, nil)
	if err != nil {
		return sealer.Root{}, err
	}
	dataKey, err := s.cfg.KMS.Unseal(ctx, record.KeyName, record.SealedDataKey, kctx)
	if err != nil {
		return sealer.Root{}, err
	}
	defer dataKey.Wipe()
	return record.Open(sealer.Key(dataKey))
}

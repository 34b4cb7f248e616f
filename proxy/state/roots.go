package state

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"ssegw/kms"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// Old roots belong to earlier state buckets. An operator copies their records
// to roots/ in the present state bucket, so that the facts of their objects
// open again. Nothing is sealed under them (docs/FORMAT.md, section 14.1).

const (
	RootsPrefix      = "roots/"        // of the records of old roots
	maxOldRoots      = 100             // records read
	readRootsTimeout = 5 * time.Second // for all of them
)

// oldRoots holds the old roots that opened.
type oldRoots struct {
	mu     sync.Mutex // held while the records are read
	readAt time.Time  // when the last read began; under mu
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

// RootOf returns the root with that ID, present or old. For an unknown ID it
// reads the old roots again, at most once in Times.Roots. The error is
// sealer.ErrUnknownRoot.
func (s *State) RootOf(ctx context.Context, id sealer.RootID) (sealer.Root, error) {
	if root := s.Root(); root.ID == id {
		return root, nil
	}
	if root, ok := s.oldRoot(ctx, id); ok {
		return root, nil
	}
	return sealer.Root{}, fmt.Errorf("%w: %s", sealer.ErrUnknownRoot, id)
}

// oldRoot returns the old root with that ID.
func (s *State) oldRoot(ctx context.Context, id sealer.RootID) (sealer.Root, bool) {
	if root, ok := s.old.get(id); ok {
		return root, true
	}
	s.readOldRoots(ctx)
	return s.old.get(id)
}

// readOldRoots reads the old roots in the state bucket. It logs those that do
// not open; the others still serve.
func (s *State) readOldRoots(ctx context.Context) {
	s.old.mu.Lock()
	defer s.old.mu.Unlock()
	now := time.Now()
	if now.Sub(s.old.readAt) < s.times.Roots {
		return
	}
	s.old.readAt = now
	// Other requests wait for this read, so a client that leaves must not end
	// it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readRootsTimeout)
	defer cancel()
	page, err := s.page(ctx, RootsPrefix, "")
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
			s.cfg.Log.Warn("too many old roots: the rest are not read", zap.Int("read", maxOldRoots))
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

// openOldRoot opens a record under roots/. KES has bound its data key to the
// bucket in which the root was created: this one, or the one in the record's
// name.
func (s *State) openOldRoot(ctx context.Context, name string) (sealer.Root, error) {
	b, _, err := s.store.Get(ctx, s.cfg.Bucket, name, maxRootRecord)
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
	root, err := s.openRootFrom(ctx, record, s.cfg.Bucket)
	if errors.Is(err, kms.ErrInvalidCiphertext) {
		root, err = s.openRootFrom(ctx, record, strings.TrimPrefix(name, RootsPrefix))
	}
	return root, err
}

// openRootFrom opens the record of a root that was created in bucket.
func (s *State) openRootFrom(ctx context.Context, record *sealer.RootRecord, bucket string) (sealer.Root, error) {
	kctx, err := kms.ObjectContext(bucket, RootObject, nil)
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

// LookRoot returns the root with that ID, or the present root if there is none
// with that ID. The state need not be open: LookRoot then reads the state
// bucket. It writes nothing.
func (s *State) LookRoot(ctx context.Context, id sealer.RootID) (sealer.Root, error) {
	root, err := s.presentRoot(ctx)
	if err != nil || root.ID == id {
		return root, err
	}
	if old, ok := s.oldRoot(ctx, id); ok {
		return old, nil
	}
	return root, nil
}

// presentRoot returns the present root, from the state bucket if the state is
// not open.
func (s *State) presentRoot(ctx context.Context) (sealer.Root, error) {
	if s.Ready() == nil {
		return s.Root(), nil
	}
	record, _, err := s.ReadRoot(ctx)
	if upstream.StatusOf(err) == http.StatusNotFound {
		return sealer.Root{}, fmt.Errorf("state: bucket %s has no root", s.cfg.Bucket)
	}
	if err != nil {
		return sealer.Root{}, err
	}
	return s.OpenRoot(ctx, record)
}

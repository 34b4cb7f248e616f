package state

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// A state knows other roots than its present one: those that it had before,
// that another replica has already, and those of earlier state buckets. Their
// records are below roots/ (docs/FORMAT.md, section 14.1).
//
// Facts open under all of them. Records open only under roots that are proven
// to belong to this installation: KES also opens the roots of earlier ones, and
// the store could bring them back with the records of that time.

const (
	RootsPrefix      = "roots/"        // of the records of roots
	HeirsPrefix      = "heirs/"        // of the proofs that one root follows another
	maxOldRoots      = 100             // records read of a listing, and steps from one root to another
	maxHeir          = 1 << 10         // bytes of a proof
	maxMisses        = 100             // unknown roots that are looked for within Times.Roots
	readRootsTimeout = 5 * time.Second // for a look
)

// errNoHeir is returned for a root that follows no other.
var errNoHeir = errors.New("state: the root follows no other")

// errAway is returned if a root was not looked up, because the store or KES
// does not answer. It may exist.
var errAway = errors.New("state: a root could not be looked up")

// isAway reports whether a later attempt may find the root.
func isAway(err error) bool { return errors.Is(err, errAway) }

// rootCache holds the roots that a state has opened.
type rootCache struct {
	mu      turn                                          // held while records are looked for
	listed  time.Time                                     // when the last listing began; under mu
	misses  map[sealer.RootID]miss                        // under mu
	known   atomic.Pointer[map[sealer.RootID]sealer.Root] // changed under mu
	related sync.Map                                      // of sealer.RootID: roots whose records are accepted

	following turn   // held while the present root may change
	etag      string // of the last object root that was read; under following
}

// miss is a look that found no root.
type miss struct {
	until time.Time // when to look again
	err   error
}

// get returns the root with that ID if it is known.
func (c *rootCache) get(id sealer.RootID) (sealer.Root, bool) {
	known := c.known.Load()
	if known == nil {
		return sealer.Root{}, false
	}
	root, ok := (*known)[id]
	return root, ok
}

// add adds a root.
func (c *rootCache) add(root sealer.Root) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addLocked(root)
}

// addLocked is add for a caller that holds mu.
func (c *rootCache) addLocked(root sealer.Root) {
	known := map[sealer.RootID]sealer.Root{}
	if before := c.known.Load(); before != nil {
		maps.Copy(known, *before)
	}
	known[root.ID] = root
	c.known.Store(&known)
}

// RootOf returns the root with that ID, present or old. If it is not known,
// RootOf looks for it, but not again within Times.Roots. The error is
// sealer.ErrUnknownRoot if there is no such root.
func (s *State) RootOf(ctx context.Context, id sealer.RootID) (sealer.Root, error) {
	if root, ok := s.roots.get(id); ok {
		return root, nil
	}
	s.roots.mu.Lock()
	defer s.roots.mu.Unlock()
	if root, ok := s.roots.get(id); ok {
		return root, nil
	}
	now := time.Now()
	if m, ok := s.roots.misses[id]; ok && now.Before(m.until) {
		return sealer.Root{}, m.err
	}
	maps.DeleteFunc(s.roots.misses, func(_ sealer.RootID, m miss) bool { return !now.Before(m.until) })
	unknown := fmt.Errorf("%w: %s", sealer.ErrUnknownRoot, id)
	if len(s.roots.misses) >= maxMisses {
		return sealer.Root{}, unknown
	}
	// Other requests wait for this look, so a client that leaves must not end
	// it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readRootsTimeout)
	defer cancel()
	root, err := s.lookFor(ctx, id)
	if err == nil {
		s.roots.addLocked(root)
		return root, nil
	}
	m := miss{now.Add(s.times.Roots), unknown}
	if isAway(err) {
		m = miss{now.Add(s.times.Retry), err}
	}
	if s.roots.misses == nil {
		s.roots.misses = map[sealer.RootID]miss{}
	}
	s.roots.misses[id] = m
	return sealer.Root{}, m.err
}

// lookFor looks for a root at its place, then in the list of old roots. The
// error is errAway if that failed.
func (s *State) lookFor(ctx context.Context, id sealer.RootID) (sealer.Root, error) {
	name := rootName(id)
	root, err := s.openOldRoot(ctx, name)
	switch {
	case err == nil && root.ID == id:
		return root, nil
	case err == nil, upstream.StatusOf(err) == http.StatusNotFound:
	case isFinal(err):
		s.cfg.Log.Warn("old root not opened", zap.String("name", name), zap.Error(err))
	default:
		return sealer.Root{}, fmt.Errorf("%w: %w", errAway, err)
	}
	s.listOldRoots(ctx)
	if root, ok := s.roots.get(id); ok {
		return root, nil
	}
	return sealer.Root{}, sealer.ErrUnknownRoot
}

// rootName returns the place of the record of a root.
func rootName(id sealer.RootID) string { return RootsPrefix + id.String() }

// isFinal reports whether a record does not open even in another attempt.
func isFinal(err error) bool {
	for _, final := range [...]error{
		kms.ErrKeyNotFound, kms.ErrNotAllowed, kms.ErrInvalidCiphertext, sealer.ErrMalformed, sealer.ErrNotAuthentic, sealer.ErrUnknownRoot,
	} {
		if errors.Is(err, final) {
			return true
		}
	}
	return false
}

// readOldRoots opens the old roots in the state bucket. It logs those that do
// not open; the others still serve.
func (s *State) readOldRoots(ctx context.Context) {
	s.roots.mu.Lock()
	defer s.roots.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, readRootsTimeout)
	defer cancel()
	s.listOldRoots(ctx)
}

// listOldRoots is readOldRoots for a caller that holds mu. It does nothing
// within Times.Roots of the last time.
func (s *State) listOldRoots(ctx context.Context) {
	now := time.Now()
	if now.Sub(s.roots.listed) < s.times.Roots {
		return
	}
	s.roots.listed = now
	page, err := s.page(ctx, RootsPrefix, "")
	if err != nil {
		s.cfg.Log.Warn("old roots not read", zap.Error(err))
		return
	}
	for i, e := range page.Entries {
		if i == maxOldRoots {
			s.cfg.Log.Warn("too many old roots: the rest are read when they are needed", zap.Int("read", maxOldRoots))
			break
		}
		root, err := s.openOldRoot(ctx, e.Key)
		if err != nil {
			s.cfg.Log.Warn("old root not opened", zap.String("name", e.Key), zap.Error(err))
			continue
		}
		s.roots.addLocked(root)
	}
}

// openOldRoot opens a record under roots/, unless its root is known.
func (s *State) openOldRoot(ctx context.Context, name string) (sealer.Root, error) {
	record, _, err := s.readRootRecord(ctx, name)
	if err != nil {
		return sealer.Root{}, err
	}
	if root, ok := s.roots.get(record.ID); ok {
		return root, nil
	}
	return s.openRootRecord(ctx, name, record)
}

// readRootRecord reads a record under roots/ and its ETag.
func (s *State) readRootRecord(ctx context.Context, name string) (*sealer.RootRecord, string, error) {
	b, etag, err := s.store.Get(ctx, s.cfg.Bucket, name, maxRootRecord)
	if err != nil {
		return nil, "", stateFailed("reading "+name, err)
	}
	record, err := sealer.ParseRootRecord(b)
	return record, etag, err
}

// openRootRecord opens a record under roots/. KES has bound its data key to the
// bucket in which the root was created: this one, or the one in the record's
// name.
func (s *State) openRootRecord(ctx context.Context, name string, record *sealer.RootRecord) (sealer.Root, error) {
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
// with that ID, and whether it is the present one. The state need not be open:
// LookRoot then reads the state bucket. It writes nothing.
func (s *State) LookRoot(ctx context.Context, id sealer.RootID) (root sealer.Root, present bool, err error) {
	root, err = s.presentRoot(ctx)
	if err != nil || root.ID == id {
		return root, true, err
	}
	old, err := s.RootOf(ctx, id)
	if errors.Is(err, sealer.ErrUnknownRoot) {
		return root, true, nil
	}
	return old, false, err
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

// FollowRoot makes the root in the state bucket the present one, if it follows
// the present one. It logs a failure: the root that the state has still serves.
func (s *State) FollowRoot(ctx context.Context) {
	s.roots.following.Lock()
	defer s.roots.following.Unlock()
	limited, cancel := context.WithTimeout(ctx, s.times.Look)
	defer cancel()
	switch err := s.followRoot(limited); {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, ErrRefused):
		s.cfg.Log.Error("root refused: the gateway keeps the one it has", zap.Error(err))
	default:
		s.cfg.Log.Warn("root not read: the gateway keeps the one it has", zap.Error(err))
	}
}

// followRoot is FollowRoot for a caller that holds following.
func (s *State) followRoot(ctx context.Context) error {
	h := http.Header{}
	if s.roots.etag != "" {
		h.Set("If-None-Match", s.roots.etag)
	}
	resp, err := s.store.Do(ctx, upstream.Request{Method: http.MethodGet, Bucket: s.cfg.Bucket, Key: RootObject, Header: h})
	if err != nil {
		return stateFailed("reading the root", err)
	}
	if resp.StatusCode == http.StatusNotModified && s.roots.etag != "" {
		return resp.Body.Close()
	}
	if resp.StatusCode >= 300 {
		return stateFailed("reading the root", upstream.ReadError(resp))
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxRootRecord))
	if err != nil {
		return stateFailed("reading the root", err)
	}
	record, err := s.parseRoot(b)
	if err != nil {
		return err
	}
	old := s.Root()
	if record.ID != old.ID {
		root, err := s.OpenRoot(ctx, record)
		if err != nil {
			return err
		}
		if err := s.checkHeir(ctx, root, old); err != nil {
			return err
		}
		s.roots.related.Store(old.ID, nil)
		s.roots.add(root)
		s.root.Store(&root)
		s.cfg.Log.Info("the root was replaced", zap.Stringer("old", old.ID), zap.Stringer("new", root.ID))
	}
	s.roots.etag = resp.Header.Get("ETag")
	return nil
}

// checkHeir returns nil if root is old or follows it. If it does not, the error
// is ErrRefused. Any other error proves nothing.
func (s *State) checkHeir(ctx context.Context, root, old sealer.Root) error {
	for range maxOldRoots {
		if root == old {
			return nil
		}
		before, err := s.predecessor(ctx, root, old)
		if err != nil && !isAway(err) {
			return fmt.Errorf("%w: bucket %s has the root of another installation: root %s does not follow root %s: %w", ErrRefused, s.cfg.Bucket, root.ID, old.ID, err)
		}
		if err != nil {
			return err
		}
		root = before
	}
	return fmt.Errorf("%w: bucket %s: more than %d roots follow root %s", ErrRefused, s.cfg.Bucket, maxOldRoots, old.ID)
}

// predecessor returns the root that root follows. candidate may be that root.
// The error is errAway, or means that there is no proof of a predecessor.
func (s *State) predecessor(ctx context.Context, root, candidate sealer.Root) (sealer.Root, error) {
	name := HeirsPrefix + root.ID.String()
	b, _, err := s.store.Get(ctx, s.cfg.Bucket, name, maxHeir)
	if upstream.StatusOf(err) == http.StatusNotFound {
		return sealer.Root{}, errNoHeir
	}
	if err != nil {
		return sealer.Root{}, fmt.Errorf("%w: %w", errAway, stateFailed("reading "+name, err))
	}
	id, err := sealer.RecordRoot(b)
	if err != nil {
		return sealer.Root{}, err
	}
	old := candidate
	if id != old.ID {
		if old, err = s.RootOf(ctx, id); err != nil {
			return sealer.Root{}, err
		}
	}
	return old, openHeir(root, old, b)
}

// sealHeir returns the proof that root follows old. It is sealed under both.
func sealHeir(root, old sealer.Root) ([]byte, error) {
	name := HeirsPrefix + root.ID.String()
	inner, err := sealer.SealRecord(root, name, old.ID[:])
	if err != nil {
		return nil, err
	}
	return sealer.SealRecord(old, name, inner)
}

// openHeir checks the result of sealHeir.
func openHeir(root, old sealer.Root, proof []byte) error {
	name := HeirsPrefix + root.ID.String()
	inner, err := sealer.OpenRecord(old, name, proof)
	if err != nil {
		return err
	}
	id, err := sealer.OpenRecord(root, name, inner)
	if err == nil && string(id) != string(old.ID[:]) {
		err = sealer.ErrNotAuthentic
	}
	return err
}

// openRecord opens a record, for a state with that present root. The errors are
// those of sealer.OpenRecord, and errAway.
func (s *State) openRecord(ctx context.Context, present sealer.Root, name string, sealed []byte) ([]byte, error) {
	root, err := s.recordRoot(ctx, present, sealed)
	if err != nil {
		return nil, err
	}
	return sealer.OpenRecord(root, name, sealed)
}

// recordRoot returns the root that a record names: the present one, or one that
// it follows or that follows it. Any other is unknown.
func (s *State) recordRoot(ctx context.Context, present sealer.Root, sealed []byte) (sealer.Root, error) {
	id, err := sealer.RecordRoot(sealed)
	if err != nil || id == present.ID {
		return present, err
	}
	root, err := s.RootOf(ctx, id)
	if err != nil {
		return sealer.Root{}, err
	}
	if _, ok := s.roots.related.Load(id); ok {
		return root, nil
	}
	for _, pair := range [...][2]sealer.Root{{present, root}, {root, present}} {
		err = s.checkHeir(ctx, pair[0], pair[1])
		if err == nil {
			s.roots.related.Store(id, nil)
			return root, nil
		}
		if isAway(err) {
			return sealer.Root{}, err
		}
	}
	return sealer.Root{}, fmt.Errorf("%w: record under root %s: %w", sealer.ErrUnknownRoot, id, err)
}

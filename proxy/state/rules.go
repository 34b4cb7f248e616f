package state

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// ErrRules is returned if the rules cannot be trusted. Every operation that
// depends on them must fail.
var ErrRules = errors.New("state: bucket rules unavailable")

// Rule is the default encryption of one bucket.
type Rule struct {
	Algorithm  string   `json:"algorithm,omitempty"` // AES256 or aws:kms; "" if only Blocked is set
	KeyID      string   `json:"key,omitempty"`       // of the KES key as the client set it, with or without arn:aws:kms:
	BucketKey  bool     `json:"bucketKey,omitempty"`
	Blocked    []string `json:"blocked,omitempty"`    // encryption types that writes must not request
	SealedOnly bool     `json:"sealedOnly,omitempty"` // the bucket was empty when the rule was set

	// Set is the revision of the rules in which this rule was set. It
	// distinguishes rules that are otherwise equal. It is 0 if an early version
	// of the gateway, which did not record it, set the rule.
	Set uint64 `json:"set,omitempty"`
}

// rulesDocument is the document that holds all rules. Its revision grows with
// every change, which exposes a store that returns an old copy.
type rulesDocument struct {
	Revision uint64          `json:"revision"`
	Buckets  map[string]Rule `json:"buckets"`
}

// rulesSnapshot is what a replica knows about the rules. It is immutable.
type rulesSnapshot struct {
	rulesDocument
	etag    string    // of the stored document
	checked time.Time // start of the request in which the store last confirmed it
	err     error     // ErrRules: the store holds no usable rules now
}

// rulesStore refreshes a replica's snapshot and changes the stored document.
type rulesStore struct {
	state   *State
	current atomic.Pointer[rulesSnapshot]
	mu      turn      // held during a refresh or change
	tried   time.Time // when the last refresh began; under mu
	retired bool      // another state of this process changes the rules; under mu
}

// turn is a mutex that may be held during requests to the store. It is not a
// sync.Mutex, because testing/synctest does not count goroutines that wait for
// one as durably blocked.
type turn chan struct{}

func newTurn() turn    { return make(turn, 1) }
func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }

// openRules reads the rules, or writes revision 1 on a first start.
func (s *State) openRules(ctx context.Context, root sealer.Root, initialised bool) error {
	r := &s.rules
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := uint64(0)
	if like := s.cfg.Like; like != nil { // which goes on changing rules
		seen = like.rules.current.Load().Revision
	}
	snapshot, err := r.fetch(ctx, root, "")
	if upstream.StatusOf(err) == http.StatusNotFound {
		if initialised {
			return fmt.Errorf("%w: the rules in bucket %s were deleted", ErrRefused, s.cfg.Bucket)
		}
		if _, err := r.write(ctx, root, rulesDocument{Revision: 1, Buckets: map[string]Rule{}}, ""); err != nil && !upstream.LostRace(err) {
			return err
		}
		snapshot, err = r.fetch(ctx, root, "")
	}
	if err != nil {
		if errors.Is(err, ErrRules) {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return fmt.Errorf("state: reading the rules: %w", err)
	}
	if snapshot.Revision < seen {
		return fmt.Errorf("%w: the store went back from revision %d of the rules to %d", ErrRefused, seen, snapshot.Revision)
	}
	r.current.Store(snapshot)
	return nil
}

// fetch reads the stored document, for a state with that root. If the document
// still has the given ETag, it returns nil. If the document does not open, the
// error is ErrRules.
func (r *rulesStore) fetch(ctx context.Context, root sealer.Root, etag string) (*rulesSnapshot, error) {
	h := http.Header{}
	if etag != "" {
		h.Set("If-None-Match", etag)
	}
	now := time.Now()
	resp, err := r.state.store.Do(ctx, upstream.Request{Method: http.MethodGet, Bucket: r.state.cfg.Bucket, Key: RulesObject, Header: h})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusNotModified && etag != "" {
		return nil, resp.Body.Close()
	}
	if resp.StatusCode >= 300 {
		return nil, upstream.ReadError(resp)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, MaxRules))
	if err != nil {
		return nil, fmt.Errorf("%w: reading the rules: %w", upstream.ErrUnavailable, err)
	}
	snapshot := &rulesSnapshot{etag: resp.Header.Get("ETag"), checked: now}
	plain, err := r.state.openRecord(ctx, root, RulesObject, b)
	if isAway(err) {
		return nil, err
	}
	if err == nil {
		// A rule that a later version wrote may mean more than this version
		// understands.
		strict := json.NewDecoder(bytes.NewReader(plain))
		strict.DisallowUnknownFields()
		err = strict.Decode(&snapshot.rulesDocument)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the stored document: %w", ErrRules, err)
	}
	return snapshot, nil
}

// write stores doc and returns its ETag. It replaces only the document with the
// given ETag. With an empty etag it only creates.
func (r *rulesStore) write(ctx context.Context, root sealer.Root, doc rulesDocument, etag string) (string, error) {
	plain, err := json.Marshal(doc)
	if err != nil {
		return "", fmt.Errorf("state: encoding the rules: %w", err)
	}
	record, err := sealer.SealRecord(root, RulesObject, plain)
	if err != nil {
		return "", fmt.Errorf("state: sealing the rules: %w", err)
	}
	if len(record) > MaxRules {
		return "", fmt.Errorf("%w: more than %d bytes", ErrRules, MaxRules)
	}
	return r.state.put(ctx, RulesObject, record, etag)
}

// refresh updates the snapshot. While the store is down, the old snapshot stays
// and ages. If the stored rules are gone, do not open or have an older
// revision, the new snapshot has ErrRules.
func (r *rulesStore) refresh(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refreshLocked(ctx)
}

// refreshLocked is refresh for a caller that holds mu.
func (r *rulesStore) refreshLocked(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.state.times.Look)
	defer cancel()
	old := r.current.Load()
	now := time.Now()
	r.tried = now
	fresh, err := r.fetch(ctx, r.state.Root(), old.etag)
	switch {
	case err == nil && fresh == nil:
		same := *old
		same.checked = now
		fresh = &same
	case err == nil && fresh.Revision < old.Revision:
		err = fmt.Errorf("%w: revision %d after %d was seen: the store went back", ErrRules, fresh.Revision, old.Revision)
	case upstream.StatusOf(err) == http.StatusNotFound:
		err = fmt.Errorf("%w: the stored document is gone", ErrRules)
	}
	if err != nil {
		if !errors.Is(err, ErrRules) {
			r.state.cfg.Log.Warn("rules not refreshed", zap.Error(err))
			return
		}
		r.state.cfg.Log.Error("rules refused", zap.Error(err))
		// Without an ETag the next refresh reads the whole document again.
		fresh = &rulesSnapshot{rulesDocument: old.rulesDocument, checked: now, err: err}
	}
	r.current.Store(fresh)
}

// get returns a snapshot that the store confirmed at most maxAge ago. A
// confirmation since get was called is enough, even if the answer took longer.
// If there is no such snapshot, the error is ErrRules.
func (r *rulesStore) get(ctx context.Context, maxAge time.Duration) (*rulesSnapshot, error) {
	s := r.current.Load()
	came := time.Now()
	if came.Sub(s.checked) > maxAge {
		r.mu.Lock()
		// If another refresh ended while this call waited for the lock, its
		// result counts, even if it failed. Calls share a refresh, so a client
		// that leaves must not end it.
		if s = r.current.Load(); time.Since(s.checked) > maxAge && r.tried.Before(came) {
			r.refreshLocked(context.WithoutCancel(ctx))
			s = r.current.Load()
		}
		r.mu.Unlock()
		if s.checked.Before(came) && time.Since(s.checked) > maxAge && s.err == nil {
			return nil, fmt.Errorf("%w: not confirmed for %s", ErrRules, time.Since(s.checked).Round(time.Millisecond))
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	return s, nil
}

// Rule returns the bucket's rule, and whether there is one. An answer that can
// lead to plaintext depends on rules that are at most Times.MaxAge old, any
// other answer on rules that are at most Times.Stale old. The error is
// ErrRules.
func (s *State) Rule(ctx context.Context, bucket string) (Rule, bool, error) {
	snapshot, err := s.rules.get(ctx, s.times.Stale)
	if err != nil {
		return Rule{}, false, err
	}
	if rule, ok := snapshot.Buckets[bucket]; ok && rule.Algorithm != "" {
		return rule, true, nil
	}
	if snapshot, err = s.rules.get(ctx, s.times.MaxAge); err != nil {
		return Rule{}, false, err
	}
	rule, ok := snapshot.Buckets[bucket]
	return rule, ok, nil
}

// FreshRule is like Rule, but always asks the store.
func (s *State) FreshRule(ctx context.Context, bucket string) (Rule, bool, error) {
	asked := time.Now()
	s.rules.refresh(context.WithoutCancel(ctx))
	snapshot := s.rules.current.Load()
	if snapshot.err != nil {
		return Rule{}, false, snapshot.err
	}
	if snapshot.checked.Before(asked) {
		return Rule{}, false, fmt.Errorf("%w: not confirmed", ErrRules)
	}
	rule, ok := snapshot.Buckets[bucket]
	return rule, ok, nil
}

// ChangeRule replaces the bucket's rule with the one that change returns.
// change gets the stored rule; nil means no rule, for argument and result. If
// another replica was faster, ChangeRule calls change again, so the decision
// must depend only on the argument. The new rule is in force here when
// ChangeRule returns, and on other replicas within Times.Stale. The error is
// that of change, ErrNotReady after a TakeOver by another state, or ErrRules.
func (s *State) ChangeRule(ctx context.Context, bucket string, change func(old *Rule) (*Rule, error)) error {
	return s.rules.replace(ctx, func(buckets map[string]Rule, revision uint64) (map[string]Rule, error) {
		var before *Rule
		if r, ok := buckets[bucket]; ok {
			before = &r
		}
		rule, err := change(before)
		if err != nil || rule == before {
			return nil, err
		}
		buckets = maps.Clone(buckets)
		if rule == nil {
			delete(buckets, bucket)
		} else {
			set := *rule
			set.Set = revision
			buckets[bucket] = set
		}
		return buckets, nil
	})
}

// replace writes the stored document again, with the next revision and the
// rules that change returns, or not at all if they are nil. The errors are
// those of ChangeRule.
func (r *rulesStore) replace(ctx context.Context, change func(buckets map[string]Rule, revision uint64) (map[string]Rule, error)) error {
	r.state.FollowRoot(ctx) // what is written stays, so it should not be under an old root
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.retired {
		return ErrNotReady // the client's next attempt reaches the gateway that took over
	}
	for range 10 {
		root := r.state.Root()
		old, err := r.fetch(ctx, root, "")
		if upstream.StatusOf(err) == http.StatusNotFound {
			return fmt.Errorf("%w: the stored document is gone", ErrRules)
		}
		if err != nil {
			return fmt.Errorf("%w: reading them: %w", ErrRules, upstream.Hide(err))
		}
		if seen := r.current.Load(); old.Revision < seen.Revision {
			return fmt.Errorf("%w: the store went back from revision %d to %d", ErrRules, seen.Revision, old.Revision)
		}
		doc := rulesDocument{Revision: old.Revision + 1}
		if doc.Buckets, err = change(old.Buckets, doc.Revision); err != nil || doc.Buckets == nil {
			return err
		}
		now := time.Now()
		etag, err := r.write(ctx, root, doc, old.etag)
		if upstream.LostRace(err) {
			continue // another replica changed a rule since the fetch
		}
		if err != nil {
			return fmt.Errorf("%w: storing them: %w", ErrRules, upstream.Hide(err))
		}
		r.current.Store(&rulesSnapshot{rulesDocument: doc, etag: etag, checked: now})
		return nil
	}
	return fmt.Errorf("%w: the rules change too often", ErrRules)
}

// KnownRules returns the rules of all buckets as this replica knows them, and
// their revision. The error is ErrRules if they cannot be trusted. The caller
// must not change the map.
func (s *State) KnownRules() (buckets map[string]Rule, revision uint64, err error) {
	snapshot := s.rules.current.Load()
	if snapshot == nil {
		return nil, 0, ErrNotReady
	}
	return snapshot.Buckets, snapshot.Revision, snapshot.err
}

// RefreshRules reads the rules again if they changed in the store.
func (s *State) RefreshRules(ctx context.Context) { s.rules.refresh(ctx) }

// ReadRules reads the rules from the store and opens them with root. It returns
// their revision and the number of buckets with rules. The state need not be
// open.
func (s *State) ReadRules(ctx context.Context, root sealer.Root) (revision uint64, buckets int, err error) {
	snapshot, err := s.rules.fetch(ctx, root, "")
	if err != nil {
		return 0, 0, err
	}
	return snapshot.Revision, len(snapshot.Buckets), nil
}

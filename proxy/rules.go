package proxy

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

	"ssegw/sealer"
)

// errRules says that the rules cannot be relied on: every operation that
// depends on them is refused.
var errRules = errors.New("proxy: bucket rules unavailable")

// Rule is the default encryption of one bucket.
type Rule struct {
	Algorithm  string   `json:"algorithm,omitempty"` // AES256, aws:kms; "" if only Blocked is set
	KeyID      string   `json:"key,omitempty"`       // as the client set it, with or without arn:aws:kms:
	BucketKey  bool     `json:"bucketKey,omitempty"`
	Blocked    []string `json:"blocked,omitempty"`    // encryption types that writes may not ask for
	SealedOnly bool     `json:"sealedOnly,omitempty"` // the bucket was empty when the rule was set

	// Set is the revision of the rules that set this one: two rules that look the
	// same are two. 0 where a version of the gateway set it that kept none.
	Set uint64 `json:"set,omitempty"`
}

// rulesDocument is the one document that holds all rules. Its revision grows
// with every change and tells an old copy from the present one.
type rulesDocument struct {
	Revision uint64          `json:"revision"`
	Buckets  map[string]Rule `json:"buckets"`
}

// rulesSnapshot is what a replica knows of the rules. It never changes.
type rulesSnapshot struct {
	rulesDocument
	etag    string    // of the stored document
	checked time.Time // when the store last said that this is the present one
	err     error     // errRules: the store holds no usable rules now
}

// rulesStore keeps a replica's snapshot fresh and changes the stored document.
type rulesStore struct {
	state   *State
	current atomic.Pointer[rulesSnapshot]
	mu      turn      // held by the one refresh or change under way
	tried   time.Time // when the last refresh began; under mu
	retired bool      // another state of this process changes the rules; under mu
}

// turn is a mutex that is held while others are waited for. testing/synctest sees
// through those who wait for it, which it does not with a sync.Mutex.
type turn chan struct{}

func newTurn() turn    { return make(turn, 1) }
func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }

// open reads the rules, or writes revision 1 of a first start.
func (s *State) openRules(ctx context.Context, root sealer.Root, initialised bool) error {
	r := &s.rules
	r.mu.Lock()
	defer r.mu.Unlock()
	snapshot, err := r.fetch(ctx, root, "")
	if statusOf(err) == http.StatusNotFound {
		if initialised {
			return fmt.Errorf("%w: the rules in bucket %s were deleted", errState, s.cfg.Bucket)
		}
		if _, err := r.write(ctx, root, rulesDocument{Revision: 1, Buckets: map[string]Rule{}}, ""); err != nil && !lostRace(err) {
			return err
		}
		snapshot, err = r.fetch(ctx, root, "")
	}
	if err != nil {
		if errors.Is(err, errRules) {
			return fmt.Errorf("%w: %w", errState, err)
		}
		return fmt.Errorf("proxy: reading the rules: %w", err)
	}
	if like := s.cfg.Like; like != nil {
		if seen := like.rules.current.Load().Revision; snapshot.Revision < seen {
			return fmt.Errorf("%w: the store went back from revision %d of the rules to %d", errState, seen, snapshot.Revision)
		}
	}
	r.current.Store(snapshot)
	return nil
}

// fetch reads the stored document. With an ETag it returns nil when the
// document is still that one. A document that does not open is errRules.
func (r *rulesStore) fetch(ctx context.Context, root sealer.Root, etag string) (*rulesSnapshot, error) {
	h := http.Header{}
	if etag != "" {
		h.Set("If-None-Match", etag)
	}
	now := time.Now()
	u := r.state.cfg.Upstream
	resp, err := u.do(ctx, outgoing{method: http.MethodGet, bucket: r.state.cfg.Bucket, key: rulesObject, header: h})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusNotModified && etag != "" {
		return nil, resp.Body.Close()
	}
	if resp.StatusCode >= 300 {
		return nil, readError(resp)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxRules))
	if err != nil {
		return nil, fmt.Errorf("%w: reading the rules: %w", errUpstream, err)
	}
	snapshot := &rulesSnapshot{etag: resp.Header.Get("ETag"), checked: now}
	plain, err := sealer.OpenRecord(root, rulesObject, b)
	if err == nil {
		// A rule that a later version wrote may mean more than is understood here.
		strict := json.NewDecoder(bytes.NewReader(plain))
		strict.DisallowUnknownFields()
		err = strict.Decode(&snapshot.rulesDocument)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the stored document: %w", errRules, err)
	}
	return snapshot, nil
}

// write stores a document over the one of that ETag ("": where there is none).
func (r *rulesStore) write(ctx context.Context, root sealer.Root, doc rulesDocument, etag string) (string, error) {
	plain, err := json.Marshal(doc)
	if err != nil {
		return "", fmt.Errorf("proxy: encoding the rules: %w", err)
	}
	record, err := sealer.SealRecord(root, rulesObject, plain)
	if err != nil {
		return "", fmt.Errorf("proxy: sealing the rules: %w", err)
	}
	if len(record) > maxRules {
		return "", fmt.Errorf("%w: more than %d bytes", errRules, maxRules)
	}
	return r.state.put(ctx, rulesObject, record, etag)
}

// refresh brings the snapshot up to date. While the upstream is away the old
// one stays and ages; rules that are gone, do not open or are older than ones
// already seen make a snapshot that refuses.
func (r *rulesStore) refresh(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refreshLocked(ctx)
}

func (r *rulesStore) refreshLocked(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.state.times.look)
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
		err = fmt.Errorf("%w: revision %d after %d was seen: the store went back", errRules, fresh.Revision, old.Revision)
	case statusOf(err) == http.StatusNotFound:
		err = fmt.Errorf("%w: the stored document is gone", errRules)
	}
	if err != nil {
		if !errors.Is(err, errRules) {
			r.state.cfg.Log.Warn("rules not refreshed", zap.Error(err))
			return
		}
		r.state.cfg.Log.Error("rules refused", zap.Error(err))
		// The ETag is forgotten, so that the next look reads the document again.
		fresh = &rulesSnapshot{rulesDocument: old.rulesDocument, checked: now, err: err}
	}
	r.current.Store(fresh)
}

// get returns a snapshot that the store confirmed at most maxAge ago, or since get
// was called, however long the answer took; otherwise errRules.
func (r *rulesStore) get(ctx context.Context, maxAge time.Duration) (*rulesSnapshot, error) {
	s := r.current.Load()
	came := time.Now()
	if came.Sub(s.checked) > maxAge {
		r.mu.Lock()
		// Whoever held the lock may have brought fresh rules, or have found that the
		// store gives none: those who waited do not wait for a refresh of their own.
		// They share one, so a client that leaves must not end it.
		if s = r.current.Load(); time.Since(s.checked) > maxAge && r.tried.Before(came) {
			r.refreshLocked(context.WithoutCancel(ctx))
			s = r.current.Load()
		}
		r.mu.Unlock()
		if s.checked.Before(came) && time.Since(s.checked) > maxAge && s.err == nil {
			return nil, fmt.Errorf("%w: not confirmed for %s", errRules, time.Since(s.checked).Round(time.Millisecond))
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	return s, nil
}

// rule returns the bucket's rule. An answer that leads to plaintext rests on
// rules at most times.maxAge old, any other on rules at most times.stale old.
func (s *State) rule(ctx context.Context, bucket string) (Rule, bool, error) {
	snapshot, err := s.rules.get(ctx, s.times.stale)
	if err != nil {
		return Rule{}, false, err
	}
	if rule, ok := snapshot.Buckets[bucket]; ok && rule.Algorithm != "" {
		return rule, true, nil
	}
	if snapshot, err = s.rules.get(ctx, s.times.maxAge); err != nil {
		return Rule{}, false, err
	}
	rule, ok := snapshot.Buckets[bucket]
	return rule, ok, nil
}

// freshRule is rule as the store has it now.
func (s *State) freshRule(ctx context.Context, bucket string) (Rule, bool, error) {
	asked := time.Now()
	s.rules.refresh(context.WithoutCancel(ctx))
	snapshot := s.rules.current.Load()
	if snapshot.err != nil {
		return Rule{}, false, snapshot.err
	}
	if snapshot.checked.Before(asked) {
		return Rule{}, false, fmt.Errorf("%w: not confirmed", errRules)
	}
	rule, ok := snapshot.Buckets[bucket]
	return rule, ok, nil
}

// changeRule changes the bucket's rule to what change makes of the stored one;
// nil is none, before and after. It is called again when another replica was
// faster, so it decides on what is stored and on nothing else. The change is in
// force here when changeRule returns, on other replicas within times.stale.
func (s *State) changeRule(ctx context.Context, bucket string, change func(old *Rule) (*Rule, error)) error {
	r := &s.rules
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.retired {
		return errNotReady // the client's next attempt reaches the gateway that took over
	}
	for range 10 {
		old, err := r.fetch(ctx, s.Root(), "")
		if statusOf(err) == http.StatusNotFound {
			return fmt.Errorf("%w: the stored document is gone", errRules)
		}
		if err != nil {
			return fmt.Errorf("%w: reading them: %w", errRules, err)
		}
		if seen := r.current.Load(); old.Revision < seen.Revision {
			return fmt.Errorf("%w: the store went back from revision %d to %d", errRules, seen.Revision, old.Revision)
		}
		var before *Rule
		if r, ok := old.Buckets[bucket]; ok {
			before = &r
		}
		rule, err := change(before)
		if err != nil {
			return err
		}
		if rule == before {
			return nil
		}
		doc := rulesDocument{Revision: old.Revision + 1, Buckets: maps.Clone(old.Buckets)}
		if rule == nil {
			delete(doc.Buckets, bucket)
		} else {
			set := *rule
			set.Set = doc.Revision
			doc.Buckets[bucket] = set
		}
		now := time.Now()
		etag, err := r.write(ctx, s.Root(), doc, old.etag)
		if lostRace(err) {
			continue // another replica changed a rule in between
		}
		if err != nil {
			return fmt.Errorf("%w: storing them: %w", errRules, err)
		}
		r.current.Store(&rulesSnapshot{rulesDocument: doc, etag: etag, checked: now})
		return nil
	}
	return fmt.Errorf("%w: the rules change too often", errRules)
}

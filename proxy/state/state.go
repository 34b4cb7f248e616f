// Package state keeps the gateways' own data in the state bucket: the root, the
// bucket rules, the records of multipart uploads, and what listings know.
//
// All replicas share the bucket. Conditional writes settle their races; on a
// store without them the last write wins. Rules and upload records are sealed
// under the root, and a data key from the KMS seals the root. Rules and records
// that do not open are errors. They never count as absent, because an absent
// rule can lead to plaintext.
//
// docs/FORMAT.md, sections 14 and 15, specifies the objects.
// docs/ARCHITECTURE.md is the map.
package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"ssegw/kms"
	"ssegw/proxy/probe"
	"ssegw/proxy/s3"
	"ssegw/proxy/task"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// Objects of the state bucket and their largest sizes.
const (
	RootObject  = "root"
	RulesObject = "rules"

	maxRootRecord = 8 << 10  // bytes
	MaxRules      = 16 << 20 // bytes
)

var (
	// ErrNotReady is returned before the state is open, and by ChangeRule after
	// another state took over.
	ErrNotReady = errors.New("state: the gateway is not ready")
	// ErrRefused is returned if the state bucket holds something that no
	// gateway wrote, or lacks something that a gateway wrote.
	ErrRefused = errors.New("state: refused")
	// ErrRecord is returned if an upload record is not what the gateway wrote.
	ErrRecord = errors.New("state: upload record is not authentic")
)

// Config holds what a State needs. All fields except Like and Times are
// required.
type Config struct {
	Bucket   string // dedicated to the gateways; created if absent
	Upstream *upstream.Store
	KMS      *kms.Client
	Log      *zap.Logger
	// Like is an open state. If it is set, the new state must have the same
	// root or one that follows it, and creates neither a bucket nor a root. If
	// it is nil, the state accepts any root and creates one in an empty bucket.
	Like *State
	// Times are the timeouts and intervals. The zero value means DefaultTimes.
	Times Times
}

// State is the data that all gateways of an installation share: the root and
// the bucket rules, sealed in the state bucket (docs/FORMAT.md, section 14). It
// is safe for concurrent use.
type State struct {
	cfg     Config
	store   upstream.Client // the store, with the gateway's own rights
	times   Times
	root    atomic.Pointer[sealer.Root] // the present one; nil until opened
	openErr atomic.Pointer[error]       // of the last failed attempt to open it
	search  probe.Search                // for what the store can do
	unknown []string                    // what it has not found when the state was opened
	roots   rootCache
	rules   rulesStore
	keeper  keeper
}

// New returns a state that is not open yet. Run opens it.
func New(cfg Config) *State {
	s := &State{cfg: cfg, store: cfg.Upstream.Own(), times: cfg.Times}
	if s.times == (Times{}) {
		s.times = DefaultTimes
	}
	s.rules.state, s.rules.mu = s, newTurn()
	s.roots.mu, s.roots.following = newTurn(), newTurn()
	s.keeper.state = s
	s.search.Prober = probe.Prober{Client: s.store, Bucket: cfg.Bucket}
	return s
}

// Keep makes m outlive the process. Call it before Open and Run.
func (s *State) Keep(m Memory) { s.keeper.memory = m }

// Bucket returns the name of the state bucket.
func (s *State) Bucket() string { return s.cfg.Bucket }

// Documents returns the documents in the state bucket.
func (s *State) Documents() Documents { return Documents{s} }

// Ready returns nil once the state is open, otherwise ErrNotReady.
func (s *State) Ready() error {
	if s.root.Load() == nil {
		return ErrNotReady
	}
	return nil
}

// Waiting returns the error of the last attempt to open the state. It returns
// nil if the state is open or no attempt has failed.
func (s *State) Waiting() error {
	if err := s.openErr.Load(); err != nil && s.Ready() != nil {
		return *err
	}
	return nil
}

// Root returns the present root, which facts are sealed under. It panics if the
// state is not ready.
func (s *State) Root() sealer.Root { return *s.root.Load() }

// Run opens the state, and retries while KES or the store is down. Then it
// follows root and rules, sweeps the upload records and saves the Memory until
// ctx ends. The last save takes at most Times.Last. Run returns an error only
// if no retry can help (ErrRefused): the state was tampered with, or its key
// cannot open the root.
func (s *State) Run(ctx context.Context) error {
	for {
		err := task.Guard(func() error { return s.Open(ctx) })
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, ErrRefused) {
			return err
		}
		s.openErr.Store(&err)
		s.cfg.Log.Warn("waiting to open the state", zap.String("bucket", s.cfg.Bucket), zap.Error(err))
		if !task.Pause(ctx, s.times.Retry) {
			return nil
		}
	}
	s.logOpen("state open")
	s.follow(ctx)
	return nil
}

// follow keeps an open state up to date until ctx ends.
func (s *State) follow(ctx context.Context) {
	var others sync.WaitGroup
	others.Go(func() { s.probeAgain(ctx) })
	others.Go(func() { s.sweepForever(ctx) })
	others.Go(func() { s.keeper.run(ctx) })
	defer others.Wait()
	for task.Pause(ctx, s.times.Poll) {
		s.guard("refreshing the rules", func() { s.rules.refresh(ctx) })
		s.guard("following the root", func() { s.FollowRoot(ctx) })
	}
}

// logOpen logs what the store can do.
func (s *State) logOpen(message string) {
	found := s.cfg.Upstream.Capabilities()
	if ignored := found.Put.List(); len(ignored) > 0 && !slices.Contains(s.unknown, "conditions") {
		s.cfg.Log.Warn("the store has no conditional writes: start the first replica alone, and change rules through one replica at a time", zap.Strings("ignored", ignored))
	}
	if len(s.unknown) > 0 {
		s.cfg.Log.Warn("the probes of the store have not ended: until they do, the gateway assumes that it can do least", zap.Strings("unknown", s.unknown))
	}
	s.cfg.Log.Info(message, zap.String("bucket", s.cfg.Bucket), zap.Stringer("framing", s.cfg.Upstream.Framing()), zap.Any("capabilities", maps.Collect(found.All())))
}

// maxProbePause is the longest pause between two searches of what the store can
// do.
const maxProbePause = time.Hour

// probeAgain probes what the probes at the start have not found, until that is
// known or ctx ends.
func (s *State) probeAgain(ctx context.Context) {
	for pause := s.times.Probe; len(s.unknown) > 0 && task.Pause(ctx, pause); pause = min(2*pause, maxProbePause) {
		s.guard("probing the store", func() {
			left, err := s.search.Run(ctx, 10*s.times.Probe) // nothing waits for it
			if err != nil {
				s.cfg.Log.Warn("the store was not probed", zap.Error(err))
			} else if len(left) < len(s.unknown) {
				s.unknown = left
				s.logOpen("store probed")
			}
		})
	}
}

// guard runs f and logs a panic in it.
func (s *State) guard(doing string, f func()) {
	err := task.Guard(func() error { f(); return nil })
	if p := (*task.PanicError)(nil); errors.As(err, &p) {
		s.cfg.Log.Error("panic", zap.String("doing", doing), zap.Error(p), zap.ByteString("stack", p.Stack))
	}
}

// Open reads or creates the root and the rules, and probes the store.
func (s *State) Open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.times.Open)
	defer cancel()
	root, record, etag, err := s.findRoot(ctx)
	if err != nil {
		return err
	}
	if err := s.cfg.KMS.Ensure(ctx, s.cfg.KMS.DefaultKey()); err != nil {
		return fmt.Errorf("state: default KES key %q: %w", s.cfg.KMS.DefaultKey(), err)
	}
	s.roots.add(root)
	s.roots.etag = etag
	if err := s.openRules(ctx, root, record.Initialised); err != nil {
		return err
	}
	if s.unknown, err = s.search.Run(ctx, s.times.Probe); err != nil {
		return err
	}
	if !record.Initialised || record.KeyName != s.cfg.KMS.DefaultKey() {
		if err := s.writeRoot(ctx, root, true, etag); err != nil && !upstream.LostRace(err) {
			return err
		}
	}
	s.readOldRoots(ctx)
	s.keeper.recall(ctx, root)
	s.root.Store(&root)
	return nil
}

// ensureBucket creates the state bucket if it is absent.
func (s *State) ensureBucket(ctx context.Context) error {
	resp, err := s.store.Send(ctx, upstream.Request{Method: http.MethodHead, Bucket: s.cfg.Bucket})
	if err == nil {
		return resp.Body.Close()
	}
	if upstream.StatusOf(err) != http.StatusNotFound {
		return fmt.Errorf("state: state bucket %s: %w", s.cfg.Bucket, err)
	}
	err = s.store.CreateBucket(ctx, s.cfg.Bucket)
	if upstream.StatusOf(err) == http.StatusConflict {
		return nil // another replica was faster
	}
	if err != nil {
		return fmt.Errorf("state: making the state bucket %s: %w", s.cfg.Bucket, err)
	}
	return nil
}

// findRoot reads the root, or creates one in an empty bucket. It also returns
// the record of the root and the record's ETag.
func (s *State) findRoot(ctx context.Context) (sealer.Root, *sealer.RootRecord, string, error) {
	if s.cfg.Like != nil {
		return s.findSameRoot(ctx)
	}
	none := sealer.Root{}
	if err := s.ensureBucket(ctx); err != nil {
		return none, nil, "", err
	}
	record, etag, err := s.ReadRoot(ctx)
	if upstream.StatusOf(err) == http.StatusNotFound {
		if err := s.makeRoot(ctx); err != nil {
			return none, nil, "", err
		}
		record, etag, err = s.ReadRoot(ctx)
	}
	if err != nil {
		return none, nil, "", err
	}
	root, err := s.OpenRoot(ctx, record)
	return root, record, etag, err
}

// findSameRoot reads the root of a state that replaces Like. A missing root, or
// one that does not follow that of Like, means another installation: the rules
// that Like enforces would no longer be in force.
func (s *State) findSameRoot(ctx context.Context) (sealer.Root, *sealer.RootRecord, string, error) {
	none := sealer.Root{}
	record, etag, err := s.ReadRoot(ctx)
	if upstream.StatusOf(err) == http.StatusNotFound {
		return none, nil, "", fmt.Errorf("%w: bucket %s has no root: a restart needs the present state", ErrRefused, s.cfg.Bucket)
	}
	if err != nil {
		return none, nil, "", err
	}
	root, err := s.OpenRoot(ctx, record)
	if err == nil {
		err = s.checkHeir(ctx, root, s.cfg.Like.Root())
	}
	return root, record, etag, err
}

// TakeOver makes an open state replace the state Like. From then on only this
// state changes rules. The next answer that depends on the absence of a rule
// asks the store again.
func (s *State) TakeOver() {
	if old := s.cfg.Like; old != nil {
		old.rules.mu.Lock()
		old.rules.retired = true
		old.rules.mu.Unlock()
	}
	r := &s.rules
	r.mu.Lock()
	defer r.mu.Unlock()
	unconfirmed := *r.current.Load()
	unconfirmed.checked = time.Time{}
	r.current.Store(&unconfirmed)
}

// ReadRoot reads the record of the root and its ETag. The error is ErrRefused
// if the object is not a root record.
func (s *State) ReadRoot(ctx context.Context) (*sealer.RootRecord, string, error) {
	b, etag, err := s.store.Get(ctx, s.cfg.Bucket, RootObject, maxRootRecord)
	if err != nil {
		return nil, "", fmt.Errorf("state: reading the root: %w", err)
	}
	record, err := s.parseRoot(b)
	return record, etag, err
}

// parseRoot parses the object root. The error is ErrRefused.
func (s *State) parseRoot(b []byte) (*sealer.RootRecord, error) {
	record, err := sealer.ParseRootRecord(b)
	if err != nil {
		return nil, fmt.Errorf("%w: the root in bucket %s: %w", ErrRefused, s.cfg.Bucket, err)
	}
	return record, nil
}

// OpenRoot opens the root with the KES key that its record names. If that key
// is gone or denied, the error is ErrRefused, because no other key opens the
// root.
func (s *State) OpenRoot(ctx context.Context, record *sealer.RootRecord) (sealer.Root, error) {
	kctx, err := s.rootContext()
	if err != nil {
		return sealer.Root{}, err
	}
	dataKey, err := s.cfg.KMS.Unseal(ctx, record.KeyName, record.SealedDataKey, kctx)
	switch {
	case errors.Is(err, kms.ErrKeyNotFound), errors.Is(err, kms.ErrNotAllowed), errors.Is(err, kms.ErrInvalidCiphertext):
		return sealer.Root{}, fmt.Errorf("%w: the root in bucket %s is sealed under the KES key %q: %w", ErrRefused, s.cfg.Bucket, record.KeyName, err)
	case err != nil:
		return sealer.Root{}, fmt.Errorf("state: opening the root with the KES key %q: %w", record.KeyName, err)
	}
	defer dataKey.Wipe()
	root, err := record.Open(sealer.Key(dataKey))
	if err != nil {
		return sealer.Root{}, fmt.Errorf("%w: the root in bucket %s: %w", ErrRefused, s.cfg.Bucket, err)
	}
	return root, nil
}

func (s *State) rootContext() (kms.Context, error) {
	return kms.ObjectContext(s.cfg.Bucket, RootObject, nil)
}

// makeRoot creates the root of a first start. If the bucket holds anything
// else, the root was deleted, and a new one would orphan what the old one
// sealed.
func (s *State) makeRoot(ctx context.Context) error {
	names, err := s.Names(ctx)
	if err != nil {
		return err
	}
	if slices.Contains(names, RootObject) {
		return nil // another replica was faster
	}
	if len(names) > 0 {
		return fmt.Errorf("%w: bucket %s holds %q but no root: the root was deleted, or the bucket is not the gateway's own", ErrRefused, s.cfg.Bucket, names[0])
	}
	if err := s.cfg.KMS.Ensure(ctx, s.cfg.KMS.DefaultKey()); err != nil {
		return fmt.Errorf("state: default KES key %q: %w", s.cfg.KMS.DefaultKey(), err)
	}
	err = s.writeRoot(ctx, sealer.NewRoot(), false, "")
	if upstream.LostRace(err) {
		return nil // another replica was faster
	}
	return err
}

// maxNames is how many names Names returns.
const maxNames = 10

// Names returns the keys of the first objects in the state bucket, at most
// maxNames. It leaves out probes, however many an interrupted start left
// behind.
func (s *State) Names(ctx context.Context) ([]string, error) {
	var names []string
	err := s.each(ctx, "", func(e *s3.Entry) error {
		if !strings.HasPrefix(e.Key, probe.Prefix) {
			names = append(names, e.Key)
		}
		if len(names) == maxNames {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return names, nil
}

var errEnough = errors.New("state: enough names")

// writeRoot stores root, sealed under a data key of the default key. It
// replaces only the record with that ETag. With an empty etag it only creates.
func (s *State) writeRoot(ctx context.Context, root sealer.Root, initialised bool, etag string) error {
	b, err := s.sealRoot(ctx, root, initialised)
	if err != nil {
		return err
	}
	_, err = s.put(ctx, RootObject, b, etag)
	return err
}

// sealRoot returns the record of root under a data key of the default key.
func (s *State) sealRoot(ctx context.Context, root sealer.Root, initialised bool) ([]byte, error) {
	kctx, err := s.rootContext()
	if err != nil {
		return nil, err
	}
	dataKey, err := s.cfg.KMS.Generate(ctx, s.cfg.KMS.DefaultKey(), kctx)
	if err != nil {
		return nil, fmt.Errorf("state: sealing the root: %w", err)
	}
	defer dataKey.Plaintext.Wipe()
	b, err := sealer.SealRoot(root, initialised, dataKey.KeyName, dataKey.Sealed, sealer.Key(dataKey.Plaintext))
	if err != nil {
		return nil, fmt.Errorf("state: sealing the root: %w", err)
	}
	return b, nil
}

// put stores a small object and returns its ETag. It replaces only the object
// with that ETag. With an empty etag it only creates. If the store answers
// NotImplemented to a conditional write, put writes without the condition. If
// another write came first, upstream.LostRace is true for the error.
func (s *State) put(ctx context.Context, name string, b []byte, etag string) (string, error) {
	condition := http.Header{"If-None-Match": {"*"}}
	if etag != "" {
		condition = http.Header{"If-Match": {etag}}
	}
	stored, err := s.store.Put(ctx, s.cfg.Bucket, name, b, condition)
	if upstream.StatusOf(err) == http.StatusNotImplemented {
		stored, err = s.store.Put(ctx, s.cfg.Bucket, name, b, http.Header{})
	}
	if upstream.StatusOf(err) >= 500 {
		stored, err = s.lookAgain(ctx, name, b, etag, err)
	}
	if err != nil {
		return "", fmt.Errorf("state: writing %s to the state bucket: %w", name, err)
	}
	return stored, nil
}

// lookAgain tells what a write of b has done that failed with a status of 500
// or more. Some stores answer so to the loser of two conditional writes at the
// same time, and some after they have stored the object. etag is the one that
// the write should replace.
func (s *State) lookAgain(ctx context.Context, name string, b []byte, etag string, failure error) (string, error) {
	now, stored, err := s.store.Get(ctx, s.cfg.Bucket, name, MaxRules)
	switch {
	case err != nil || stored == etag:
		return "", failure
	case bytes.Equal(now, b):
		return stored, nil
	}
	return "", &upstream.Error{Status: http.StatusPreconditionFailed}
}

// CheckUpstream asks the store for the state bucket. It returns nil if the
// store answers and accepts the gateway's credentials, even if the bucket is
// missing.
func (s *State) CheckUpstream(ctx context.Context) error {
	resp, err := s.store.Send(ctx, upstream.Request{Method: http.MethodHead, Bucket: s.cfg.Bucket})
	if answered := upstream.AnswerOf(err); answered != nil && answered.Status < 500 && answered.Status != http.StatusForbidden {
		return nil
	}
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

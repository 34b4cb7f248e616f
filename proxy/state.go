package proxy

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // Content-MD5 is S3's transport checksum, not a security measure
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"ssegw/kms"
	"ssegw/sealer"
)

// Objects of the state bucket.
const (
	rootObject  = "root"
	rulesObject = "rules"
	probePrefix = "probe-" // of the objects that a start writes and removes again

	maxRootRecord = 8 << 10  // bytes
	maxRules      = 16 << 20 // bytes
)

var (
	// errNotReady says that the gateway has not opened its state yet.
	errNotReady = errors.New("proxy: the gateway is not ready")
	// errState says that the state bucket holds something that no gateway wrote
	// or lacks something that one did.
	errState = errors.New("proxy: state refused")
)

// StateConfig holds what a State needs. All fields are required but Like.
type StateConfig struct {
	Bucket   string // dedicated to the gateways, made if absent
	Upstream *Upstream
	KMS      *kms.Client
	Log      *zap.Logger
	// Like is an open state whose root this one must have, too: it makes neither a
	// bucket nor a root. nil: any root, or a new one in an empty bucket.
	Like *State
}

// State is the gateways' own: the root and the bucket rules, sealed in the
// state bucket (docs/FORMAT.md, section 14). It is safe for concurrent use.
type State struct {
	cfg   StateConfig
	times stateTimes
	root  atomic.Pointer[sealer.Root] // nil until opened
	why   atomic.Pointer[error]       // of the last attempt to open it that failed
	old   oldRoots
	rules rulesStore

	// guards says that the store refuses writes whose If-Match does not hold,
	// also where there is no object.
	guards atomic.Bool
}

// NewState returns a state that is not open yet. Run opens it.
func NewState(cfg StateConfig) *State {
	s := &State{cfg: cfg, times: ruleTimes}
	s.rules.state, s.rules.mu = s, newTurn()
	s.old.pause = rootsPause
	return s
}

// Bucket returns the name of the state bucket.
func (s *State) Bucket() string { return s.cfg.Bucket }

// Ready returns nil once the state is open, otherwise errNotReady.
func (s *State) Ready() error {
	if s.root.Load() == nil {
		return errNotReady
	}
	return nil
}

// Waiting returns why the state is not open yet; nil if that is not known.
func (s *State) Waiting() error {
	if why := s.why.Load(); why != nil && s.Ready() != nil {
		return *why
	}
	return nil
}

// Root returns the root that facts are sealed under; the state must be ready.
func (s *State) Root() sealer.Root { return *s.root.Load() }

// Run opens the state, retrying while KES or the upstream is away, and then
// keeps the rules fresh, and sweeps the upload records now and then, until ctx ends. It returns an error only for what no
// retry mends: state that was tampered with, or a root that its key cannot open.
func (s *State) Run(ctx context.Context) error {
	for {
		err := guarded(func() error { return s.open(ctx) })
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errState) {
			return err
		}
		s.why.Store(&err)
		s.cfg.Log.Warn("waiting to open the state", zap.String("bucket", s.cfg.Bucket), zap.Error(err))
		if !pause(ctx, s.times.retry) {
			return nil
		}
	}
	s.cfg.Log.Info("state open", zap.String("bucket", s.cfg.Bucket), zap.Stringer("framing", s.cfg.Upstream.framing.get()))
	var sweeps sync.WaitGroup
	sweeps.Go(func() { s.sweepForever(ctx) })
	defer sweeps.Wait()
	for pause(ctx, s.times.poll) {
		s.guard("refreshing the rules", func() { s.rules.refresh(ctx) })
	}
	return nil
}

// guard runs a piece of work in the background. A panic in it is logged.
func (s *State) guard(doing string, f func()) {
	err := guarded(func() error { f(); return nil })
	if p := (*panicError)(nil); errors.As(err, &p) {
		s.cfg.Log.Error("panic", zap.String("doing", doing), zap.Error(p), zap.ByteString("stack", p.stack))
	}
}

// pause waits for d and reports whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// open finds or makes the root and the rules.
func (s *State) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.times.open)
	defer cancel()
	root, record, etag, err := s.findRoot(ctx)
	if err != nil {
		return err
	}
	if err := s.cfg.KMS.Ensure(ctx, s.cfg.KMS.DefaultKey()); err != nil {
		return fmt.Errorf("proxy: default KES key %q: %w", s.cfg.KMS.DefaultKey(), err)
	}
	if err := s.openRules(ctx, root, record.Initialised); err != nil {
		return err
	}
	if err := s.cfg.Upstream.probeHeaders(ctx, s.cfg.Bucket); err != nil {
		return err
	}
	if err := s.cfg.Upstream.probe(ctx, s.cfg.Bucket); err != nil {
		return err
	}
	if err := s.checkConditions(ctx); err != nil {
		return err
	}
	if !record.Initialised || record.KeyName != s.cfg.KMS.DefaultKey() {
		if err := s.writeRoot(ctx, root, true, etag); err != nil && !lostRace(err) {
			return err
		}
	}
	s.lookForRoots(ctx)
	s.root.Store(&root)
	return nil
}

func (s *State) ensureBucket(ctx context.Context) error {
	resp, err := s.cfg.Upstream.expect(ctx, outgoing{method: http.MethodHead, bucket: s.cfg.Bucket})
	if err == nil {
		return resp.Body.Close()
	}
	if statusOf(err) != http.StatusNotFound {
		return fmt.Errorf("proxy: state bucket %s: %w", s.cfg.Bucket, err)
	}
	resp, err = s.cfg.Upstream.expect(ctx, outgoing{method: http.MethodPut, bucket: s.cfg.Bucket})
	var refused *upstreamError
	if errors.As(err, &refused) && refused.code == "IllegalLocationConstraintException" {
		// Amazon S3 outside of us-east-1 wants the region in the document, too.
		o := outgoing{method: http.MethodPut, bucket: s.cfg.Bucket, header: http.Header{}}
		setDocument(&o, []byte("<CreateBucketConfiguration><LocationConstraint>"+s.cfg.Upstream.region+"</LocationConstraint></CreateBucketConfiguration>"), nil)
		resp, err = s.cfg.Upstream.expect(ctx, o)
	}
	if statusOf(err) == http.StatusConflict {
		return nil // another replica was faster
	}
	if err != nil {
		return fmt.Errorf("proxy: making the state bucket %s: %w", s.cfg.Bucket, err)
	}
	return resp.Body.Close()
}

// findRoot reads the root, or makes one in an empty bucket. It returns the ETag
// of the record beside it.
func (s *State) findRoot(ctx context.Context) (sealer.Root, *sealer.RootRecord, string, error) {
	if s.cfg.Like != nil {
		return s.findSameRoot(ctx)
	}
	none := sealer.Root{}
	if err := s.ensureBucket(ctx); err != nil {
		return none, nil, "", err
	}
	record, etag, err := s.readRoot(ctx)
	if statusOf(err) == http.StatusNotFound {
		if err := s.makeRoot(ctx); err != nil {
			return none, nil, "", err
		}
		record, etag, err = s.readRoot(ctx)
	}
	if err != nil {
		return none, nil, "", err
	}
	root, err := s.openRoot(ctx, record)
	return root, record, etag, err
}

// findSameRoot reads the root of a state that takes the place of another one. Any
// other root, or none, is not of this installation: its rules would not be in force.
func (s *State) findSameRoot(ctx context.Context) (sealer.Root, *sealer.RootRecord, string, error) {
	none := sealer.Root{}
	record, etag, err := s.readRoot(ctx)
	if statusOf(err) == http.StatusNotFound {
		return none, nil, "", fmt.Errorf("%w: bucket %s has no root: a restart goes on with the state that there is", errState, s.cfg.Bucket)
	}
	if err != nil {
		return none, nil, "", err
	}
	root, err := s.openRoot(ctx, record)
	if err == nil && root.ID != s.cfg.Like.Root().ID {
		return none, nil, "", fmt.Errorf("%w: bucket %s has the root of another installation", errState, s.cfg.Bucket)
	}
	return root, record, etag, err
}

// TakeOver is called on a state that is open, when its gateway takes the place of
// the one with the state Like. From then on rules are changed here alone, and the
// next answer that rests on there being no rule asks the store again.
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

// readRoot reads the record of the root and its ETag.
func (s *State) readRoot(ctx context.Context) (*sealer.RootRecord, string, error) {
	b, etag, err := s.cfg.Upstream.get(ctx, s.cfg.Bucket, rootObject, maxRootRecord)
	if err != nil {
		return nil, "", fmt.Errorf("proxy: reading the root: %w", err)
	}
	record, err := sealer.ParseRootRecord(b)
	if err != nil {
		return nil, "", fmt.Errorf("%w: the root in bucket %s: %w", errState, s.cfg.Bucket, err)
	}
	return record, etag, nil
}

// openRoot opens the root with the KES key that its record names. That key
// being gone or denied is final: no other key opens it.
func (s *State) openRoot(ctx context.Context, record *sealer.RootRecord) (sealer.Root, error) {
	kctx, err := s.rootContext()
	if err != nil {
		return sealer.Root{}, err
	}
	dataKey, err := s.cfg.KMS.Unseal(ctx, record.KeyName, record.SealedDataKey, kctx)
	switch {
	case errors.Is(err, kms.ErrKeyNotFound), errors.Is(err, kms.ErrNotAllowed), errors.Is(err, kms.ErrInvalidCiphertext):
		return sealer.Root{}, fmt.Errorf("%w: the root in bucket %s is sealed under the KES key %q: %w", errState, s.cfg.Bucket, record.KeyName, err)
	case err != nil:
		return sealer.Root{}, fmt.Errorf("proxy: opening the root with the KES key %q: %w", record.KeyName, err)
	}
	defer dataKey.Wipe()
	root, err := record.Open(sealer.Key(dataKey))
	if err != nil {
		return sealer.Root{}, fmt.Errorf("%w: the root in bucket %s: %w", errState, s.cfg.Bucket, err)
	}
	return root, nil
}

func (s *State) rootContext() (kms.Context, error) {
	return kms.ObjectContext(s.cfg.Bucket, rootObject, nil)
}

// makeRoot makes the root of a first start. In a bucket that holds anything
// else the root was deleted, and a new one would orphan what it sealed.
func (s *State) makeRoot(ctx context.Context) error {
	names, err := s.names(ctx)
	if err != nil {
		return err
	}
	if slices.Contains(names, rootObject) {
		return nil // another replica was faster
	}
	if len(names) > 0 {
		return fmt.Errorf("%w: bucket %s holds %q but no root: the root was deleted, or the bucket is not the gateway's own", errState, s.cfg.Bucket, names[0])
	}
	if err := s.cfg.KMS.Ensure(ctx, s.cfg.KMS.DefaultKey()); err != nil {
		return fmt.Errorf("proxy: default KES key %q: %w", s.cfg.KMS.DefaultKey(), err)
	}
	err = s.writeRoot(ctx, sealer.NewRoot(), false, "")
	if lostRace(err) {
		return nil // another replica was faster
	}
	return err
}

// names returns the keys of a few objects in the state bucket, the probe's left out.
func (s *State) names(ctx context.Context) ([]string, error) {
	resp, err := s.cfg.Upstream.expect(ctx, outgoing{
		method: http.MethodGet, bucket: s.cfg.Bucket, query: url.Values{"list-type": {"2"}, "max-keys": {"10"}},
	})
	if err != nil {
		return nil, fmt.Errorf("proxy: listing the state bucket: %w", err)
	}
	defer resp.Body.Close()
	listing, err := parseListing(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("proxy: listing the state bucket: %w", err)
	}
	var names []string
	for _, e := range listing.Entries {
		if !strings.HasPrefix(e.Key, probePrefix) {
			names = append(names, e.Key)
		}
	}
	return names, nil
}

// writeRoot stores root under a data key of the default key: only where there
// is none if etag is empty, otherwise only over that one.
func (s *State) writeRoot(ctx context.Context, root sealer.Root, initialised bool, etag string) error {
	kctx, err := s.rootContext()
	if err != nil {
		return err
	}
	dataKey, err := s.cfg.KMS.Generate(ctx, s.cfg.KMS.DefaultKey(), kctx)
	if err != nil {
		return fmt.Errorf("proxy: sealing the root: %w", err)
	}
	defer dataKey.Plaintext.Wipe()
	b, err := sealer.SealRoot(root, initialised, dataKey.KeyName, dataKey.Sealed, sealer.Key(dataKey.Plaintext))
	if err != nil {
		return fmt.Errorf("proxy: sealing the root: %w", err)
	}
	_, err = s.put(ctx, rootObject, b, etag)
	return err
}

// checkConditions warns about a store that takes conditional writes without
// their conditions, or not at all: two replicas that change rules at the same
// moment then lose one of the changes.
func (s *State) checkConditions(ctx context.Context) error {
	return s.cfg.Upstream.probing(ctx, s.cfg.Bucket, "", func(name string) error {
		guards, err := s.cfg.Upstream.guardsMissing(ctx, s.cfg.Bucket, name)
		if err != nil {
			return err
		}
		ignored, err := s.cfg.Upstream.ignoredCondition(ctx, s.cfg.Bucket, name)
		s.guards.Store(guards && ignored == "" && err == nil)
		if err == nil && ignored != "" {
			s.cfg.Log.Warn("the store has no conditional writes: start the first replica alone, and change rules through one replica at a time", zap.String("ignored", ignored))
		}
		return err
	})
}

// ignoredCondition returns the condition of writes that the upstream does not
// refuse on an existing object though it does not hold, "" if it refuses both that the state needs.
func (u *Upstream) ignoredCondition(ctx context.Context, bucket, name string) (string, error) {
	if _, err := u.putSmall(ctx, bucket, name, []byte("probe"), http.Header{}); err != nil && !lostRace(err) {
		return "", err
	}
	for _, c := range [...]struct{ name, value string }{{"If-None-Match", "*"}, {"If-Match", anotherTag}} {
		_, err := u.putSmall(ctx, bucket, name, []byte("again"), http.Header{c.name: {c.value}})
		if errors.Is(err, errUpstream) || ctx.Err() != nil {
			return "", err
		}
		if !lostRace(err) {
			return c.name, nil
		}
	}
	return "", nil
}

// anotherTag is an ETag that no probe has: that of an empty object.
const anotherTag = `"d41d8cd98f00b204e9800998ecf8427e"`

// put stores a small object and returns its ETag. etag is that of the object
// to replace; "" stands for none. A store without conditional writes answers
// NotImplemented and gets the write without the condition.
func (s *State) put(ctx context.Context, name string, b []byte, etag string) (string, error) {
	condition := http.Header{"If-None-Match": {"*"}}
	if etag != "" {
		condition = http.Header{"If-Match": {etag}}
	}
	stored, err := s.cfg.Upstream.putSmall(ctx, s.cfg.Bucket, name, b, condition)
	if statusOf(err) == http.StatusNotImplemented {
		stored, err = s.cfg.Upstream.putSmall(ctx, s.cfg.Bucket, name, b, http.Header{})
	}
	if err != nil {
		return "", fmt.Errorf("proxy: writing %s to the state bucket: %w", name, err)
	}
	return stored, nil
}

// lostRace reports whether a conditional write found that somebody else's came
// first, or is under way: Amazon S3 then answers 409.
func lostRace(err error) bool {
	status := statusOf(err)
	return status == http.StatusPreconditionFailed || status == http.StatusConflict
}

// putSmall stores b in one signed request and returns the ETag.
func (u *Upstream) putSmall(ctx context.Context, bucket, key string, b []byte, h http.Header) (string, error) {
	sum := md5.Sum(b) //nolint:gosec // see the import
	h.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	h.Set("Content-Type", defaultContentType)
	resp, err := u.expect(ctx, outgoing{
		method: http.MethodPut, bucket: bucket, key: key, header: h,
		body: bytes.NewReader(b), size: int64(len(b)), hash: hexSHA256(b),
	})
	if err != nil {
		return "", err
	}
	return resp.Header.Get("ETag"), resp.Body.Close()
}

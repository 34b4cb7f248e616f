package state

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// ErrUnconditional is returned by Rotate at a store without conditional writes.
var ErrUnconditional = errors.New("state: the store has no conditional writes, so a gateway that starts meanwhile, or another rotation, could put another root in the new one's place; " +
	"let no gateway start and change no rules meanwhile, and say --unconditional")

// RootRecord is a record below roots/.
type RootRecord struct {
	Name    string        // in the state bucket
	ID      sealer.RootID // as the record states it
	KeyName string        // KES key that it is sealed under, as the record states it
	Err     error         // why the record does not open

	root sealer.Root
	etag string
}

// RootRecords opens the records below roots/. The state need not be open.
func RootRecords(ctx context.Context, s *State) (all []*RootRecord, err error) {
	err = s.each(ctx, RootsPrefix, func(e *s3.Entry) error {
		all = append(all, readRecord(ctx, s, e.Key))
		return ctx.Err()
	})
	return all, err
}

// readRecord opens a record below roots/, even if its root is known.
func readRecord(ctx context.Context, s *State, name string) *RootRecord {
	r := &RootRecord{Name: name}
	record, etag, err := s.readRootRecord(ctx, name)
	r.etag, r.Err = etag, err
	if err == nil {
		r.ID, r.KeyName = record.ID, record.KeyName
		r.root, r.Err = s.openRootRecord(ctx, name, record)
	}
	return r
}

// Rotation is what Rotate has done, also if it failed on the way.
type Rotation struct {
	Old, New sealer.RootID
	Written  []string      // records of roots that were sealed under the default key
	Left     []*RootRecord // records that do not open, and stay as they are
}

// Rotate makes another root the present one, and seals the records of the old
// roots under the default key. Gateways that serve follow. An error leaves a
// state that is readable, in which Rotate can be tried again. The errors are
// ErrUnconditional, unless unconditional is set, ErrOvertaken if another
// process has replaced the root, and those of the store and KES
// (docs/FORMAT.md, section 14.1.1).
func Rotate(ctx context.Context, s *State, unconditional bool) (*Rotation, error) {
	done := &Rotation{}
	if !unconditional && !s.cfg.Upstream.Capabilities().Put.Honoured() {
		return done, ErrUnconditional
	}
	record, etag, err := s.ReadRoot(ctx)
	if err != nil {
		return done, err
	}
	s.FollowRoot(ctx)
	old, next := s.Root(), sealer.NewRoot()
	if done.Old = old.ID; record.ID != old.ID {
		return done, fmt.Errorf("%w: %s", ErrOvertaken, RootObject)
	}
	if err := resealRoots(ctx, s, done); err != nil {
		return done, err
	}
	for _, root := range []sealer.Root{old, next} {
		if err := keepRoot(ctx, s, root, done); err != nil {
			return done, err
		}
	}
	if err := proveHeir(ctx, s, next, old); err != nil {
		return done, err
	}
	if err := replaceRoot(ctx, s, next, etag); err != nil {
		return done, err
	}
	done.New, done.Written = next.ID, append(done.Written, RootObject)
	s.FollowRoot(ctx)
	if s.Root().ID != next.ID {
		return done, errors.New("state: the root is replaced, but the rules are not sealed under it: change a rule to seal them")
	}
	err = s.rules.replace(ctx, func(buckets map[string]Rule, _ uint64) (map[string]Rule, error) { return buckets, nil })
	if err != nil {
		return done, fmt.Errorf("the root is replaced, but the rules are not sealed under it: change a rule to seal them: %w", err)
	}
	return done, nil
}

// resealRoots seals the records below roots/ under the default key, except
// those that already are.
func resealRoots(ctx context.Context, s *State, done *Rotation) error {
	all, err := RootRecords(ctx, s)
	if err != nil {
		return err
	}
	for _, r := range all {
		switch {
		case r.Err != nil && !isFinal(r.Err):
			return fmt.Errorf("opening %s: %w", r.Name, r.Err)
		case r.Err != nil:
			done.Left = append(done.Left, r)
		case r.KeyName != s.cfg.KMS.DefaultKey():
			if err := writeRecord(ctx, s, r.Name, r.root, r.etag, done); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepRoot sees that the record of root is at its place below roots/.
func keepRoot(ctx context.Context, s *State, root sealer.Root, done *Rotation) error {
	name := rootName(root.ID)
	r := readRecord(ctx, s, name)
	switch {
	case r.Err == nil && r.root == root:
		return nil
	case r.Err != nil && upstream.StatusOf(r.Err) != http.StatusNotFound && !isFinal(r.Err):
		return fmt.Errorf("opening %s: %w", name, r.Err)
	}
	if err := writeRecord(ctx, s, name, root, r.etag, done); err != nil {
		return err
	}
	// Once something is sealed under the root, this record may be the only one.
	if r = readRecord(ctx, s, name); r.Err == nil && r.root != root {
		r.Err = sealer.ErrNotAuthentic
	}
	if r.Err != nil {
		return fmt.Errorf("reading %s back: %w", name, r.Err)
	}
	return nil
}

// writeRecord seals the record of a root under the default key.
func writeRecord(ctx context.Context, s *State, name string, root sealer.Root, etag string, done *Rotation) error {
	b, err := s.sealRoot(ctx, root, true)
	if err != nil {
		return err
	}
	if _, err = s.put(ctx, name, b, etag); err != nil {
		return overtaken(name, err)
	}
	done.Written = append(done.Written, name)
	return nil
}

// overtaken returns ErrOvertaken if another process was faster.
func overtaken(name string, err error) error {
	if upstream.LostRace(err) || upstream.IsCode(err, s3.ErrNoSuchKey) {
		return fmt.Errorf("%w: %s", ErrOvertaken, name)
	}
	return stateFailed("writing "+name, err)
}

// proveHeir stores the proof that next follows old.
func proveHeir(ctx context.Context, s *State, next, old sealer.Root) error {
	proof, err := sealHeir(next, old)
	if err != nil {
		return fmt.Errorf("state: sealing the proof of a root: %w", err)
	}
	name := HeirsPrefix + next.ID.String()
	if _, err := s.put(ctx, name, proof, ""); err != nil {
		return overtaken(name, err)
	}
	return s.checkHeir(ctx, next, old)
}

// replaceRoot makes next the present root, in place of the record with that
// ETag. A store may fail although it has written.
func replaceRoot(ctx context.Context, s *State, next sealer.Root, etag string) error {
	failed := s.writeRoot(ctx, next, true, etag)
	if failed == nil {
		return nil
	}
	if record, _, err := s.ReadRoot(ctx); err == nil && record.ID == next.ID {
		return nil
	}
	return overtaken(RootObject, failed)
}

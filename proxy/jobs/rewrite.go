package jobs

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"

	"ssegw/kms"
	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/sse"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// Choose returns how to seal an object, whose headers at the store are stored.
// o is nil for an object in plaintext.
type Choose func(o *object.Object, stored http.Header) (*sse.Sealing, error)

// passes returns what the job does with each object.
func (r *run) passes(ctx context.Context) ([]pass, error) {
	if r.job.Kind == Inventory {
		return r.inventoryPasses(ctx)
	}
	versions, err := hasVersions(ctx, r.Upstream.Own(), r.job.Bucket)
	if err != nil {
		return nil, err
	}
	switch r.job.Kind {
	case Encrypt:
		return r.encryptPasses(ctx, versions)
	case Rekey:
		return r.rekeyPasses(versions)
	case Verify:
		return []pass{{listing: r.listing(versions), object: r.verify}}, nil
	}
	return nil, fmt.Errorf("%w: there is no kind %q", ErrInvalid, r.job.Kind)
}

// ErrUnconditional is returned for a job that writes, at a store without
// conditional writes.
var ErrUnconditional = errors.New("jobs: the store has no conditional writes, so a client's write between the job's look at an object and its own write would be lost, and a deleted object could come back; " +
	"stop all writes to the bucket, and say --unconditional")

// rewrite seals an object in its place.
func (r *run) rewrite(ctx context.Context, e *s3.Entry, done Result, choose Choose) outcome {
	if r.job.Settings.DryRun {
		inner := choose
		choose = func(o *object.Object, stored http.Header) (*sse.Sealing, error) {
			if _, err := inner(o, stored); err != nil {
				return nil, err
			}
			return nil, &because{ResultWould}
		}
	}
	size, err := r.Objects.Rewrite(ctx, r.job.Bucket, e, r.job.Kind, choose, r.job.Settings.Unconditional, r.pace.reader(ctx))
	if r.job.Settings.DryRun {
		size = e.Size
	}
	return outcomeOf(done, size, err)
}

// isSealed reports whether an entry's object is sealed, as far as that is known
// without a request. The store's word is enough to leave an object alone.
func (r *run) isSealed(e *s3.Entry) (sealed, known bool) {
	return e.Sealed != nil, r.pages.Tells(e)
}

// encryptPasses seals what is in plaintext, and then looks whether something
// still is.
func (r *run) encryptPasses(ctx context.Context, versions bool) ([]pass, error) {
	s, err := r.target(ctx)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, fmt.Errorf("the bucket %s has no rule: set one with \"mc encrypt set\", or name a scheme", r.job.Bucket)
	}
	seal := pass{listing: r.listing(versions), object: func(ctx context.Context, e *s3.Entry) outcome { return r.seal(ctx, e, s) }}
	if r.job.Settings.DryRun {
		return []pass{seal}, nil
	}
	return []pass{seal, {listing: r.listing(versions), object: r.lookForPlain, done: r.concludeEncrypt}}, nil
}

// target returns how the job seals objects: as its settings say, or as the
// bucket's rule does. It is nil if neither says anything.
func (r *run) target(ctx context.Context) (*sse.Sealing, error) {
	s := &r.job.Settings
	if s.Scheme == "" && s.Key == "" {
		return r.Objects.Rule(ctx, r.job.Bucket)
	}
	key, err := sse.KeyName(s.Key, r.KMS.DefaultKey())
	if err != nil {
		return nil, err
	}
	if s.Scheme == sealer.SSES3.String() {
		return &sse.Sealing{Scheme: sealer.SSES3, KeyName: key, Shared: true}, nil
	}
	return sse.Request{DefaultKey: r.KMS.DefaultKey(), Object: sealer.Binding{Bucket: r.job.Bucket}}.KMS(key, s.Context)
}

// seal seals an object that is not sealed.
func (r *run) seal(ctx context.Context, e *s3.Entry, s *sse.Sealing) outcome {
	if e.DeleteMarker {
		return outcome{}
	}
	if sealed, known := r.isSealed(e); known && sealed {
		return outcome{result: ResultAlready}
	}
	if r.isOld(e) {
		if r.job.Settings.DryRun {
			return r.lookForPlain(ctx, e)
		}
		return outcome{} // counted by lookForPlain
	}
	o := r.rewrite(ctx, e, ResultSealed, func(o *object.Object, _ http.Header) (*sse.Sealing, error) {
		if o != nil {
			return nil, &because{ResultAlready}
		}
		return s, nil
	})
	if o.result.IsIncomplete() && !r.job.Settings.DryRun && !isTransient(o.err) {
		r.failed.Store(e.Key, cmp.Or(o.err, errors.New(string(o.result))))
		return outcome{} // counted by lookForPlain, unless a client has sealed it since
	}
	return o
}

// isOld reports whether an entry is an older version of an object.
func (r *run) isOld(e *s3.Entry) bool { return e.VersionID != "" && !e.IsLatest }

// lookForPlain counts objects that are in plaintext after all were sealed, and
// older versions that are.
func (r *run) lookForPlain(ctx context.Context, e *s3.Entry) outcome {
	if e.DeleteMarker {
		return outcome{}
	}
	o, err := r.prove(ctx, r.job.Bucket, e)
	switch {
	case err != nil && isGone(err):
		return outcome{}
	case err != nil:
		return outcome{result: ResultFailed, err: err}
	case o != nil:
		o.Wipe()
		return outcome{}
	case r.isOld(e):
		return outcome{result: ResultOldVersion, bytes: e.Size}
	}
	why, _ := r.failed.Load(e.Key)
	err, _ = why.(error)
	return outcome{result: ResultLeft, bytes: e.Size, err: err}
}

// prove authenticates the header of an entry's object, and returns nil for an
// object that is not sealed. If another object has replaced that of the entry,
// it proves that one. The caller wipes the object.
func (r *run) prove(ctx context.Context, bucket string, e *s3.Entry) (*object.Object, error) {
	reader := r.readerIn(bucket, e)
	o, err := reader.ProveEntry(ctx, e, r.pages.Tells(e), func() {})
	if !errors.Is(err, object.ErrIntegrity) && !errors.Is(err, object.ErrChanged) {
		return o, err
	}
	head, err := reader.Head(ctx, object.Request{})
	if err != nil || !head.Sealed() {
		return nil, err
	}
	return reader.Prove(ctx, head.Header, head.Size, nil, nil)
}

// reader returns the reader of an entry's object.
func (r *run) reader(e *s3.Entry) *object.Reader { return r.readerIn(r.job.Bucket, e) }

func (r *run) readerIn(bucket string, e *s3.Entry) *object.Reader {
	return r.Objects.Access().Of(bucket, e)
}

// concludeEncrypt makes the bucket sealed-only if nothing in it is in
// plaintext.
func (r *run) concludeEncrypt(ctx context.Context) error {
	j := r.job
	r.mu.Lock()
	incomplete := j.Incomplete()
	r.mu.Unlock()
	switch {
	case incomplete > 0:
		r.note("The bucket stays readable in plaintext, because objects were left out or failed.")
		return nil
	case j.Prefix != "":
		r.note("The bucket stays readable in plaintext, because the job had a prefix.")
		return nil
	case j.Settings.KeepPlain:
		r.note("The bucket stays readable in plaintext, as asked.")
		return nil
	}
	found := false
	err := r.State.ChangeRule(ctx, j.Bucket, func(old *state.Rule) (*state.Rule, error) {
		if old == nil || old.Algorithm == "" {
			return old, nil
		}
		found = true
		if old.SealedOnly {
			return old, nil
		}
		changed := *old
		changed.SealedOnly = true
		return &changed, nil
	})
	if err != nil {
		return err
	}
	if found {
		r.note("The bucket is sealed-only now: the gateway refuses objects that are not sealed.")
	} else {
		r.note("The bucket stays readable in plaintext, because it has no rule.")
	}
	return nil
}

// note adds a sentence to the job.
func (r *run) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.job.Notes {
		if n == text {
			return
		}
	}
	r.job.Notes = append(r.job.Notes, text)
}

// isKMSDown reports whether KES did not answer.
func isKMSDown(err error) bool { return errors.Is(err, kms.ErrUnreachable) }

// rekeyPasses seals data keys under the key of the settings.
func (r *run) rekeyPasses(versions bool) ([]pass, error) {
	f, err := r.job.Settings.Filter.prepare(r.job.Created)
	if err != nil {
		return nil, err
	}
	return []pass{{listing: r.listing(versions), object: func(ctx context.Context, e *s3.Entry) outcome { return r.rekey(ctx, e, f) }}}, nil
}

// rekey seals an object's data key under the key of the settings.
func (r *run) rekey(ctx context.Context, e *s3.Entry, f *filter) outcome {
	if e.DeleteMarker {
		return outcome{}
	}
	if !f.matchesEntry(e) {
		return outcome{result: ResultFiltered}
	}
	if r.isOld(e) {
		return r.countOld(ctx, e, f)
	}
	if r.pages.Tells(e) && e.Sealed == nil {
		return outcome{result: ResultUnsealed}
	}
	o := r.rewrite(ctx, e, ResultRekeyed, func(o *object.Object, stored http.Header) (*sse.Sealing, error) {
		if o == nil {
			return nil, &because{ResultUnsealed}
		}
		if err := f.check(ctx, r.reader(e), o, stored); err != nil {
			return nil, err
		}
		return r.rekeyed(r.job.object(e), o.Header.KeyHint())
	})
	if o.result == ResultRekeyed && e.VersionID != "" && e.VersionID != "null" {
		// What was the object is an older version now, under the old key.
		if err := r.count(e, outcome{result: ResultOldVersion, bytes: o.bytes}, nil); err != nil {
			return outcome{result: ResultFailed, err: err}
		}
	}
	return o
}

// rekeyed returns how an object is sealed after Rekey. The error is the result
// of an object that stays as it is.
func (r *run) rekeyed(name sealer.Binding, h sealer.KeyHint) (*sse.Sealing, error) {
	if h.Scheme == sealer.SSEC {
		return nil, &because{ResultCustomer}
	}
	set, isPresent := &r.job.Settings, h.RootID == r.State.Root().ID // objects under an old root are sealed again
	key, err := sse.KeyName(set.Key, r.KMS.DefaultKey())
	if err != nil {
		return nil, err
	}
	scheme := h.Scheme.String()
	if set.Scheme != "" {
		scheme = set.Scheme
	}
	if set.Key == "" && set.Scheme == "" {
		key = h.KeyName
	}
	if scheme == sealer.SSES3.String() {
		if isPresent && h.Scheme == sealer.SSES3 && h.KeyName == key {
			return nil, &because{ResultAlready}
		}
		return &sse.Sealing{Scheme: sealer.SSES3, KeyName: key, Shared: true}, nil
	}
	encoded := cmp.Or(set.Context, base64.StdEncoding.EncodeToString(h.Context))
	s, err := sse.Request{DefaultKey: r.KMS.DefaultKey(), Object: name}.KMS(key, encoded)
	if err != nil {
		return nil, err
	}
	s.Shared = h.Shared && h.Scheme == sealer.SSEKMS && len(s.Context) == 0
	if isPresent && h.Scheme == sealer.SSEKMS && h.KeyName == key && h.Shared == s.Shared && string(h.Context) == string(s.Context) {
		return nil, &because{ResultAlready}
	}
	return s, nil
}

// countOld returns the outcome of an older version, which cannot be replaced.
// It counts only if the job would change it.
func (r *run) countOld(ctx context.Context, e *s3.Entry, f *filter) outcome {
	o, err := r.prove(ctx, r.job.Bucket, e)
	switch {
	case err != nil:
		return outcomeOf("", 0, err)
	case o == nil:
		return outcome{result: ResultUnsealed}
	}
	defer o.Wipe()
	if err := f.check(ctx, r.reader(e), o, o.Stored); err != nil {
		return outcomeOf("", o.Size, err)
	}
	if _, err := r.rekeyed(r.job.object(e), o.Header.KeyHint()); err != nil {
		return outcomeOf("", o.Size, err)
	}
	return outcome{result: ResultOldVersion, bytes: o.Size}
}

package model

import (
	"fmt"
	"slices"
)

// As is an operation of a client with a limited credential. The KMS is asked
// for its keys while the operation is carried out.
type As struct {
	Op
	Who string
}

func (s As) Rights(w *World) []Right {
	limit := w.Config.Limits[s.Who]
	buckets, reads, root := reaches(s.Op)
	var no refusals
	for _, name := range buckets {
		no.when(!slices.Contains(limit.Buckets, name), 403, "AccessDenied")
	}
	no.when(root || limit.ReadOnly && !reads, 403, "AccessDenied")
	if len(no) > 0 {
		return no
	}
	w.limit = &limit
	defer func() { w.limit = nil }()
	return s.Op.Rights(w)
}

// reaches returns the buckets of an operation, whether it only reads, and
// whether it needs the root credential.
func reaches(op Op) (buckets []string, reads, root bool) {
	switch op := op.(type) {
	case Get:
		return []string{op.Bucket}, true, false
	case GetTags:
		return []string{op.Bucket}, true, false
	case List:
		return []string{op.Bucket}, true, false
	case Put:
		return []string{op.Bucket}, false, false
	case PutTags:
		return []string{op.Bucket}, false, false
	case Delete:
		return []string{op.Bucket}, false, false
	case Copy:
		return []string{op.From.Bucket, op.To.Bucket}, false, false
	case Update:
		return []string{op.Bucket}, false, false
	}
	return nil, false, true
}

// PutVersioning is PutBucketVersioning.
type PutVersioning struct{ Bucket, Status string }

func (p PutVersioning) Rights(w *World) []Right {
	return []Right{{Status: 200, Then: func(*Answer) { w.Buckets[p.Bucket].Versioning = p.Status }}}
}

// GetVersioning is GetBucketVersioning.
type GetVersioning struct{ Bucket string }

func (g GetVersioning) Rights(w *World) []Right {
	return []Right{{Status: 200, Check: func(a *Answer) error {
		if want := w.Buckets[g.Bucket].Versioning; a.Versioning != want {
			return fmt.Errorf("versioning is %q, not %q", a.Versioning, want)
		}
		return nil
	}}}
}

// PutRule is PutBucketEncryption.
type PutRule struct {
	Bucket string
	Rule   Rule
}

func (p PutRule) Rights(w *World) []Right {
	b := w.Buckets[p.Bucket]
	rule := p.Rule
	var no refusals
	if rule.Scheme == KMS && rule.KeyName != "" {
		w.refuseKey(&no, rule.Sealing)
	}
	return no.or(Right{Status: 200, Then: func(*Answer) {
		if b.Rule == nil {
			b.SealedOnly = w.isEmpty(p.Bucket)
		}
		b.Rule = &rule
	}})
}

// isEmpty reports whether a bucket has no objects, versions, markers and
// uploads.
func (w *World) isEmpty(bucket string) bool {
	for _, all := range w.Buckets[bucket].Objects {
		if len(all) > 0 {
			return false
		}
	}
	return len(w.open(bucket)) == 0
}

// DeleteRule is DeleteBucketEncryption.
type DeleteRule struct{ Bucket string }

func (d DeleteRule) Rights(w *World) []Right {
	return []Right{{Status: 204, Then: func(*Answer) {
		b := w.Buckets[d.Bucket]
		b.Rule, b.SealedOnly = nil, false
	}}}
}

// GetRule is GetBucketEncryption.
type GetRule struct{ Bucket string }

func (g GetRule) Rights(w *World) []Right {
	rule := w.Buckets[g.Bucket].Rule
	var no refusals
	no.when(rule == nil, 404, "ServerSideEncryptionConfigurationNotFoundError")
	return no.or(Right{Status: 200, Check: func(a *Answer) error {
		if a.Rule == nil || *a.Rule != *rule {
			return fmt.Errorf("the rule is %+v, not %+v", a.Rule, rule)
		}
		return nil
	}})
}

// latest returns the names of a bucket's objects that are so.
func (w *World) latest(bucket string, so func(o *Object) bool) (all []Name) {
	for _, key := range sorted(w.Buckets[bucket].Objects) {
		n := Name{Bucket: bucket, Key: key}
		if o := w.Object(n); o != nil && so(o) {
			all = append(all, n)
		}
	}
	return all
}

// EncryptJob is `mc admin` or `ssegw encrypt` on a bucket with a rule: it seals
// what is in plaintext. When nothing is, the bucket becomes sealed-only. In a
// bucket that is sealed-only already, plaintext has no author to trust, and
// stays. So do older versions.
type EncryptJob struct{ Bucket string }

func (e EncryptJob) Rights(w *World) []Right {
	b := w.Buckets[e.Bucket]
	if b.Rule == nil {
		return []Right{{Status: 400}}
	}
	plain := w.latest(e.Bucket, func(o *Object) bool { return o.Scheme == Plain && !b.SealedOnly })
	return []Right{{Status: 200, Check: counts(len(plain)), Then: func(*Answer) {
		for _, n := range plain {
			w.reseal(n, w.sealing(e.Bucket, Sealing{}, nil))
		}
		left := false
		for _, all := range b.Objects {
			left = left || slices.ContainsFunc(all, func(o *Object) bool { return o.Scheme == Plain && !o.Marker })
		}
		b.SealedOnly = b.SealedOnly || !left
	}}}
}

// RekeyJob is `ssegw rekey` on a bucket: what is sealed under the KMS gets
// another key. Plaintext stays, and what is sealed under customers' keys.
type RekeyJob struct{ Bucket, Key string }

func (r RekeyJob) Rights(w *World) []Right {
	changed := w.latest(r.Bucket, func(o *Object) bool { return (o.Scheme == S3 || o.Scheme == KMS) && o.KeyName != r.Key })
	return []Right{{Status: 200, Check: counts(len(changed)), Then: func(*Answer) {
		for _, n := range changed {
			s := w.Object(n).Sealing
			s.KeyName = r.Key
			w.reseal(n, s)
		}
	}}}
}

// VerifyJob is `ssegw verify` on a bucket: it reads all sealed versions but
// those under customers' keys.
type VerifyJob struct{ Bucket string }

func (v VerifyJob) Rights(w *World) []Right {
	n := 0
	for _, all := range w.Buckets[v.Bucket].Objects {
		for _, o := range all {
			if o.Scheme == S3 || o.Scheme == KMS {
				n++
			}
		}
	}
	return []Right{{Status: 200, Check: counts(n)}}
}

// counts checks how many objects a job changed, or verified.
func counts(n int) func(*Answer) error {
	return func(a *Answer) error {
		if a.Count != n {
			return fmt.Errorf("the job counts %d objects, not %d", a.Count, n)
		}
		return nil
	}
}

// Restart is another process of the gateway in place of the old one. Clients
// notice nothing.
type Restart struct{}

func (Restart) Rights(*World) []Right { return []Right{{Status: 200}} }

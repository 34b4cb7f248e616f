package model

import (
	"fmt"
	"maps"
	"slices"

	"ssegw/proxy/model/s3op"
)

func (w *World) as(s s3op.As) []Right {
	limit := w.Config.Limits[s.Who]
	buckets, reads, root := s3op.Reaches(s.Op)
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
	return w.Rights(s.Op)
}

func (w *World) putVersioning(p s3op.PutVersioning) []Right {
	return []Right{{Status: 200, Then: func(*s3op.Answer) { w.Buckets[p.Bucket].Versioning = p.Status }}}
}

func (w *World) getVersioning(g s3op.GetVersioning) []Right {
	return []Right{{Status: 200, Check: func(a *s3op.Answer) error {
		if want := w.Buckets[g.Bucket].Versioning; a.Versioning != want {
			return fmt.Errorf("versioning is %q, not %q", a.Versioning, want)
		}
		return nil
	}}}
}

func (w *World) putRule(p s3op.PutRule) []Right {
	b := w.Buckets[p.Bucket]
	rule := p.Rule
	var no refusals
	if rule.Scheme == s3op.KMS && rule.KeyName != "" {
		w.refuseKey(&no, rule.Sealing)
	}
	return no.or(Right{Status: 200, Then: func(*s3op.Answer) {
		if b.Rule == nil {
			b.SealedOnly = w.isEmpty(p.Bucket)
		}
		b.Rule = &rule
	}})
}

// isEmpty reports whether a bucket has no objects, versions, markers and
// uploads.
func (w *World) isEmpty(bucket string) bool {
	return len(w.open(bucket)) == 0 && len(w.all(bucket)) == 0
}

func (w *World) deleteRule(d s3op.DeleteRule) []Right {
	return []Right{{Status: 204, Then: func(*s3op.Answer) {
		b := w.Buckets[d.Bucket]
		b.Rule, b.SealedOnly = nil, false
	}}}
}

func (w *World) getRule(g s3op.GetRule) []Right {
	rule := w.Buckets[g.Bucket].Rule
	var no refusals
	no.when(rule == nil, 404, "ServerSideEncryptionConfigurationNotFoundError")
	return no.or(Right{Status: 200, Check: func(a *s3op.Answer) error {
		if a.Rule == nil || *a.Rule != *rule {
			return fmt.Errorf("the rule is %+v, not %+v", a.Rule, rule)
		}
		return nil
	}})
}

// all returns the versions and markers of a bucket.
func (w *World) all(bucket string) []*s3op.Object {
	return slices.Concat(slices.Collect(maps.Values(w.Buckets[bucket].Objects))...)
}

// latest returns the names of a bucket's objects that are so.
func (w *World) latest(bucket string, so func(o *s3op.Object) bool) (all []s3op.Name) {
	for _, key := range sorted(w.Buckets[bucket].Objects) {
		n := s3op.Name{Bucket: bucket, Key: key}
		if o := w.Object(n); o != nil && so(o) {
			all = append(all, n)
		}
	}
	return all
}

func (w *World) encryptJob(e s3op.EncryptJob) []Right {
	b := w.Buckets[e.Bucket]
	if b.Rule == nil {
		return []Right{{Status: 400}}
	}
	plain := w.latest(e.Bucket, func(o *s3op.Object) bool { return o.Scheme == s3op.Plain && !b.SealedOnly })
	return []Right{{Status: 200, Check: counts(len(plain)), Then: func(*s3op.Answer) {
		for _, n := range plain {
			w.reseal(n, w.sealing(e.Bucket, s3op.Sealing{}, nil))
		}
		b.SealedOnly = b.SealedOnly || !slices.ContainsFunc(w.all(e.Bucket), func(o *s3op.Object) bool { return o.Scheme == s3op.Plain && !o.Marker })
	}}}
}

func (w *World) rekeyJob(r s3op.RekeyJob) []Right {
	changed := w.latest(r.Bucket, func(o *s3op.Object) bool { return (o.Scheme == s3op.S3 || o.Scheme == s3op.KMS) && o.KeyName != r.Key })
	return []Right{{Status: 200, Check: counts(len(changed)), Then: func(*s3op.Answer) {
		for _, n := range changed {
			s := w.Object(n).Sealing
			s.KeyName = r.Key
			w.reseal(n, s)
		}
	}}}
}

func (w *World) verifyJob(v s3op.VerifyJob) []Right {
	sealed := slices.DeleteFunc(w.all(v.Bucket), func(o *s3op.Object) bool { return o.Scheme != s3op.S3 && o.Scheme != s3op.KMS })
	return []Right{{Status: 200, Check: counts(len(sealed))}}
}

// counts checks how many objects a job changed, or verified.
func counts(n int) func(*s3op.Answer) error {
	return func(a *s3op.Answer) error {
		if a.Count != n {
			return fmt.Errorf("the job counts %d objects, not %d", a.Count, n)
		}
		return nil
	}
}

// restart is another process of the gateway: clients notice nothing.
func (w *World) restart(s3op.Restart) []Right { return []Right{{Status: 200}} }

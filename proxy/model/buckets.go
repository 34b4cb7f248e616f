package model

import "fmt"

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
			b.SealedOnly = len(b.Objects) == 0 && len(w.open(p.Bucket)) == 0
		}
		b.Rule = &rule
	}})
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

// EncryptJob is `mc admin` or `ssegw encrypt` on a bucket with a rule: it seals
// what is in plaintext. When nothing is, the bucket becomes sealed-only. In a
// bucket that is sealed-only already, plaintext has no author to trust, and
// stays.
type EncryptJob struct{ Bucket string }

func (e EncryptJob) Rights(w *World) []Right {
	b := w.Buckets[e.Bucket]
	if b.Rule == nil {
		return []Right{{Status: 400}}
	}
	var plain []Name
	for _, key := range sorted(b.Objects) {
		if b.Objects[key].Scheme == Plain && !b.SealedOnly {
			plain = append(plain, Name{e.Bucket, key})
		}
	}
	return []Right{{Status: 200, Check: counts(len(plain)), Then: func(*Answer) {
		for _, n := range plain {
			w.reseal(n, w.sealing(e.Bucket, Sealing{}))
		}
		b.SealedOnly = true
	}}}
}

// RekeyJob is `ssegw rekey` on a bucket: what is sealed under the KMS gets
// another key. Plaintext stays, and what is sealed under customers' keys.
type RekeyJob struct{ Bucket, Key string }

func (r RekeyJob) Rights(w *World) []Right {
	objects := w.Buckets[r.Bucket].Objects
	var changed []Name
	for _, key := range sorted(objects) {
		if o := objects[key]; (o.Scheme == S3 || o.Scheme == KMS) && o.KeyName != r.Key {
			changed = append(changed, Name{r.Bucket, key})
		}
	}
	return []Right{{Status: 200, Check: counts(len(changed)), Then: func(*Answer) {
		for _, n := range changed {
			w.reseal(n, Sealing{w.Object(n).Scheme, r.Key})
		}
	}}}
}

// counts checks how many objects a job changed.
func counts(n int) func(*Answer) error {
	return func(a *Answer) error {
		if a.Count != n {
			return fmt.Errorf("the job changed %d objects, not %d", a.Count, n)
		}
		return nil
	}
}

// Restart is another process of the gateway in place of the old one. Clients
// notice nothing.
type Restart struct{}

func (Restart) Rights(*World) []Right { return []Right{{Status: 200}} }

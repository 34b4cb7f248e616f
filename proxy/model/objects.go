package model

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ssegw/proxy/model/s3op"
)

func (w *World) putObject(p s3op.Put) []Right {
	o := &s3op.Object{Sealing: w.sealing(p.Bucket, p.Ask, nil), Body: p.Body, Meta: s3op.MetaOf(p.Meta), Tags: p.Tags}
	o.Sum = whole(o, p.Sum)
	var no refusals
	w.refuseSealing(&no, p.Bucket, p.Ask, o.Sealing)
	no.unless(p.If, w.Object(p.Name))
	no.when(p.Damaged, 400, "XAmzContentSHA256Mismatch")
	no.when(p.Damaged, 400, "BadDigest")
	return no.or(Right{Status: 200, Check: func(a *s3op.Answer) error { return w.stored(p.Name, o, a, true) }, Then: w.keep(p.Name, o)})
}

func (w *World) plantObject(p s3op.Plant) []Right {
	o := &s3op.Object{Body: p.Body, Meta: s3op.MetaOf(nil), ETag: s3op.MD5(p.Body)}
	return []Right{{Status: 200, Then: func(a *s3op.Answer) { w.put(p.Name, o, a.Version) }}}
}

func (w *World) getObject(g s3op.Get) []Right {
	var no refusals
	o := w.find(&no, g.Name)
	if o == nil {
		return no
	}
	w.refuseRead(&no, g.Bucket, o, g.Key)
	if !g.Head {
		w.refuseKey(&no, o.Sealing)
	}
	no.when(fails(g.If, o), 412, "PreconditionFailed")
	no.when(!fails(g.If, o) && g.If.NoneMatch != "" && matches(o, g.If.NoneMatch), 304, "")
	if g.Range != nil && len(no) > 0 {
		_, _, ok := g.Range.Of(int64(len(o.Body)))
		no.when(!ok, 416, "InvalidRange")
	}
	return no.or(w.served(g, o)...)
}

// served are the right answers of a GET that is not refused.
func (w *World) served(g s3op.Get, o *s3op.Object) []Right {
	size := int64(len(o.Body))
	if g.Range == nil {
		return []Right{w.bytes(g, o, 200, 0, size, "")}
	}
	first, length, ok := g.Range.Of(size)
	unsatisfiable := Right{Status: 416, Code: "InvalidRange"}
	switch {
	case ok:
		return []Right{w.bytes(g, o, 206, first, length, fmt.Sprintf("bytes %d-%d/%d", first, first+length-1, size))}
	case g.Range.First < 0: // the last bytes of nothing: Amazon S3 serves them, stores refuse them
		return []Right{w.bytes(g, o, 200, 0, 0, ""), unsatisfiable, {Status: 206, Check: func(a *s3op.Answer) error { return sameBody(a.Body, nil) }}}
	}
	return []Right{unsatisfiable}
}

// bytes is an answer with some bytes of an object.
func (w *World) bytes(g s3op.Get, o *s3op.Object, status int, first, length int64, span string) Right {
	return Right{Status: status, Check: func(a *s3op.Answer) error {
		err := w.shows(o, a)
		if a.Range != span || a.Size != length {
			err = errors.Join(err, fmt.Errorf("%d bytes of %q, not %d of %q", a.Size, a.Range, length, span))
		}
		if g.Sums && g.Range == nil {
			err = errors.Join(err, sums(o, a.Sums))
		}
		if !g.Head {
			err = errors.Join(err, sameBody(a.Body, o.Body[first:first+length]))
		}
		return err
	}}
}

func (w *World) getAttributes(t s3op.Attributes) []Right {
	var no refusals
	o := w.find(&no, t.Name)
	if o == nil {
		return no
	}
	w.refuseRead(&no, t.Bucket, o, t.Key)
	return no.or(Right{Status: 200, Check: func(a *s3op.Answer) error {
		err := errors.Join(w.tagOf(o, a.ETag), w.idOf(o, a.Version))
		if a.Size != int64(len(o.Body)) {
			err = errors.Join(err, fmt.Errorf("the size is %d, not %d", a.Size, len(o.Body)))
		}
		shown := *o // the number of parts is not shown here
		shown.Sum.Value, _, _ = strings.Cut(o.Sum.Value, "-")
		if o.Sum.Algorithm == "" {
			return err
		}
		return errors.Join(err, sums(&shown, a.Sums))
	}})
}

func (w *World) deleteObject(d s3op.Delete) []Right {
	o := w.Object(d.Name)
	var no refusals
	no.when(o == nil && w.Config.Store.DeletesNothing && (d.If.Match != "" || d.Size >= 0), 204, "")
	no.unless(d.If, o)
	no.when(d.Size >= 0 && (o == nil || d.Size != int64(len(o.Body))), 412, "PreconditionFailed")
	return no.or(Right{Status: 204,
		Check: func(a *s3op.Answer) error {
			if !w.marks(d.Name) {
				return nil
			}
			return w.marked(d.Bucket, a.Marker, a.Version)
		},
		Then: func(a *s3op.Answer) { w.remove(d.Name, a.Version) },
	})
}

// marked checks what an answer shows of a new delete marker.
func (w *World) marked(bucket string, marker bool, version string) error {
	if quiet := w.Config.Store.QuietMarkers && w.Buckets[bucket].Versioning == s3op.Suspended; !marker && !quiet {
		return errors.New("no delete marker")
	}
	return w.named(bucket, version)
}

func (w *World) deleteObjects(d s3op.DeleteMany) []Right {
	found := func(a *s3op.Answer, n s3op.Name) *s3op.Entry {
		for i, e := range a.Entries {
			if e.Key == n.Key && e.ID == n.Version {
				return &a.Entries[i]
			}
		}
		return nil
	}
	return []Right{{Status: 200,
		Check: func(a *s3op.Answer) (err error) {
			for _, n := range d.Objects {
				switch e := found(a, n); {
				case e == nil:
					err = fmt.Errorf("%v is not among the deleted %v", n, a.Entries)
				case w.marks(n):
					err = errors.Join(err, w.marked(d.Bucket, e.Marker, e.Created))
				}
			}
			return err
		},
		Then: func(a *s3op.Answer) {
			for _, n := range d.Objects {
				w.remove(n, found(a, n).Created)
			}
		},
	}}
}

func (w *World) copyObject(c s3op.Copy) []Right {
	var no refusals
	from := w.find(&no, c.From)
	if from == nil {
		return no
	}
	o := &s3op.Object{Sealing: w.sealing(c.To.Bucket, c.Ask, from), Body: from.Body, Meta: from.Meta, Tags: from.Tags, Sum: from.Sum}
	w.refuseRead(&no, c.From.Bucket, from, c.Key)
	w.refuseKey(&no, from.Sealing)
	no.when(fails(c.FromIf, from) || c.FromIf.NoneMatch != "" && matches(from, c.FromIf.NoneMatch), 412, "PreconditionFailed")
	w.refuseSealing(&no, c.To.Bucket, c.Ask, o.Sealing)
	no.unless(c.If, w.Object(c.To))
	changes := c.Replace || c.Ask.Scheme != s3op.Plain || c.Ask.BucketKey != "" || c.Sum != "" || o.Scheme != from.Scheme || o.KeyName != from.KeyName
	no.when(c.From == c.To && !changes, 400, "InvalidRequest")
	if c.Replace {
		o.Meta = s3op.MetaOf(c.Meta)
	}
	if c.Retag {
		o.Tags = c.Tags
	}
	if c.Sum != "" && c.Sum != from.Sum.Algorithm {
		o.Sum = whole(o, c.Sum)
	}
	return no.or(Right{Status: 200, Check: func(a *s3op.Answer) error { return w.stored(c.To, o, a, false) }, Then: w.keep(c.To, o)})
}

func (w *World) updateEncryption(u s3op.Update) []Right {
	no := refusals{}
	if u.Version != "" {
		return []Right{{Status: 501, Code: "NotImplemented"}}
	}
	o := w.find(&no, u.Name)
	if o == nil {
		return no
	}
	s := s3op.Sealing{Scheme: s3op.KMS, KeyName: u.Key, Context: o.Context}
	if u.BucketKey && s.Context == "" {
		s.BucketKey = "true"
	}
	no.when(o.Scheme == s3op.Plain && w.Buckets[u.Bucket].SealedOnly, 403, "AccessDenied")
	no.when(o.Scheme == s3op.Plain, 400, "InvalidRequest")
	no.when(o.Scheme == s3op.Customer, 400, "*")
	w.refuseKey(&no, o.Sealing)
	w.refuseKey(&no, s)
	return no.or(Right{Status: 200, Then: func(*s3op.Answer) { w.reseal(u.Name, s) }})
}

// reseal gives an object another sealing, and perhaps another ETag. Where
// versions are kept, the old one stays.
func (w *World) reseal(n s3op.Name, s s3op.Sealing) {
	o := *w.Object(n)
	o.Sealing, o.ETag = s, ""
	w.put(n, &o, "")
}

func (w *World) putTags(p s3op.PutTags) []Right {
	status := 200
	if len(p.Tags) == 0 {
		status = 204
	}
	var no refusals
	w.find(&no, p.Name)
	return no.or(Right{Status: status, Then: func(*s3op.Answer) { w.Buckets[p.Bucket].Change(p.Name, func(o *s3op.Object) { o.Tags = p.Tags }) }})
}

func (w *World) getTags(g s3op.GetTags) []Right {
	var no refusals
	o := w.find(&no, g.Name)
	return no.or(Right{Status: 200, Check: func(a *s3op.Answer) error {
		if len(a.Tags) != len(o.Tags) || !maps.Equal(a.Tags, o.Tags) && len(o.Tags) > 0 {
			return fmt.Errorf("tags %v, not %v", a.Tags, o.Tags)
		}
		return nil
	}})
}

func (w *World) listObjects(l s3op.List) []Right {
	return []Right{{Status: 200, Check: func(a *s3op.Answer) error {
		all := w.Buckets[l.Bucket].Objects
		var right []s3op.Entry
		var objects []*s3op.Object
		for _, key := range sorted(all) {
			if !strings.HasPrefix(key, l.Prefix) || key <= l.After {
				continue
			}
			for i, o := range slices.Backward(all[key]) {
				latest := i == len(all[key])-1
				if l.Versions || latest && !o.Marker {
					right = append(right, s3op.Entry{Key: key, ID: o.Version, Size: int64(len(o.Body)), Marker: o.Marker, Latest: latest && l.Versions})
					objects = append(objects, o)
				}
			}
		}
		truncated := len(right) > l.Max || len(right) == l.Max && l.Versions && a.Truncated && w.Config.Store.Truncates
		right = right[:min(len(right), l.Max)]
		if len(a.Entries) != len(right) || a.Truncated != truncated {
			return fmt.Errorf("%v, truncated: %t; right are %v, truncated: %t", a.Entries, a.Truncated, right, truncated)
		}
		for i, e := range a.Entries {
			o := objects[i]
			var err error
			if !o.Marker && (len(e.ETag) > 2 || !w.Config.Store.LosesListed) {
				err = w.tagOf(o, e.ETag)
			}
			if l.Versions {
				err = errors.Join(err, w.idOf(o, e.ID))
			}
			right[i].ETag, right[i].ID = e.ETag, e.ID
			if err != nil || e != right[i] {
				return fmt.Errorf("%v is not right: %v, %w", e, right[i], err)
			}
		}
		return nil
	}}}
}

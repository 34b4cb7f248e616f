package model

import (
	"errors"
	"fmt"
	"maps"
	"strings"
)

// Put is PutObject.
type Put struct {
	Name
	Body    Body
	Meta    map[string]string
	Tags    map[string]string
	Ask     Sealing
	If      Condition
	Damaged bool // the body is not the one that was signed
}

func (p Put) Rights(w *World) []Right {
	o := &Object{Sealing: w.sealing(p.Bucket, p.Ask), Body: p.Body, Meta: metaOf(p.Meta), Tags: p.Tags}
	var no refusals
	w.refuseSealing(&no, p.Bucket, p.Ask)
	p.If.refuseWrite(&no, w.Object(p.Name))
	no.when(p.Damaged, 400, "XAmzContentSHA256Mismatch")
	return no.or(Right{Status: 200,
		Check: func(a *Answer) error { return w.stored(o, a, true) },
		Then:  func(a *Answer) { o.ETag = a.ETag; w.put(p.Name, o) },
	})
}

// Plant is the store's operator, who writes an object in plaintext without the
// gateway.
type Plant struct {
	Name
	Body Body
}

func (p Plant) Rights(w *World) []Right {
	return []Right{{Status: 200, Then: func(*Answer) {
		w.put(p.Name, &Object{Body: p.Body, Meta: metaOf(nil), ETag: MD5(p.Body)})
	}}}
}

// Get is GetObject or HeadObject.
type Get struct {
	Name
	Head  bool
	Range *Range // nil: all
	Key   string // of the customer
	If    Condition
}

func (g Get) Rights(w *World) []Right {
	o := w.Object(g.Name)
	if o == nil {
		return []Right{{Status: 404, Code: "NoSuchKey"}}
	}
	failed := g.If.Match != "" && !matches(o, g.If.Match)
	var no refusals
	no.when(w.hidden(g.Name), 403, "AccessDenied")
	refuseCustomer(&no, o, g.Key)
	no.when(failed, 412, "PreconditionFailed")
	no.when(!failed && g.If.NoneMatch != "" && matches(o, g.If.NoneMatch), 304, "")
	if g.Range != nil && len(no) > 0 {
		_, _, ok := g.Range.of(int64(len(o.Body)))
		no.when(!ok, 416, "InvalidRange")
	}
	return no.or(g.served(w, o)...)
}

// served are the right answers of a GET that is not refused.
func (g Get) served(w *World, o *Object) []Right {
	size := int64(len(o.Body))
	if g.Range == nil {
		return []Right{g.bytes(w, o, 200, 0, size, "")}
	}
	first, length, ok := g.Range.of(size)
	unsatisfiable := Right{Status: 416, Code: "InvalidRange"}
	switch {
	case ok:
		return []Right{g.bytes(w, o, 206, first, length, fmt.Sprintf("bytes %d-%d/%d", first, first+length-1, size))}
	case g.Range.First < 0: // the last bytes of nothing: Amazon S3 serves them, stores refuse them
		return []Right{g.bytes(w, o, 200, 0, 0, ""), unsatisfiable}
	}
	return []Right{unsatisfiable}
}

// bytes is an answer with some bytes of an object.
func (g Get) bytes(w *World, o *Object, status int, first, length int64, span string) Right {
	return Right{Status: status, Check: func(a *Answer) error {
		err := w.shows(o, a)
		if a.Range != span || a.Size != length {
			err = errors.Join(err, fmt.Errorf("%d bytes of %q, not %d of %q", a.Size, a.Range, length, span))
		}
		if !g.Head {
			err = errors.Join(err, sameBody(a.Body, o.Body[first:first+length]))
		}
		return err
	}}
}

// Delete is DeleteObject.
type Delete struct {
	Name
	If   Condition
	Size int64 // that the object must have; negative: any
}

func (d Delete) Rights(w *World) []Right {
	o := w.Object(d.Name)
	var no refusals
	d.If.refuseWrite(&no, o)
	no.when(d.Size >= 0 && (o == nil || d.Size != int64(len(o.Body))), 412, "PreconditionFailed")
	return no.or(Right{Status: 204, Then: func(*Answer) { delete(w.Buckets[d.Bucket].Objects, d.Key) }})
}

// DeleteMany is DeleteObjects.
type DeleteMany struct {
	Bucket string
	Keys   []string
}

func (d DeleteMany) Rights(w *World) []Right {
	return []Right{{Status: 200, Then: func(*Answer) {
		for _, key := range d.Keys {
			delete(w.Buckets[d.Bucket].Objects, key)
		}
	}}}
}

// Copy is CopyObject.
type Copy struct {
	From, To Name
	Ask      Sealing
	Key      string            // of the source's customer
	Replace  bool              // the metadata
	Meta     map[string]string // if it is replaced
	Retag    bool              // replaces the tags
	Tags     map[string]string // if they are replaced
	If       Condition         // on the object that is replaced
	FromIf   Condition         // on the source
}

func (c Copy) Rights(w *World) []Right {
	from := w.Object(c.From)
	if from == nil {
		return []Right{{Status: 404, Code: "NoSuchKey"}}
	}
	s := w.copySealing(c, from)
	var no refusals
	no.when(w.hidden(c.From), 403, "AccessDenied")
	refuseCustomer(&no, from, c.Key)
	no.when(c.FromIf.Match != "" && !matches(from, c.FromIf.Match) || c.FromIf.NoneMatch != "" && matches(from, c.FromIf.NoneMatch), 412, "PreconditionFailed")
	w.refuseSealing(&no, c.To.Bucket, c.Ask)
	w.refuseKey(&no, s)
	c.If.refuseWrite(&no, w.Object(c.To))
	no.when(c.From == c.To && !c.Replace && c.Ask.Scheme == Plain && s == from.Sealing, 400, "InvalidRequest")
	o := &Object{Sealing: s, Body: from.Body, Meta: from.Meta, Tags: from.Tags}
	if c.Replace {
		o.Meta = metaOf(c.Meta)
	}
	if c.Retag {
		o.Tags = c.Tags
	}
	return no.or(Right{Status: 200,
		Check: func(a *Answer) error { return w.stored(o, a, false) },
		Then:  func(a *Answer) { o.ETag = a.ETag; w.put(c.To, o) },
	})
}

// copySealing returns how a copy is sealed. The copy of a sealed object is
// always sealed: with SSE-S3, or under the source's key of the KMS, if nothing
// else asks for more.
func (w *World) copySealing(c Copy, from *Object) Sealing {
	s := w.sealing(c.To.Bucket, c.Ask)
	switch {
	case s.Scheme != Plain || from.Scheme == Plain:
		return s
	case from.Scheme == KMS:
		return from.Sealing
	}
	return w.sealing(c.To.Bucket, Sealing{Scheme: S3})
}

// Update is UpdateObjectEncryption: another key of the KMS for an object.
type Update struct {
	Name
	Key string
}

func (u Update) Rights(w *World) []Right {
	o := w.Object(u.Name)
	if o == nil {
		return []Right{{Status: 404, Code: "NoSuchKey"}}
	}
	var no refusals
	s := Sealing{KMS, u.Key}
	no.when(w.hidden(u.Name), 403, "AccessDenied")
	no.when(o.Scheme == Plain, 400, "InvalidRequest")
	no.when(o.Scheme == Customer, 400, "*")
	w.refuseKey(&no, s)
	return no.or(Right{Status: 200, Then: func(*Answer) { w.reseal(u.Name, s) }})
}

// reseal gives an object another sealing, and perhaps another ETag.
func (w *World) reseal(n Name, s Sealing) {
	o := *w.Object(n)
	o.Sealing, o.ETag = s, ""
	w.put(n, &o)
}

// PutTags is PutObjectTagging, or with no tags DeleteObjectTagging.
type PutTags struct {
	Name
	Tags map[string]string
}

func (p PutTags) Rights(w *World) []Right {
	o := w.Object(p.Name)
	status := 200
	if len(p.Tags) == 0 {
		status = 204
	}
	var no refusals
	no.when(o == nil, 404, "NoSuchKey")
	return no.or(Right{Status: status, Then: func(*Answer) {
		changed := *o
		changed.Tags = p.Tags
		w.put(p.Name, &changed)
	}})
}

// GetTags is GetObjectTagging.
type GetTags struct{ Name }

func (g GetTags) Rights(w *World) []Right {
	o := w.Object(g.Name)
	var no refusals
	no.when(o == nil, 404, "NoSuchKey")
	return no.or(Right{Status: 200, Check: func(a *Answer) error {
		if len(a.Tags) != len(o.Tags) || !maps.Equal(a.Tags, o.Tags) && len(o.Tags) > 0 {
			return fmt.Errorf("tags %v, not %v", a.Tags, o.Tags)
		}
		return nil
	}})
}

// List is ListObjects, ListObjectsV2 or ListObjectVersions.
type List struct {
	Bucket, Prefix, After string
	Max                   int // entries
}

func (l List) Rights(w *World) []Right {
	return []Right{{Status: 200, Check: func(a *Answer) error {
		objects := w.Buckets[l.Bucket].Objects
		var keys []string
		for _, key := range sorted(objects) {
			if strings.HasPrefix(key, l.Prefix) && key > l.After {
				keys = append(keys, key)
			}
		}
		truncated := len(keys) > l.Max
		keys = keys[:min(len(keys), l.Max)]
		if len(a.Entries) != len(keys) || a.Truncated != truncated {
			return fmt.Errorf("%d entries, truncated: %t; right are %q, truncated: %t", len(a.Entries), a.Truncated, keys, truncated)
		}
		for i, e := range a.Entries {
			o := objects[keys[i]]
			if e.Key != keys[i] || e.Size != int64(len(o.Body)) {
				return fmt.Errorf("entry %q of %d bytes, not %q of %d", e.Key, e.Size, keys[i], len(o.Body))
			}
			if err := w.tagOf(o, e.ETag); err != nil {
				return fmt.Errorf("entry %q: %w", e.Key, err)
			}
		}
		return nil
	}}}
}

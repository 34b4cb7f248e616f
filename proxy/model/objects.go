package model

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Put is PutObject.
type Put struct {
	Name
	Body    Body
	Meta    map[string]string
	Tags    map[string]string
	Ask     Sealing
	Sum     string // algorithm of the client's checksum; "": none
	If      Condition
	Damaged bool // the body is not the one that was signed, or its checksum is that of another
}

func (p Put) Rights(w *World) []Right {
	o := &Object{Sealing: w.sealing(p.Bucket, p.Ask, nil), Body: p.Body, Meta: MetaOf(p.Meta), Tags: p.Tags}
	o.Sum = whole(o, p.Sum)
	var no refusals
	w.refuseSealing(&no, p.Bucket, p.Ask, o.Sealing)
	p.If.refuseWrite(&no, w.Object(p.Name))
	no.when(p.Damaged, 400, "XAmzContentSHA256Mismatch")
	no.when(p.Damaged, 400, "BadDigest")
	return no.or(Right{Status: 200, Check: func(a *Answer) error { return w.stored(p.Name, o, a, true) }, Then: w.keep(p.Name, o)})
}

// Plant is the store's operator, who writes an object in plaintext without the
// gateway.
type Plant struct {
	Name
	Body Body
}

func (p Plant) Rights(w *World) []Right {
	o := &Object{Body: p.Body, Meta: MetaOf(nil), ETag: MD5(p.Body)}
	return []Right{{Status: 200, Then: func(a *Answer) { w.put(p.Name, o, a.Version) }}}
}

// Get is GetObject or HeadObject.
type Get struct {
	Name
	Head  bool
	Range *Range // nil: all
	Key   string // of the customer
	Sums  bool   // asks for checksums
	If    Condition
}

func (g Get) Rights(w *World) []Right {
	var no refusals
	o := w.find(&no, g.Name)
	if o == nil {
		return no
	}
	w.refuseRead(&no, g.Bucket, o, g.Key)
	if !g.Head {
		w.refuseKey(&no, o.Sealing)
	}
	no.when(g.If.fails(o), 412, "PreconditionFailed")
	no.when(!g.If.fails(o) && g.If.NoneMatch != "" && matches(o, g.If.NoneMatch), 304, "")
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
		return []Right{g.bytes(w, o, 200, 0, 0, ""), unsatisfiable, {Status: 206, Check: func(a *Answer) error { return sameBody(a.Body, nil) }}}
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
		if g.Sums && g.Range == nil {
			err = errors.Join(err, o.sums(a.Sums))
		}
		if !g.Head {
			err = errors.Join(err, sameBody(a.Body, o.Body[first:first+length]))
		}
		return err
	}}
}

// Attributes is GetObjectAttributes.
type Attributes struct {
	Name
	Key string // of the customer
}

func (t Attributes) Rights(w *World) []Right {
	var no refusals
	o := w.find(&no, t.Name)
	if o == nil {
		return no
	}
	w.refuseRead(&no, t.Bucket, o, t.Key)
	return no.or(Right{Status: 200, Check: func(a *Answer) error {
		err := errors.Join(w.tagOf(o, a.ETag), w.idOf(o, a.Version))
		if a.Size != int64(len(o.Body)) {
			err = errors.Join(err, fmt.Errorf("the size is %d, not %d", a.Size, len(o.Body)))
		}
		shown := *o // the number of parts is not shown here
		shown.Sum.Value, _, _ = strings.Cut(o.Sum.Value, "-")
		if o.Sum.Algorithm == "" {
			return err
		}
		return errors.Join(err, shown.sums(a.Sums))
	}})
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
	if o == nil && w.Config.Store.DeletesNothing && (d.If.Match != "" || d.Size >= 0) {
		no.when(true, 204, "")
	}
	d.If.refuseWrite(&no, o)
	no.when(d.Size >= 0 && (o == nil || d.Size != int64(len(o.Body))), 412, "PreconditionFailed")
	return no.or(Right{Status: 204,
		Check: func(a *Answer) error {
			if !w.marks(d.Name) {
				return nil
			}
			return w.marked(d.Bucket, a.Marker, a.Version)
		},
		Then: func(a *Answer) { w.remove(d.Name, a.Version) },
	})
}

// marked checks what an answer shows of a new delete marker.
func (w *World) marked(bucket string, marker bool, version string) error {
	if quiet := w.Config.Store.QuietMarkers && w.Buckets[bucket].Versioning == Suspended; !marker && !quiet {
		return errors.New("no delete marker")
	}
	return w.named(bucket, version)
}

// DeleteMany is DeleteObjects.
type DeleteMany struct {
	Bucket  string
	Objects []Name // in this bucket
}

func (d DeleteMany) Rights(w *World) []Right {
	found := func(a *Answer, n Name) *Entry {
		for i, e := range a.Entries {
			if e.Key == n.Key && e.ID == n.Version {
				return &a.Entries[i]
			}
		}
		return nil
	}
	return []Right{{Status: 200,
		Check: func(a *Answer) (err error) {
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
		Then: func(a *Answer) {
			for _, n := range d.Objects {
				w.remove(n, found(a, n).Created)
			}
		},
	}}
}

// Copy is CopyObject.
type Copy struct {
	From, To Name
	Ask      Sealing
	Sum      string            // algorithm that the copy shall have; "": the source's
	Key      string            // of the source's customer
	Replace  bool              // the metadata
	Meta     map[string]string // if it is replaced
	Retag    bool              // replaces the tags
	Tags     map[string]string // if they are replaced
	If       Condition         // on the object that is replaced
	FromIf   Condition         // on the source
}

func (c Copy) Rights(w *World) []Right {
	var no refusals
	from := w.find(&no, c.From)
	if from == nil {
		return no
	}
	o := &Object{Sealing: w.sealing(c.To.Bucket, c.Ask, from), Body: from.Body, Meta: from.Meta, Tags: from.Tags, Sum: from.Sum}
	w.refuseRead(&no, c.From.Bucket, from, c.Key)
	w.refuseKey(&no, from.Sealing)
	no.when(c.FromIf.fails(from) || c.FromIf.NoneMatch != "" && matches(from, c.FromIf.NoneMatch), 412, "PreconditionFailed")
	w.refuseSealing(&no, c.To.Bucket, c.Ask, o.Sealing)
	c.If.refuseWrite(&no, w.Object(c.To))
	changes := c.Replace || c.Ask.Scheme != Plain || c.Ask.BucketKey != "" || c.Sum != "" || o.Scheme != from.Scheme || o.KeyName != from.KeyName
	no.when(c.From == c.To && !changes, 400, "InvalidRequest")
	if c.Replace {
		o.Meta = MetaOf(c.Meta)
	}
	if c.Retag {
		o.Tags = c.Tags
	}
	if c.Sum != "" && c.Sum != from.Sum.Algorithm {
		o.Sum = whole(o, c.Sum)
	}
	return no.or(Right{Status: 200, Check: func(a *Answer) error { return w.stored(c.To, o, a, false) }, Then: w.keep(c.To, o)})
}

// Update is UpdateObjectEncryption: another key of the KMS for an object.
type Update struct {
	Name
	Key       string
	BucketKey bool
}

func (u Update) Rights(w *World) []Right {
	no := refusals{}
	if u.Version != "" {
		return []Right{{Status: 501, Code: "NotImplemented"}}
	}
	o := w.find(&no, u.Name)
	if o == nil {
		return no
	}
	s := Sealing{Scheme: KMS, KeyName: u.Key, Context: o.Context}
	if u.BucketKey && s.Context == "" {
		s.BucketKey = "true"
	}
	no.when(o.Scheme == Plain && w.Buckets[u.Bucket].SealedOnly, 403, "AccessDenied")
	no.when(o.Scheme == Plain, 400, "InvalidRequest")
	no.when(o.Scheme == Customer, 400, "*")
	w.refuseKey(&no, o.Sealing)
	w.refuseKey(&no, s)
	return no.or(Right{Status: 200, Then: func(*Answer) { w.reseal(u.Name, s) }})
}

// reseal gives an object another sealing, and perhaps another ETag. Where
// versions are kept, the old one stays.
func (w *World) reseal(n Name, s Sealing) {
	o := *w.Object(n)
	o.Sealing, o.ETag = s, ""
	w.put(n, &o, "")
}

// PutTags is PutObjectTagging, or with no tags DeleteObjectTagging.
type PutTags struct {
	Name
	Tags map[string]string
}

func (p PutTags) Rights(w *World) []Right {
	status := 200
	if len(p.Tags) == 0 {
		status = 204
	}
	var no refusals
	w.find(&no, p.Name)
	return no.or(Right{Status: status, Then: func(*Answer) { w.change(p.Name, func(o *Object) { o.Tags = p.Tags }) }})
}

// GetTags is GetObjectTagging.
type GetTags struct{ Name }

func (g GetTags) Rights(w *World) []Right {
	var no refusals
	o := w.find(&no, g.Name)
	return no.or(Right{Status: 200, Check: func(a *Answer) error {
		if len(a.Tags) != len(o.Tags) || !maps.Equal(a.Tags, o.Tags) && len(o.Tags) > 0 {
			return fmt.Errorf("tags %v, not %v", a.Tags, o.Tags)
		}
		return nil
	}})
}

// List is ListObjects, ListObjectsV2 or, with Versions, ListObjectVersions.
type List struct {
	Bucket, Prefix, After string
	Max                   int // entries
	Versions              bool
}

func (l List) Rights(w *World) []Right {
	return []Right{{Status: 200, Check: func(a *Answer) error {
		all := w.Buckets[l.Bucket].Objects
		var right []Entry
		var objects []*Object
		for _, key := range sorted(all) {
			if !strings.HasPrefix(key, l.Prefix) || key <= l.After {
				continue
			}
			for i, o := range slices.Backward(all[key]) {
				latest := i == len(all[key])-1
				if l.Versions || latest && !o.Marker {
					right = append(right, Entry{Key: key, ID: o.Version, Size: int64(len(o.Body)), Marker: o.Marker, Latest: latest && l.Versions})
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
			if !o.Marker && (e.ETag != "" || !w.Config.Store.LosesListed) {
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

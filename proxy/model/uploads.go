package model

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Upload is a multipart upload. How its object is encrypted is decided when it
// begins.
type Upload struct {
	Name
	ID string
	Sealing
	Meta      map[string]string
	Tags      map[string]string
	Sum       string        // algorithm that was announced; "": none
	Composite bool          // the checksum is made of those of the parts
	Parts     map[int]*Part // the last attempt of each
	Ended     bool
	Done      *Completed // nil: it was not completed
}

// Part is an attempt to upload a part.
type Part struct {
	Body Body
	ETag string
}

// Completed is what a Complete asked for, and its answer.
type Completed struct {
	Listed []Listed
	ETag   string
}

// Listed is a part that a Complete names.
type Listed struct {
	Number int
	ETag   string
}

// open returns the uploads of a bucket that are in progress, by key and ID.
func (w *World) open(bucket string) []*Upload {
	var all []*Upload
	for _, id := range sorted(w.Uploads) {
		if u := w.Uploads[id]; u.Bucket == bucket && !u.Ended {
			all = append(all, u)
		}
	}
	slices.SortStableFunc(all, func(a, b *Upload) int { return cmp.Compare(a.Key, b.Key) })
	return all
}

// refuseEnded adds that an upload has ended.
func refuseEnded(no *refusals, u *Upload) { no.when(u.Ended, 404, "NoSuchUpload") }

// refuseHidden adds that an upload would make an object that may not be served.
func (w *World) refuseHidden(no *refusals, u *Upload) {
	no.when(u.Scheme == Plain && w.Buckets[u.Bucket].SealedOnly, 403, "AccessDenied")
}

// Create is CreateMultipartUpload.
type Create struct {
	Name
	Meta      map[string]string
	Tags      map[string]string
	Ask       Sealing
	Sum       string // algorithm of the checksum; "": not announced
	Composite bool
}

func (c Create) Rights(w *World) []Right {
	s := w.sealing(c.Bucket, c.Ask, nil)
	var no refusals
	w.refuseSealing(&no, c.Bucket, c.Ask, s)
	return no.or(Right{Status: 200,
		Check: func(a *Answer) error {
			if a.UploadID == "" || w.Uploads[a.UploadID] != nil {
				return fmt.Errorf("the upload ID is %q", a.UploadID)
			}
			return s.shown(a.Sealing)
		},
		Then: func(a *Answer) {
			w.Uploads[a.UploadID] = &Upload{
				Name: c.Name, ID: a.UploadID, Sealing: s, Meta: MetaOf(c.Meta), Tags: c.Tags, Sum: c.Sum, Composite: c.Composite, Parts: map[int]*Part{},
			}
		},
	})
}

// attempt is the right answer to an attempt to upload a part, which replaces an
// earlier one. In a sealed upload no two attempts have one ETag.
func (w *World) attempt(u *Upload, number int, body Body) Right {
	return Right{Status: 200,
		Check: func(a *Answer) error {
			switch {
			case u.Scheme == Plain && a.ETag != MD5(body):
				return fmt.Errorf("the ETag is %s, not the MD5", a.ETag)
			case u.Scheme != Plain && (w.attempts[a.ETag] || len(a.ETag) < 3):
				return fmt.Errorf("the ETag %s is that of another attempt", a.ETag)
			}
			return errors.Join(u.shown(a.Sealing), rightSums(a.Sums, body))
		},
		Then: func(a *Answer) {
			w.attempts[a.ETag] = true
			u.Parts[number] = &Part{body, a.ETag}
		},
	}
}

// UploadPart is UploadPart, with the customer's key if there is one.
type UploadPart struct {
	ID     string
	Number int
	Body   Body
	Sum    string // algorithm of the client's checksum; "": none
}

func (p UploadPart) Rights(w *World) []Right {
	u := w.Uploads[p.ID]
	var no refusals
	refuseEnded(&no, u)
	w.refuseHidden(&no, u)
	no.when(u.Sum != "" && p.Sum != u.Sum && (p.Sum != "" || u.Composite), 400, "InvalidRequest")
	return no.or(w.attempt(u, p.Number, p.Body))
}

// UploadPartCopy is UploadPartCopy.
type UploadPartCopy struct {
	ID     string
	Number int
	From   Name
	Range  *Range // within the source; nil: all
	Key    string // of the source's customer
	FromIf Condition
}

func (p UploadPartCopy) Rights(w *World) []Right {
	u := w.Uploads[p.ID]
	var no refusals
	refuseEnded(&no, u)
	w.refuseHidden(&no, u)
	from := w.find(&no, p.From)
	if from == nil {
		return no
	}
	body := from.Body
	if p.Range != nil {
		within := p.Range.Last < int64(len(body))
		no.when(!within, 400, "InvalidArgument")
		if within {
			body = body[p.Range.First : p.Range.Last+1]
		}
	}
	w.refuseRead(&no, p.From.Bucket, from, p.Key)
	no.when(p.FromIf.fails(from), 412, "PreconditionFailed")
	no.when(u.Scheme == Plain && from.Scheme != Plain, 400, "InvalidRequest")
	return no.or(w.attempt(u, p.Number, body))
}

// Complete is CompleteMultipartUpload.
type Complete struct {
	ID     string
	Listed []Listed // at least one
	If     Condition
}

func (c Complete) Rights(w *World) []Right {
	u := w.Uploads[c.ID]
	if u.Done != nil && slices.Equal(u.Done.Listed, c.Listed) {
		// The client may have lost the answer.
		return []Right{{Status: 200, Check: func(a *Answer) error {
			if a.ETag != u.Done.ETag {
				return fmt.Errorf("the ETag is %s, and was %s", a.ETag, u.Done.ETag)
			}
			return nil
		}}}
	}
	o := &Object{Sealing: u.Sealing, Meta: u.Meta, Tags: u.Tags}
	var no refusals
	refuseEnded(&no, u)
	w.refuseHidden(&no, u)
	var parts []*Part
	for i, l := range c.Listed {
		p := u.Parts[l.Number]
		no.when(i > 0 && l.Number <= c.Listed[i-1].Number, 400, "InvalidPartOrder")
		no.when(p == nil || p.ETag != l.ETag, 400, "InvalidPart")
		if p == nil {
			continue
		}
		no.when(i < len(c.Listed)-1 && len(p.Body) < w.Config.MinPart, 400, "EntityTooSmall")
		parts, o.Body = append(parts, p), append(o.Body, p.Body...)
	}
	o.Sum = whole(o, u.Sum)
	if u.Composite && u.Scheme != Plain {
		o.Sum = composite(u.Sum, parts)
	}
	c.If.refuseWrite(&no, w.Object(u.Name))
	return no.or(Right{Status: 200,
		Check: func(a *Answer) error {
			if a.ETag == "" && u.Scheme == Plain && w.Config.Store.CompletesBlind {
				return w.named(u.Bucket, a.Version)
			}
			return w.stored(u.Name, o, a, false)
		},
		Then: func(a *Answer) {
			u.Ended, u.Done = true, &Completed{c.Listed, a.ETag}
			w.keep(u.Name, o)(a)
		},
	})
}

// Abort is AbortMultipartUpload.
type Abort struct{ ID string }

func (b Abort) Rights(w *World) []Right {
	u := w.Uploads[b.ID]
	var no refusals
	refuseEnded(&no, u)
	done := Right{Status: 204, Then: func(*Answer) { u.Ended = true }}
	if u.Ended && w.Config.Store.AbortsAgain {
		return []Right{done}
	}
	return no.or(done)
}

// ListParts is ListParts.
type ListParts struct{ ID string }

func (l ListParts) Rights(w *World) []Right {
	u := w.Uploads[l.ID]
	var no refusals
	refuseEnded(&no, u)
	return no.or(Right{Status: 200, Check: func(a *Answer) error {
		var want []Entry
		for _, number := range slices.Sorted(maps.Keys(u.Parts)) {
			p := u.Parts[number]
			want = append(want, Entry{Number: number, ETag: p.ETag, Size: int64(len(p.Body))})
		}
		return sameEntries(a, want)
	}})
}

// ListUploads is ListMultipartUploads.
type ListUploads struct{ Bucket string }

func (l ListUploads) Rights(w *World) []Right {
	return []Right{{Status: 200, Check: func(a *Answer) error {
		var want []Entry
		for _, u := range w.open(l.Bucket) {
			want = append(want, Entry{Key: u.Key, ID: u.ID})
		}
		slices.SortFunc(a.Entries, func(a, b Entry) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.ID, b.ID)) }) // some stores do not sort them
		return sameEntries(a, want)
	}}}
}

// sameEntries checks the entries of a listing.
func sameEntries(a *Answer, want []Entry) error {
	if !slices.Equal(a.Entries, want) {
		return errors.New(fmt.Sprint("entries ", a.Entries, ", not ", want))
	}
	return nil
}

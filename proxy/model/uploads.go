package model

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"ssegw/proxy/model/s3op"
)

// open returns the uploads of a bucket that are in progress, by key and ID.
func (w *World) open(bucket string) []*s3op.Upload {
	var all []*s3op.Upload
	for _, id := range sorted(w.Uploads) {
		if u := w.Uploads[id]; u.Bucket == bucket && !u.Ended {
			all = append(all, u)
		}
	}
	slices.SortStableFunc(all, func(a, b *s3op.Upload) int { return cmp.Compare(a.Key, b.Key) })
	return all
}

// refuseEnded adds that an upload has ended.
func refuseEnded(no *refusals, u *s3op.Upload) { no.when(u.Ended, 404, "NoSuchUpload") }

// refuseHidden adds that an upload would make an object that may not be served.
func (w *World) refuseHidden(no *refusals, u *s3op.Upload) {
	no.when(u.Scheme == s3op.Plain && w.Buckets[u.Bucket].SealedOnly, 403, "AccessDenied")
}

func (w *World) createUpload(c s3op.Create) []Right {
	s := w.sealing(c.Bucket, c.Ask, nil)
	var no refusals
	w.refuseSealing(&no, c.Bucket, c.Ask, s)
	return no.or(Right{Status: 200,
		Check: func(a *s3op.Answer) error {
			if a.UploadID == "" || w.Uploads[a.UploadID] != nil {
				return fmt.Errorf("the upload ID is %q", a.UploadID)
			}
			return showsSealing(a, s)
		},
		Then: func(a *s3op.Answer) {
			w.Uploads[a.UploadID] = &s3op.Upload{
				Name: c.Name, ID: a.UploadID, Sealing: s, Meta: s3op.MetaOf(c.Meta), Tags: c.Tags, Sum: c.Sum, Composite: c.Composite, Parts: map[int]*s3op.Part{},
			}
		},
	})
}

// attempt is the right answer to an attempt to upload a part, which replaces an
// earlier one. In a sealed upload no two attempts have one ETag.
func (w *World) attempt(u *s3op.Upload, number int, body s3op.Body) Right {
	return Right{Status: 200,
		Check: func(a *s3op.Answer) error {
			switch {
			case u.Scheme == s3op.Plain && a.ETag != s3op.MD5(body):
				return fmt.Errorf("the ETag is %s, not the MD5", a.ETag)
			case u.Scheme != s3op.Plain && (w.attempts[a.ETag] || len(a.ETag) < 3):
				return fmt.Errorf("the ETag %s is that of another attempt", a.ETag)
			}
			return errors.Join(showsSealing(a, u.Sealing), s3op.RightSums(a.Sums, body))
		},
		Then: func(a *s3op.Answer) {
			w.attempts[a.ETag] = true
			u.Parts[number] = &s3op.Part{Body: body, ETag: a.ETag}
		},
	}
}

func (w *World) uploadPart(p s3op.UploadPart) []Right {
	u := w.Uploads[p.ID]
	var no refusals
	refuseEnded(&no, u)
	w.refuseHidden(&no, u)
	no.when(u.Sum != "" && p.Sum != u.Sum && (p.Sum != "" || u.Composite), 400, "InvalidRequest")
	return no.or(w.attempt(u, p.Number, p.Body))
}

func (w *World) uploadPartCopy(p s3op.UploadPartCopy) []Right {
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
	no.when(fails(p.FromIf, from), 412, "PreconditionFailed")
	no.when(u.Scheme == s3op.Plain && from.Scheme != s3op.Plain, 400, "InvalidRequest")
	return no.or(w.attempt(u, p.Number, body))
}

func (w *World) completeUpload(c s3op.Complete) []Right {
	u := w.Uploads[c.ID]
	if u.Done != nil && slices.Equal(u.Done.Listed, c.Listed) {
		// The client may have lost the answer.
		return []Right{{Status: 200, Check: func(a *s3op.Answer) error {
			if a.ETag != u.Done.ETag {
				return fmt.Errorf("the ETag is %s, and was %s", a.ETag, u.Done.ETag)
			}
			return nil
		}}}
	}
	o := &s3op.Object{Sealing: u.Sealing, Meta: u.Meta, Tags: u.Tags}
	var no refusals
	refuseEnded(&no, u)
	w.refuseHidden(&no, u)
	var parts []*s3op.Part
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
	if u.Composite && u.Scheme != s3op.Plain {
		o.Sum = s3op.Composite(u.Sum, parts)
	}
	no.unless(c.If, w.Object(u.Name))
	return no.or(Right{Status: 200,
		Check: func(a *s3op.Answer) error {
			if a.ETag == "" && u.Scheme == s3op.Plain && w.Config.Store.CompletesBlind {
				return w.named(u.Bucket, a.Version)
			}
			return w.stored(u.Name, o, a, false)
		},
		Then: func(a *s3op.Answer) {
			u.Ended, u.Done = true, &s3op.Completed{Listed: c.Listed, ETag: a.ETag}
			w.keep(u.Name, o)(a)
		},
	})
}

func (w *World) abortUpload(b s3op.Abort) []Right {
	u := w.Uploads[b.ID]
	var no refusals
	no.when(u.Ended && !w.Config.Store.AbortsAgain, 404, "NoSuchUpload")
	return no.or(Right{Status: 204, Then: func(*s3op.Answer) { u.Ended = true }})
}

func (w *World) listParts(l s3op.ListParts) []Right {
	u := w.Uploads[l.ID]
	var no refusals
	refuseEnded(&no, u)
	return no.or(Right{Status: 200, Check: func(a *s3op.Answer) error {
		var want []s3op.Entry
		for _, number := range slices.Sorted(maps.Keys(u.Parts)) {
			p := u.Parts[number]
			want = append(want, s3op.Entry{Number: number, ETag: p.ETag, Size: int64(len(p.Body))})
		}
		return sameEntries(a, want)
	}})
}

func (w *World) listUploads(l s3op.ListUploads) []Right {
	return []Right{{Status: 200, Check: func(a *s3op.Answer) error {
		var want []s3op.Entry
		for _, u := range w.open(l.Bucket) {
			want = append(want, s3op.Entry{Key: u.Key, ID: u.ID})
		}
		slices.SortFunc(a.Entries, func(a, b s3op.Entry) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.ID, b.ID)) }) // some stores do not sort them
		return sameEntries(a, want)
	}}}
}

// sameEntries checks the entries of a listing.
func sameEntries(a *s3op.Answer, want []s3op.Entry) error {
	if !slices.Equal(a.Entries, want) {
		return errors.New(fmt.Sprint("entries ", a.Entries, ", not ", want))
	}
	return nil
}

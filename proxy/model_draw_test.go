package proxy

import (
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"ssegw/kms/kmstest"
	"ssegw/proxy/model"
)

// memNow is the time that the in-memory store gives an object.
func memNow() time.Time { return time.Now().UTC().Truncate(time.Second) }

// drawAhead draws how much the store's clock is ahead of the gateway's.
func drawAhead(t *rapid.T) time.Duration {
	return pick(t, "ahead", 0, 10*time.Minute, -10*time.Minute)
}

// pick draws one of several values. Shorter histories have the first.
func pick[T any](t *rapid.T, what string, values ...T) T {
	return values[rapid.IntRange(0, len(values)-1).Draw(t, what)]
}

func chance(t *rapid.T, what string, oneIn int) bool {
	return rapid.IntRange(0, oneIn-1).Draw(t, what) == oneIn-1
}

func drawName(t *rapid.T) model.Name {
	return model.Name{Bucket: pick(t, "bucket", modelBuckets...), Key: pick(t, "key", modelKeys...)}
}

// drawObject draws the name of an object, if there is one.
func (m *machine) drawObject(t *rapid.T) model.Name {
	names := m.names()
	if len(names) == 0 || chance(t, "any name", 6) {
		return drawName(t)
	}
	return pick(t, "object", names...)
}

// drawBody draws a body, with content that no other has.
func (m *machine) drawBody(t *rapid.T, sizes []int) model.Body {
	m.seq++
	return pattern(pick(t, "size", sizes...), uint64(m.seq))
}

func drawAsk(t *rapid.T) model.Sealing {
	none := model.Sealing{}
	return pick(t, "ask", none, none, none, model.Sealing{Scheme: model.S3}, model.Sealing{Scheme: model.KMS},
		model.Sealing{Scheme: model.KMS, KeyName: otherModelKey}, model.Sealing{Scheme: model.Customer, KeyName: "c"},
		model.Sealing{Scheme: model.Customer, KeyName: "d"}, model.Sealing{Scheme: model.KMS, KeyName: missingModelKey})
}

func drawMeta(t *rapid.T) map[string]string {
	return pick(t, "meta", nil, map[string]string{"x-amz-meta-a": "1"},
		map[string]string{"content-type": "text/plain", "x-amz-meta-a": "2", "x-amz-meta-b": "x y"}, map[string]string{"cache-control": "no-cache"})
}

func drawTags(t *rapid.T) map[string]string {
	return pick(t, "tags", nil, nil, map[string]string{"a": "1"}, map[string]string{"a": "2", "b": "x y"})
}

// drawTag draws an ETag for a condition: that of the object, another, or any.
func (m *machine) drawTag(t *rapid.T, n model.Name) string {
	all := []string{"*"}
	if o := m.w.Object(n); o != nil {
		all = append(all, o.ETag, o.ETag)
	}
	if len(m.tags) > 0 {
		other := pick(t, "an ETag", m.tags...)
		if o := m.w.Object(n); o == nil || base(other) != base(o.ETag) {
			all = append(all, other)
		}
	}
	return pick(t, "ETag", all...)
}

// base is an ETag without the suffix that clients see at those of sealed
// objects. Tags that differ in no more are a known gap (docs/KNOWN-GAPS.md).
func base(etag string) string { return strings.TrimSuffix(strings.Trim(etag, `"`), "-1") }

// drawCondition draws a condition, mostly none.
func (m *machine) drawCondition(t *rapid.T, n model.Name) (c model.Condition) {
	switch rapid.IntRange(0, 7).Draw(t, "condition") {
	case 6:
		c.Match = m.drawTag(t, n)
	case 7:
		c.NoneMatch = m.drawTag(t, n)
	}
	return c
}

// drawKey draws the customer's key of a read: mostly the right one.
func (m *machine) drawKey(t *rapid.T, n model.Name) string {
	if chance(t, "some key", 10) {
		return pick(t, "customer's key", "", "c", "d")
	}
	return m.customerKey(n)
}

// drawRange draws a range around the limits of packages and of the object.
func (m *machine) drawRange(t *rapid.T, n model.Name) *model.Range {
	if chance(t, "whole", 3) {
		return nil
	}
	size := int64(10)
	if o := m.w.Object(n); o != nil {
		size = int64(len(o.Body))
	}
	ends := []int64{0, 1, 65535, 65536, max(size-1, 0), size, size / 2}
	first, last := pick(t, "first", ends...), pick(t, "last", ends...)
	switch rapid.IntRange(0, 3).Draw(t, "form") {
	case 0:
		return &model.Range{First: first, Last: -1}
	case 1:
		return &model.Range{First: -1, Last: max(last, 1)}
	}
	return &model.Range{First: min(first, last), Last: max(first, last)}
}

// drawUpload draws an upload, mostly one that is under way.
func (m *machine) drawUpload(t *rapid.T) *model.Upload {
	if len(m.ids) == 0 {
		t.Skip("no upload")
	}
	open := slices.DeleteFunc(slices.Clone(m.ids), func(id string) bool { return m.w.Uploads[id].Ended })
	if len(open) == 0 || chance(t, "any upload", 8) {
		open = m.ids
	}
	return m.w.Uploads[pick(t, "upload", open...)]
}

// drawListed draws what a Complete lists: mostly all parts.
func (m *machine) drawListed(t *rapid.T, u *model.Upload) (all []model.Listed) {
	if u.Done != nil && !chance(t, "another Complete", 4) {
		return u.Done.Listed
	}
	for number := 1; number <= 3; number++ {
		if p := u.Parts[number]; p != nil && !chance(t, "leave out", 6) {
			all = append(all, model.Listed{Number: number, ETag: p.ETag})
		}
	}
	if chance(t, "another attempt", 6) && len(m.tags) > 0 {
		all = append(all, model.Listed{Number: rapid.IntRange(1, 4).Draw(t, "number"), ETag: pick(t, "ETag", m.tags...)})
	}
	if len(all) == 0 {
		t.Skip("no parts")
	}
	if len(m.tags) > 0 && chance(t, "a swapped attempt", 6) {
		all[rapid.IntRange(0, len(all)-1).Draw(t, "which")].ETag = pick(t, "ETag", m.tags...)
	}
	if len(all) > 1 && chance(t, "in disorder", 10) {
		slices.Reverse(all)
	}
	return all
}

// actions are the operations of a history.
func (m *machine) actions() map[string]func(*rapid.T) {
	put := func(t *rapid.T) {
		n := drawName(t)
		op := model.Put{Name: n, Body: m.drawBody(t, modelSizes), Meta: drawMeta(t), Tags: drawTags(t), Ask: drawAsk(t), If: m.drawCondition(t, n)}
		mode := pick(t, "mode", modelModes...)
		if len(op.Body) > 0 && chance(t, "damaged", 12) {
			op.Damaged, mode = true, modeHash
		}
		m.step(framed{op, mode})
	}
	get := func(t *rapid.T) {
		n := m.drawObject(t)
		op := model.Get{Name: n, Head: chance(t, "head", 3), Range: m.drawRange(t, n), Key: m.drawKey(t, n), If: m.drawCondition(t, n)}
		m.step(framed{op, pick(t, "mode", modeHash, presignedMode)})
	}
	part := func(t *rapid.T) {
		u := m.drawUpload(t)
		op := model.UploadPart{ID: u.ID, Number: rapid.IntRange(1, 3).Draw(t, "number")}
		if before := u.Parts[op.Number]; before != nil && chance(t, "again", 4) {
			op.Body = before.Body
		} else {
			op.Body = m.drawBody(t, modelParts)
		}
		m.step(op)
	}
	create := func(t *rapid.T) {
		a := m.step(model.Create{Name: drawName(t), Meta: drawMeta(t), Tags: drawTags(t), Ask: drawAsk(t)})
		if a.UploadID != "" {
			m.ids = append(m.ids, a.UploadID)
		}
	}
	complete := func(t *rapid.T) {
		u := m.drawUpload(t)
		m.step(model.Complete{ID: u.ID, Listed: m.drawListed(t, u), If: m.drawCondition(t, u.Name)})
	}
	return map[string]func(*rapid.T){
		"":    func(*rapid.T) { m.inspect() },
		"Put": put, "Put again": put, "Get": get, "Get again": get,
		"Create": create, "UploadPart": part, "UploadPart again": part, "Complete": complete,
		"Plant":  func(t *rapid.T) { m.step(model.Plant{Name: drawName(t), Body: m.drawBody(t, modelSizes[:4])}) },
		"Delete": m.drawDelete, "DeleteMany": m.drawDeleteMany, "Copy": m.drawCopy, "CopySelf": m.drawCopySelf,
		"Update": func(t *rapid.T) {
			m.step(model.Update{Name: m.drawObject(t), Key: pick(t, "key", otherModelKey, kmstest.DefaultKey, missingModelKey)})
			m.relearn()
		},
		"PutTags":    func(t *rapid.T) { m.step(model.PutTags{Name: m.drawObject(t), Tags: drawTags(t)}) },
		"GetTags":    func(t *rapid.T) { m.step(model.GetTags{Name: m.drawObject(t)}) },
		"List":       m.drawList,
		"PutRule":    m.drawRule,
		"DeleteRule": func(t *rapid.T) { m.step(model.DeleteRule{Bucket: pick(t, "bucket", modelBuckets...)}) },
		"GetRule":    func(t *rapid.T) { m.step(model.GetRule{Bucket: pick(t, "bucket", modelBuckets...)}) },
		"Encrypt": func(t *rapid.T) {
			bucket := pick(t, "bucket", modelBuckets...)
			if m.w.Buckets[bucket].Rule == nil {
				t.Skip("no rule")
			}
			m.step(model.EncryptJob{Bucket: bucket})
			m.relearn()
		},
		"Rekey": func(t *rapid.T) {
			m.step(model.RekeyJob{Bucket: pick(t, "bucket", modelBuckets...), Key: pick(t, "key", otherModelKey, kmstest.DefaultKey)})
			m.relearn()
		},
		"Restart":        func(*rapid.T) { m.step(model.Restart{}) },
		"UploadPartCopy": m.drawPartCopy,
		"Abort": func(t *rapid.T) {
			if chance(t, "abort", 2) {
				t.Skip("uploads should live")
			}
			m.step(model.Abort{ID: m.drawUpload(t).ID})
		},
		"ListParts":   func(t *rapid.T) { m.step(model.ListParts{ID: m.drawUpload(t).ID}) },
		"ListUploads": func(t *rapid.T) { m.step(model.ListUploads{Bucket: pick(t, "bucket", modelBuckets...)}) },
	}
}

func (m *machine) drawDelete(t *rapid.T) {
	n := m.drawObject(t)
	op := model.Delete{Name: n, Size: -1}
	if chance(t, "If-Match", 3) {
		op.If.Match = m.drawTag(t, n)
	}
	if o := m.w.Object(n); o != nil && chance(t, "size", 4) {
		op.Size = int64(len(o.Body) + rapid.IntRange(0, 1).Draw(t, "more"))
	}
	m.step(framed{op, pick(t, "mode", modeHash, presignedMode)})
}

func (m *machine) drawDeleteMany(t *rapid.T) {
	keys := rapid.SliceOfNDistinct(rapid.SampledFrom(modelKeys), 1, 3, rapid.ID[string]).Draw(t, "keys")
	m.step(model.DeleteMany{Bucket: pick(t, "bucket", modelBuckets...), Keys: keys})
}

func (m *machine) drawCopy(t *rapid.T) { m.copyTo(t, m.drawObject(t), drawName(t)) }

func (m *machine) drawCopySelf(t *rapid.T) {
	n := m.drawObject(t)
	m.copyTo(t, n, n)
}

func (m *machine) copyTo(t *rapid.T, from, to model.Name) {
	op := model.Copy{From: from, To: to, Ask: drawAsk(t), Key: m.drawKey(t, from), If: m.drawCondition(t, to), FromIf: m.drawCondition(t, from)}
	if chance(t, "replace", 2) {
		op.Replace, op.Meta = true, drawMeta(t)
	}
	if chance(t, "retag", 3) {
		op.Retag, op.Tags = true, drawTags(t)
	}
	m.step(op)
}

func (m *machine) drawList(t *rapid.T) {
	m.step(model.List{
		Bucket: pick(t, "bucket", modelBuckets...), Prefix: pick(t, "prefix", "", "a/", "ä"),
		After: pick(t, "after", "", "a", "k"), Max: pick(t, "max", 1000, 1, 2),
	})
}

func (m *machine) drawRule(t *rapid.T) {
	m.step(model.PutRule{Bucket: pick(t, "bucket", modelBuckets...), Rule: model.Rule{
		Sealing: pick(t, "rule", model.Sealing{Scheme: model.S3}, model.Sealing{Scheme: model.KMS},
			model.Sealing{Scheme: model.KMS, KeyName: otherModelKey}, model.Sealing{Scheme: model.KMS, KeyName: missingModelKey}),
		BlockCustomer: chance(t, "block SSE-C", 3),
	}})
}

func (m *machine) drawPartCopy(t *rapid.T) {
	u, from := m.drawUpload(t), m.drawObject(t)
	op := model.UploadPartCopy{ID: u.ID, Number: rapid.IntRange(1, 3).Draw(t, "number"), From: from, Key: m.drawKey(t, from)}
	if r := m.drawRange(t, from); r != nil && r.First >= 0 && r.Last >= 0 {
		op.Range = r
	}
	if chance(t, "If-Match", 5) {
		op.FromIf.Match = m.drawTag(t, from)
	}
	m.step(op)
}

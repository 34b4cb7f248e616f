package runner

import (
	"math/rand/v2"
	"slices"
	"strings"

	"ssegw/proxy/model/s3op"

	"pgregory.net/rapid"
)

// pick draws one of several values. Shorter histories have the first.
func pick[T any](t *rapid.T, what string, values ...T) T {
	return values[rapid.IntRange(0, len(values)-1).Draw(t, what)]
}

func chance(t *rapid.T, what string, oneIn int) bool {
	return rapid.IntRange(0, oneIn-1).Draw(t, what) == oneIn-1
}

func (m *Machine) drawBucket(t *rapid.T) string { return pick(t, "bucket", m.Buckets...) }

func (m *Machine) drawName(t *rapid.T) s3op.Name {
	return s3op.Name{Bucket: m.drawBucket(t), Key: pick(t, "key", m.Objects...)}
}

// drawObject draws the name of an object, if there is one.
func (m *Machine) drawObject(t *rapid.T) s3op.Name {
	names := m.Names()
	if len(names) == 0 || chance(t, "any name", 6) {
		return m.drawName(t)
	}
	return pick(t, "object", names...)
}

// drawVersion draws an object, or a version that is there, a delete marker, or
// a version that was there.
func (m *Machine) drawVersion(t *rapid.T) s3op.Name {
	versions := m.Versions()
	if len(versions) == 0 || chance(t, "latest", 2) {
		return m.drawObject(t)
	}
	for _, n := range versions {
		if !slices.Contains(m.old, n) && len(m.old) < 20 {
			m.old = append(m.old, n)
		}
	}
	if chance(t, "old version", 8) {
		return pick(t, "version", m.old...)
	}
	return pick(t, "version", versions...)
}

// drawBody draws a body, with content that no other has.
func (m *Machine) drawBody(t *rapid.T, sizes []int) s3op.Body {
	size := pick(t, "size", sizes...)
	if size > 2<<20 && !chance(t, "large", 8) {
		size = sizes[0]
	}
	return m.Body(size)
}

// Body returns a body with content that no other has.
func (m *Machine) Body(size int) s3op.Body {
	m.seq++
	return Pattern(size, uint64(m.seq))
}

// Pattern returns size bytes that do not compress and differ between seeds.
func Pattern(size int, seed uint64) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 7})
	_, _ = r.Read(b)
	return b
}

// contexts of clients for the KMS, as JSON.
var contexts = []string{"", "", "", `{"a":"1"}`}

func (m *Machine) drawAsk(t *rapid.T) s3op.Sealing {
	none := s3op.Sealing{}
	s := pick(t, "ask", none, none, none, s3op.Sealing{Scheme: s3op.S3}, s3op.Sealing{Scheme: s3op.KMS},
		s3op.Sealing{Scheme: s3op.KMS, KeyName: m.OtherKey}, s3op.Sealing{Scheme: s3op.Customer, KeyName: "c"},
		s3op.Sealing{Scheme: s3op.Customer, KeyName: "d"}, s3op.Sealing{Scheme: s3op.KMS, KeyName: m.NoKey})
	if s.Scheme == s3op.KMS {
		s.Context = pick(t, "context", contexts...)
	}
	if chance(t, "bucket key", 5) {
		s.BucketKey = pick(t, "enabled", "true", "false")
	}
	return s
}

func drawMeta(t *rapid.T) map[string]string {
	return pick(t, "meta", nil, map[string]string{"x-amz-meta-a": "1"},
		map[string]string{"content-type": "text/plain", "x-amz-meta-a": "2", "x-amz-meta-b": "x y"}, map[string]string{"cache-control": "no-cache"})
}

func drawTags(t *rapid.T) map[string]string {
	return pick(t, "tags", nil, nil, map[string]string{"a": "1"}, map[string]string{"a": "2", "b": "x y"})
}

func drawSum(t *rapid.T) string {
	return pick(t, "checksum", "", "", "", "CRC32", "CRC32C", s3op.DefaultSum, "SHA1", "SHA256")
}

// drawTag draws an ETag for a condition: that of the object, another, or any.
func (m *Machine) drawTag(t *rapid.T, n s3op.Name) string {
	all := []string{"*", `""`}
	if o := m.World.Object(n); o != nil && o.ETag != "" {
		all = append(all, o.ETag, o.ETag)
	}
	if len(m.tags) > 0 {
		other := pick(t, "an ETag", m.tags...)
		if o := m.World.Object(n); o == nil || base(other) != base(o.ETag) {
			all = append(all, other)
		}
	}
	return pick(t, "ETag", all...)
}

// base is an ETag without the suffix that clients see at those of sealed
// objects. Tags that differ in no more are a known gap (docs/KNOWN-GAPS.md).
func base(etag string) string { return strings.TrimSuffix(strings.Trim(etag, `"`), "-1") }

// drawCondition draws a condition, mostly none.
func (m *Machine) drawCondition(t *rapid.T, n s3op.Name) (c s3op.Condition) {
	switch rapid.IntRange(0, 7).Draw(t, "condition") {
	case 6:
		c.Match = m.drawTag(t, n)
	case 7:
		c.NoneMatch = m.drawTag(t, n)
	}
	return c
}

// drawWriteCondition is drawCondition for a write.
func (m *Machine) drawWriteCondition(t *rapid.T, n s3op.Name) s3op.Condition {
	c := m.drawCondition(t, n)
	if m.strange(n.Bucket) {
		return s3op.Condition{}
	}
	if c.NoneMatch != "" && m.NoAbsent {
		c.NoneMatch = "*"
	}
	return c
}

// strange reports whether the store has its own way with conditional writes,
// copies of objects onto themselves and listings in a bucket with versions.
func (m *Machine) strange(bucket string) bool {
	return m.NoVersionWrites && m.World.Buckets[bucket].Versioning != ""
}

// unlessStrange skips what rewrites objects in a bucket that is strange.
func (m *Machine) unlessStrange(t *rapid.T, bucket string) {
	if m.strange(bucket) {
		t.Skip("the store has its own way with versions")
	}
}

// drawKey draws the customer's key of a read: mostly the right one.
func (m *Machine) drawKey(t *rapid.T, n s3op.Name) string {
	if chance(t, "some key", 10) {
		return pick(t, "customer's key", "", "c", "d")
	}
	return m.CustomerKey(n)
}

// drawRange draws a range around the limits of packages and of the object.
func (m *Machine) drawRange(t *rapid.T, n s3op.Name) *s3op.Range {
	if chance(t, "whole", 3) {
		return nil
	}
	size := int64(10)
	if o := m.World.Object(n); o != nil {
		size = int64(len(o.Body))
	}
	ends := []int64{0, 1, 65535, 65536, max(size-1, 0), size, size / 2}
	first, last := pick(t, "first", ends...), pick(t, "last", ends...)
	switch rapid.IntRange(0, 3).Draw(t, "form") {
	case 0:
		return &s3op.Range{First: first, Last: -1}
	case 1:
		return &s3op.Range{First: -1, Last: max(last, 1)}
	}
	return &s3op.Range{First: min(first, last), Last: max(first, last)}
}

// drawUpload draws an upload, mostly one that is under way.
func (m *Machine) drawUpload(t *rapid.T) *s3op.Upload {
	if len(m.IDs) == 0 {
		t.Skip("no upload")
	}
	open := slices.DeleteFunc(slices.Clone(m.IDs), func(id string) bool { return m.World.Uploads[id].Ended })
	if len(open) == 0 || chance(t, "any upload", 8) {
		open = m.IDs
	}
	return m.World.Uploads[pick(t, "upload", open...)]
}

// drawListed draws what a Complete lists: mostly all parts.
func (m *Machine) drawListed(t *rapid.T, u *s3op.Upload) (all []s3op.Listed) {
	if u.Done != nil && !chance(t, "another Complete", 4) {
		return u.Done.Listed
	}
	for number := 1; number <= 3; number++ {
		if p := u.Parts[number]; p != nil && !chance(t, "leave out", 6) {
			all = append(all, s3op.Listed{Number: number, ETag: p.ETag})
		}
	}
	if chance(t, "another attempt", 6) && len(m.tags) > 0 {
		all = append(all, s3op.Listed{Number: rapid.IntRange(1, 4).Draw(t, "number"), ETag: pick(t, "ETag", m.tags...)})
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
func (m *Machine) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"":    func(*rapid.T) { m.look() },
		"Put": m.drawPut, "Put again": m.drawPut, "Get": m.drawGet, "Get again": m.drawGet, "Attributes": m.drawAttributes,
		"Delete": m.drawDelete, "DeleteMany": m.drawDeleteMany, "Copy": m.drawCopy, "CopySelf": m.drawCopySelf,
		"Update":  m.drawUpdate,
		"PutTags": func(t *rapid.T) { m.by(t, s3op.PutTags{Name: m.drawVersion(t), Tags: drawTags(t)}) },
		"GetTags": func(t *rapid.T) { m.by(t, s3op.GetTags{Name: m.drawVersion(t)}) },
		"List":    m.drawList,
		"Plant": func(t *rapid.T) {
			m.Step(s3op.Plant{Name: m.drawName(t), Body: m.drawBody(t, m.Sizes[:4])})
		},
		"PutVersioning": m.drawVersioning,
		"GetVersioning": func(t *rapid.T) { m.Step(s3op.GetVersioning{Bucket: m.drawBucket(t)}) },
		"PutRule":       m.drawRule,
		"DeleteRule":    func(t *rapid.T) { m.Step(s3op.DeleteRule{Bucket: m.drawBucket(t)}) },
		"GetRule":       func(t *rapid.T) { m.Step(s3op.GetRule{Bucket: m.drawBucket(t)}) },
		"Encrypt":       m.drawEncrypt,
		"Rekey": func(t *rapid.T) {
			m.rarely(t)
			bucket := m.drawBucket(t)
			m.unlessStrange(t, bucket)
			m.Step(s3op.RekeyJob{Bucket: bucket, Key: pick(t, "key", m.OtherKey, m.DefaultKey)})
			m.Relearn()
		},
		"Verify": func(t *rapid.T) {
			m.rarely(t)
			bucket := m.drawBucket(t)
			m.unlessStrange(t, bucket)
			m.Step(s3op.VerifyJob{Bucket: bucket})
		},
		"Restart": func(t *rapid.T) { m.rarely(t); m.Step(s3op.Restart{}) },
		"Create":  m.drawCreate, "UploadPart": m.drawPart, "UploadPart again": m.drawPart, "UploadPartCopy": m.drawPartCopy,
		"Complete": m.drawComplete,
		"Abort": func(t *rapid.T) {
			if chance(t, "abort", 2) {
				t.Skip("uploads should live")
			}
			m.Step(s3op.Abort{ID: m.drawUpload(t).ID})
		},
		"ListParts":   func(t *rapid.T) { m.Step(s3op.ListParts{ID: m.drawUpload(t).ID}) },
		"ListUploads": func(t *rapid.T) { m.Step(s3op.ListUploads{Bucket: m.drawBucket(t)}) },
	}
}

// look is Inspect after one operation of m.Looks.
func (m *Machine) look() {
	if m.Steps%max(m.Looks, 1) == 0 {
		m.Inspect()
	}
}

// rarely skips most of what takes long.
func (m *Machine) rarely(t *rapid.T) {
	if !chance(t, "slow", m.Slow) {
		t.Skip("it takes long")
	}
}

// by steps an operation, sometimes with a limited credential.
func (m *Machine) by(t *rapid.T, op s3op.Op) {
	if len(m.Limits) > 0 && chance(t, "limited", 10) {
		op = s3op.As{Op: op, Who: pick(t, "who", sorted(m.Limits)...)}
	}
	m.Step(op)
}

func (m *Machine) drawPut(t *rapid.T) {
	n := m.drawName(t)
	op := s3op.Put{
		Name: n, Body: m.drawBody(t, m.Sizes), Meta: drawMeta(t), Tags: drawTags(t), Ask: m.drawAsk(t), Sum: drawSum(t), If: m.drawWriteCondition(t, n),
	}
	mode := pick(t, "mode", modes...)
	switch {
	case len(op.Body) > 0 && chance(t, "damaged", 12):
		op.Damaged, mode = true, Hash
	case mode.hasTrailer() && op.Sum == "":
		op.Sum = "CRC32"
	}
	m.by(t, Framed{op, mode})
}

func (m *Machine) drawGet(t *rapid.T) {
	n := m.drawVersion(t)
	op := s3op.Get{
		Name: n, Head: chance(t, "head", 3), Range: m.drawRange(t, n), Key: m.drawKey(t, n), Sums: chance(t, "checksums", 3), If: m.drawCondition(t, n),
	}
	m.by(t, Framed{op, pick(t, "mode", Hash, Presigned)})
}

func (m *Machine) drawAttributes(t *rapid.T) {
	n := m.drawVersion(t)
	m.Step(s3op.Attributes{Name: n, Key: m.drawKey(t, n)})
}

func (m *Machine) drawDelete(t *rapid.T) {
	n := m.drawVersion(t)
	if !m.canDelete(n) {
		t.Skip("the store has its own way")
	}
	op := s3op.Delete{Name: n, Size: -1}
	if n.Version == "" && chance(t, "If-Match", 3) {
		op.If.Match = m.drawTag(t, n)
	}
	if o := m.World.Object(n); o != nil && n.Version == "" && chance(t, "size", 4) {
		op.Size = int64(len(o.Body) + rapid.IntRange(0, 1).Draw(t, "more"))
	}
	m.by(t, Framed{op, pick(t, "mode", Hash, Presigned)})
}

func (m *Machine) drawDeleteMany(t *rapid.T) {
	op := s3op.DeleteMany{Bucket: m.drawBucket(t)}
	for _, key := range rapid.SliceOfNDistinct(rapid.SampledFrom(m.Objects), 1, 3, rapid.ID[string]).Draw(t, "keys") {
		n := s3op.Name{Bucket: op.Bucket, Key: key}
		again := m.NoMarksAgain && m.World.Object(n) == nil && m.World.Buckets[op.Bucket].Versioning != ""
		if m.canDelete(n) && !again {
			op.Objects = append(op.Objects, n)
		}
	}
	n := m.drawVersion(t)
	isSame := func(o s3op.Name) bool { return o.Key == n.Key } // S3 does not order the deletes
	if n.Version != "" && n.Bucket == op.Bucket && !slices.ContainsFunc(op.Objects, isSame) {
		op.Objects = append(op.Objects, n)
	}
	if len(op.Objects) == 0 {
		t.Skip("nothing to delete")
	}
	m.Step(op)
}

// canDelete reports whether the store makes of a delete what the model says.
func (m *Machine) canDelete(n s3op.Name) bool {
	return !m.NoMarks || n.Version != "" || m.World.Object(n) != nil || m.World.Buckets[n.Bucket].Versioning == ""
}

func (m *Machine) drawCopy(t *rapid.T) { m.copyTo(t, m.drawVersion(t), m.drawName(t)) }

func (m *Machine) drawCopySelf(t *rapid.T) {
	n := m.drawObject(t)
	m.copyTo(t, n, n)
}

func (m *Machine) copyTo(t *rapid.T, from, to s3op.Name) {
	m.unlessStrange(t, to.Bucket)
	op := s3op.Copy{
		From: from, To: to, Ask: m.drawAsk(t), Key: m.drawKey(t, from), If: m.drawWriteCondition(t, to), FromIf: m.drawCondition(t, from),
	}
	if chance(t, "another checksum", 6) {
		op.Sum = drawSum(t)
	}
	if chance(t, "replace", 2) {
		op.Replace, op.Meta = true, drawMeta(t)
	}
	if chance(t, "retag", 3) {
		op.Retag, op.Tags = true, drawTags(t)
	}
	if m.NoSelfSums && from == to {
		op.Sum, op.Ask.BucketKey = "", ""
	}
	if o := m.World.Object(from); m.NoCopyTags && o != nil && o.Scheme == s3op.Plain && m.isPlain(to.Bucket, op.Ask) {
		if op.Tags, op.Retag = nil, false; len(o.Tags) > 0 {
			t.Skip("the store loses the tags")
		}
	}
	m.by(t, op)
	m.Relearn()
}

// isPlain reports whether nothing asks for the encryption of a write.
func (m *Machine) isPlain(bucket string, ask s3op.Sealing) bool {
	return ask.Scheme == s3op.Plain && m.World.Buckets[bucket].Rule == nil
}

func (m *Machine) drawUpdate(t *rapid.T) {
	n := m.drawObject(t)
	m.unlessStrange(t, n.Bucket)
	m.by(t, s3op.Update{Name: n, Key: pick(t, "key", m.OtherKey, m.DefaultKey, m.NoKey), BucketKey: chance(t, "bucket key", 3)})
	m.Relearn()
}

func (m *Machine) drawList(t *rapid.T) {
	op := s3op.List{
		Bucket: m.drawBucket(t), Prefix: pick(t, "prefix", "", "a/", "ä"),
		After: pick(t, "after", "", "a", "k"), Max: pick(t, "max", 1000, 1, 2), Versions: chance(t, "versions", 3),
	}
	if op.Versions && m.Config.Store.Truncates {
		op.After = "" // such a store does not know where a page begins, either
	}
	if op.After != "" {
		op.After = op.Prefix + op.After // some stores insist
	}
	m.by(t, op)
}

func (m *Machine) drawVersioning(t *rapid.T) {
	op := s3op.PutVersioning{Bucket: m.drawBucket(t), Status: pick(t, "status", s3op.Enabled, s3op.Suspended)}
	if m.NoVersions || !chance(t, "versions", 3) {
		t.Skip("most histories have a bucket without versions")
	}
	for _, u := range m.World.Uploads {
		if m.NoLateVersions && u.Bucket == op.Bucket && !u.Ended {
			t.Skip("the store would not look at it when it completes the upload")
		}
	}
	m.Step(op)
}

func (m *Machine) drawRule(t *rapid.T) {
	op := s3op.PutRule{Bucket: m.drawBucket(t), Rule: s3op.Rule{
		Sealing: pick(t, "rule", s3op.Sealing{Scheme: s3op.S3}, s3op.Sealing{Scheme: s3op.KMS},
			s3op.Sealing{Scheme: s3op.KMS, KeyName: m.OtherKey}, s3op.Sealing{Scheme: s3op.KMS, KeyName: m.NoKey}),
		BlockCustomer: chance(t, "block SSE-C", 3),
	}}
	if op.Rule.Scheme == s3op.KMS && chance(t, "bucket key", 3) {
		op.Rule.BucketKey = "true"
	}
	m.by(t, op)
}

func (m *Machine) drawEncrypt(t *rapid.T) {
	bucket := m.drawBucket(t)
	if m.World.Buckets[bucket].Rule == nil {
		t.Skip("no rule")
	}
	m.unlessStrange(t, bucket)
	m.Step(s3op.EncryptJob{Bucket: bucket})
	m.Relearn()
}

func (m *Machine) drawCreate(t *rapid.T) {
	op := s3op.Create{Name: m.drawName(t), Meta: drawMeta(t), Tags: drawTags(t), Ask: m.drawAsk(t)}
	if m.NoUploadTags && m.isPlain(op.Bucket, op.Ask) {
		op.Tags = nil
	}
	if chance(t, "announced", 3) {
		op.Sum = drawSum(t)
		op.Composite = op.Sum == "SHA1" || op.Sum == "SHA256" || (op.Sum == "CRC32" || op.Sum == "CRC32C") && chance(t, "composite", 2)
	}
	if a := m.Step(op); a.UploadID != "" {
		m.IDs = append(m.IDs, a.UploadID)
	}
}

func (m *Machine) drawPart(t *rapid.T) {
	u := m.drawUpload(t)
	op := s3op.UploadPart{ID: u.ID, Number: rapid.IntRange(1, 3).Draw(t, "number"), Sum: u.Sum}
	if before := u.Parts[op.Number]; before != nil && chance(t, "again", 4) {
		op.Body = before.Body
	} else {
		op.Body = m.drawBody(t, m.Parts)
	}
	if chance(t, "another checksum", 5) {
		op.Sum = drawSum(t)
	}
	if m.NoBareParts && u.Scheme == s3op.Plain && op.Sum == "" {
		op.Sum = u.Sum
	}
	m.Step(op)
}

func (m *Machine) drawPartCopy(t *rapid.T) {
	u, from := m.drawUpload(t), m.drawVersion(t)
	if m.NoBareParts && u.Scheme == s3op.Plain && u.Sum != "" {
		t.Skip("a copied part has no checksum")
	}
	op := s3op.UploadPartCopy{ID: u.ID, Number: rapid.IntRange(1, 3).Draw(t, "number"), From: from, Key: m.drawKey(t, from)}
	if r := m.drawRange(t, from); r != nil && r.First >= 0 && r.Last >= 0 {
		op.Range = r
	}
	if chance(t, "If-Match", 5) {
		op.FromIf.Match = m.drawTag(t, from)
	}
	m.Step(op)
}

func (m *Machine) drawComplete(t *rapid.T) {
	u := m.drawUpload(t)
	m.Step(s3op.Complete{ID: u.ID, Listed: m.drawListed(t, u), If: m.drawWriteCondition(t, u.Name)})
	m.Relearn()
}

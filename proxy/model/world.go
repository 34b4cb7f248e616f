// Package model says what clients of the gateway may see. It is a small S3 with
// encryption in memory, without network, clock and keys: each operation lists
// the answers that are right in the present state, and what each of them
// changes. Random histories run against it and the gateway; see
// docs/adr/0022-model.md, and docs/ARCHITECTURE.md for the map of the module.
//
// The model leaves open what it cannot know. An ETag and a version's ID are
// taken from the first answer that shows them, and must then be the same
// everywhere. Of several reasons to refuse a request, each is right.
package model

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ssegw/proxy/model/s3op"
)

// World is all that clients can know of one installation.
type World struct {
	Buckets map[string]*s3op.Bucket
	Uploads map[string]*s3op.Upload // by ID, also those that have ended
	Config  s3op.Config

	contents map[string]s3op.Body // what each ETag stood for when it was first shown
	attempts map[string]bool      // ETags of parts of sealed uploads
	versions map[string]bool      // IDs that were given
	limit    *s3op.Limit          // of the client's credential; nil: no limit
}

// New returns a world with empty buckets.
func New(c s3op.Config, buckets ...string) *World {
	w := &World{
		Config: c, Buckets: map[string]*s3op.Bucket{}, Uploads: map[string]*s3op.Upload{},
		contents: map[string]s3op.Body{}, attempts: map[string]bool{}, versions: map[string]bool{},
	}
	for _, name := range buckets {
		w.Buckets[name] = &s3op.Bucket{Objects: map[string][]*s3op.Object{}}
	}
	return w
}

// Clone returns a copy that changes by itself.
func (w *World) Clone() *World {
	c := *w
	c.contents, c.attempts, c.versions = maps.Clone(w.contents), maps.Clone(w.attempts), maps.Clone(w.versions)
	c.Buckets, c.Uploads = map[string]*s3op.Bucket{}, map[string]*s3op.Upload{}
	for name, b := range w.Buckets {
		c.Buckets[name] = b.Clone()
	}
	for id, u := range w.Uploads {
		c.Uploads[id] = u.Clone()
	}
	return &c
}

// at returns a version of an object, or a marker, or nil.
func (w *World) at(n s3op.Name) *s3op.Object { return w.Buckets[n.Bucket].At(n.Key, n.Version) }

// Object returns an object or nil.
func (w *World) Object(n s3op.Name) *s3op.Object {
	if o := w.at(n); o != nil && !o.Marker {
		return o
	}
	return nil
}

// find is Object. It adds why there is none.
func (w *World) find(no *refusals, n s3op.Name) *s3op.Object {
	o := w.at(n)
	switch {
	case o == nil && n.Version != "":
		no.when(true, 404, "NoSuchVersion")
		no.when(w.Config.Store.HidesMarkers, 404, "*")
	case o != nil && o.Marker && n.Version != "":
		no.when(true, 405, "MethodNotAllowed")
		no.when(w.Config.Store.HidesMarkers, 404, "*")
	default:
		no.when(o == nil || o.Marker, 404, "NoSuchKey")
	}
	return w.Object(n)
}

// put makes o the latest version of a name.
func (w *World) put(n s3op.Name, o *s3op.Object, version string) {
	w.versions[version] = true
	w.Buckets[n.Bucket].Put(n.Key, o, version)
}

// remove is a delete: of a version for good, or with a marker that has an ID.
func (w *World) remove(n s3op.Name, marker string) {
	switch b := w.Buckets[n.Bucket]; {
	case n.Version != "":
		w.Buckets[n.Bucket].Drop(n.Key, n.Version)
	case b.Versioning == "":
		w.Buckets[n.Bucket].Drop(n.Key, s3op.Null)
	case w.marks(n):
		w.put(n, &s3op.Object{Marker: true}, marker)
	}
}

// marks reports whether a delete makes a delete marker.
func (w *World) marks(n s3op.Name) bool {
	return n.Version == "" && w.Buckets[n.Bucket].Versioning != ""
}

// named checks the version that the answer to a write shows.
func (w *World) named(bucket, version string) error {
	keeps := w.Buckets[bucket].Versioning == s3op.Enabled
	if version == "" && w.Config.Store.QuietCopies {
		return nil
	}
	if keeps && (version == "" || version == s3op.Null || w.versions[version]) || !keeps && version != "" && version != s3op.Null {
		return fmt.Errorf("the version is %q", version)
	}
	return nil
}

// specification says which answers to operations are right, by kind.
func specification() []func(*World, s3op.Op) []Right {
	return []func(*World, s3op.Op) []Right{
		on((*World).as), on((*World).putVersioning), on((*World).getVersioning), on((*World).putRule), on((*World).deleteRule),
		on((*World).getRule), on((*World).encryptJob), on((*World).rekeyJob), on((*World).verifyJob), on((*World).putObject),
		on((*World).plantObject), on((*World).getObject), on((*World).getAttributes), on((*World).deleteObject), on((*World).deleteObjects),
		on((*World).copyObject), on((*World).updateEncryption), on((*World).putTags), on((*World).getTags), on((*World).listObjects),
		on((*World).createUpload), on((*World).uploadPart), on((*World).uploadPartCopy), on((*World).completeUpload), on((*World).abortUpload),
		on((*World).listParts), on((*World).listUploads), on((*World).restart),
	}
}

// on is the specification of one kind, and returns nil for others.
func on[T s3op.Op](rights func(*World, T) []Right) func(*World, s3op.Op) []Right {
	return func(w *World, op s3op.Op) []Right {
		if op, ok := op.(T); ok {
			return rights(w, op)
		}
		return nil
	}
}

// Rights returns the answers to an operation that are right now.
func (w *World) Rights(op s3op.Op) []Right {
	for _, of := range specification() {
		if rights := of(w, op); rights != nil {
			return rights
		}
	}
	panic(fmt.Sprintf("no specification of %T", op))
}

// Right is a right answer.
type Right struct {
	Status int
	Code   string                     // of an S3 error; "*": any
	Check  func(a *s3op.Answer) error // what else the answer must show; nil: nothing
	Then   func(a *s3op.Answer)       // what it changes; nil: nothing
}

// Step checks an answer, and changes the world accordingly.
func (w *World) Step(op s3op.Op, a *s3op.Answer) error {
	rights := w.Rights(op)
	var right []string
	var wrong []error
	for _, r := range rights {
		right = append(right, fmt.Sprint(r.Status, " ", r.Code))
		if a.Status != r.Status || !a.Headless && r.Code != "*" && a.Code != r.Code {
			continue
		}
		if r.Check != nil {
			if err := r.Check(a); err != nil {
				wrong = append(wrong, err)
				continue
			}
		}
		if r.Then != nil {
			r.Then(a)
		}
		return nil
	}
	if wrong != nil {
		return errors.Join(wrong...)
	}
	return fmt.Errorf("answered %d %s; right is %s", a.Status, a.Code, strings.Join(right, ", "))
}

// refusals are the reasons not to do what a request asks. Each is right.
type refusals []Right

func (r *refusals) when(reason bool, status int, code string) {
	if reason {
		*r = append(*r, Right{Status: status, Code: code})
	}
}

// or returns the refusals, or if there are none the success.
func (r refusals) or(success ...Right) []Right {
	if len(r) > 0 {
		return r
	}
	return success
}

// stands checks an ETag that stands for a body: no ETag ever stands for two.
func (w *World) stands(etag string, body []byte) error {
	if len(etag) < 3 || etag[0] != '"' || etag[len(etag)-1] != '"' {
		return fmt.Errorf("the ETag is %s", etag)
	}
	if before, known := w.contents[etag]; known && !bytes.Equal(before, body) {
		return fmt.Errorf("the ETag %s stood for other content", etag)
	}
	w.contents[etag] = body
	return nil
}

// stored checks the answer to a write of an object. An object in plaintext that
// is not made of parts has the MD5 of its body.
func (w *World) stored(n s3op.Name, o *s3op.Object, a *s3op.Answer, single bool) error {
	if single && o.Scheme == s3op.Plain && a.ETag != s3op.MD5(o.Body) {
		return fmt.Errorf("the ETag is %s, not the MD5", a.ETag)
	}
	return errors.Join(w.stands(a.ETag, o.Body), showsSealing(a, o.Sealing), w.named(n.Bucket, a.Version), sums(o, a.Sums))
}

// keep makes o the latest version of a name, after a write.
func (w *World) keep(n s3op.Name, o *s3op.Object) func(*s3op.Answer) {
	return func(a *s3op.Answer) { o.ETag = a.ETag; w.put(n, o, a.Version) }
}

// showsSealing checks how an answer shows a sealing. It shows neither the key
// of SSE-S3 nor that of a customer.
func showsSealing(a *s3op.Answer, s s3op.Sealing) error {
	if s.Scheme != s3op.KMS {
		s = s3op.Sealing{Scheme: s.Scheme}
	}
	if a.Sealing != s {
		return fmt.Errorf("shown as %+v, not %+v", a.Sealing, s)
	}
	return nil
}

// tagOf checks the ETag that an answer shows of an object.
func (w *World) tagOf(o *s3op.Object, etag string) error {
	if o.ETag == "" {
		o.ETag = etag
	}
	if etag != o.ETag {
		return fmt.Errorf("the ETag is %s, not %s", etag, o.ETag)
	}
	return w.stands(etag, o.Body)
}

// idOf checks the version that an answer shows of an object. The version null
// may go unnamed.
func (w *World) idOf(o *s3op.Object, version string) (err error) {
	if o.Version == "" {
		o.Version = version
		if w.versions[version] || version == "" {
			err = errors.New("not a new version")
		}
		w.versions[version] = true
	}
	if version != o.Version && (version != "" || o.Version != s3op.Null) {
		err = fmt.Errorf("the version is %q, not %q", version, o.Version)
	}
	return err
}

// shows checks what GET and HEAD show of an object besides its body.
func (w *World) shows(o *s3op.Object, a *s3op.Answer) error {
	err := errors.Join(w.tagOf(o, a.ETag), w.idOf(o, a.Version), showsSealing(a, o.Sealing))
	if !maps.Equal(a.Meta, o.Meta) {
		err = errors.Join(err, fmt.Errorf("metadata %v, not %v", a.Meta, o.Meta))
	}
	if a.TagCount != len(o.Tags) {
		err = errors.Join(err, fmt.Errorf("%d tags, not %d", a.TagCount, len(o.Tags)))
	}
	return err
}

// matches reports whether an object has an ETag, if that is known.
func matches(o *s3op.Object, etag string) bool {
	return o != nil && (etag == "*" || etag == o.ETag)
}

// unless adds what a condition says about replacing an object, or nil. An
// If-Match without an object is an error of which stores have two forms.
func (r *refusals) unless(c s3op.Condition, o *s3op.Object) {
	r.when(c.Match != "" && o == nil, 404, "NoSuchKey")
	r.when(fails(c, o) || c.NoneMatch != "" && matches(o, c.NoneMatch), 412, "PreconditionFailed")
}

// fails reports whether an If-Match fails.
func fails(c s3op.Condition, o *s3op.Object) bool { return c.Match != "" && !matches(o, c.Match) }

// sealing returns how a write is sealed: as the request asks, or as the rule
// says. The copy of a sealed object is always sealed: with SSE-S3, or under the
// source's key of the KMS, if nothing else asks for more.
func (w *World) sealing(bucket string, ask s3op.Sealing, from *s3op.Object) s3op.Sealing {
	rule := w.Buckets[bucket].Rule
	s, byDefault := ask, rule != nil && rule.BucketKey == "true"
	if s.Scheme == s3op.Plain && rule != nil {
		s = rule.Sealing
	}
	if s.Scheme == s3op.Plain && from != nil && from.Scheme == s3op.KMS {
		s, byDefault = s3op.Sealing{Scheme: s3op.KMS, KeyName: from.KeyName}, from.BucketKey == "true"
	}
	if s.Scheme == s3op.Plain && from != nil && from.Scheme != s3op.Plain {
		s.Scheme = s3op.S3
	}
	if s.Scheme == s3op.S3 || s.Scheme == s3op.KMS && s.KeyName == "" {
		s.KeyName = w.Config.DefaultKey
	}
	s.BucketKey = ""
	if s.Scheme == s3op.KMS && s.Context == "" && (ask.BucketKey == "true" || ask.BucketKey == "" && byDefault) {
		s.BucketKey = "true"
	}
	return s
}

// refuseSealing adds what speaks against a sealing s that a request asks for.
func (w *World) refuseSealing(no *refusals, bucket string, ask, s s3op.Sealing) {
	rule := w.Buckets[bucket].Rule
	no.when(ask.Scheme == s3op.Customer && rule != nil && rule.BlockCustomer, 403, "AccessDenied")
	no.when(ask.Scheme == s3op.Customer && ask.BucketKey != "" || s.Scheme == s3op.Plain && ask.BucketKey == "true", 400, "InvalidArgument")
	w.refuseKey(no, s)
}

// refuseKey adds that the KMS does not have the key, or that the client may
// not use it.
func (w *World) refuseKey(no *refusals, s s3op.Sealing) {
	managed := s.Scheme == s3op.S3 || s.Scheme == s3op.KMS
	no.when(managed && w.limit != nil && !slices.Contains(w.limit.Keys, s.KeyName), 403, "kms:NotAuthorized")
	no.when(managed && !w.Config.Keys[s.KeyName], 404, "kms:KeyNotFound")
}

// refuseRead adds what speaks against reading an object with a customer's key,
// or with "", none. Plaintext has no author to trust in a sealed-only bucket.
func (w *World) refuseRead(no *refusals, bucket string, o *s3op.Object, key string) {
	sealed := o.Scheme == s3op.Customer
	no.when(o.Scheme == s3op.Plain && w.Buckets[bucket].SealedOnly, 403, "AccessDenied")
	no.when(sealed && key == "", 400, "InvalidRequest")
	no.when(!sealed && key != "", 400, "InvalidRequest")
	no.when(sealed && key != "" && key != o.KeyName, 403, "AccessDenied")
}

// sameBody checks a body.
func sameBody(got, want []byte) error {
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes differ from the right %d", len(got), len(want))
	}
	return nil
}

// sorted returns the keys of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

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
)

// World is all that clients can know of one installation.
type World struct {
	Buckets map[string]*Bucket
	Uploads map[string]*Upload // by ID, also those that have ended
	Config  Config

	contents map[string]Body // what each ETag stood for when it was first shown
	attempts map[string]bool // ETags of parts of sealed uploads
	versions map[string]bool // IDs that were given
	limit    *Limit          // of whoever asks; nil: none
}

// Config is how the gateway, its KMS and its store are set up.
type Config struct {
	DefaultKey string           // of the KMS
	Keys       map[string]bool  // that the KMS has
	MinPart    int              // bytes of a part that is not the last
	Limits     map[string]Limit // of credentials besides the root one
	Store      Store
}

// Limit is what a credential may do.
type Limit struct {
	Buckets  []string
	Keys     []string // of the KMS
	ReadOnly bool
}

// Store is what the store does in another way than Amazon S3.
type Store struct {
	AbortsAgain    bool // an upload that has ended can be aborted
	QuietMarkers   bool // the answer to a delete does not tell of a marker without an ID of its own
	CompletesBlind bool // the answer to a Complete in plaintext has no ETag
	DeletesNothing bool // a delete of what is not there succeeds under an If-Match
	HidesMarkers   bool // an operation on a marker, or on a missing version, may be that on a missing object
	LosesListed    bool // a listing has no ETag of an object whose tags were changed
	QuietCopies    bool // the answer to a copy names no version
	Truncates      bool // a listing of versions that ends with the page may say that there is more
}

// Bucket is a bucket and its rule.
type Bucket struct {
	Objects    map[string][]*Object // the versions of each key, the latest one last
	Versioning string               // Enabled, Suspended, or "" if versions were never kept
	Rule       *Rule                // nil: none
	SealedOnly bool                 // plaintext is not served: the bucket was empty when its rule was set, or a job has sealed all
}

// Values of Bucket.Versioning.
const (
	Enabled   = "Enabled"
	Suspended = "Suspended"
)

// Rule is a bucket's default encryption.
type Rule struct {
	Sealing
	BlockCustomer bool // refuses writes with customers' keys
}

// Scheme is how an object is encrypted.
type Scheme string

// The schemes.
const (
	Plain    Scheme = ""
	S3       Scheme = "AES256"
	KMS      Scheme = "aws:kms"
	Customer Scheme = "SSE-C"
)

// Sealing is a scheme and its key: that of the KMS, or the name of the
// customer's.
type Sealing struct {
	Scheme    Scheme
	KeyName   string
	Context   string // of the client, for the KMS
	BucketKey string // "true", or "" in a request that leaves it open, "false"
}

// Name is the name of an object. Version is "" for the latest one.
type Name struct{ Bucket, Key, Version string }

// Body is a plaintext. It prints as its size.
type Body []byte

func (b Body) String() string { return fmt.Sprintf("<%d bytes>", len(b)) }

// Object is a version of an object as clients see it, or a delete marker.
type Object struct {
	Sealing
	Version string // "": the next answer will tell
	Marker  bool
	Body    Body
	Meta    map[string]string // content headers and user metadata, by lower-case name
	Tags    map[string]string
	ETag    string // as answers show it; "": the next answer will tell
	Sum     Sum
}

// null is the version of what is written while versions are not kept.
const null = "null"

// New returns a world with empty buckets.
func New(c Config, buckets ...string) *World {
	w := &World{
		Config: c, Buckets: map[string]*Bucket{}, Uploads: map[string]*Upload{},
		contents: map[string]Body{}, attempts: map[string]bool{}, versions: map[string]bool{},
	}
	for _, name := range buckets {
		w.Buckets[name] = &Bucket{Objects: map[string][]*Object{}}
	}
	return w
}

// Clone returns a copy that changes by itself.
func (w *World) Clone() *World {
	c := *w
	c.contents, c.attempts, c.versions = maps.Clone(w.contents), maps.Clone(w.attempts), maps.Clone(w.versions)
	c.Buckets, c.Uploads = map[string]*Bucket{}, map[string]*Upload{}
	for name, b := range w.Buckets {
		bucket := *b
		bucket.Objects = map[string][]*Object{}
		for key, all := range b.Objects {
			for _, o := range all {
				object := *o
				bucket.Objects[key] = append(bucket.Objects[key], &object)
			}
		}
		c.Buckets[name] = &bucket
	}
	for id, u := range w.Uploads {
		upload := *u
		upload.Parts = maps.Clone(u.Parts)
		c.Uploads[id] = &upload
	}
	return &c
}

// at returns a version of an object, or a marker, or nil.
func (w *World) at(n Name) *Object {
	all := w.Buckets[n.Bucket].Objects[n.Key]
	for _, o := range slices.Backward(all) {
		if n.Version == "" || n.Version == o.Version {
			return o
		}
	}
	return nil
}

// Object returns an object or nil.
func (w *World) Object(n Name) *Object {
	if o := w.at(n); o != nil && !o.Marker {
		return o
	}
	return nil
}

// find is Object. It adds why there is none.
func (w *World) find(no *refusals, n Name) *Object {
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
func (w *World) put(n Name, o *Object, version string) {
	b := w.Buckets[n.Bucket]
	o.Version = version
	if b.Versioning != Enabled {
		o.Version = null
		w.drop(n.Bucket, n.Key, null)
	}
	w.versions[version] = true
	b.Objects[n.Key] = append(b.Objects[n.Key], o)
}

// change replaces a version by what change makes of it.
func (w *World) change(n Name, change func(o *Object)) {
	o := w.at(n)
	changed := *o
	change(&changed)
	all := w.Buckets[n.Bucket].Objects[n.Key]
	all[slices.Index(all, o)] = &changed
}

// drop removes a version for good.
func (w *World) drop(bucket, key, version string) {
	objects := w.Buckets[bucket].Objects
	objects[key] = slices.DeleteFunc(objects[key], func(o *Object) bool { return o.Version == version })
}

// remove is a delete: of a version for good, or with a marker that has an ID.
func (w *World) remove(n Name, marker string) {
	switch b := w.Buckets[n.Bucket]; {
	case n.Version != "":
		w.drop(n.Bucket, n.Key, n.Version)
	case b.Versioning == "":
		w.drop(n.Bucket, n.Key, null)
	case w.marks(n):
		w.put(n, &Object{Marker: true}, marker)
	}
}

// marks reports whether a delete makes a delete marker.
func (w *World) marks(n Name) bool {
	return n.Version == "" && w.Buckets[n.Bucket].Versioning != ""
}

// named checks the version that the answer to a write shows.
func (w *World) named(bucket, version string) error {
	keeps := w.Buckets[bucket].Versioning == Enabled
	if version == "" && w.Config.Store.QuietCopies {
		return nil
	}
	if keeps && (version == "" || version == null || w.versions[version]) || !keeps && version != "" && version != null {
		return fmt.Errorf("the version is %q", version)
	}
	return nil
}

// Op is an operation of a client, or an event.
type Op interface {
	// Rights returns the answers that are right now.
	Rights(w *World) []Right
}

// Right is a right answer.
type Right struct {
	Status int
	Code   string                // of an S3 error; "*": any
	Check  func(a *Answer) error // what else the answer must show; nil: nothing
	Then   func(a *Answer)       // what it changes; nil: nothing
}

// Answer is what a client gets.
type Answer struct {
	Status     int
	Code       string // of an S3 error
	Headless   bool   // an error without a document has no code, as that of HEAD
	ETag       string
	Version    string
	Marker     bool // it is about a delete marker
	Body       []byte
	Size       int64  // Content-Length
	Range      string // Content-Range
	Meta, Tags map[string]string
	TagCount   int
	Sealing    Sealing           // as the headers show it
	Sums       map[string]string // checksums by algorithm
	Entries    []Entry
	Truncated  bool
	UploadID   string
	Rule       *Rule
	Versioning string
	Count      int // objects that a job changed
}

// Entry is an entry of a listing of objects, parts or uploads, or of the
// answer to DeleteMany.
type Entry struct {
	Key     string // of an object, or an upload
	ID      string // of an upload, or a version
	Number  int    // of a part
	ETag    string
	Size    int64
	Marker  bool
	Latest  bool
	Created string // ID of a new marker
}

// Step checks an answer, and changes the world accordingly.
func (w *World) Step(op Op, a *Answer) error {
	rights := op.Rights(w)
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
func (w *World) stored(n Name, o *Object, a *Answer, single bool) error {
	if single && o.Scheme == Plain && a.ETag != MD5(o.Body) {
		return fmt.Errorf("the ETag is %s, not the MD5", a.ETag)
	}
	return errors.Join(w.stands(a.ETag, o.Body), o.shown(a.Sealing), w.named(n.Bucket, a.Version), o.sums(a.Sums))
}

// keep makes o the latest version of a name, after a write.
func (w *World) keep(n Name, o *Object) func(*Answer) {
	return func(a *Answer) { o.ETag = a.ETag; w.put(n, o, a.Version) }
}

// shown checks how an answer shows a sealing. It does not show the key of
// SSE-S3, nor that of a customer.
func (s Sealing) shown(a Sealing) error {
	if s.Scheme != KMS {
		s = Sealing{Scheme: s.Scheme}
	}
	if a != s {
		return fmt.Errorf("shown as %+v, not %+v", a, s)
	}
	return nil
}

// tagOf checks the ETag that an answer shows of an object.
func (w *World) tagOf(o *Object, etag string) error {
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
func (w *World) idOf(o *Object, version string) (err error) {
	if o.Version == "" {
		o.Version = version
		if w.versions[version] || version == "" {
			err = errors.New("not a new version")
		}
		w.versions[version] = true
	}
	if version != o.Version && (version != "" || o.Version != null) {
		err = fmt.Errorf("the version is %q, not %q", version, o.Version)
	}
	return err
}

// shows checks what GET and HEAD show of an object besides its body.
func (w *World) shows(o *Object, a *Answer) error {
	err := errors.Join(w.tagOf(o, a.ETag), w.idOf(o, a.Version), o.shown(a.Sealing))
	if !maps.Equal(a.Meta, o.Meta) {
		err = errors.Join(err, fmt.Errorf("metadata %v, not %v", a.Meta, o.Meta))
	}
	if a.TagCount != len(o.Tags) {
		err = errors.Join(err, fmt.Errorf("%d tags, not %d", a.TagCount, len(o.Tags)))
	}
	return err
}

// Condition is a condition on the object that a request is about: an ETag, "*",
// or "" for none.
type Condition struct{ Match, NoneMatch string }

// matches reports whether an object has an ETag, if that is known.
func matches(o *Object, etag string) bool {
	return o != nil && (etag == "*" || etag == o.ETag)
}

// refuseWrite adds what a condition says about replacing an object, or nil. An
// If-Match without an object is an error of which stores have two forms.
func (c Condition) refuseWrite(no *refusals, o *Object) {
	no.when(c.Match != "" && o == nil, 404, "NoSuchKey")
	no.when(c.fails(o) || c.NoneMatch != "" && matches(o, c.NoneMatch), 412, "PreconditionFailed")
}

// fails reports whether an If-Match fails.
func (c Condition) fails(o *Object) bool { return c.Match != "" && !matches(o, c.Match) }

// sealing returns how a write is sealed: as the request asks, or as the rule
// says. The copy of a sealed object is always sealed: with SSE-S3, or under the
// source's key of the KMS, if nothing else asks for more.
func (w *World) sealing(bucket string, ask Sealing, from *Object) Sealing {
	rule := w.Buckets[bucket].Rule
	s, byDefault := ask, rule != nil && rule.BucketKey == "true"
	if s.Scheme == Plain && rule != nil {
		s = rule.Sealing
	}
	if s.Scheme == Plain && from != nil && from.Scheme == KMS {
		s, byDefault = Sealing{Scheme: KMS, KeyName: from.KeyName}, from.BucketKey == "true"
	}
	if s.Scheme == Plain && from != nil && from.Scheme != Plain {
		s.Scheme = S3
	}
	if s.Scheme == S3 || s.Scheme == KMS && s.KeyName == "" {
		s.KeyName = w.Config.DefaultKey
	}
	s.BucketKey = ""
	if s.Scheme == KMS && s.Context == "" && (ask.BucketKey == "true" || ask.BucketKey == "" && byDefault) {
		s.BucketKey = "true"
	}
	return s
}

// refuseSealing adds what speaks against a sealing s that a request asks for.
func (w *World) refuseSealing(no *refusals, bucket string, ask, s Sealing) {
	rule := w.Buckets[bucket].Rule
	no.when(ask.Scheme == Customer && rule != nil && rule.BlockCustomer, 403, "AccessDenied")
	no.when(ask.Scheme == Customer && ask.BucketKey != "" || s.Scheme == Plain && ask.BucketKey == "true", 400, "InvalidArgument")
	w.refuseKey(no, s)
}

// refuseKey adds that the KMS does not have the key, or that whoever asks may
// not use it.
func (w *World) refuseKey(no *refusals, s Sealing) {
	managed := s.Scheme == S3 || s.Scheme == KMS
	no.when(managed && w.limit != nil && !slices.Contains(w.limit.Keys, s.KeyName), 403, "kms:NotAuthorized")
	no.when(managed && !w.Config.Keys[s.KeyName], 404, "kms:KeyNotFound")
}

// refuseRead adds what speaks against reading an object with a customer's key,
// or with "", none. Plaintext has no author to trust in a sealed-only bucket.
func (w *World) refuseRead(no *refusals, bucket string, o *Object, key string) {
	sealed := o.Scheme == Customer
	no.when(o.Scheme == Plain && w.Buckets[bucket].SealedOnly, 403, "AccessDenied")
	no.when(sealed && key == "", 400, "InvalidRequest")
	no.when(!sealed && key != "", 400, "InvalidRequest")
	no.when(sealed && key != "" && key != o.KeyName, 403, "AccessDenied")
}

// MetaOf is the metadata of an object for which a client sent m.
func MetaOf(m map[string]string) map[string]string {
	out := map[string]string{"content-type": "binary/octet-stream"}
	maps.Copy(out, m)
	return out
}

// Range is a range of bytes. Last is -1 for all that follows; First is -1 for
// the last bytes, Last of them.
type Range struct{ First, Last int64 }

// String returns r as a value of the header Range.
func (r Range) String() string {
	switch {
	case r.First < 0:
		return fmt.Sprintf("bytes=-%d", r.Last)
	case r.Last < 0:
		return fmt.Sprintf("bytes=%d-", r.First)
	}
	return fmt.Sprintf("bytes=%d-%d", r.First, r.Last)
}

// of returns the range of an object of a size; ok is false if it has no byte.
func (r Range) of(size int64) (first, length int64, ok bool) {
	switch {
	case r.First < 0:
		length = min(r.Last, size)
		return size - length, length, length > 0
	case r.First >= size:
		return 0, 0, false
	case r.Last < 0:
		return r.First, size - r.First, true
	}
	return r.First, min(r.Last, size-1) - r.First + 1, true
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

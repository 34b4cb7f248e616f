// Package model says what clients of the gateway may see. It is a small S3 with
// encryption in memory, without network, clock and keys: each operation lists
// the answers that are right in the present state, and what each of them
// changes. Random histories run against it and the gateway; see
// docs/adr/0022-model.md, and docs/ARCHITECTURE.md for the map of the module.
//
// The model leaves open what it cannot know. An ETag is taken from the first
// answer that shows it, and must then be the same everywhere. Of several
// reasons to refuse a request, each is right.
package model

import (
	"bytes"
	"crypto/md5" //nolint:gosec // S3's ETag
	"crypto/sha256"
	"encoding/hex"
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

	contents map[string][sha256.Size]byte // what each ETag stood for when it was first shown
	attempts map[string]bool              // ETags of parts of sealed uploads
}

// Config is how the gateway and its KMS are set up.
type Config struct {
	DefaultKey string          // of the KMS
	Keys       map[string]bool // that the KMS has
	MinPart    int             // bytes of a part that is not the last
}

// Bucket is a bucket and its rule.
type Bucket struct {
	Objects    map[string]*Object
	Rule       *Rule // nil: none
	SealedOnly bool  // plaintext is not served: the bucket was empty when its rule was set, or a job has sealed all
}

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
	Scheme  Scheme
	KeyName string
}

// Name is the name of an object.
type Name struct{ Bucket, Key string }

// Body is a plaintext. It prints as its size.
type Body []byte

func (b Body) String() string { return fmt.Sprintf("<%d bytes>", len(b)) }

// Object is an object as clients see it.
type Object struct {
	Sealing
	Body Body
	Meta map[string]string // content headers and user metadata, by lower-case name
	Tags map[string]string
	ETag string // as answers show it; "": the next answer will tell
}

// New returns a world with empty buckets.
func New(c Config, buckets ...string) *World {
	w := &World{
		Config: c, Buckets: map[string]*Bucket{}, Uploads: map[string]*Upload{},
		contents: map[string][sha256.Size]byte{}, attempts: map[string]bool{},
	}
	for _, name := range buckets {
		w.Buckets[name] = &Bucket{Objects: map[string]*Object{}}
	}
	return w
}

// Object returns an object, or nil.
func (w *World) Object(n Name) *Object { return w.Buckets[n.Bucket].Objects[n.Key] }

// put makes o the object of a name.
func (w *World) put(n Name, o *Object) { w.Buckets[n.Bucket].Objects[n.Key] = o }

// hidden reports whether an object may not be served, because it is in
// plaintext where only sealed objects are trusted.
func (w *World) hidden(n Name) bool {
	o := w.Object(n)
	return o != nil && o.Scheme == Plain && w.Buckets[n.Bucket].SealedOnly
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
	Body       []byte
	Size       int64  // Content-Length
	Range      string // Content-Range
	Meta, Tags map[string]string
	TagCount   int
	Sealing    Sealing // as the headers show it
	Entries    []Entry
	Truncated  bool
	UploadID   string
	Rule       *Rule
	Count      int // objects that a job changed
}

// Entry is an entry of a listing of objects, parts or uploads.
type Entry struct {
	Key    string // of an object, or an upload
	ID     string // of an upload
	Number int    // of a part
	ETag   string
	Size   int64
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

// stands checks an ETag that stands for a body: no ETag ever stands for two. An
// object in plaintext that is not made of parts has the MD5 of its body.
func (w *World) stands(etag string, body []byte) error {
	if len(etag) < 3 || etag[0] != '"' || etag[len(etag)-1] != '"' {
		return fmt.Errorf("the ETag is %s", etag)
	}
	sum := sha256.Sum256(body)
	if before, known := w.contents[etag]; known && before != sum {
		return fmt.Errorf("the ETag %s stood for other content", etag)
	}
	w.contents[etag] = sum
	return nil
}

// stored checks the answer to a write of an object.
func (w *World) stored(o *Object, a *Answer, single bool) error {
	if single && o.Scheme == Plain && a.ETag != MD5(o.Body) {
		return fmt.Errorf("the ETag is %s, not the MD5", a.ETag)
	}
	return errors.Join(w.stands(a.ETag, o.Body), o.shown(a.Sealing))
}

// MD5 returns the ETag of a body in plaintext.
func MD5(body []byte) string {
	sum := md5.Sum(body) //nolint:gosec // S3's ETag
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// shown checks how an answer shows a sealing. It does not show the key of
// SSE-S3, nor that of a customer.
func (s Sealing) shown(a Sealing) error {
	if a.Scheme != s.Scheme || s.Scheme == KMS && a.KeyName != s.KeyName {
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

// shows checks what GET and HEAD show of an object besides its body.
func (w *World) shows(o *Object, a *Answer) error {
	err := errors.Join(w.tagOf(o, a.ETag), o.shown(a.Sealing))
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
	missing := c.Match != "" && o == nil
	no.when(missing, 404, "NoSuchKey")
	no.when(missing || c.Match != "" && !matches(o, c.Match) || c.NoneMatch != "" && matches(o, c.NoneMatch), 412, "PreconditionFailed")
}

// sealing returns how a write is sealed: as the request asks, or as the rule
// says.
func (w *World) sealing(bucket string, ask Sealing) Sealing {
	if ask.Scheme == Plain {
		if rule := w.Buckets[bucket].Rule; rule != nil {
			ask = rule.Sealing
		}
	}
	if ask.Scheme == S3 || ask.Scheme == KMS && ask.KeyName == "" {
		ask.KeyName = w.Config.DefaultKey
	}
	return ask
}

// refuseSealing adds what speaks against a sealing that a request asks for.
func (w *World) refuseSealing(no *refusals, bucket string, ask Sealing) {
	rule := w.Buckets[bucket].Rule
	no.when(ask.Scheme == Customer && rule != nil && rule.BlockCustomer, 403, "AccessDenied")
	w.refuseKey(no, w.sealing(bucket, ask))
}

// refuseKey adds that the KMS does not have the key.
func (w *World) refuseKey(no *refusals, s Sealing) {
	no.when(s.Scheme == KMS && !w.Config.Keys[s.KeyName], 404, "kms:KeyNotFound")
}

// refuseCustomer adds what speaks against reading an object with a customer's
// key, or with "", none.
func refuseCustomer(no *refusals, o *Object, key string) {
	sealed := o.Scheme == Customer
	no.when(sealed && key == "", 400, "InvalidRequest")
	no.when(!sealed && key != "", 400, "InvalidRequest")
	no.when(sealed && key != "" && key != o.KeyName, 403, "AccessDenied")
}

// metaOf is the metadata of an object for which a client sent m.
func metaOf(m map[string]string) map[string]string {
	out := maps.Clone(m)
	if out == nil {
		out = map[string]string{}
	}
	if out["content-type"] == "" {
		out["content-type"] = "binary/octet-stream"
	}
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

package s3op

import (
	"maps"
	"slices"
)

// Bucket is a bucket and its rule.
type Bucket struct {
	Objects    map[string][]*Object // the versions of each key, the latest one last
	Versioning string               // Enabled, Suspended, or "" if versions were never kept
	Rule       *Rule                // nil: none
	SealedOnly bool                 // plaintext is not served: the bucket was empty when its rule was set, or a job has sealed all
}

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

// Null is the version of what is written while versions are not kept.
const Null = "null"

// At returns a version of a key, or a marker, or nil. The version "" is the
// latest.
func (b *Bucket) At(key, version string) *Object {
	for _, o := range slices.Backward(b.Objects[key]) {
		if version == "" || version == o.Version {
			return o
		}
	}
	return nil
}

// Put makes o the latest version of a key. Where versions are not kept, it has
// the version null, and replaces that.
func (b *Bucket) Put(key string, o *Object, version string) {
	o.Version = version
	if b.Versioning != Enabled {
		o.Version = Null
		b.Drop(key, Null)
	}
	b.Objects[key] = append(b.Objects[key], o)
}

// Change replaces a version by what change makes of it.
func (b *Bucket) Change(n Name, change func(o *Object)) {
	o := b.At(n.Key, n.Version)
	changed := *o
	change(&changed)
	b.Objects[n.Key][slices.Index(b.Objects[n.Key], o)] = &changed
}

// Drop removes a version for good.
func (b *Bucket) Drop(key, version string) {
	b.Objects[key] = slices.DeleteFunc(b.Objects[key], func(o *Object) bool { return o.Version == version })
}

// Clone returns a copy that changes by itself.
func (b *Bucket) Clone() *Bucket {
	c := *b
	c.Objects = map[string][]*Object{}
	for key, all := range b.Objects {
		for _, o := range all {
			object := *o
			c.Objects[key] = append(c.Objects[key], &object)
		}
	}
	return &c
}

// Clone returns a copy that changes by itself.
func (u *Upload) Clone() *Upload {
	c := *u
	c.Parts = maps.Clone(u.Parts)
	return &c
}

package upstream

import (
	"cmp"
	"iter"
	"strconv"
	"strings"
)

// Capabilities describes what a store can do, as far as probes have found out.
// It names no stores: versions and settings of one product differ as much as
// products do. The zero value stands for a store that has not been probed.
type Capabilities struct {
	Framing    Framing     // of bodies with data, as ProbeFraming chose it
	PlainEmpty bool        // empty bodies need FramingPlain
	Put        Conditions  // in a PutObject
	Complete   Conditions  // in a CompleteMultipartUpload
	Delete     Conditions  // in a DeleteObject
	Copies     Copies      // in a CopyObject
	UploadTags bool        // it keeps the tags of a CreateMultipartUpload, or has no tags at all
	Altered    Alterations // of headers and keys
	MetaValue  int         // longest value of user metadata in bytes; 0: no limit is known
}

// Capabilities returns what the probes have found so far.
func (s *Store) Capabilities() Capabilities {
	if found := s.found.Load(); found != nil {
		return *found
	}
	return Capabilities{}
}

// Learn changes what is known about the store.
func (s *Store) Learn(change func(*Capabilities)) {
	for {
		old := s.found.Load()
		next := s.Capabilities()
		change(&next)
		if s.found.CompareAndSwap(old, &next) {
			return
		}
	}
}

// All returns the name and the value of each capability, for people. The names
// are stable.
func (c Capabilities) All() iter.Seq2[string, string] {
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return "no"
	}
	empty := c.Framing
	if c.PlainEmpty {
		empty = FramingPlain
	}
	return func(yield func(string, string) bool) {
		for _, v := range [...][2]string{
			{"framing", c.Framing.String()},
			{"framing_of_empty_bodies", empty.String()},
			{"put_if_none_match", yes(c.Put.Create)},
			{"put_if_match", c.Put.Match.String()},
			{"put_if_match_of_missing", yes(c.Put.Missing)},
			{"complete_if_none_match", yes(c.Complete.Create)},
			{"complete_if_match", c.Complete.Match.String()},
			{"complete_if_match_of_missing", yes(c.Complete.Missing)},
			{"delete_if_match", c.Delete.Match.String()},
			{"copy_replaces_metadata", yes(c.Copies.Replace)},
			{"copy_source_if_match", c.Copies.Source.String()},
			{"copy_keeps_tags", yes(c.Copies.Tags)},
			{"upload_keeps_tags", yes(c.UploadTags)},
			{"metadata_value_limit", strconv.Itoa(c.MetaValue)},
			{"metadata_name_hyphens", cmp.Or(strings.Join(strings.Split(c.Altered.Hyphens, ""), " "), "none")},
			{"headers_refused", cmp.Or(strings.Join(c.Altered.List(), ", "), "none")},
		} {
			if !yield(v[0], v[1]) {
				return
			}
		}
	}
}

// TagForm is the form in which a store expects the ETag in the If-Match of a
// write.
type TagForm int

const (
	TagNone   TagForm = iota // it ignores or refuses the condition in either form
	TagQuoted                // "0123", as RFC 9110 and Amazon S3 have it
	TagBare                  // 0123; to a quoted ETag it answers that it differs
)

// String returns the form as a value of a capability.
func (f TagForm) String() string {
	return [...]string{TagNone: "no", TagQuoted: "quoted", TagBare: "without quotes"}[f]
}

// Conditions describes which conditions on the object that it replaces or
// deletes a store honours in a write.
type Conditions struct {
	Create  bool    // If-None-Match: *
	Match   TagForm // If-Match with an ETag
	Missing bool    // If-Match fails if there is no object
}

// Honoured reports whether the store honours both conditions. Then it can
// settle the races of replicas.
func (c Conditions) Honoured() bool { return c.Create && c.Match != TagNone }

// List describes the conditions that the store ignores or refuses, one per
// element.
func (c Conditions) List() (list []string) {
	if !c.Create {
		list = append(list, "If-None-Match")
	}
	if c.Match == TagNone {
		list = append(list, "If-Match")
	}
	return list
}

// Of returns the value of an If-Match in the form.
func (f TagForm) Of(v string) string {
	if f == TagBare {
		return strings.ReplaceAll(v, `"`, "")
	}
	return v
}

// Copies describes what a store does in a CopyObject that replaces metadata.
type Copies struct {
	Replace bool        // it replaces the metadata
	Source  SourceGuard // whether it checks the ETag of the source
	Tags    bool        // it keeps tags, or the store has none
}

// SourceGuard tells for which sources a store honours
// x-amz-copy-source-if-match.
type SourceGuard int

const (
	GuardNone   SourceGuard = iota // for none
	GuardSingle                    // for objects that were not uploaded in parts
	GuardAll                       // for all
)

// String returns the guard as a value of a capability.
func (g SourceGuard) String() string {
	return [...]string{GuardNone: "no", GuardSingle: "except multipart objects", GuardAll: "yes"}[g]
}

// Covers reports whether the store honours the condition for a source with that
// ETag.
func (g SourceGuard) Covers(etag string) bool {
	return g == GuardAll || g == GuardSingle && !strings.Contains(etag, "-")
}

// Alterations describes which headers of an object, and which keys, a store
// does not keep as sent. A sealed object whose headers change cannot be read.
// So the gateway makes a change itself before it seals if the meaning stays the
// same or clients of the store know the change, and refuses the write
// otherwise.
type Alterations struct {
	Names   string   // characters that it changes in names of user metadata, except those in Hyphens
	Hyphens string   // characters that it replaces by a hyphen in names of user metadata
	Expires bool     // it keeps Expires only as a date in the form of RFC 9110
	Words   bool     // it decodes or rewrites encoded words in user metadata
	Meta    bool     // it changes the text that encoded words in user metadata stand for
	Content bool     // it changes content headers that are not ASCII
	Dirs    bool     // it drops content headers of directories: objects whose keys end in a slash
	DirMeta bool     // it drops the user metadata of directories
	Keys    []string // parts of keys that it changes
}

// And returns what the store alters in writes of either kind. Directories and
// keys are those of a.
func (a Alterations) And(b Alterations) Alterations {
	a.Names = union(a.Names, b.Names)
	for _, char := range union(a.Hyphens, b.Hyphens) {
		if !strings.ContainsRune(a.Hyphens, char) || !strings.ContainsRune(b.Hyphens, char) {
			a.Names = union(a.Names, string(char)) // a hyphen is not what the object would have otherwise
			a.Hyphens = strings.ReplaceAll(a.Hyphens, string(char), "")
		}
	}
	a.Expires, a.Words = a.Expires || b.Expires, a.Words || b.Words
	a.Meta, a.Content = a.Meta || b.Meta, a.Content || b.Content
	return a
}

// union returns the characters of a, and then those of b that are not in a.
func union(a, b string) string {
	for _, char := range b {
		if !strings.ContainsRune(a, char) {
			a += string(char)
		}
	}
	return a
}

// List describes the alterations for which writes are refused, one per element.
// Hyphens and Words are not among them.
func (a *Alterations) List() (list []string) {
	if a.Names != "" {
		list = append(list, "names of metadata with "+strings.Join(strings.Split(a.Names, ""), " "))
	}
	if a.Meta {
		list = append(list, "user metadata that is not ASCII")
	}
	if a.Expires {
		list = append(list, "an Expires that is not a date")
	}
	if a.Content {
		list = append(list, "content headers that are not ASCII")
	}
	if a.Dirs {
		list = append(list, "content headers of directories")
	}
	if a.DirMeta {
		list = append(list, "directories")
	}
	if len(a.Keys) > 0 {
		list = append(list, "keys with "+strings.Join(a.Keys, " "))
	}
	return list
}

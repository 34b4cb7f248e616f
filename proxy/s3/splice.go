package s3

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"slices"
	"strconv"
)

// Edit says what changes in one entry of a listing. The zero Edit changes nothing but that the gateway's own metadata is
// removed, as it always is.
type Edit struct {
	Size          *int64     // plaintext size in bytes
	ETag          *string    // quoted, as ETagShown returns it
	Checksums     *Checksums // in place of those of the upstream
	UploadID      *string
	StripMetadata bool // removes UserMetadata, UserTags and Internal: the client did not ask for them
	Remove        bool // removes the whole entry
}

// Checksums are the checksum fields of an entry. Its zero value removes them.
type Checksums struct {
	Algorithms []string // such as "CRC32"
	Type       string   // FULL_OBJECT, COMPOSITE or "" for none
}

func (c *Checksums) write(b *bytes.Buffer) {
	for _, a := range c.Algorithms {
		writeElement(b, "ChecksumAlgorithm", a)
	}
	if c.Type != "" {
		writeElement(b, "ChecksumType", c.Type)
	}
}

// patch is a replacement of a part of a document.
type patch struct {
	span
	text []byte
}

// Splice returns the document with the edits that edit gives for each index of Entries. All other bytes are copied as
// they are. What an edit changes is replaced where the entry has it, and added at the entry's end where it does not,
// but for checksums, which come behind the ETag. Delete markers, which have none of it, get nothing added.
func (l *Listing) Splice(edit func(i int) Edit) []byte {
	s := splicer{doc: l.doc, patches: make([]patch, 0, 4*len(l.Entries))}
	for i := range l.Entries {
		s.add(&l.Entries[i], edit(i))
	}
	return apply(l.doc, s.patches)
}

// splicer collects the patches of a document.
type splicer struct {
	doc     []byte
	patches []patch
	texts   bytes.Buffer // of the patches, one behind the other
	missing bytes.Buffer // what goes to the end of the present entry
}

// text returns what write writes.
func (s *splicer) text(write func(*bytes.Buffer)) []byte {
	from := s.texts.Len()
	write(&s.texts)
	return s.texts.Bytes()[from:s.texts.Len():s.texts.Len()]
}

// set gives an element of e another text.
func (s *splicer) set(e *Entry, el element, name, value string) {
	switch {
	case el.whole.end > 0:
		s.patches = append(s.patches, el.set(s.doc, value))
	case !e.DeleteMarker:
		writeElement(&s.missing, name, value)
	}
}

// add collects the patches that ed means for e.
func (s *splicer) add(e *Entry, ed Edit) {
	if ed.Remove {
		s.patches = append(s.patches, patch{span: e.place.whole})
		return
	}
	s.missing.Reset()
	if ed.ETag != nil {
		s.set(e, e.etag, "ETag", *ed.ETag)
	}
	if ed.Size != nil {
		s.set(e, e.size, "Size", strconv.FormatInt(*ed.Size, 10))
	}
	if ed.UploadID != nil {
		s.set(e, e.upload, "UploadId", *ed.UploadID)
	}
	if ed.Checksums != nil && !e.DeleteMarker {
		if at := e.etag.whole.end; at > 0 { // where Amazon S3 has them
			s.patches = append(s.patches, patch{span{at, at}, s.text(ed.Checksums.write)})
		} else {
			ed.Checksums.write(&s.missing)
		}
		for _, c := range e.checksums {
			s.patches = append(s.patches, patch{span: c.whole})
		}
	}
	hidden := e.own
	if ed.StripMetadata {
		hidden = e.metadata
	}
	for _, h := range hidden {
		s.patches = append(s.patches, patch{span: h.whole})
	}
	if s.missing.Len() > 0 && !e.place.selfClosing() {
		end := e.place.inner.end
		s.patches = append(s.patches, patch{span{end, end}, bytes.Clone(s.missing.Bytes())})
	}
}

// set returns the patch that gives e another text.
func (e element) set(doc []byte, value string) patch {
	var b bytes.Buffer
	if !e.selfClosing() {
		_ = xml.EscapeText(&b, []byte(value)) // a bytes.Buffer never fails
		return patch{span: e.inner, text: b.Bytes()}
	}
	writeElement(&b, e.name, value)
	return patch{span: e.whole, text: b.Bytes()}
}

// apply returns doc with patches, which do not overlap.
func apply(doc []byte, patches []patch) []byte {
	slices.SortStableFunc(patches, func(a, b patch) int { return cmp.Compare(a.start, b.start) })
	added := 0
	for _, p := range patches {
		added += len(p.text)
	}
	out := make([]byte, 0, len(doc)+added)
	pos := 0
	for _, p := range patches {
		out = append(out, doc[pos:p.start]...)
		out = append(out, p.text...)
		pos = p.end
	}
	return append(out, doc[pos:]...)
}

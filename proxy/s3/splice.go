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
	Size      *int64     // plaintext size in bytes
	ETag      *string    // quoted, as ETagShown returns it
	Checksums *Checksums // in place of those of the upstream
	UploadID  *string    // of an upload
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
	s := splicer{patches: make([]patch, 0, 4*len(l.Entries))}
	for i := range l.Entries {
		s.add(&l.Entries[i], edit(i))
	}
	return apply(l.doc, s.patches)
}

// splicer collects the patches of a document.
type splicer struct {
	patches []patch
	texts   bytes.Buffer // of the patches, one behind the other
	missing bytes.Buffer // what goes to the end of the present entry
}

// patch puts what texts has from an offset on in the place of a part of the document.
func (s *splicer) patch(at span, from int) {
	s.patches = append(s.patches, patch{at, s.texts.Bytes()[from:]})
}

// set gives an element of e another text.
func (s *splicer) set(e *Entry, el element, name, value string) {
	switch {
	case el.whole.end > 0:
		from := s.texts.Len()
		s.patch(el.write(&s.texts, value), from)
	case !e.DeleteMarker:
		writeElement(&s.missing, name, value)
	}
}

// add collects the patches that ed means for e.
func (s *splicer) add(e *Entry, ed Edit) {
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
			from := s.texts.Len()
			ed.Checksums.write(&s.texts)
			s.patch(span{at, at}, from)
		} else {
			ed.Checksums.write(&s.missing)
		}
		for _, c := range e.checksums {
			s.patches = append(s.patches, patch{span: c.whole})
		}
	}
	for _, h := range e.own {
		s.patches = append(s.patches, patch{span: h.whole})
	}
	if s.missing.Len() > 0 && !e.place.selfClosing() {
		from, end := s.texts.Len(), e.place.inner.end
		s.texts.Write(s.missing.Bytes())
		s.patch(span{end, end}, from)
	}
}

// write writes what gives e another text, and returns where that goes.
func (e element) write(b *bytes.Buffer, value string) span {
	if e.selfClosing() {
		writeElement(b, e.name, value)
		return e.whole
	}
	_ = xml.EscapeText(b, []byte(value)) // a bytes.Buffer never fails
	return e.inner
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

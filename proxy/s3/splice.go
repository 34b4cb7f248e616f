package s3

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"slices"
	"strconv"
)

// Edit holds the changes to one entry of a listing. The zero Edit only removes
// the gateway's own metadata, which every Edit does.
type Edit struct {
	Size      *int64     // plaintext size in bytes
	ETag      *string    // quoted, as ETagShown returns it
	Checksums *Checksums // replaces the upstream's
	UploadID  *string    // for uploads
}

// Checksums holds the checksum fields of an entry. The zero value removes them.
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

// patch replaces a part of a document.
type patch struct {
	span
	text []byte
}

// Splice returns the document with the changes that edit returns for each index
// of Entries. All other bytes stay the same. An element that the entry has is
// replaced. An element that it lacks is added at its end, except checksums,
// which follow the ETag. Delete markers have none of these elements and get
// none.
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
	texts   bytes.Buffer // the texts of the patches, one after the other
	missing bytes.Buffer // elements to add at the end of the current entry
}

// patch replaces a part of the document by the bytes of texts from an offset
// on.
func (s *splicer) patch(at span, from int) {
	s.patches = append(s.patches, patch{at, s.texts.Bytes()[from:]})
}

// set changes the text of an element of e, or adds the element.
func (s *splicer) set(e *Entry, el element, name, value string) {
	switch {
	case el.whole.end > 0:
		from := s.texts.Len()
		s.patch(el.write(&s.texts, value), from)
	case !e.DeleteMarker:
		writeElement(&s.missing, name, value)
	}
}

// add collects the patches for the changes ed of e.
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
		if at := e.etag.whole.end; at > 0 { // where Amazon S3 puts them
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

// write writes the replacement that gives e another text, and returns the span
// to replace.
func (e element) write(b *bytes.Buffer, value string) span {
	if e.selfClosing() {
		writeElement(b, e.name, value)
		return e.whole
	}
	_ = xml.EscapeText(b, []byte(value)) // a bytes.Buffer does not fail
	return e.inner
}

// apply returns doc with patches applied. They must not overlap.
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

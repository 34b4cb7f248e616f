package s3

import (
	"bytes"
	"cmp"
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
	var patches []patch
	for i := range l.Entries {
		patches = l.Entries[i].patch(patches, l.doc, edit(i))
	}
	return apply(l.doc, patches)
}

// patch appends the patches that ed means for e.
func (e *Entry) patch(patches []patch, doc []byte, ed Edit) []patch {
	if ed.Remove {
		return append(patches, patch{span: e.place.whole})
	}
	var missing bytes.Buffer
	set := func(el element, name, value string) {
		switch {
		case el.whole.end > 0:
			patches = append(patches, el.set(doc, value))
		case !e.DeleteMarker:
			writeElement(&missing, name, value)
		}
	}
	if ed.ETag != nil {
		set(e.etag, "ETag", *ed.ETag)
	}
	if ed.Size != nil {
		set(e.size, "Size", strconv.FormatInt(*ed.Size, 10))
	}
	if ed.UploadID != nil {
		set(e.upload, "UploadId", *ed.UploadID)
	}
	if ed.Checksums != nil && !e.DeleteMarker {
		if at := e.etag.whole.end; at > 0 { // where Amazon S3 has them
			var b bytes.Buffer
			ed.Checksums.write(&b)
			patches = append(patches, patch{span{at, at}, b.Bytes()})
		} else {
			ed.Checksums.write(&missing)
		}
		for _, c := range e.checksums {
			patches = append(patches, patch{span: c.whole})
		}
	}
	hidden := e.own
	if ed.StripMetadata {
		hidden = e.metadata
	}
	for _, h := range hidden {
		patches = append(patches, patch{span: h.whole})
	}
	if missing.Len() > 0 && !e.place.selfClosing() {
		end := e.place.inner.end
		patches = append(patches, patch{span: span{end, end}, text: missing.Bytes()})
	}
	return patches
}

// set returns the patch that gives e another text.
func (e element) set(doc []byte, value string) patch {
	var b bytes.Buffer
	writeElement(&b, e.name, value)
	if e.selfClosing() {
		return patch{span: e.whole, text: b.Bytes()}
	}
	inner := b.Bytes()[len(e.name)+2 : b.Len()-len(e.name)-3]
	return patch{span: e.inner, text: inner}
}

// apply returns doc with patches, which do not overlap.
func apply(doc []byte, patches []patch) []byte {
	slices.SortStableFunc(patches, func(a, b patch) int { return cmp.Compare(a.start, b.start) })
	out := make([]byte, 0, len(doc)+16*len(patches))
	pos := 0
	for _, p := range patches {
		out = append(out, doc[pos:p.start]...)
		out = append(out, p.text...)
		pos = p.end
	}
	return append(out, doc[pos:]...)
}

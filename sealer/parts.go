package sealer

import (
	"fmt"
	"io"
)

// MaxParts is the maximum number of parts of an object, and the highest part
// number. The 10,000th part of the upstream is for the trailer.
const MaxParts = 9999

// partEntrySize is the length of an entry of the part table, without the
// digest.
const partEntrySize = 4 + 8 + 16

// Part describes one part of a multipart object, as in the part table.
type Part struct {
	Number int      // chosen by the client, 1 to MaxParts
	Size   int64    // plaintext bytes
	Nonce  [16]byte // of the attempt that became part of the object
	Digest []byte   // of the plaintext, PartTable.Algorithm.Size() bytes
}

// PartTable lists the parts of a multipart body in order (section 7.3).
type PartTable struct {
	Algorithm Algorithm // of the parts' digests; 0 if they have none
	Composite bool      // type of the object's checksum; false if Algorithm is 0
	Parts     []Part    // in ascending order of number, at least one
}

// Size returns the plaintext size of all parts.
func (t *PartTable) Size() int64 {
	var n int64
	for i := range t.Parts {
		n += t.Parts[i].Size
	}
	return n
}

// SealedSize returns the sealed size of all parts: that of the body, without
// the trailer.
func (t *PartTable) SealedSize() int64 {
	var n int64
	for i := range t.Parts {
		n += SealedSize(t.Parts[i].Size)
	}
	return n
}

// check returns ErrParams or ErrTooLarge if the format does not allow the
// table.
func (t *PartTable) check() error {
	if t == nil || len(t.Parts) < 1 || t.Algorithm > ChecksumXXHASH128 || t.Composite && t.Algorithm == 0 {
		return fmt.Errorf("%w: no parts, or a wrong algorithm or type", ErrParams)
	}
	previous := 0
	for i := range t.Parts {
		p := &t.Parts[i]
		switch {
		case p.Number <= previous || p.Number > MaxParts:
			return fmt.Errorf("%w: part number %d after %d", ErrParams, p.Number, previous)
		case p.Size > MaxSize:
			return fmt.Errorf("%w: part of %d bytes", ErrTooLarge, p.Size)
		case p.Size < 0:
			return fmt.Errorf("%w: part of %d bytes", ErrParams, p.Size)
		case len(p.Digest) != t.Algorithm.Size():
			return fmt.Errorf("%w: part digest of %d bytes", ErrParams, len(p.Digest))
		}
		previous = p.Number
	}
	return nil
}

// partTable appends a part table that has passed check.
func (e encoder) partTable(t *PartTable) encoder {
	e = e.u8(uint8(t.Algorithm)).flag(t.Composite).u32(uint32(len(t.Parts)))
	for i := range t.Parts {
		p := &t.Parts[i]
		e = e.u32(uint32(p.Number)).u64(uint64(p.Size)).bytes(p.Nonce[:]).bytes(p.Digest)
	}
	return e
}

// partTable reads a part table, which must extend to the end of the trailer.
func (d *decoder) partTable() *PartTable {
	t := &PartTable{Algorithm: Algorithm(d.u8()), Composite: d.flag()}
	n := d.u32()
	if d.err == nil && int64(n)*int64(partEntrySize+t.Algorithm.Size()) != int64(len(d.rest)) {
		d.fail("%d parts in %d bytes", n, len(d.rest))
	}
	if d.err != nil {
		return t
	}
	t.Parts = make([]Part, n)
	for i := range t.Parts {
		p := &t.Parts[i]
		p.Number = int(d.u32())
		p.Size = int64(d.u64())
		d.fill(p.Nonce[:])
		p.Digest = d.clone(t.Algorithm.Size())
	}
	if err := t.check(); err != nil {
		d.fail("%v", err)
	}
	return t
}

// SealPartTable returns the sealed trailer and the footer of a multipart
// object. cs are the checksums of the whole object. key is its trailer key,
// from [Facts.TrailerKey] or [ObjectKey.TrailerKey]: with SSE-C a Complete
// request has no object key. It returns ErrParams for an invalid table or
// invalid checksums, and ErrTooLarge if a part exceeds MaxSize. It may be
// called more than once for an object.
func (h *Header) SealPartTable(key Key, cs []Checksum, t *PartTable) ([]byte, error) {
	sorted, err := sortChecksums(cs)
	if err == nil {
		err = t.check()
	}
	if err != nil {
		return nil, fmt.Errorf("sealing part table: %w", err)
	}
	if key.isZero() || !h.Multipart {
		return nil, fmt.Errorf("sealing part table: %w: not the key of a multipart object", ErrParams)
	}
	trailer := Trailer{Size: t.Size(), Checksums: sorted, Parts: t}
	return sealTrailer(&key, h.bodyFlags(), h.ObjectID, trailer.encode(), len(t.Parts)), nil
}

// PartExtent is an extent inside one part of a multipart object.
type PartExtent struct {
	Part   Part
	Extent Extent // inside the part
	Offset int64  // position of its first sealed byte in the object
}

// Locate returns the extents of length plaintext bytes starting at offset, one
// for each part that contains some of them. Together they are one range of
// sealed bytes: from the Offset of the first to Offset plus Extent.Sealed of
// the last. If length is 0 there are no extents. It returns ErrRange if the
// range is outside the object.
func (t *PartTable) Locate(offset, length int64) ([]PartExtent, error) {
	size := t.Size()
	if offset < 0 || length < 0 || offset > size || length > size-offset {
		return nil, fmt.Errorf("%w: %d bytes from %d on of %d", ErrRange, length, offset, size)
	}
	var extents []PartExtent
	var begin, sealed int64 // of the part
	for _, p := range t.Parts {
		from := max(offset-begin, 0)
		to := min(offset+length-begin, p.Size)
		if from < to {
			e, err := Locate(p.Size, from, to-from)
			if err != nil {
				return nil, err
			}
			extents = append(extents, PartExtent{Part: p, Extent: e, Offset: sealed + e.Offset})
		}
		begin += p.Size
		sealed += SealedSize(p.Size)
	}
	return extents, nil
}

// OpenParts returns a reader of the plaintext of extents, which must come from
// [PartTable.Locate]. src provides their range of sealed bytes. It behaves like
// [ObjectKey.OpenBody]. The key must not be wiped before the reader is done.
func (k *ObjectKey) OpenParts(src io.Reader, extents []PartExtent) io.Reader {
	return &partsReader{key: k, src: src, rest: extents}
}

// partsReader opens one part at a time. Each part needs a buffer for one
// package.
type partsReader struct {
	key  *ObjectKey
	src  io.Reader
	rest []PartExtent
	part io.Reader // nil between parts
	err  error
}

func (r *partsReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, r.err
	}
	for r.err == nil {
		if r.part == nil {
			r.next()
			continue
		}
		n, err := r.part.Read(p)
		if err == io.EOF {
			r.part = nil
		} else {
			r.err = err
		}
		if n > 0 || r.err != nil {
			return n, r.err
		}
	}
	return 0, r.err
}

// next advances to the next part or to the end.
func (r *partsReader) next() {
	if len(r.rest) == 0 {
		r.err = io.EOF
		return
	}
	e := r.rest[0]
	r.rest = r.rest[1:]
	r.part, r.err = r.key.OpenPart(e.Part.Number, e.Part.Nonce, r.src, e.Part.Size, e.Extent)
}

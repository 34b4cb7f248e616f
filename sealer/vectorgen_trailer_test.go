package sealer

import (
	"encoding/binary"
	"slices"
)

// footers are trailers with a changed footer or changed sealed bytes.
func (g *generator) footers() {
	p := params(100)
	p.Trailer = true
	o, other := seal(g.t, p, AES256GCM, digest(ChecksumCRC32)), seal(g.t, p, AES256GCM, digest(ChecksumCRC32))
	body := piece(0, 0, 132)
	add := func(name, expect, step, comment string, edit func([]byte) []byte) {
		b := edit(slices.Clone(o.trailer))
		g.add(name, expect, step, comment, o.failing().with(body, vectorPiece{Hex: b}))
	}
	const footer = SingleTrailerSize - FooterSize
	put := binary.BigEndian.PutUint32
	flip := func(i int) func([]byte) []byte {
		return func(b []byte) []byte { b[i] ^= 1; return b }
	}
	add("footer-magic", "malformed", "footer", "a bit of the magic", flip(footer))
	add("footer-length-short", "malformed", "footer", "sealed trailer of 27 bytes", func(b []byte) []byte { put(b[footer+8:], 27); return b })
	add("footer-length-huge", "malformed", "footer", "sealed trailer of 4 GiB", func(b []byte) []byte { put(b[footer+8:], 1<<32-1); return b })
	add("footer-parts-10000", "malformed", "footer", "10,000 parts", func(b []byte) []byte { put(b[footer+12:], 10000); return b })
	add("footer-cut", "malformed", "footer", "last byte missing", func(b []byte) []byte { return b[:len(b)-1] })
	add("footer-missing", "malformed", "footer", "no trailer at all", func([]byte) []byte { return nil })
	add("footer-trailing-byte", "malformed", "footer", "a byte follows", func(b []byte) []byte { return append(b, 0) })
	add("footer-length-less", "not authentic", "trailer", "length one less", func(b []byte) []byte { put(b[footer+8:], footer-1); return b })
	add("footer-length-more", "not authentic", "trailer", "length one more", func(b []byte) []byte { put(b[footer+8:], footer+1); return b })
	add("footer-parts-1", "not authentic", "trailer", "one part in a single PUT", func(b []byte) []byte { put(b[footer+12:], 1); return b })
	add("footer-object-id", "not authentic", "trailer", "a bit of the object ID prefix", flip(footer+16))
	add("trailer-nonce-flipped", "not authentic", "trailer", "a bit of the trailer nonce", flip(0))
	add("trailer-flipped", "not authentic", "trailer", "a bit of the ciphertext", flip(gcmNonceSize))
	add("trailer-tag-flipped", "not authentic", "trailer", "a bit of the tag", flip(footer-1))
	add("trailer-of-other", "not authentic", "trailer", "trailer of another object", func([]byte) []byte { return other.trailer })
	add("trailer-of-other-renamed", "not authentic", "trailer", "the same with the right prefix", func(b []byte) []byte {
		return append(slices.Clone(other.trailer[:footer]), b[footer:]...)
	})
	v := o.failing().with(piece(0, 0, 131), vectorPiece{Hex: o.trailer})
	g.add("trailer-after-cut-body", "not authentic", "length", "a good trailer behind a body without its last byte", v)
}

// singleTrailers are trailers that are sealed correctly but violate section
// 7.2.
func (g *generator) singleTrailers() {
	p := params(100)
	p.Trailer = true
	add := func(name, expect, comment string, edit func(encoder) encoder) {
		o := seal(g.t, p, AES256GCM)
		e := edit(encoder(nil).u8(kindSingle).u64(100).u8(1).u8(uint8(ChecksumCRC32)).u8(0).bytes(random(4)))
		if len(e) < singleTrailer {
			e = append(e, make([]byte, singleTrailer-len(e))...)
		}
		o.trailer = sealTrailerOf(o.key, e, 0)
		g.add(name, expect, "trailer", comment, o.failing())
	}
	add("trailer-padding", "malformed", "last byte of the padding is 1", func(e encoder) encoder {
		return append(e, append(make([]byte, singleTrailer-len(e)-1), 1)...)
	})
	add("trailer-long", "malformed", "129 bytes", func(e encoder) encoder {
		return append(e, make([]byte, singleTrailer+1-len(e))...)
	})
	add("trailer-kind-0", "malformed", "kind 0", func(e encoder) encoder { e[0] = 0; return e })
	add("trailer-kind-multipart", "malformed", "kind of a multipart trailer", func(e encoder) encoder { e[0] = kindMultipart; return e })
	add("trailer-size-over-limit", "malformed", "size 2^48 + 1", func(e encoder) encoder {
		binary.BigEndian.PutUint64(e[1:], MaxSize+1)
		return e
	})
	add("trailer-size-differs", "not authentic", "size 99, header says 100", func(e encoder) encoder { e[8] = 99; return e })
	add("trailer-algorithm-11", "malformed", "checksum algorithm 11", func(e encoder) encoder { e[10] = 11; return e })
	add("trailer-type-2", "malformed", "checksum type 2", func(e encoder) encoder { e[11] = 2; return e })
	add("trailer-checksums-overflow", "malformed", "a digest that does not fit", func(encoder) encoder {
		return encoder(nil).u8(kindSingle).u64(100).u8(3).
			u8(uint8(ChecksumSHA1)).u8(0).bytes(random(20)).u8(uint8(ChecksumSHA256)).u8(0).bytes(random(32)).
			u8(uint8(ChecksumSHA512)).u8(0).bytes(random(60))
	})
}

// tableFields is the plaintext of a multipart trailer, with fields that can be
// set to wrong values.
type tableFields struct {
	size      uint64
	algorithm Algorithm
	kind      uint8
	count     uint32
	footer    int
	parts     []Part
	tail      []byte
}

func (f *tableFields) encode(o *object) []byte {
	e := encoder(nil).u8(kindMultipart).u64(f.size).u8(0).u8(uint8(f.algorithm)).u8(f.kind).u32(f.count)
	for _, p := range f.parts {
		e = e.u32(uint32(p.Number)).u64(uint64(p.Size)).bytes(p.Nonce[:]).bytes(p.Digest)
	}
	return sealTrailerOf(o.key, append(e, f.tail...), f.footer)
}

// partTables are part tables that are sealed correctly but violate section 7.3.
func (g *generator) partTables() {
	add := func(name, expect, comment string, edit func(*tableFields)) {
		o := sealParts(g.t, 100, 200, 300)
		f := &tableFields{
			size: 600, algorithm: ChecksumCRC32C, kind: 1, count: 3, footer: 3, parts: slices.Clone(o.table.Parts),
		}
		edit(f)
		o.trailer = f.encode(o)
		g.add(name, expect, "trailer", comment, o.failing())
	}
	add("table-size-differs", "malformed", "size is not the sum", func(f *tableFields) { f.size = 601 })
	add("table-size-negative", "malformed", "highest bit of the size", func(f *tableFields) { f.size |= 1 << 63 })
	add("table-part-0", "malformed", "part number 0", func(f *tableFields) { f.parts[0].Number = 0 })
	add("table-part-10000", "malformed", "part number 10,000", func(f *tableFields) { f.parts[2].Number = 10000 })
	add("table-part-twice", "malformed", "a part number twice", func(f *tableFields) { f.parts[1].Number = 1 })
	add("table-parts-descending", "malformed", "part numbers descend", func(f *tableFields) {
		f.parts[0], f.parts[1] = f.parts[1], f.parts[0]
	})
	add("table-part-size-over-limit", "malformed", "a part of 2^48 + 1 bytes", func(f *tableFields) {
		f.parts[0].Size = MaxSize + 1
		f.size = MaxSize + 501
	})
	add("table-part-size-negative", "malformed", "a part of -1 bytes", func(f *tableFields) { f.parts[0].Size, f.size = -1, 499 })
	add("table-count-more", "malformed", "one part more announced", func(f *tableFields) { f.count = 4 })
	add("table-count-huge", "malformed", "2^32 - 1 parts announced", func(f *tableFields) { f.count = 1<<32 - 1 })
	add("table-empty", "malformed", "no parts", func(f *tableFields) { f.parts, f.count, f.size, f.footer = nil, 0, 0, 0 })
	add("table-trailing-byte", "malformed", "a byte follows", func(f *tableFields) { f.tail = []byte{0} })
	add("table-algorithm-11", "malformed", "part algorithm 11", func(f *tableFields) { f.algorithm = 11 })
	add("table-composite-without-algorithm", "malformed", "type without an algorithm", func(f *tableFields) {
		f.algorithm = 0
		for i := range f.parts {
			f.parts[i].Digest = nil
		}
	})
	add("table-type-2", "malformed", "part type 2", func(f *tableFields) { f.kind = 2 })
	add("table-footer-count", "not authentic", "footer says two parts", func(f *tableFields) { f.footer = 2 })
}

// announcements are facts that announce the checksum in the trailer.
func (g *generator) announcements() {
	p := params(100)
	p.Trailer = true
	p.Facts.Announced = Announcement{Algorithm: ChecksumCRC64NVME}
	good := seal(g.t, p, AES256GCM, digest(ChecksumCRC64NVME))
	g.add("ok-trailer-announced", "ok", "", "the facts announce the checksum of the trailer", good.vector())
	good = seal(g.t, p, AES256GCM, digest(ChecksumSHA1), digest(ChecksumCRC64NVME))
	g.add("ok-trailer-announced-one-of-two", "ok", "", "one of two checksums of the trailer is announced", good.vector())
	o := sealPartsWith(g.t, Announcement{Algorithm: ChecksumCRC32C, Composite: true}, 70000, 5)
	g.add("ok-multipart-announced", "ok", "", "a composite checksum is announced", o.vector())

	without := func(name, comment string, o *object, trailer func(o *object) []byte) {
		o.trailer = trailer(o)
		g.add(name, "not authentic", "trailer", comment, o.failing())
	}
	single := func(cs ...Checksum) func(*object) []byte {
		return func(o *object) []byte {
			return sealTrailerOf(o.key, (&Trailer{Size: 100, Checksums: cs}).encode(), 0)
		}
	}
	without("trailer-announced-missing", "the announced checksum is missing", good, single())
	without("trailer-announced-other-algorithm", "another one is there", good, single(digest(ChecksumSHA1)))
	wrong := digest(ChecksumCRC64NVME)
	wrong.Composite = true
	without("trailer-announced-other-type", "announced as FULL_OBJECT, is COMPOSITE", good, single(wrong))
	without("table-announced-missing", "multipart, the announced checksum is missing", o, func(o *object) []byte {
		return sealTrailerOf(o.key, (&Trailer{Size: o.table.Size(), Parts: o.table}).encode(), len(o.table.Parts))
	})
}

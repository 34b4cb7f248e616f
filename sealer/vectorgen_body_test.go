package sealer

import "bytes"

const sealedPackage = int64(sealedPackageSize)

// truncations are bodies of the wrong length. Each exists in two variants: one
// the length gives away, and one only the packages do.
func (g *generator) truncations() {
	o := seal(g.t, params(150000), AES256GCM)
	total := SealedSize(150000)
	both := func(name, comment string, o *object, pieces ...vectorPiece) {
		v := o.failing().with(pieces...)
		g.add("length-"+name, "not authentic", "length", comment+", by the length", v)
		g.add("body-"+name, "not authentic", "body", comment+", by the body", v.anyLength())
	}
	both("cut-package-boundary", "final package missing", o, piece(0, 0, 2*sealedPackage))
	both("cut-first-boundary", "two packages missing", o, piece(0, 0, sealedPackage))
	both("cut-inside-package", "cut inside a package", o, piece(0, 0, 100000))
	both("cut-inside-package-header", "cut inside the header of a package", o, piece(0, 0, sealedPackage+7))
	both("cut-after-package-header", "cut behind the header of a package", o, piece(0, 0, sealedPackage+16))
	both("cut-last-byte", "last byte missing", o, piece(0, 0, total-1))
	both("cut-tag", "last tag missing", o, piece(0, 0, total-16))
	both("cut-everything", "no body", o)

	longer := func(name, comment string, o *object, pieces ...vectorPiece) {
		g.add("length-"+name, "not authentic", "length", comment, o.failing().with(pieces...))
	}
	longer("trailing-byte", "a byte behind the body", o, piece(0, 0, total), vectorPiece{Hex: []byte{0}})
	longer("final-package-twice", "the final package twice", o, piece(0, 0, total), piece(0, 2*sealedPackage, total))
	longer("two-bodies", "the body twice", o, piece(0, 0, total), piece(0, 0, total))
	empty := seal(g.t, params(0), AES256GCM)
	empty.streams = []vectorStream{empty.stream(1)}
	longer("empty-with-body", "a package where the size is 0", empty, piece(0, 0, 33))
	p := params(100)
	p.Trailer = true
	trailer := seal(g.t, p, AES256GCM).trailer
	o = seal(g.t, params(100), AES256GCM)
	longer("unexpected-trailer", "a trailer where the header has none", o, piece(0, 0, 132), vectorPiece{Hex: trailer})
}

// rearrangements are bodies of the right length with misplaced packages.
func (g *generator) rearrangements() {
	const size = 3*PackageSize + 100
	o, other := seal(g.t, params(size), AES256GCM), seal(g.t, params(size), AES256GCM)
	pack := func(stream int, p int64) vectorPiece {
		return piece(stream, p*sealedPackage, min((p+1)*sealedPackage, SealedSize(size)))
	}
	add := func(name, comment string, second vectorStream, pieces ...vectorPiece) {
		v := o.failing().with(pieces...)
		v.Streams = append(v.Streams, second)
		g.add(name, "not authentic", "body", comment, v)
	}
	foreign := other.streams[0]
	add("body-swapped-packages", "packages 1 and 2 exchanged", foreign, pack(0, 0), pack(0, 2), pack(0, 1), pack(0, 3))
	add("body-repeated-package", "package 1 in place of 2", foreign, pack(0, 0), pack(0, 1), pack(0, 1), pack(0, 3))
	add("body-first-package-moved", "package 0 behind 1 and 2", foreign, pack(0, 1), pack(0, 2), pack(0, 0), pack(0, 3))
	add("body-spliced-package", "package 1 of another object", foreign, pack(0, 0), pack(1, 1), pack(0, 2), pack(0, 3))
	add("body-spliced-tail", "packages 2 and 3 of another object", foreign, pack(0, 0), pack(0, 1), pack(1, 2), pack(1, 3))
	add("body-of-other", "the whole body of another object", foreign, pack(1, 0), pack(1, 1), pack(1, 2), pack(1, 3))
	twin := o.stream(size)
	add("body-spliced-second-stream", "package 1 of a second stream under the same key", twin, pack(0, 0), pack(1, 1), pack(0, 2), pack(0, 3))
	longer := o.stream(size + PackageSize)
	add("body-final-package-of-longer", "package 3 is that of a longer stream under the same key", longer,
		piece(1, 0, 3*sealedPackage), piece(1, 3*sealedPackage, 3*sealedPackage+132))

	exact := seal(g.t, params(2*PackageSize), AES256GCM)
	v := exact.failing()
	v.Streams = []vectorStream{exact.stream(3 * PackageSize)}
	g.add("body-not-final", "not authentic", "body", "the last package is not the final one of its stream", v.with(piece(0, 0, 2*sealedPackage)))
	v.Range = []int64{PackageSize, 10}
	g.add("body-not-final-range", "not authentic", "body", "the same in a range", v.with(piece(0, 0, 2*sealedPackage)))
	v = exact.failing()
	v.Streams = []vectorStream{exact.stream(PackageSize)}
	v.Range = []int64{0, 10}
	g.add("body-final-too-early", "not authentic", "body", "package 0 is final, but the size goes on",
		v.with(piece(0, 0, sealedPackage), piece(0, 0, sealedPackage)))
}

// packageEdits are bodies with one package that is changed or has another
// version.
func (g *generator) packageEdits() {
	o := seal(g.t, params(100), AES256GCM)
	v := o.failing()
	sealed, err := v.build()
	if err != nil {
		g.t.Fatal(err)
	}
	v.Streams = nil
	add := func(name, comment string, edit func([]byte)) {
		b := bytes.Clone(sealed)
		edit(b)
		g.add(name, "not authentic", "body", comment, v.with(vectorPiece{Hex: b}))
	}
	add("package-version", "version 0x10 in a package of 2.0", func(b []byte) { b[0] = 0x10 })
	add("package-cipher", "the other cipher", func(b []byte) { b[1] ^= 1 })
	add("package-cipher-unknown", "cipher 2", func(b []byte) { b[1] = 2 })
	add("package-length", "length one less", func(b []byte) { b[2]-- })
	add("package-final-flag", "final bit cleared", func(b []byte) { b[4] &= 0x7f })
	add("package-nonce", "a bit of the nonce", func(b []byte) { b[15] ^= 1 })
	add("package-ciphertext", "a bit of the ciphertext", func(b []byte) { b[16] ^= 1 })
	add("package-tag", "a bit of the tag", func(b []byte) { b[len(b)-1] ^= 0x80 })
	add("package-zeros", "zeros", func(b []byte) { clear(b) })

	v = seal(g.t, params(100), AES256GCM).failing()
	v.Streams[0].Version = 0x10
	g.add("dare-1.0-small", "not authentic", "body", "DARE 1.0 under the right key", v)
	long := seal(g.t, params(2*PackageSize), AES256GCM)
	v = long.failing()
	v.Streams[0].Version = 0x10
	g.add("dare-1.0-boundary", "not authentic", "body", "two full packages of DARE 1.0", v)
	v = v.with(piece(0, 0, sealedPackage)).anyLength()
	g.add("dare-1.0-cut", "not authentic", "body", "DARE 1.0, cut at a package boundary, which that version cannot notice", v)

	large := seal(g.t, params(150000), AES256GCM)
	v = large.failing().with(piece(0, 0, sealedPackage+500), vectorPiece{Hex: make([]byte, 8)}, piece(0, sealedPackage+508, SealedSize(150000)))
	g.add("package-middle", "not authentic", "body", "eight zeros in package 1", v)
	v.Range = []int64{66000, 10}
	g.add("package-middle-range", "not authentic", "body", "the same in a range that has the package", v)
	v.reads(0, 1000, large.plaintext())
	g.add("package-middle-other-range", "ok", "", "the same in a range without the package", v)
	chacha := seal(g.t, params(100), ChaCha20Poly1305)
	v = chacha.failing()
	v.Streams[0].Cipher = AES256GCM
	g.add("package-cipher-of-header", "not authentic", "body", "AES-256-GCM where the header says ChaCha20-Poly1305", v)
}

// partEdits are multipart bodies that do not match their part table.
func (g *generator) partEdits() {
	o := sealParts(g.t, 100, 100, 100)
	trailer := vectorPiece{Hex: o.trailer}
	add := func(name, step, comment string, second vectorStream, pieces ...vectorPiece) {
		v := o.failing().with(append(pieces, trailer)...)
		v.Streams = append(v.Streams, second)
		g.add(name, "not authentic", step, comment, v)
	}
	whole := func(stream int) vectorPiece { return piece(stream, 0, 132) }
	again := o.table.Parts[1]
	again.Nonce = NewPartNonce()
	attempt := o.part(again)
	add("parts-swapped", "body", "two parts of one size exchanged", attempt, whole(1), whole(0), whole(2))
	add("parts-repeated", "body", "a part in place of another", attempt, whole(0), whole(0), whole(2))
	add("parts-other-attempt", "body", "another attempt of part 3 (the second)", attempt, whole(0), whole(3), whole(2))
	add("parts-dropped", "length", "the second part missing", attempt, whole(0), whole(2))
	add("parts-last-dropped", "length", "the last part missing", attempt, whole(0), whole(1))
	add("parts-added", "length", "one part too many", attempt, whole(0), whole(1), whole(2), whole(2))
	add("parts-none", "length", "no parts", attempt)
	add("parts-cut", "length", "the second part cut", attempt, whole(0), piece(1, 0, 131), whole(2))

	table := sealParts(g.t, 100, 100, 100)
	v := o.failing().with(whole(0), whole(1), whole(2), vectorPiece{Hex: table.trailer})
	g.add("parts-table-of-other", "not authentic", "trailer", "part table of another object", v)
	uneven := sealParts(g.t, 100, 200)
	resized := &PartTable{Parts: []Part{
		{Number: 1, Size: 200, Nonce: uneven.table.Parts[0].Nonce}, {Number: 3, Size: 100, Nonce: uneven.table.Parts[1].Nonce},
	}}
	var err error
	if uneven.trailer, err = sealPartTable(uneven.key, nil, resized); err != nil {
		g.t.Fatal(err)
	}
	g.add("parts-other-sizes", "not authentic", "body", "sizes of two parts exchanged in the table", uneven.failing())
}

// secondStreams are ranges of a body that was sealed twice: all packages of a
// range must be from one stream. It also adds the longest sealed trailer that a
// footer may announce.
func (g *generator) secondStreams() {
	o := seal(g.t, params(3*PackageSize), AES256GCM)
	v := o.failing()
	v.Streams = append(v.Streams, o.stream(3*PackageSize))
	v = v.with(piece(0, 0, sealedPackage), piece(1, sealedPackage, 3*sealedPackage))
	v.Range = []int64{PackageSize - 10, 20}
	g.add("body-second-stream-range", "not authentic", "body", "a range over package 0 of one stream and package 1 of another", v)
	v.Range = []int64{PackageSize + 10, PackageSize}
	v.reads(v.Range[0], v.Range[1], o.plaintext())
	g.add("ok-second-stream-range", "ok", "", "a range that lies in packages of the other stream alone: the plaintext is the same", v)

	parts := sealParts(g.t, 100)
	for name, n := range map[string]uint32{"footer-length-limit": MaxTrailerSize - FooterSize, "footer-length-over-limit": MaxTrailerSize - FooterSize + 1} {
		f := Footer{SealedTrailer: int(n), Parts: 1, IDPrefix: [8]byte(parts.header.ObjectID[:8])}
		v := parts.failing()
		v = v.with(piece(0, 0, SealedSize(100)), vectorPiece{Hex: hexBytes(f.encode())})
		expect, step := "malformed", "footer"
		if n == MaxTrailerSize-FooterSize {
			expect, step = "not authentic", "trailer"
		}
		g.add(name, expect, step, "a sealed trailer of that length, which is not there", v)
	}
}

package sealer

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestSealTrailer(t *testing.T) {
	t.Parallel()
	p := params(12345)
	p.Trailer = true
	sets := map[string][]Checksum{"none": nil, "two": {digest(ChecksumSHA512), digest(ChecksumSHA256)}}
	for a := ChecksumCRC32; a <= ChecksumXXHASH128; a++ {
		sets[a.String()] = []Checksum{digest(a)}
	}
	for name, cs := range sets {
		o := seal(t, p, AES256GCM, cs...)
		if len(o.trailer) != SingleTrailerSize {
			t.Errorf("%s: %d bytes, want %d", name, len(o.trailer), SingleTrailerSize)
		}
		sorted, err := sortChecksums(cs)
		if err != nil {
			t.Fatal(err)
		}
		got, err := OpenTrailer(o.header, o.key.TrailerKey(), o.trailer)
		want := &Trailer{Size: 12345, Checksums: sorted, Stored: SingleTrailerSize}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
		if got := o.header.StoredSize(got); got != SealedSize(12345)+SingleTrailerSize {
			t.Errorf("%s: stored size %d", name, got)
		}
	}
	if SingleTrailerSize != 180 || MaxTrailerSize != 920176 {
		t.Errorf("trailers of %d to %d bytes, which contradicts docs/FORMAT.md", SingleTrailerSize, MaxTrailerSize)
	}
}

func TestSealTrailerRefuses(t *testing.T) {
	t.Parallel()
	p := params(100)
	p.Trailer = true
	o, parts, without := seal(t, p, AES256GCM), sealParts(t, 100), seal(t, params(100), AES256GCM)
	var all []Checksum
	for a := ChecksumCRC32; a <= ChecksumXXHASH128; a++ {
		all = append(all, digest(a))
	}
	tests := map[string]struct {
		key  *ObjectKey
		cs   []Checksum
		size int64
		want error
	}{
		"another size":   {o.key, nil, 99, ErrSize},
		"too many":       {o.key, all, 100, ErrTooLarge},
		"twice":          {o.key, []Checksum{all[0], all[0]}, 100, ErrParams},
		"multipart":      {parts.key, nil, 100, ErrParams},
		"has no trailer": {without.key, nil, 100, ErrParams},
	}
	for name, test := range tests {
		if b, err := test.key.SealTrailer(test.cs, test.size); !errors.Is(err, test.want) || b != nil {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	p.Facts.Announced = Announcement{Algorithm: ChecksumSHA1}
	announced := seal(t, p, AES256GCM, digest(ChecksumSHA1), digest(ChecksumMD5))
	for _, cs := range [][]Checksum{nil, {digest(ChecksumMD5)}, {{ChecksumSHA1, true, random(20)}}} {
		if b, err := announced.key.SealTrailer(cs, 100); !errors.Is(err, ErrParams) || b != nil {
			t.Errorf("%v, SHA1 announced: %v", cs, err)
		}
	}
	if _, err := OpenTrailer(o.header, Key{}, o.trailer); !errors.Is(err, ErrWrongKey) {
		t.Errorf("zero key: %v", err)
	}
	if _, err := OpenTrailer(without.header, o.key.TrailerKey(), o.trailer); !errors.Is(err, ErrNotAuthentic) {
		t.Errorf("header without trailer: %v", err)
	}
}

// TestTrailerEveryBit changes each bit of a trailer, and truncates it at each
// byte.
func TestTrailerEveryBit(t *testing.T) {
	t.Parallel()
	p := params(100)
	p.Trailer = true
	o := seal(t, p, AES256GCM, digest(ChecksumSHA256))
	key := o.key.TrailerKey()
	refused := func(err error) bool { return errors.Is(err, ErrNotAuthentic) || errors.Is(err, ErrMalformed) }
	for i := range len(o.trailer) * 8 {
		b := slices.Clone(o.trailer)
		b[i/8] ^= 1 << (i % 8)
		if _, err := OpenTrailer(o.header, key, b); !refused(err) {
			t.Errorf("bit %d: %v", i, err)
		}
	}
	for i := range o.trailer {
		for _, b := range [][]byte{o.trailer[:i], o.trailer[len(o.trailer)-i:]} {
			if _, err := OpenTrailer(o.header, key, b); !refused(err) {
				t.Errorf("%d bytes: %v", len(b), err)
			}
		}
	}
}

// TestTrailerSealedTwice checks that a part table is always sealed the same
// way, and that two tables never share a nonce.
func TestTrailerSealedTwice(t *testing.T) {
	t.Parallel()
	o := sealParts(t, 100, 200)
	again, err := sealPartTable(o.key, o.sums, o.table)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, o.trailer) {
		t.Error("one table was sealed in two ways")
	}
	for name, change := range map[string]func(*PartTable){
		"nonce":  func(t *PartTable) { t.Parts[1].Nonce[15] ^= 1 },
		"number": func(t *PartTable) { t.Parts[1].Number++ },
		"size":   func(t *PartTable) { t.Parts[0].Size++ },
		"parts":  func(t *PartTable) { t.Parts = t.Parts[:1] },
	} {
		table := *o.table
		table.Parts = slices.Clone(o.table.Parts)
		change(&table)
		other, err := sealPartTable(o.key, o.sums, &table)
		if err != nil {
			t.Fatal(name, err)
		}
		if bytes.Equal(other[:gcmNonceSize], o.trailer[:gcmNonceSize]) {
			t.Errorf("%s: one nonce for two tables", name)
		}
	}
}

func TestParseFooter(t *testing.T) {
	t.Parallel()
	o := sealParts(t, 100, 200, 0)
	f, err := ParseFooter(append([]byte("what is before"), o.trailer...))
	want := Footer{SealedTrailer: len(o.trailer) - FooterSize, Parts: 3, IDPrefix: [8]byte(o.header.ObjectID[:8])}
	if diff := cmp.Diff(want, f); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if f.Size() != int64(len(o.trailer)) {
		t.Errorf("size %d", f.Size())
	}
	if _, err := ParseFooter(o.trailer[len(o.trailer)-FooterSize+1:]); !errors.Is(err, ErrMalformed) {
		t.Errorf("short: %v", err)
	}
}

func TestPartTable(t *testing.T) {
	t.Parallel()
	o := sealParts(t, 70000, 0, 65536, 1)
	got, err := OpenTrailer(o.header, o.key.TrailerKey(), o.trailer)
	want := &Trailer{Size: 135537, Checksums: o.sums, Parts: o.table, Stored: int64(len(o.trailer))}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Fatalf("%v (-want +got):\n%s", err, diff)
	}
	body := SealedSize(70000) + SealedSize(65536) + SealedSize(1)
	if o.table.SealedSize() != body || o.header.StoredSize(got) != body+int64(len(o.trailer)) || o.header.StoredSize(nil) != -1 {
		t.Errorf("stored size %d", o.header.StoredSize(got))
	}
}

// TestLargestPartTable checks the limit stated in docs/FORMAT.md.
func TestLargestPartTable(t *testing.T) {
	t.Parallel()
	o := sealParts(t, 1)
	table := &PartTable{Algorithm: ChecksumSHA512, Composite: true}
	for n := range MaxParts {
		table.Parts = append(table.Parts, Part{Number: n + 1, Size: MaxSize, Nonce: NewPartNonce(), Digest: make([]byte, 64)})
	}
	var all []Checksum
	for a := ChecksumCRC32; a <= ChecksumXXHASH128; a++ {
		all = append(all, digest(a))
	}
	b, err := sealPartTable(o.key, all, table)
	if err != nil || len(b) != MaxTrailerSize {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	got, err := OpenTrailer(o.header, o.key.TrailerKey(), b)
	if err != nil || got.Size != MaxParts*MaxSize || len(got.Parts.Parts) != MaxParts {
		t.Errorf("%v", err)
	}
	if e, err := got.Parts.Locate(got.Size-1, 1); err != nil || len(e) != 1 || e[0].Part.Number != MaxParts {
		t.Errorf("last byte: %+v, %v", e, err)
	}
}

func TestSealPartTableRefuses(t *testing.T) {
	t.Parallel()
	o, single := sealParts(t, 1), seal(t, params(1), AES256GCM)
	good := Part{Number: 1, Size: 1}
	tests := map[string]struct {
		table *PartTable
		want  error
	}{
		"none":             {nil, ErrParams},
		"empty":            {&PartTable{}, ErrParams},
		"descending":       {&PartTable{Parts: []Part{{Number: 2}, good}}, ErrParams},
		"twice":            {&PartTable{Parts: []Part{good, good}}, ErrParams},
		"part 0":           {&PartTable{Parts: []Part{{Number: 0}}}, ErrParams},
		"part 10000":       {&PartTable{Parts: []Part{{Number: 10000}}}, ErrParams},
		"negative size":    {&PartTable{Parts: []Part{{Number: 1, Size: -1}}}, ErrParams},
		"size over limit":  {&PartTable{Parts: []Part{{Number: 1, Size: MaxSize + 1}}}, ErrTooLarge},
		"digest missing":   {&PartTable{Algorithm: ChecksumMD5, Parts: []Part{good}}, ErrParams},
		"digest unasked":   {&PartTable{Parts: []Part{{Number: 1, Digest: []byte{1}}}}, ErrParams},
		"algorithm":        {&PartTable{Algorithm: 11, Parts: []Part{good}}, ErrParams},
		"type of nothing":  {&PartTable{Composite: true, Parts: []Part{good}}, ErrParams},
		"single, good one": {&PartTable{Parts: []Part{good}}, ErrParams},
	}
	for name, test := range tests {
		k := o.key
		if name == "single, good one" {
			k = single.key
		}
		if _, err := sealPartTable(k, nil, test.table); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// TestParts seals parts, joins them and reads ranges of the whole.
func TestParts(t *testing.T) {
	t.Parallel()
	o := sealParts(t, 70000, 0, 65536, 100, 0)
	var body, plaintext []byte
	for _, p := range o.table.Parts {
		r, err := o.key.SealPart(p.Number, p.Nonce, bytes.NewReader(pattern(p.Size)), p.Size)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil || int64(len(b)) != SealedSize(p.Size) {
			t.Fatalf("part %d: %d bytes, %v", p.Number, len(b), err)
		}
		body, plaintext = append(body, b...), append(plaintext, pattern(p.Size)...)
	}
	size := int64(len(plaintext))
	for _, r := range [][2]int64{{0, size}, {0, 0}, {size, 0}, {69999, 2}, {70000, 1}, {69999, 65538}, {size - 1, 1}, {135535, 2}, {5, 10}} {
		extents, err := o.table.Locate(r[0], r[1])
		if err != nil {
			t.Fatal(err)
		}
		first, end := int64(0), int64(0)
		if len(extents) > 0 {
			last := extents[len(extents)-1]
			first, end = extents[0].Offset, last.Offset+last.Extent.Sealed
		}
		src := &countingReader{r: iotest.HalfReader(bytes.NewReader(body[first:]))}
		got, err := readWith(o.key.OpenParts(src, extents), 40000)
		if err != nil || !bytes.Equal(got, plaintext[r[0]:r[0]+r[1]]) || src.bytes != end-first {
			t.Errorf("range %v: %d bytes of %d, %v", r, len(got), src.bytes, err)
		}
	}
	for _, r := range [][2]int64{{-1, 1}, {0, -1}, {0, size + 1}, {size + 1, 0}, {1, 1<<63 - 1}} {
		if e, err := o.table.Locate(r[0], r[1]); !errors.Is(err, ErrRange) {
			t.Errorf("range %v: %+v, %v", r, e, err)
		}
	}
	extents, err := o.table.Locate(0, size)
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{0, 10, 65568, 70064, 70065, len(body) - 1} {
		r := o.key.OpenParts(bytes.NewReader(body[:cut]), extents)
		got, err := readWith(r, 40000)
		if !errors.Is(err, ErrNotAuthentic) || !bytes.HasPrefix(plaintext, got) {
			t.Errorf("cut at %d: %d bytes, %v", cut, len(got), err)
		}
		if n, again := r.Read(make([]byte, 10)); n != 0 || again != err {
			t.Errorf("cut at %d: after the error %d bytes, %v", cut, n, again)
		}
	}
}

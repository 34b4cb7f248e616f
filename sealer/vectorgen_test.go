package sealer

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// writeVectors writes the vectors that dir does not have yet. Their keys and
// nonces are random. A vector that was ever committed stays as it is: stored
// objects of its version stay readable for ever.
func writeVectors(t *testing.T, dir string) {
	t.Helper()
	g := &generator{t: t, dir: dir, seen: make(map[string]bool)}
	g.good()
	g.goodMultipart()
	g.encodings()
	g.headerFields()
	g.keyFields()
	g.bindings()
	g.headerEdits()
	g.factsEdits()
	g.factsContents()
	g.footers()
	g.singleTrailers()
	g.partTables()
	g.truncations()
	g.rearrangements()
	g.packageEdits()
	g.partEdits()
	g.announcements()
	g.secondStreams()
	g.splits()
}

type generator struct {
	t    *testing.T
	dir  string
	seen map[string]bool
}

// add writes one vector. An empty step means that it is valid.
func (g *generator) add(name, expect, step, comment string, v vector) {
	g.t.Helper()
	if g.seen[name] {
		g.t.Fatalf("two vectors %s", name)
	}
	g.seen[name] = true
	v.Comment, v.Expect, v.Step = comment, expect, step
	writeVector(g.t, g.dir, name, v)
}

// writeVector writes a vector unless there is one of that name.
func writeVector(t *testing.T, dir, name string, vector any) {
	t.Helper()
	b, err := json.MarshalIndent(vector, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, name+".json"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(append(b, '\n')); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// object is a sealed object of a vector, with everything needed to forge
// another one.
type object struct {
	t       *testing.T
	params  SealParams
	header  *Header
	key     *ObjectKey
	streams []vectorStream
	trailer []byte
	table   *PartTable
	sums    []Checksum
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// params returns the parameters of an SSE-KMS object.
func params(size int64) SealParams {
	return SealParams{
		Scheme:        SSEKMS,
		Binding:       Binding{Bucket: "photos", Key: "2024/cat.jpg"},
		DataKey:       NewKey(),
		KeyName:       "my-key",
		SealedDataKey: random(40),
		Size:          size,
		Root:          Root{ID: RootID(random(8)), Key: NewKey()},
		Facts:         Facts{Headers: sha256.Sum256([]byte("content-type:image/jpeg\n"))},
	}
}

func ssec(size int64) SealParams {
	p := params(size)
	p.Scheme, p.KeyName, p.SealedDataKey = SSEC, "", nil
	return p
}

// seal creates a single PUT of p.Size bytes. cs are the checksums of its
// trailer, if it has one.
func seal(t *testing.T, p SealParams, c Cipher, cs ...Checksum) *object {
	t.Helper()
	h, k, err := sealWith(p, c)
	if err != nil {
		t.Fatal(err)
	}
	o := &object{t: t, params: p, header: h, key: k, sums: slices.Concat(p.Facts.Checksums, cs)}
	if p.Size > 0 {
		o.streams = []vectorStream{o.stream(p.Size)}
	}
	if p.Trailer {
		if o.trailer, err = k.SealTrailer(cs, p.Size); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// sealParts creates a multipart object with the part numbers 1, 3, 5 and so on.
func sealParts(t *testing.T, sizes ...int64) *object {
	t.Helper()
	return sealPartsWith(t, Announcement{}, sizes...)
}

// sealPartsWith is like sealParts, with facts that announce a checksum.
func sealPartsWith(t *testing.T, announced Announcement, sizes ...int64) *object {
	t.Helper()
	p := params(0)
	p.Multipart, p.Facts.Announced = true, announced
	h, k, err := sealWith(p, AES256GCM)
	if err != nil {
		t.Fatal(err)
	}
	o := &object{t: t, params: p, header: h, key: k, table: &PartTable{Algorithm: ChecksumCRC32C, Composite: true}}
	for i, size := range sizes {
		part := Part{Number: 2*i + 1, Size: size, Nonce: NewPartNonce(), Digest: random(4)}
		o.table.Parts = append(o.table.Parts, part)
		if size > 0 {
			o.streams = append(o.streams, o.part(part))
		}
	}
	o.sums = []Checksum{{ChecksumCRC32C, true, random(4)}}
	if o.trailer, err = sealPartTable(k, o.sums, o.table); err != nil {
		t.Fatal(err)
	}
	return o
}

// stream returns a new stream under the body key of o.
func (o *object) stream(size int64) vectorStream {
	key := o.key.bodyKey()
	return vectorStream{Key: key[:], Nonce: random(12), Size: size, Cipher: o.header.Cipher}
}

// part returns a new stream under the key of a part of o.
func (o *object) part(p Part) vectorStream {
	key := o.key.partKey(p.Number, p.Nonce)
	return vectorStream{Key: key[:], Nonce: random(12), Size: p.Size}
}

// vector returns a vector in which o is read successfully.
func (o *object) vector() vector {
	v := o.under(o.header)
	for i, s := range o.streams {
		v.Streams = append(v.Streams, s)
		v.Stored = append(v.Stored, piece(i, 0, SealedSize(s.Size)))
	}
	if o.trailer != nil {
		v.Stored = append(v.Stored, vectorPiece{Hex: o.trailer})
	}
	size := o.params.Size
	if o.table != nil {
		size = o.table.Size()
	}
	v.reads(0, size, o.plaintext())
	v.Range = nil
	v.Checksums = checksumMap(o.sums)
	v.Announced = o.params.Facts.Announced.text()
	return v
}

// failing returns a vector in which o is rejected.
func (o *object) failing() vector {
	v := o.vector()
	v.SHA256, v.Checksums, v.Announced = nil, nil, ""
	return v
}

// under returns a vector with only a header, and the names and keys of o.
func (o *object) under(h *Header) vector {
	return vector{
		Header: h.Encode(), Bucket: o.params.Binding.Bucket, Key: o.params.Binding.Key,
		DataKey: o.params.DataKey[:], RootID: o.params.Root.ID[:], RootKey: o.params.Root.Key[:],
	}
}

func (o *object) plaintext() []byte {
	var b []byte
	for _, s := range o.streams {
		b = append(b, pattern(s.Size)...)
	}
	return b
}

// reads sets the range and its digest.
func (v *vector) reads(offset, length int64, plaintext []byte) {
	sum := sha256.Sum256(plaintext[offset : offset+length])
	v.Range, v.SHA256 = []int64{offset, length}, sum[:]
}

// edited returns a vector with a header that differs from that of o.
func (o *object) edited(edit func(*Header)) vector {
	h := *o.header
	h.SealedDataKey, h.Context, h.SealedFacts = slices.Clone(h.SealedDataKey), slices.Clone(h.Context), slices.Clone(h.SealedFacts)
	edit(&h)
	v := o.failing()
	v.Header = h.Encode()
	return v
}

func piece(stream int, from, to int64) vectorPiece {
	return vectorPiece{Stream: stream, From: from, To: to}
}

// with replaces the upstream object.
func (v vector) with(pieces ...vectorPiece) vector {
	v.Stored = pieces
	return v
}

// anyLength leaves it to the body to detect what the length would give away.
func (v vector) anyLength() vector {
	v.AnyLength = true
	return v
}

// digest returns a checksum for a vector. The package itself never computes
// one.
func digest(a Algorithm) Checksum { return Checksum{Algorithm: a, Digest: random(a.Size())} }

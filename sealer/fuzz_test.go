package sealer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// vectorHeaders adds the headers of all vectors to the seeds.
func vectorHeaders(f *testing.F, add func(value string)) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join(vectorDir, "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no vectors, %v", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		var v vector
		if err := json.Unmarshal(b, &v); err != nil {
			f.Fatal(err)
		}
		add(v.Header)
	}
}

// FuzzHeader checks that whatever parses encodes to the same value.
func FuzzHeader(f *testing.F) {
	vectorHeaders(f, func(value string) { f.Add(value) })
	f.Fuzz(func(t *testing.T, value string) {
		h, err := decodeHeader(value)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrNotSealed) {
				t.Fatal(err)
			}
			return
		}
		if got := h.Encode(); got != value {
			t.Fatalf("encodes to %q", got)
		}
	})
}

// FuzzHeaderBytes is FuzzHeader without base64, so mutations reach further.
func FuzzHeaderBytes(f *testing.F) {
	vectorHeaders(f, func(value string) {
		if b, err := base64.RawURLEncoding.DecodeString(value); err == nil {
			f.Add(b)
		}
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHeader(b)
		if err != nil {
			return
		}
		if got := h.Encode(); got != base64.RawURLEncoding.EncodeToString(b) {
			t.Fatalf("%x encodes to %s", b, got)
		}
		if _, err := h.open(Binding{"bucket", "key"}, Key{1}); !errors.Is(err, ErrWrongKey) {
			t.Fatalf("opens: %v", err)
		}
		if _, err := h.openFacts(Binding{"bucket", "key"}, Root{h.RootID, Key{1}}); !errors.Is(err, ErrNotAuthentic) {
			t.Fatalf("facts open: %v", err)
		}
	})
}

// FuzzFacts checks that whatever parses encodes to the same bytes.
func FuzzFacts(f *testing.F) {
	key := NewKey()
	for _, cs := range [][]Checksum{nil, {digest(ChecksumCRC32)}, {digest(ChecksumSHA1), digest(ChecksumXXHASH128)}} {
		f.Add([]byte((&Facts{Checksums: cs}).encode()), false)
		f.Add([]byte((&Facts{Checksums: cs, trailerKey: keep(key)}).encode()), true)
		announced := Announcement{Algorithm: ChecksumCRC64NVME, Composite: len(cs) > 0}
		f.Add([]byte((&Facts{Checksums: cs, Announced: announced, trailerKey: keep(key)}).encode()), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, trailer bool) {
		facts, err := parseFacts(b, trailer)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if got := facts.encode(); !bytes.Equal(got, b) {
			t.Fatalf("%x encodes to %x", b, []byte(got))
		}
	})
}

// FuzzTrailer checks that whatever parses encodes to the same bytes and has
// consistent sizes.
func FuzzTrailer(f *testing.F) {
	f.Add([]byte((&Trailer{Size: 5}).encode()), false)
	f.Add([]byte((&Trailer{Size: 5, Checksums: []Checksum{digest(ChecksumSHA512)}}).encode()), false)
	for _, table := range []*PartTable{
		{Parts: []Part{{Number: 1, Size: 5}}},
		{Algorithm: ChecksumCRC32, Composite: true, Parts: []Part{{Number: 1, Size: 5, Digest: random(4)}, {Number: 7, Digest: random(4)}}},
	} {
		f.Add([]byte((&Trailer{Size: 5, Checksums: []Checksum{digest(ChecksumMD5)}, Parts: table}).encode()), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, multipart bool) {
		trailer, err := parseTrailer(b, multipart)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if got := trailer.encode(); !bytes.Equal(got, b) {
			t.Fatalf("%x encodes to %x", b, []byte(got))
		}
		if multipart && (trailer.Parts.check() != nil || trailer.Parts.Size() != trailer.Size) {
			t.Fatalf("table %+v", trailer.Parts)
		}
	})
}

// FuzzFooter checks that whatever parses encodes to the same bytes and is
// within the limits.
func FuzzFooter(f *testing.F) {
	f.Add([]byte(Footer{SealedTrailer: 156, IDPrefix: [8]byte{1}}.encode()))
	f.Add([]byte(Footer{SealedTrailer: MaxTrailerSize - FooterSize, Parts: MaxParts}.encode()))
	f.Fuzz(func(t *testing.T, tail []byte) {
		footer, err := ParseFooter(tail)
		if err != nil {
			return
		}
		if got := footer.encode(); !bytes.Equal(got, tail[len(tail)-FooterSize:]) {
			t.Fatalf("%x encodes to %x", tail, []byte(got))
		}
		if footer.Size() > MaxTrailerSize {
			t.Fatalf("trailer of %d bytes", footer.Size())
		}
	})
}

// FuzzLocate opens the extent from Locate and compares it with the slice of the
// plaintext. The range from LocateUnknown must start at the same byte and
// contain the extent.
func FuzzLocate(f *testing.F) {
	const limit = 3*PackageSize + 100
	k := &ObjectKey{key: keep(NewKey())}
	plaintext := pattern(limit)
	f.Add(int64(limit), int64(0), int64(limit), 4096)
	f.Add(int64(limit), int64(PackageSize-1), int64(2), PackageSize)
	f.Add(int64(PackageSize), int64(PackageSize), int64(0), 1)
	f.Add(int64(0), int64(0), int64(0), 1)
	f.Add(int64(MaxSize), int64(MaxSize-1), int64(1), 1)
	f.Fuzz(func(t *testing.T, size, offset, length int64, buffer int) {
		e, err := Locate(size, offset, length)
		inside := size >= 0 && size <= MaxSize && offset >= 0 && length >= 0 && offset <= size && length <= size-offset
		if (err == nil) != inside {
			t.Fatalf("%+v, %v", e, err)
		}
		if err != nil || length == 0 {
			return
		}
		first, last := LocateUnknown(offset, offset+length-1)
		if e.Offset != first || e.Offset+e.Sealed != min(last+1, SealedSize(size)) {
			t.Fatalf("%+v, but %d to %d is asked for", e, first, last)
		}
		if size > limit {
			return
		}
		object := *k
		object.size = size
		body := sealed(t, &object, plaintext[:size])
		r, err := object.OpenBody(bytes.NewReader(body[first:min(last+1, int64(len(body)))]), e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readWith(r, max(1, buffer&0x3ffff))
		if err != nil || !bytes.Equal(got, plaintext[offset:offset+length]) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	})
}

// FuzzOpenBody checks that, whatever is stored, the output is a prefix of the
// plaintext, and that the end is clean only if the right body is stored.
func FuzzOpenBody(f *testing.F) {
	const size = PackageSize + 300
	k := &ObjectKey{key: keep(NewKey()), size: size}
	plaintext := pattern(size)
	body := sealed(f, k, plaintext)
	e, err := Locate(size, 0, size)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(0, []byte{}, len(body), 5000)
	f.Add(sealedPackageSize, []byte{0x20, 0}, len(body), PackageSize)
	f.Add(4, []byte{0x80}, len(body), 1<<20)
	f.Add(0, []byte{}, sealedPackageSize, 100)
	f.Fuzz(func(t *testing.T, at int, patch []byte, length, buffer int) {
		stored := bytes.Clone(body)
		if at >= 0 && at < len(stored) {
			copy(stored[at:], patch)
		}
		stored = stored[:min(max(length, 0), len(stored))]
		r, err := k.OpenBody(bytes.NewReader(stored), e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readWith(r, max(1, buffer&0x3ffff))
		if !bytes.HasPrefix(plaintext, got) {
			t.Fatalf("%d wrong bytes", len(got))
		}
		if right := bytes.Equal(stored, body); right != (err == nil) || err != nil && !errors.Is(err, ErrNotAuthentic) {
			t.Fatalf("right body %t, %v", right, err)
		}
	})
}

// FuzzSealBody checks that the stream ends cleanly, and emits a final package,
// only if the source has the declared length.
func FuzzSealBody(f *testing.F) {
	plaintext := pattern(3 * PackageSize)
	f.Add(100, 100, 1000)
	f.Add(PackageSize, PackageSize+1, PackageSize)
	f.Add(2*PackageSize, PackageSize, 1<<20)
	f.Fuzz(func(t *testing.T, declared, given, buffer int) {
		if declared < 0 || declared > len(plaintext) || given < 0 || given > len(plaintext) {
			return
		}
		k := &ObjectKey{key: keep(Key{1}), size: int64(declared)}
		r, err := k.SealBody(bytes.NewReader(plaintext[:given]), int64(declared))
		if err != nil {
			t.Fatal(err)
		}
		got, err := readWith(r, max(1, buffer&0x3ffff))
		if declared == given {
			if err != nil || int64(len(got)) != SealedSize(int64(declared)) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			return
		}
		if !errors.Is(err, ErrSize) || err == io.EOF {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if int64(len(got)) >= max(SealedSize(int64(declared)), 1) {
			t.Fatalf("all %d bytes were given out", len(got))
		}
	})
}

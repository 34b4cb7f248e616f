package sealer

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"
)

// TestOpenBodyRanges opens random ranges of a body and compares them with
// slices of the plaintext.
func TestOpenBodyRanges(t *testing.T) {
	t.Parallel()
	const size = 4*PackageSize + 1234
	o := seal(t, params(size), AES256GCM)
	plaintext := pattern(size)
	body := sealed(t, o.key, plaintext)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		offset := rnd.Int64N(size + 1)
		length := rnd.Int64N(size - offset + 1)
		e, err := Locate(size, offset, length)
		if err != nil {
			t.Fatal(err)
		}
		src := &countingReader{r: bytes.NewReader(body[e.Offset:])}
		r, err := o.key.OpenBody(src, e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readWith(r, 1+rnd.IntN(3*PackageSize))
		if err != nil || !bytes.Equal(got, plaintext[offset:offset+length]) {
			t.Fatalf("%d bytes from %d on: %d bytes, %v", length, offset, len(got), err)
		}
		if src.bytes > e.Sealed {
			t.Fatalf("%d bytes from %d on: read %d of %d", length, offset, src.bytes, e.Sealed)
		}
		if n, err := r.Read(make([]byte, 10)); n != 0 || err != io.EOF {
			t.Fatalf("after the end: %d bytes, %v", n, err)
		}
	}
}

// TestOpenBodySmallReads reads with the smallest buffer, including skipped
// bytes.
func TestOpenBodySmallReads(t *testing.T) {
	t.Parallel()
	o := seal(t, params(PackageSize), AES256GCM)
	body := sealed(t, o.key, pattern(PackageSize))
	e, err := Locate(PackageSize, PackageSize-3, 3)
	if err != nil {
		t.Fatal(err)
	}
	r, err := o.key.OpenBody(bytes.NewReader(body), e)
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(r, pattern(PackageSize)[PackageSize-3:]); err != nil {
		t.Error(err)
	}
}

// TestOpenBodyBroken ends the source of sealed bytes at many places, with
// io.EOF or another error. The reader must never return io.EOF, and its output
// before the error must be a prefix of the plaintext.
func TestOpenBodyBroken(t *testing.T) {
	t.Parallel()
	const size = 2*PackageSize + 100
	o := seal(t, params(size), AES256GCM)
	plaintext := pattern(size)
	body := sealed(t, o.key, plaintext)
	e, err := Locate(size, 10, size-10)
	if err != nil {
		t.Fatal(err)
	}
	cuts := []int{0, 1, 15, 16, 17, 1000, sealedPackageSize - 1, sealedPackageSize, sealedPackageSize + 7,
		sealedPackageSize + 16, sealedPackageSize + 40, 2 * sealedPackageSize, 2*sealedPackageSize + 50, len(body) - 1}
	causes := map[error]error{io.EOF: ErrNotAuthentic, io.ErrUnexpectedEOF: io.ErrUnexpectedEOF, errRejected: errRejected}
	for _, cut := range cuts {
		for cause, want := range causes {
			for _, n := range []int{1000, PackageSize, 1 << 20} {
				src := io.MultiReader(bytes.NewReader(body[:cut]), iotest.ErrReader(cause))
				r, err := o.key.OpenBody(src, e)
				if err != nil {
					t.Fatal(err)
				}
				got, err := readWith(r, n)
				if !errors.Is(err, want) || want != ErrNotAuthentic && errors.Is(err, ErrNotAuthentic) {
					t.Errorf("cut at %d by %v: %v, want %v", cut, cause, err, want)
				}
				if !bytes.HasPrefix(plaintext[10:], got) || len(got) > cut {
					t.Errorf("cut at %d by %v: gave out %d wrong bytes", cut, cause, len(got))
				}
				if m, again := r.Read(make([]byte, n)); m != 0 || again != err {
					t.Errorf("cut at %d by %v: after the error %d bytes, %v", cut, cause, m, again)
				}
			}
		}
	}
}

// TestOpenBodyStaysBroken changes the first of three packages. The reader must
// return nothing, even if it is called again.
func TestOpenBodyStaysBroken(t *testing.T) {
	t.Parallel()
	const size = 3 * PackageSize
	o := seal(t, params(size), AES256GCM)
	body := sealed(t, o.key, pattern(size))
	e, err := Locate(size, 0, size)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 1, 3, 4, 10, 16, 5000, sealedPackageSize - 1} {
		for _, n := range []int{1000, PackageSize, 1 << 20} {
			changed := bytes.Clone(body)
			changed[at] ^= 1
			r, err := o.key.OpenBody(bytes.NewReader(changed), e)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 5 {
				if m, err := r.Read(make([]byte, n)); m != 0 || !errors.Is(err, ErrNotAuthentic) {
					t.Fatalf("byte %d, buffer %d, read %d: %d bytes, %v", at, n, i, m, err)
				}
			}
		}
	}
}

// TestOpenBodyDoesNotResume stores a broken package 0 followed by the right
// one. A reader that continued after the error would accept the second one as
// package 0.
func TestOpenBodyDoesNotResume(t *testing.T) {
	t.Parallel()
	const size = 3 * PackageSize
	o := seal(t, params(size), AES256GCM)
	body := sealed(t, o.key, pattern(size))
	e, err := Locate(size, 0, size)
	if err != nil {
		t.Fatal(err)
	}
	first := body[:sealedPackageSize]
	broken := bytes.Clone(first)
	broken[sealedPackageSize-1] ^= 1
	stored := slices.Concat(broken, first, body[2*sealedPackageSize:])
	for _, n := range []int{1000, PackageSize, 1 << 20} {
		r, err := o.key.OpenBody(bytes.NewReader(stored), e)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			if m, err := r.Read(make([]byte, n)); m != 0 || !errors.Is(err, ErrNotAuthentic) {
				t.Fatalf("buffer %d, read %d: %d bytes, %v", n, i, m, err)
			}
		}
	}
}

// TestOpenBodyEveryBit changes each bit of a small body.
func TestOpenBodyEveryBit(t *testing.T) {
	t.Parallel()
	o := seal(t, params(40), AES256GCM)
	body := sealed(t, o.key, pattern(40))
	e, err := Locate(40, 0, 40)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(body) * 8 {
		body[i/8] ^= 1 << (i % 8)
		r, err := o.key.OpenBody(bytes.NewReader(body), e)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); len(got) != 0 || !errors.Is(err, ErrNotAuthentic) {
			t.Errorf("bit %d: %d bytes, %v", i, len(got), err)
		}
		body[i/8] ^= 1 << (i % 8)
	}
}

func TestOpenBodyStalled(t *testing.T) {
	t.Parallel()
	o := seal(t, params(40), AES256GCM)
	e, err := Locate(40, 0, 40)
	if err != nil {
		t.Fatal(err)
	}
	body := sealed(t, o.key, pattern(40))
	for _, n := range []int{0, 10, 30} {
		r, err := o.key.OpenBody(io.MultiReader(bytes.NewReader(body[:n]), stalled{}), e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("stalled after %d bytes: %v", n, err)
		}
	}
}

// TestBodyNonces checks that two bodies sealed under one key, as when the same
// plaintext is sent again, do not share a nonce.
func TestBodyNonces(t *testing.T) {
	t.Parallel()
	o := seal(t, params(40), AES256GCM)
	a, b := sealed(t, o.key, pattern(40)), sealed(t, o.key, pattern(40))
	if bytes.Equal(a[4:16], b[4:16]) {
		t.Error("one nonce for two streams")
	}
	if a[4]&0x80 == 0 || a[0] != 0x20 || a[1] != byte(AES256GCM) {
		t.Errorf("package header %x", a[:16])
	}
}

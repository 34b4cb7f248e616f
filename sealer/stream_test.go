package sealer

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// sealed returns the sealed body of an object.
func sealed(t testing.TB, k *ObjectKey, plaintext []byte) []byte {
	t.Helper()
	r, err := k.SealBody(bytes.NewReader(plaintext), int64(len(plaintext)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readWith reads all of r with a buffer of n bytes.
func readWith(r io.Reader, n int) ([]byte, error) {
	var out []byte
	buf := make([]byte, n)
	for {
		n, err := r.Read(buf)
		out = append(out, buf[:n]...)
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
	}
}

func TestBodyRoundTrip(t *testing.T) {
	t.Parallel()
	sources := map[string]func(io.Reader) io.Reader{
		"plain": func(r io.Reader) io.Reader { return r },
		"half":  iotest.HalfReader, "data with EOF": iotest.DataErrReader,
		"one byte": iotest.OneByteReader,
	}
	for _, size := range []int{0, 1, 31, PackageSize - 1, PackageSize, PackageSize + 1, 2 * PackageSize, 3*PackageSize + 17} {
		for _, c := range []Cipher{AES256GCM, ChaCha20Poly1305} {
			o := seal(t, params(int64(size)), c)
			plaintext := pattern(int64(size))
			for name, source := range sources {
				for _, n := range []int{500, 32 << 10, PackageSize, sealedPackageSize, sealedPackageSize + 1, 1 << 20} {
					r, err := o.key.SealBody(source(bytes.NewReader(plaintext)), int64(size))
					if err != nil {
						t.Fatal(err)
					}
					body, err := readWith(r, n)
					if err != nil || int64(len(body)) != SealedSize(int64(size)) {
						t.Fatalf("%v, %d bytes, %s, buffer %d: sealed to %d, %v", c, size, name, n, len(body), err)
					}
					e, err := Locate(int64(size), 0, int64(size))
					if err != nil {
						t.Fatal(err)
					}
					if r, err = o.key.OpenBody(source(bytes.NewReader(body)), e); err != nil {
						t.Fatal(err)
					}
					got, err := readWith(r, n)
					if err != nil || !bytes.Equal(got, plaintext) {
						t.Fatalf("%v, %d bytes, %s, buffer %d: opened to %d, %v", c, size, name, n, len(got), err)
					}
				}
			}
		}
	}
}

var errRejected = errors.New("signature of the last chunk is wrong")

// TestSealBodyNeverEndsEarly checks the promise that an upload is complete
// upstream only if its source has returned everything and then io.EOF.
func TestSealBodyNeverEndsEarly(t *testing.T) {
	t.Parallel()
	const size = 2*PackageSize + 100
	plaintext := pattern(size)
	first := func(n int) io.Reader { return bytes.NewReader(plaintext[:n]) }
	o := seal(t, params(size), AES256GCM)
	for _, n := range []int{1000, PackageSize, sealedPackageSize, 1 << 20} {
		check := func(name string, src func() io.Reader, want error) {
			checkRefused(t, name, o.key, src(), size, n, want)
			checkRefused(t, name+", error with data", o.key, iotest.DataErrReader(src()), size, n, want)
		}
		for _, cut := range []int{0, 1, 1000, PackageSize, PackageSize + 1, 2 * PackageSize, size - 1} {
			check("ends", func() io.Reader { return first(cut) }, ErrSize)
		}
		for _, more := range []int{1, 100, PackageSize} {
			check("too long", func() io.Reader { return io.MultiReader(first(size), first(more)) }, ErrSize)
		}
		for _, cut := range []int{0, 1, 1000, PackageSize, PackageSize + 1, 2 * PackageSize, size - 1, size} {
			for _, cause := range []error{io.ErrUnexpectedEOF, errRejected} {
				check(cause.Error(), func() io.Reader { return io.MultiReader(first(cut), iotest.ErrReader(cause)) }, cause)
			}
			checkRefused(t, "stalls", o.key, io.MultiReader(first(cut), stalled{}), size, n, io.ErrNoProgress)
		}
	}
	empty := seal(t, params(0), AES256GCM)
	checkRefused(t, "empty, cut", empty.key, iotest.ErrReader(io.ErrUnexpectedEOF), 0, 10, io.ErrUnexpectedEOF)
	checkRefused(t, "empty, rejected", empty.key, iotest.ErrReader(errRejected), 0, 10, errRejected)
	checkRefused(t, "empty, a byte", empty.key, strings.NewReader("x"), 0, 10, ErrSize)
}

type stalled struct{}

func (stalled) Read([]byte) (int, error) { return 0, nil }

// checkRefused checks that a sealing stream returns the error instead of its
// final package, and keeps returning it.
func checkRefused(t *testing.T, name string, k *ObjectKey, src io.Reader, size int64, n int, want error) {
	t.Helper()
	counted := &countingReader{r: src}
	r, err := k.SealBody(counted, size)
	if err != nil {
		t.Fatal(err)
	}
	body, err := readWith(r, n)
	if !errors.Is(err, want) {
		t.Errorf("%s, buffer %d: %v, want %v", name, n, err, want)
	}
	if final := (size - 1) / PackageSize * sealedPackageSize; int64(len(body)) > max(final, 0) {
		t.Errorf("%s, buffer %d: %d sealed bytes were given out, the final package starts at %d", name, n, len(body), final)
	}
	for i := 0; i+sealedPackageSize <= len(body); i += sealedPackageSize {
		if body[i+4]&0x80 != 0 {
			t.Errorf("%s, buffer %d: package %d is final", name, n, i/sealedPackageSize)
		}
	}
	calls := counted.calls
	if m, again := r.Read(make([]byte, n)); m != 0 || again != err || counted.calls != calls {
		t.Errorf("%s, buffer %d: after the error %d bytes, %v", name, n, m, again)
	}
}

type countingReader struct {
	r     io.Reader
	calls int
	bytes int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.calls++
	c.bytes += int64(n)
	return n, err
}

func TestStreamsRefuseParams(t *testing.T) {
	t.Parallel()
	single, parts := seal(t, params(100), AES256GCM), sealParts(t, 100)
	src := strings.NewReader(strings.Repeat("x", 132))
	nonce := NewPartNonce()
	whole, err := Locate(100, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	_, errSeal := single.key.SealBody(src, 99)
	if !errors.Is(errSeal, ErrSize) {
		t.Errorf("SealBody of another size: %v", errSeal)
	}
	refused := map[string]func() error{
		"SealBody, multipart": func() error { _, err := parts.key.SealBody(src, 100); return err },
		"OpenBody, multipart": func() error { _, err := parts.key.OpenBody(src, whole); return err },
		"SealPart, single":    func() error { _, err := single.key.SealPart(1, nonce, src, 100); return err },
		"OpenPart, single":    func() error { _, err := single.key.OpenPart(1, nonce, src, 100, whole); return err },
		"SealPart 0":          func() error { _, err := parts.key.SealPart(0, nonce, src, 100); return err },
		"SealPart 10000":      func() error { _, err := parts.key.SealPart(10000, nonce, src, 100); return err },
		"SealPart of -1":      func() error { _, err := parts.key.SealPart(1, nonce, src, -1); return err },
	}
	for name, call := range refused {
		if err := call(); !errors.Is(err, ErrParams) {
			t.Errorf("%s: %v, want %v", name, err, ErrParams)
		}
	}
	if _, err := parts.key.SealPart(1, nonce, src, MaxSize+1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("SealPart over the limit: %v", err)
	}
	for _, e := range []Extent{
		{Sealed: 132, Length: 101}, {Sealed: 131, Length: 100}, {Sealed: 133, Length: 100}, {Sealed: 132, Skip: 1, Length: 100},
		{Sealed: 132, Skip: -1, Length: 1}, {Sealed: 132, Length: -1}, {Offset: 1, Sealed: 132, Length: 100},
		{Sealed: 132, Sequence: 1, Length: 100}, {Sealed: 132}, {Skip: 1 << 62, Length: 1 << 62},
	} {
		if _, err := single.key.OpenBody(src, e); !errors.Is(err, ErrParams) {
			t.Errorf("OpenBody of %+v: %v, want %v", e, err, ErrParams)
		}
	}
}

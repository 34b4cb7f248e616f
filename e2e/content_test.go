package e2e

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// marker starts every block of a content. If it is found upstream, plaintext is
// stored there.
const marker = "<<ssegw end-to-end plaintext 01>>"

const blockSize = 4096

// content is a deterministic sequence of bytes of any size that is never held
// in memory. Each block of 4096 bytes is the marker followed by pseudo-random
// bytes.
type content struct {
	seed uint64
	size int64
}

// ReadAt implements io.ReaderAt.
func (c content) ReadAt(p []byte, off int64) (int, error) {
	if off >= c.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), c.size-off))
	for done := 0; done < n; {
		pos := off + int64(done)
		within := int(pos % blockSize)
		if within < len(marker) {
			done += copy(p[done:n], marker[within:])
			continue
		}
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], mix(c.seed+uint64(pos/8)))
		done += copy(p[done:min(n, done+blockSize-within)], word[pos%8:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// mix is the output function of SplitMix64.
func mix(x uint64) uint64 {
	x *= 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// reader returns a seekable stream of the whole content.
func (c content) reader() *io.SectionReader { return io.NewSectionReader(c, 0, c.size) }

// sum returns the SHA-256 of the whole content.
func (c content) sum() [sha256.Size]byte { return sumOf(c.reader()) }

func sumOf(r io.Reader) (sum [sha256.Size]byte) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return [sha256.Size]byte{}
	}
	h.Sum(sum[:0])
	return sum
}

// verifier is a writer that accepts only one content.
type verifier struct {
	want content
	off  int64
	buf  [32 << 10]byte
}

var errDiffers = errors.New("the bytes differ from what was stored")

func (v *verifier) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		part := v.buf[:min(len(p)-done, len(v.buf))]
		n, _ := v.want.ReadAt(part, v.off)
		if n < len(part) || string(part) != string(p[done:done+n]) {
			return done, errDiffers
		}
		done += n
		v.off += int64(n)
	}
	return len(p), nil
}

// complete returns nil when the whole content has been written.
func (v *verifier) complete() error {
	if v.off != v.want.size {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func TestContent(t *testing.T) {
	t.Parallel()
	c := content{seed: 7, size: 3*blockSize + 5}
	all, err := io.ReadAll(c.reader())
	if err != nil || int64(len(all)) != c.size || string(all[blockSize:blockSize+len(marker)]) != marker {
		t.Fatalf("%d bytes, %v", len(all), err)
	}
	if err := iotest.TestReader(c.reader(), all); err != nil {
		t.Error(err)
	}
	if (content{seed: 8, size: c.size}).sum() == c.sum() {
		t.Error("two seeds give the same content")
	}
	for _, change := range []func([]byte) []byte{
		func(b []byte) []byte { b[5000] ^= 1; return b },
		func(b []byte) []byte { return b[:len(b)-1] },
		func(b []byte) []byte { return append(b, 0) },
	} {
		v := &verifier{want: c}
		_, err := v.Write(change(append([]byte(nil), all...)))
		if err == nil && v.complete() == nil {
			t.Error("the verifier accepts a changed content")
		}
	}
	v := &verifier{want: c}
	if _, err := v.Write(all); err != nil || v.complete() != nil {
		t.Errorf("the verifier refuses the content: %v, %v", err, v.complete())
	}
}

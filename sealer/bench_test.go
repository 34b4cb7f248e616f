package sealer

import (
	"bytes"
	"io"
	"testing"

	"github.com/minio/sio"
)

const benchSize = 16 << 20

// drain reads r with a buffer for one sealed package, like the gateway.
func drain(b *testing.B, r io.Reader, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, 2*sealedPackageSize)); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkSealBody(b *testing.B) {
	for _, c := range []Cipher{AES256GCM, ChaCha20Poly1305} {
		k := &ObjectKey{key: keep(NewKey()), cipher: c, size: benchSize}
		plaintext := pattern(benchSize)
		b.Run(c.String(), func(b *testing.B) {
			b.SetBytes(benchSize)
			b.ReportAllocs()
			for b.Loop() {
				r, err := k.SealBody(bytes.NewReader(plaintext), benchSize)
				drain(b, r, err)
			}
		})
		key := k.bodyKey()
		b.Run(c.String()+"/sio", func(b *testing.B) {
			b.SetBytes(benchSize)
			b.ReportAllocs()
			for b.Loop() {
				r, err := sio.EncryptReader(bytes.NewReader(plaintext), dareConfig(&key, c, 0))
				drain(b, r, err)
			}
		})
	}
}

func BenchmarkOpenBody(b *testing.B) {
	for _, c := range []Cipher{AES256GCM, ChaCha20Poly1305} {
		k := &ObjectKey{key: keep(NewKey()), cipher: c, size: benchSize}
		body := sealed(b, k, pattern(benchSize))
		e, err := Locate(benchSize, 0, benchSize)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.String(), func(b *testing.B) {
			b.SetBytes(benchSize)
			b.ReportAllocs()
			for b.Loop() {
				r, err := k.OpenBody(bytes.NewReader(body), e)
				drain(b, r, err)
			}
		})
		key := k.bodyKey()
		b.Run(c.String()+"/sio", func(b *testing.B) {
			b.SetBytes(benchSize)
			b.ReportAllocs()
			for b.Loop() {
				r, err := sio.DecryptReader(bytes.NewReader(body), dareConfig(&key, c, 0))
				drain(b, r, err)
			}
		})
	}
}

func BenchmarkHeader(b *testing.B) {
	p := params(1 << 20)
	p.Facts.Checksums = []Checksum{digest(ChecksumSHA256)}
	h, _, err := Seal(p)
	if err != nil {
		b.Fatal(err)
	}
	value := h.Encode()
	b.Run("Seal", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := Seal(p); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("OpenFacts", func(b *testing.B) {
		for b.Loop() {
			h, err := decodeHeader(value)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := h.openFacts(p.Binding, p.Root); err != nil {
				b.Fatal(err)
			}
		}
	})
}

package sigv4

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

const benchSize = 16 << 20

func benchBody(b *testing.B, r *Request, raw string) {
	auth, err := testVerifier().Verify(r)
	if err != nil {
		b.Fatal(err)
	}
	buffer := make([]byte, 64<<10)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		body, err := auth.Body(strings.NewReader(raw))
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, body, buffer)
		if n != benchSize || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkBody(b *testing.B) {
	content := string(bytes.Repeat([]byte("0123456789abcdef"), benchSize/16))
	blocks := make([]string, 0, benchSize/(64<<10))
	for at := 0; at < benchSize; at += 64 << 10 {
		blocks = append(blocks, content[at:at+64<<10])
	}
	plain := func(payload string, headers ...string) *Request {
		r := put(b, payload, "", headers...)
		r.ContentLength = benchSize
		return r
	}
	b.Run("unsigned", func(b *testing.B) { benchBody(b, plain(unsignedPayload), content) })
	b.Run("sha256", func(b *testing.B) { benchBody(b, plain(hexSHA256(content)), content) })
	b.Run("md5", func(b *testing.B) {
		benchBody(b, plain(unsignedPayload, "Content-MD5", digest(b, "MD5", content)), content)
	})
	b.Run("unsigned trailer CRC32", func(b *testing.B) {
		r, c := framed(b, modeUnsignedTrailer, benchSize, headerTrailer, crcTrailer)
		benchBody(b, r, c.data(blocks...).trailer(crcTrailer, digest(b, "CRC32", content)))
	})
	b.Run("signed chunks", func(b *testing.B) {
		r, c := framed(b, modeSigned, benchSize)
		benchBody(b, r, c.data(blocks...).end())
	})
}

func BenchmarkVerify(b *testing.B) {
	req := newTestRequest(b, http.MethodGet, getTarget, "", "X-Amz-Meta-A", "b", "Range", "bytes=0-1")
	signHeader(b, req, unsignedPayload)
	r := received(b, req)
	v := testVerifier()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r); err != nil {
			b.Fatal(err)
		}
	}
}

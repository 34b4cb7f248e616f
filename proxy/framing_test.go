package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
)

var errSource = errors.New("the source failed")

// testFrames make the framed form of a source, its size and a way to read its data.
var testFrames = map[string]func(src io.Reader, size int64) (r io.Reader, total int64, data func([]byte) []byte){
	"trailer": func(src io.Reader, size int64) (io.Reader, int64, func([]byte) []byte) {
		f := &trailerFrame{src: src, left: size, name: "x-amz-checksum-crc32c", sum: crc32.New(castagnoli)}
		return f, trailerFrameSize(size, f.name, crc32.Size), memUnframe
	},
	"signed": func(src io.Reader, size int64) (io.Reader, int64, func([]byte) []byte) {
		c := &chunkSigner{src: src, left: size}
		c.start("secret", "region", time.Now(), "Signature=seed")
		return c, signedFrameSize(size), memUnframe
	},
	"plain": func(src io.Reader, size int64) (io.Reader, int64, func([]byte) []byte) {
		return &heldReader{src: src, left: size}, size, func(b []byte) []byte { return b }
	},
}

// endsWith are the ways in which a source of size bytes ends.
var endsWith = map[string]struct {
	missing int // bytes that do not come
	extra   int // bytes too many
	err     error
	whole   bool
}{
	"well":       {whole: true},
	"early":      {missing: 1},
	"much early": {missing: 100_000},
	"late":       {extra: 1},
	"badly":      {err: errSource},
	"half badly": {missing: 50_000, err: errSource},
}

// TestFrames reads framed sources in pieces of many sizes. A source that ends
// well gives exactly the announced bytes; any other gives an error before its
// last data byte or final frame, so that no store can take it for whole.
func TestFrames(t *testing.T) {
	t.Parallel()
	sizes := []int{0, 1, 100, sealedPackage - 1, sealedPackage, sealedPackage + 1, signedChunk, 2*signedChunk + 5, frameChunk, frameChunk + 1, 2*frameChunk + 77}
	for framing, frame := range testFrames {
		for end, e := range endsWith {
			for _, size := range sizes {
				if size < e.missing || size == 0 && framing == "plain" {
					continue // a plain body of nothing is never sent as one
				}
				for _, step := range []int{1000, sealedPackage, 1 << 20} {
					data := pattern(size+e.extra, 5)[:size+e.extra-e.missing]
					src := io.Reader(bytes.NewReader(data))
					if e.err != nil {
						src = io.MultiReader(src, iotest.ErrReader(e.err))
					}
					r, total, unframe := frame(src, int64(size))
					got, err := readSteps(r, total, step)
					name := fmt.Sprintf("%s, %d bytes ending %s, read by %d", framing, size, end, step)
					if e.whole {
						if err != nil || int64(len(got)) != total || !bytes.Equal(unframe(got), data) {
							t.Errorf("%s: %d bytes of %d, %v", name, len(got), total, err)
						}
						continue
					}
					if err == nil || e.err != nil && !errors.Is(err, errSource) || e.err == nil && !errors.Is(err, errSourceSize) {
						t.Errorf("%s: error %v", name, err)
					}
					if framing == "trailer" && int64(len(got)) >= total || framing != "trailer" && size > 0 && len(unframe(got)) >= size {
						t.Errorf("%s: the framed body is complete", name)
					}
				}
			}
		}
	}
}

// readSteps reads all, about size bytes.
func readSteps(r io.Reader, size int64, step int) ([]byte, error) {
	out := newBuffer(int(size))
	_, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{r}, make([]byte, step))
	return out.Bytes(), err
}

// FuzzFrames frames any body, read in any steps and broken off anywhere.
func FuzzFrames(f *testing.F) {
	f.Add(uint32(70_000), uint32(1000), uint32(70_000))
	f.Add(uint32(0), uint32(1), uint32(0))
	f.Add(uint32(2<<20), uint32(70_000), uint32(1<<20))
	f.Fuzz(func(t *testing.T, size, step, breaks uint32) {
		size, step = size%(3<<20), step%(1<<20)+1
		data := pattern(int(size), 1)
		for framing, frame := range testFrames {
			if size == 0 && framing == "plain" {
				continue
			}
			src := io.Reader(bytes.NewReader(data))
			if breaks < size {
				src = io.MultiReader(bytes.NewReader(data[:breaks]), iotest.ErrReader(errSource))
			}
			r, total, unframe := frame(src, int64(size))
			got, err := readSteps(r, total, int(step))
			if breaks < size {
				if !errors.Is(err, errSource) || !bytes.HasPrefix(data, unframe(got)) {
					t.Fatalf("%s: %d bytes, %v", framing, len(got), err)
				}
			} else if err != nil || int64(len(got)) != total || !bytes.Equal(unframe(got), data) {
				t.Fatalf("%s: %d bytes of %d, %v", framing, len(got), total, err)
			}
		}
	})
}

// TestUpstreamFraming looks at what the store is sent for bodies of each kind.
func TestUpstreamFraming(t *testing.T) {
	t.Parallel()
	type sent struct{ SHA, Trailer, Algorithm, SHA256, MD5 string }
	small, large := pattern(1000, 1), pattern(1<<20+1, 1)
	sum := sumText("SHA256", small)
	tests := []struct {
		name    string
		framing Framing
		request clientRequest
		want    sent
	}{
		{"sealed", FramingTrailer, clientRequest{body: large, header: headers(s3.HeaderSSE, s3.AES256)}, sent{SHA: modeTrailer, Trailer: "x-amz-checksum-crc32c"}},
		{"sealed", FramingSigned, clientRequest{body: large, header: headers(s3.HeaderSSE, s3.AES256)}, sent{SHA: modeSigned}},
		{"sealed", FramingPlain, clientRequest{body: large, header: headers(s3.HeaderSSE, s3.AES256)}, sent{SHA: modeUnsigned}},
		{"sealed with checksum", FramingTrailer, clientRequest{
			body: small, header: headers(s3.HeaderSSE, s3.AES256, "X-Amz-Checksum-Sha256", sum, "X-Amz-Sdk-Checksum-Algorithm", "SHA256"),
		}, sent{SHA: modeTrailer, Trailer: "x-amz-checksum-crc32c"}},
		{"plain", FramingTrailer, clientRequest{body: large}, sent{SHA: modeSigned}},
		{"plain with checksum", FramingTrailer, clientRequest{body: small, header: headers("X-Amz-Checksum-Sha256", sum)}, sent{SHA: modeUnsigned, Algorithm: "SHA256", SHA256: sum}},
		{"plain with MD5", FramingTrailer, clientRequest{body: small, header: headers("Content-Md5", sumText("MD5", small))}, sent{SHA: modeUnsigned, MD5: sumText("MD5", small)}},
		{"plain with trailer", FramingTrailer, clientRequest{body: small, mode: modeTrailer, algorithm: "SHA1"}, sent{SHA: modeTrailer, Trailer: "x-amz-checksum-sha1", Algorithm: "SHA1"}},
		{"plain with trailer", FramingSigned, clientRequest{body: small, mode: modeTrailer}, sent{SHA: modeSigned}},
		{"plain with trailer", FramingPlain, clientRequest{body: small, mode: modeTrailer}, sent{SHA: modeUnsigned}},
		{"plain, empty", FramingTrailer, clientRequest{}, sent{SHA: modeUnsigned}},
	}
	for _, tt := range tests {
		t.Run(tt.name+"/"+tt.framing.String(), func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withFraming(tt.framing))
			c := tt.request
			c.method, c.path = http.MethodPut, "/bucket/k"
			g.do(c).want(t, 200, "")
			requests := g.upstream.requests("/bucket/k")
			if len(requests) != 1 {
				t.Fatalf("%d requests", len(requests))
			}
			h := requests[0].Header
			got := sent{
				h.Get("X-Amz-Content-Sha256"), h.Get("X-Amz-Trailer"), h.Get("X-Amz-Sdk-Checksum-Algorithm"),
				h.Get(sigv4.HeaderName("SHA256")), h.Get("Content-Md5"),
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
			if g.get("/bucket/k").want(t, 200, ""); !bytes.Equal(g.get("/bucket/k").body, tt.request.body) {
				t.Error("not read back")
			}
		})
	}
}

// TestFramingProbe lets the gateway choose: the first framing that the store
// takes and holds against what arrives.
func TestFramingProbe(t *testing.T) {
	t.Parallel()
	refuse := func(sha string) hook {
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Header.Get("X-Amz-Content-Sha256") == sha {
				memFail(w, 501, "NotImplemented", sha)
				return
			}
			next.ServeHTTP(w, r)
		}
	}
	neither := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		refuse(modeSigned)(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { refuse(modeTrailer)(w, r, next) }))
	}
	tests := []struct {
		name  string
		hook  hook
		eager bool
		want  Framing
	}{
		{"all", nil, false, FramingTrailer},
		{"no trailers", refuse(modeTrailer), false, FramingSigned},
		{"neither", neither, false, FramingPlain},
		{"verifies nothing", nil, true, FramingPlain},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u := newMemUpstream(t)
			u.eager = tt.eager
			if tt.hook != nil {
				u.on(http.MethodPut, "/"+testStateBucket+"/"+probePrefix, tt.hook)
			}
			g := newGateway(t, withUpstream(u), withFraming(FramingAuto))
			if got := g.Upstream.framing.get(); got != tt.want {
				t.Errorf("chosen: %s, want %s", got, tt.want)
			}
			for _, key := range u.keys(testStateBucket) {
				if strings.HasPrefix(key, probePrefix) {
					t.Error("a probe's object is left behind")
				}
			}
		})
	}
}

// TestFrameReadsAreRandom reads a trailer frame in random steps, so that no
// step size hides a mistake.
func TestFrameReadsAreRandom(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	data := pattern(frameChunk+300_000, 8)
	for range 50 {
		f := &trailerFrame{src: bytes.NewReader(data), left: int64(len(data)), name: "n", sum: crc32.New(castagnoli)}
		got := make([]byte, 0, len(data)+1000)
		for {
			p := make([]byte, 1+rnd.IntN(200_000))
			n, err := f.Read(p)
			got = append(got, p[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		want := "0\r\nn:" + sumText("CRC32C", data) + "\r\n\r\n"
		if !bytes.Equal(memUnframe(got), data) || !strings.HasSuffix(string(got), want) {
			t.Fatal("not what was framed")
		}
	}
}

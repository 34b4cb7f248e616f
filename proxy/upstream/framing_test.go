package upstream

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

var errSource = errors.New("the source failed")

// testFrames encode a source. They return the encoded body, its size, and a
// function that decodes it.
var testFrames = map[string]func(src io.Reader, size int64) (r io.Reader, total int64, data func([]byte) []byte){
	"trailer": func(src io.Reader, size int64) (io.Reader, int64, func([]byte) []byte) {
		f := &trailerFrame{src: src, left: size, name: "x-amz-checksum-crc32c", sum: crc32.New(castagnoli)}
		return f, trailerFrameSize(size, f.name, crc32.Size), unframe
	},
	"signed": func(src io.Reader, size int64) (io.Reader, int64, func([]byte) []byte) {
		c := &chunkSigner{src: src, left: size}
		c.start(func(string) string { return strings.Repeat("0", 64) }, "region", http.Header{"Authorization": {"Signature=seed"}, "X-Amz-Date": {"20260102T030405Z"}})
		return c, signedFrameSize(size), unframe
	},
	"plain": func(src io.Reader, size int64) (io.Reader, int64, func([]byte) []byte) {
		return &heldReader{src: src, left: size}, size, func(b []byte) []byte { return b }
	},
}

// sourceEnds are the ways in which a source can end.
var sourceEnds = map[string]struct {
	missing int // bytes too few
	extra   int // bytes too many
	err     error
	whole   bool
}{
	"well":            {whole: true},
	"early":           {missing: 1},
	"very early":      {missing: 100_000},
	"late":            {extra: 1},
	"badly":           {err: errSource},
	"badly and early": {missing: 50_000, err: errSource},
}

// TestFrames reads framed sources in steps of many sizes. A source that ends
// well must give exactly the announced bytes. Any other must give an error
// before its last data byte or final frame, so that no store accepts it as
// complete.
func TestFrames(t *testing.T) {
	t.Parallel()
	sizes := []int{0, 1, 100, SealedUnit - 1, SealedUnit, SealedUnit + 1, signedChunk, 2*signedChunk + 5, frameChunk, frameChunk + 1, 2*frameChunk + 77}
	for framing, frame := range testFrames {
		for end, e := range sourceEnds {
			for _, size := range sizes {
				if size < e.missing || size == 0 && framing == "plain" {
					continue // an empty plain body is sent as no body
				}
				for _, step := range []int{1000, SealedUnit, 1 << 20} {
					data := randomBytes(size+e.extra, 5)[:size+e.extra-e.missing]
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
					if err == nil || e.err != nil && !errors.Is(err, errSource) || e.err == nil && !errors.Is(err, ErrSourceSize) {
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

// readSteps reads all of r, which has about size bytes, in reads of step bytes.
func readSteps(r io.Reader, size int64, step int) ([]byte, error) {
	out := bytes.NewBuffer(make([]byte, 0, size))
	_, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{r}, make([]byte, step))
	return out.Bytes(), err
}

// FuzzFrames frames a body of any size. It is read in any steps, and may break
// off anywhere.
func FuzzFrames(f *testing.F) {
	f.Add(uint32(70_000), uint32(1000), uint32(70_000))
	f.Add(uint32(0), uint32(1), uint32(0))
	f.Add(uint32(2<<20), uint32(70_000), uint32(1<<20))
	f.Fuzz(func(t *testing.T, size, step, breaks uint32) {
		size, step = size%(3<<20), step%(1<<20)+1
		data := randomBytes(int(size), 1)
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

// TestFrameReadsAreRandom reads a trailer frame in random steps.
func TestFrameReadsAreRandom(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	data := randomBytes(frameChunk+300_000, 8)
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
		want := "0\r\nn:" + crc32c(data) + "\r\n\r\n"
		if !bytes.Equal(unframe(got), data) || !strings.HasSuffix(string(got), want) {
			t.Fatal("the frames do not decode to their source")
		}
	}
}

func crc32c(b []byte) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.Checksum(b, castagnoli)))
}

// randomBytes returns size bytes that do not compress and differ between seeds.
func randomBytes(size int, seed byte) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// unframe decodes aws-chunked, which may be cut off, without verifying it.
func unframe(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for {
		head, rest, ok := bytes.Cut(raw, []byte("\r\n"))
		digits, _, _ := bytes.Cut(head, []byte(";"))
		n, err := strconv.ParseInt(string(digits), 16, 64)
		if !ok || err != nil || n == 0 {
			return out
		}
		n = min(n, int64(len(rest)))
		out = append(out, rest[:n]...)
		raw = bytes.TrimPrefix(rest[n:], []byte("\r\n"))
	}
}

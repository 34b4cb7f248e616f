package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"io"
	"sync"
)

// block is the building block of contents: 1 MiB that does not compress.
var block = func() []byte {
	b := make([]byte, 1<<20)
	rand.Read(b)
	return b
}()

// content is the body of an object: the block, repeated up to size.
type content struct {
	size int64
	sum  uint32 // CRC32C
}

func newContent(size int64) content {
	sum := crc32.New(castagnoli)
	if _, err := io.Copy(sum, content{size: size}.reader()); err != nil {
		panic(err) // the reader returns no errors except io.EOF
	}
	return content{size: size, sum: sum.Sum32()}
}

// contentOf is newContent, which computes the checksum of a size only once.
func contentOf(size int64) content {
	if known, ok := contents.Load(size); ok {
		return known.(content)
	}
	c := newContent(size)
	contents.Store(size, c)
	return c
}

var contents sync.Map // of content, by size

func (c content) reader() io.Reader { return &blockReader{left: c.size} }

type blockReader struct {
	left int64
	at   int // offset in block
}

func (r *blockReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), r.left)], block[r.at:])
	r.left -= int64(n)
	r.at = (r.at + n) % len(block)
	return n, nil
}

// sha256 returns the SHA-256 in hexadecimal. Contents are few, so it is known
// after the first call.
func (c content) sha256() string {
	if known, ok := shaOfSize.Load(c.size); ok {
		return known.(string)
	}
	h := sha256.New()
	if _, err := io.Copy(h, c.reader()); err != nil {
		panic(err) // the reader returns no errors except io.EOF
	}
	sum := hex.EncodeToString(h.Sum(nil))
	shaOfSize.Store(c.size, sum)
	return sum
}

var shaOfSize sync.Map // of a content's size to its SHA-256

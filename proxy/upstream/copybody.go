package upstream

import (
	"io"
	"sync"
	"time"
)

const (
	// youngBody is how many bytes of a body are copied before it may keep a
	// large buffer.
	youngBody = 4 << 20
	// slowPiece is the size in bytes of the buffer of a slow body.
	slowPiece = 16 << 10
	// slowTurn is how long it takes at least to read and write one buffer of a
	// body that is slow.
	slowTurn = 100 * time.Millisecond
	// quickTurns is how many turns in a row must take a tenth of that until a
	// slow body is not slow any more.
	quickTurns = 16
)

// Buffers of slow bodies, and of young ones, which have room for one package:
// the next one can be late.
var (
	slowBuffers  = sync.Pool{New: func() any { return new([slowPiece]byte) }}
	youngBuffers = sync.Pool{New: func() any { return new([SealedUnit + frameHead]byte) }}
)

// CopyBody copies src to dst through buffers of up to CopySize bytes. Unlike
// io.Copy it never uses WriteTo or ReadFrom. It returns the number of bytes
// written and the first error that is not io.EOF.
//
// Thousands of bodies may wait for clients that pause or are slow. So only a
// body that has passed youngBody bytes and is not slow keeps a buffer while it
// waits for src. The others wait for one byte, which costs them another copy in
// memory, and slow ones have a small buffer while they wait for dst.
func CopyBody(dst io.Writer, src io.Reader) (int64, error) {
	c := bodyCopy{dst: dst, src: src}
	defer c.free()
	for {
		begun := time.Now()
		err := c.turn()
		if err == io.EOF {
			return c.written, nil
		}
		if err != nil {
			return c.written, err
		}
		c.judge(time.Since(begun))
	}
}

type bodyCopy struct {
	dst     io.Writer
	src     io.Reader
	written int64
	slow    int             // quick turns until the body is not slow; 0: it is not slow
	kept    *[CopySize]byte // nil: none
	first   [1]byte
}

// turn reads and writes one buffer.
func (c *bodyCopy) turn() error {
	switch {
	case c.slow > 0:
		c.free()
		return c.wait(func() ([]byte, func()) {
			b := slowBuffers.Get().(*[slowPiece]byte)
			return b[:], func() { slowBuffers.Put(b) }
		})
	case c.written < youngBody:
		return c.wait(func() ([]byte, func()) {
			b := youngBuffers.Get().(*[SealedUnit + frameHead]byte)
			return b[:], func() { youngBuffers.Put(b) }
		})
	case c.kept == nil:
		c.kept = CopyBuffers.Get().(*[CopySize]byte)
	}
	n, err := 0, error(nil)
	for n < SealedUnit && err == nil { // a body that is not sealed comes in smaller pieces
		var more int
		more, err = c.src.Read(c.kept[n:])
		n += more
	}
	return c.write(c.kept[:n], err)
}

// wait waits for one byte before it gets a buffer for the others.
func (c *bodyCopy) wait(get func() (buf []byte, put func())) error {
	n, err := c.src.Read(c.first[:])
	if n == 0 {
		return err
	}
	buf, put := get()
	defer put()
	buf[0] = c.first[0]
	if err == nil {
		var more int
		more, err = c.src.Read(buf[1:])
		n += more
	}
	return c.write(buf[:n], err)
}

// write writes what was read, and returns the first error.
func (c *bodyCopy) write(p []byte, read error) error {
	if len(p) == 0 {
		return read
	}
	n, err := c.dst.Write(p)
	c.written += int64(n)
	if err != nil {
		return err
	}
	return read
}

// judge decides after a turn whether the body is slow.
func (c *bodyCopy) judge(took time.Duration) {
	switch {
	case took >= slowTurn:
		c.slow = quickTurns
	case c.slow > 0 && took < slowTurn/10:
		c.slow--
	}
}

// free gives back the buffer that a fast body keeps.
func (c *bodyCopy) free() {
	if c.kept != nil {
		CopyBuffers.Put(c.kept)
		c.kept = nil
	}
}

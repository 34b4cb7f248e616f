package sealer

import (
	"encoding/binary"
	"fmt"
)

// encoder appends fields in the encoding of the format: integers are
// big-endian, and strings of variable length follow their length (section 2).
type encoder []byte

func (e encoder) u8(v uint8) encoder     { return append(e, v) }
func (e encoder) u16(v uint16) encoder   { return binary.BigEndian.AppendUint16(e, v) }
func (e encoder) u32(v uint32) encoder   { return binary.BigEndian.AppendUint32(e, v) }
func (e encoder) u64(v uint64) encoder   { return binary.BigEndian.AppendUint64(e, v) }
func (e encoder) bytes(b []byte) encoder { return append(e, b...) }
func (e encoder) text(s string) encoder  { return append(e, s...) }

// lp appends the length of s as u32, and s. Different lists of strings never
// have the same encoding.
func (e encoder) lp(s string) encoder { return append(e.u32(uint32(len(s))), s...) }

// decoder reads the fields that encoder writes. After the first failure it
// returns zeros and keeps the error, so callers need only one check per
// structure.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
		d.rest = nil
	}
}

// take returns the next n bytes without copying them, or nil on failure.
func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.rest) {
		d.fail("ends early")
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

// clone returns a copy of the next n bytes, or nil if n is 0.
func (d *decoder) clone(n int) []byte { return append([]byte(nil), d.take(n)...) }

// fill reads len(dst) bytes into dst.
func (d *decoder) fill(dst []byte) { copy(dst, d.take(len(dst))) }

func (d *decoder) u8() uint8 {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if b := d.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if b := d.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// end returns the first failure, or an error if bytes are left.
func (d *decoder) end() error {
	if len(d.rest) != 0 {
		d.fail("%d trailing bytes", len(d.rest))
	}
	return d.err
}

package sealer

import (
	"fmt"
	"slices"
)

// Facts are what HEAD and LIST need to know without the KMS (section 6). The
// plaintext size is in the header, which the facts authenticate.
type Facts struct {
	Headers   [32]byte   // SHA-256 of the content headers and user metadata, by the caller
	Checksums []Checksum // of the plaintext, those that were known before the body

	// Announced is the checksum that the trailer holds. It is none where there
	// is no trailer, and none of Checksums.
	Announced Announcement

	trailerKey secret // nil if there is no trailer
}

// Announcement names a checksum of a trailer before the trailer is read, so
// that a listing need not. Its zero value is none.
type Announcement struct {
	Algorithm Algorithm
	Composite bool // the type, as in [Checksum]
}

// check returns ErrParams for what section 6 does not allow.
func (a Announcement) check(cs []Checksum) error {
	if a.Algorithm == 0 && !a.Composite {
		return nil
	}
	if !a.Algorithm.valid() || slices.ContainsFunc(cs, func(c Checksum) bool { return c.Algorithm == a.Algorithm }) {
		return fmt.Errorf("%w: %v announced", ErrParams, a.Algorithm)
	}
	return nil
}

// in reports whether the checksum is one of those of a trailer.
func (a Announcement) in(cs []Checksum) bool {
	return a.Algorithm == 0 || slices.ContainsFunc(cs, func(c Checksum) bool {
		return c.Algorithm == a.Algorithm && c.Composite == a.Composite
	})
}

// TrailerKey returns the key for [OpenTrailer]. It returns false if the object
// has no trailer, and for facts that were neither sealed nor opened.
func (f *Facts) TrailerKey() (Key, bool) {
	if f.trailerKey == nil {
		return Key{}, false
	}
	return *f.trailerKey(), true
}

// Wipe overwrites the trailer key, if there is one.
func (f *Facts) Wipe() {
	if f.trailerKey != nil {
		f.trailerKey().Wipe()
		f.trailerKey = nil
	}
}

// encode returns the plaintext of the facts (section 6). Checksums are sorted.
func (f *Facts) encode() encoder {
	e := make(encoder, 0, maxSealedFacts).bytes(f.Headers[:]).checksums(f.Checksums)
	if f.trailerKey != nil {
		e = e.bytes(f.trailerKey()[:]).u8(uint8(f.Announced.Algorithm)).flag(f.Announced.Composite)
	}
	return e
}

// parseFacts parses the plaintext of facts strictly.
func parseFacts(b []byte, trailer bool) (*Facts, error) {
	d := decoder{rest: b}
	f := &Facts{}
	d.fill(f.Headers[:])
	f.Checksums = d.checksums()
	if trailer {
		f.trailerKey = keep(Key{})
		d.fill(f.trailerKey()[:])
		f.Announced = Announcement{Algorithm: Algorithm(d.u8()), Composite: d.flag()}
		if err := f.Announced.check(f.Checksums); err != nil {
			d.fail("%v", err)
		}
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("parsing facts: %w", err)
	}
	return f, nil
}

// Facts returns what is known of the object's facts without a root: the trailer
// key. Headers and checksums are not. The size is that of the header, which
// [Header.Open] has authenticated.
func (k *ObjectKey) Facts() *Facts {
	f := &Facts{}
	if k.trailer {
		f.trailerKey = keep(k.TrailerKey())
	}
	return f
}

// OpenTrailer opens the trailer of the object that the facts are of, as the
// function [OpenTrailer] does with the trailer key. It also returns
// ErrNotAuthentic if the checksum that was announced is missing.
func (f *Facts) OpenTrailer(h *Header, sealed []byte) (*Trailer, error) {
	key, ok := f.TrailerKey()
	if !ok {
		return nil, fmt.Errorf("opening trailer: %w: facts have no key of one", ErrNotAuthentic)
	}
	defer key.Wipe()
	t, err := OpenTrailer(h, key, sealed)
	if err != nil {
		return nil, err
	}
	if !f.Announced.in(t.Checksums) {
		return nil, fmt.Errorf("opening trailer: %w: no %v checksum", ErrNotAuthentic, f.Announced.Algorithm)
	}
	return t, nil
}

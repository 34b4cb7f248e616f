package sealer

import (
	"fmt"
	"slices"
)

// Facts are what HEAD and LIST need without the KMS (section 6). They do not
// contain the plaintext size: it is in the header, which the facts
// authenticate.
type Facts struct {
	Headers   [32]byte   // see [Content.Digest]
	Checksums []Checksum // of the plaintext, if known before the body was sent

	// Announced is the checksum in the trailer. It is zero if there is no
	// trailer. It must not be one of Checksums.
	Announced Announcement

	trailerKey secret // nil if there is no trailer
}

// Announcement names a checksum in a trailer, so a listing does not have to
// read the trailer. The zero value announces nothing.
type Announcement struct {
	Algorithm Algorithm
	Composite bool // see [Checksum]
}

// check returns ErrParams if section 6 does not allow the announcement.
func (a Announcement) check(cs []Checksum) error {
	if a.Algorithm == 0 && !a.Composite {
		return nil
	}
	if !a.Algorithm.valid() || slices.ContainsFunc(cs, func(c Checksum) bool { return c.Algorithm == a.Algorithm }) {
		return fmt.Errorf("%w: %v announced", ErrParams, a.Algorithm)
	}
	return nil
}

// in reports whether cs, the checksums of a trailer, contain the announced one.
func (a Announcement) in(cs []Checksum) bool {
	return a.Algorithm == 0 || slices.ContainsFunc(cs, func(c Checksum) bool {
		return c.Algorithm == a.Algorithm && c.Composite == a.Composite
	})
}

// TrailerKey returns the key for [OpenTrailer]. It returns false if the object
// has no trailer, or if the facts come from neither Seal nor Open.
func (f *Facts) TrailerKey() (Key, bool) {
	if f.trailerKey == nil {
		return Key{}, false
	}
	return *f.trailerKey(), true
}

// Wipe overwrites the trailer key, if any.
func (f *Facts) Wipe() {
	if f.trailerKey != nil {
		f.trailerKey().Wipe()
		f.trailerKey = nil
	}
}

// encode returns the plaintext of the facts (section 6). Checksums must be
// sorted.
func (f *Facts) encode() encoder {
	e := make(encoder, 0, maxSealedFacts).bytes(f.Headers[:]).checksums(f.Checksums)
	if f.trailerKey != nil {
		e = e.bytes(f.trailerKey()[:]).u8(uint8(f.Announced.Algorithm)).flag(f.Announced.Composite)
	}
	return e
}

// parseFacts strictly parses the plaintext of facts.
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

// Facts returns the facts that are known without a root: only the trailer key.
// The headers digest and the checksums are missing. The size is in the header,
// which [Parsed.Open] has authenticated.
func (k *ObjectKey) Facts() *Facts {
	f := &Facts{}
	if k.trailer {
		f.trailerKey = keep(k.TrailerKey())
	}
	return f
}

// OpenTrailer opens the trailer of the object that the facts belong to. It is
// like the function [OpenTrailer], but also returns ErrNotAuthentic if the
// announced checksum is missing.
func (f *Facts) OpenTrailer(h *Header, sealed []byte) (*Trailer, error) {
	key, ok := f.TrailerKey()
	if !ok {
		return nil, fmt.Errorf("opening trailer: %w: facts have no trailer key", ErrNotAuthentic)
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

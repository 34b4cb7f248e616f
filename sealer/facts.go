package sealer

import "fmt"

// Facts are what HEAD and LIST need to know without the KMS (section 6). The
// plaintext size is in the header, which the facts authenticate.
type Facts struct {
	Headers   [32]byte   // SHA-256 of the content headers and user metadata, by the caller
	Checksums []Checksum // of the plaintext, those that were known before the body

	trailerKey secret // nil if there is no trailer
}

// TrailerKey returns the key for [OpenTrailer]. It returns false if the object has
// no trailer, and for facts that were neither sealed nor opened.
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
		e = e.bytes(f.trailerKey()[:])
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
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("parsing facts: %w", err)
	}
	return f, nil
}

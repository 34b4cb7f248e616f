package sealer

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
)

// Sizes of a trailer in bytes (section 7).
const (
	// FooterSize is the length of the footer at the end of an object with a
	// trailer.
	FooterSize = 24
	// SingleTrailerSize is the length of the sealed trailer and the footer of a
	// single PUT.
	SingleTrailerSize = gcmNonceSize + singleTrailer + tagSize + FooterSize
	// MaxTrailerSize is the maximum length of a sealed trailer with its footer.
	MaxTrailerSize = gcmNonceSize + maxTrailer + tagSize + FooterSize

	singleTrailer = 128 // plaintext, padded
	maxTrailer    = 1 + 8 + 1 + maxChecksums + 2 + 4 + MaxParts*(partEntrySize+64)

	footerMagic = "SSEGWTR1"

	kindSingle    = 1
	kindMultipart = 2
)

// Footer is the end of an object with a trailer (section 7.1). It is not
// sealed, but all its values are compared with sealed ones.
type Footer struct {
	SealedTrailer int     // length of the sealed trailer, including nonce and tag
	Parts         int     // number of parts; 0 for a single PUT
	IDPrefix      [8]byte // start of the object ID
}

// Size returns the length of the sealed trailer and the footer. They follow the
// body, at the end of the upstream object.
func (f Footer) Size() int64 { return int64(f.SealedTrailer) + FooterSize }

// TrailerGuess returns how many bytes at the end of a multipart object are
// likely to hold the sealed trailer and the footer: enough for that many parts
// with digests of 32 bytes. If parts is negative, the number is not known, and
// the guess is enough for a thousand parts without digests. The footer has the
// actual size ([Footer.Size]).
func TrailerGuess(parts int) int64 {
	const perPart = 64 // bytes
	if parts < 0 {
		return 64 << 10
	}
	return 512 + perPart*int64(parts)
}

// ParseFooter parses the last FooterSize bytes of tail, which may be longer. It
// returns ErrMalformed if they are not a footer or violate a limit.
func ParseFooter(tail []byte) (Footer, error) {
	if len(tail) < FooterSize {
		return Footer{}, fmt.Errorf("parsing footer: %w: %d bytes", ErrMalformed, len(tail))
	}
	b := tail[len(tail)-FooterSize:]
	n, parts := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	const minimum = gcmNonceSize + tagSize
	if !bytes.HasPrefix(b, []byte(footerMagic)) || n < minimum || n > MaxTrailerSize-FooterSize || parts > MaxParts {
		return Footer{}, fmt.Errorf("parsing footer: %w", ErrMalformed)
	}
	return Footer{SealedTrailer: int(n), Parts: int(parts), IDPrefix: [8]byte(b[16:])}, nil
}

func (f Footer) encode() encoder {
	return encoder(footerMagic).u32(uint32(f.SealedTrailer)).u32(uint32(f.Parts)).bytes(f.IDPrefix[:])
}

// Trailer holds what became known only at the end of the body.
type Trailer struct {
	Size      int64      // plaintext size of the object
	Checksums []Checksum // of the object's plaintext
	Parts     *PartTable // nil iff it is a single PUT

	// Stored is the length of the sealed trailer and the footer in bytes. It is
	// set by OpenTrailer.
	Stored int64
}

// StoredSize returns the length that the upstream object MUST have (section 8):
// the body and, if the header announces one, the trailer. The caller compares
// it before returning any plaintext. t is the result of [OpenTrailer]. Only
// multipart objects need it; StoredSize returns -1 if it is missing.
func (h *Header) StoredSize(t *Trailer) int64 {
	switch {
	case h.Multipart && (t == nil || t.Parts == nil):
		return -1
	case h.Multipart:
		return t.Parts.SealedSize() + t.Stored
	case h.Trailer:
		return SealedSize(h.Size) + SingleTrailerSize
	default:
		return SealedSize(h.Size)
	}
}

// SealTrailer returns the sealed trailer and the footer of a single PUT, always
// SingleTrailerSize bytes. They are sent directly after the body. It returns
// ErrSize if size is not the size in the header, ErrTooLarge if the checksums
// do not fit, and ErrParams if they are invalid or the announced one is
// missing. Any single checksum fits, and so do SHA512 and SHA256 together.
func (k *ObjectKey) SealTrailer(cs []Checksum, size int64) ([]byte, error) {
	sorted, err := sortChecksums(cs)
	switch {
	case err != nil:
		return nil, fmt.Errorf("sealing trailer: %w", err)
	case k.wiped() || !k.trailer || k.multipart:
		return nil, fmt.Errorf("sealing trailer: %w: not the key of a single PUT with a trailer", ErrParams)
	case !k.announced.in(sorted):
		return nil, fmt.Errorf("sealing trailer: %w: no %v checksum", ErrParams, k.announced.Algorithm)
	case size != k.size:
		return nil, fmt.Errorf("sealing trailer: %w: %d bytes, header says %d", ErrSize, size, k.size)
	}
	e := (&Trailer{Size: size, Checksums: sorted}).encode()
	if len(e) > singleTrailer {
		return nil, fmt.Errorf("sealing trailer: %w: %d checksums", ErrTooLarge, len(cs))
	}
	key := k.TrailerKey()
	defer key.Wipe()
	return sealTrailer(&key, k.flags(), k.id, e, 0), nil
}

// encode returns the plaintext of a trailer (sections 7.2 and 7.3).
func (t *Trailer) encode() encoder {
	if t.Parts != nil {
		e := make(encoder, 0, maxTrailer-MaxParts*(partEntrySize+64)+len(t.Parts.Parts)*(partEntrySize+t.Parts.Algorithm.Size()))
		return e.u8(kindMultipart).u64(uint64(t.Size)).checksums(t.Checksums).partTable(t.Parts)
	}
	e := make(encoder, 0, singleTrailer).u8(kindSingle).u64(uint64(t.Size)).checksums(t.Checksums)
	return append(e, make([]byte, max(singleTrailer-len(e), 0))...)
}

// sealTrailer seals the plaintext of a trailer. If a Complete is retried, a
// second part table may be sealed under the same key. So the nonce is derived
// from the plaintext: two different tables never share a nonce, and the same
// table is always sealed the same way.
func sealTrailer(key *Key, flags uint8, id ID, plaintext []byte, parts int) []byte {
	n := gcmNonceSize + len(plaintext) + tagSize
	out := make([]byte, gcmNonceSize, n+FooterSize)
	if parts > 0 {
		sum := sha256.Sum256(plaintext)
		copy(out, derive(key[:], nil, info("trailer nonce").bytes(sum[:]), gcmNonceSize))
	} else {
		rand.Read(out)
	}
	out = gcm(key).Seal(out, out, plaintext, trailerAAD(flags, id))
	f := Footer{SealedTrailer: n, Parts: parts, IDPrefix: [8]byte(id[:8])}
	return append(out, f.encode()...)
}

// trailerAAD returns the bytes authenticated by a sealed trailer (section 7).
// It does not contain the binding, so a trailer stays valid when its object is
// copied.
func trailerAAD(bodyFlags uint8, id ID) []byte {
	return info("trailer").u8(version).u8(bodyFlags).bytes(id[:])
}

// OpenTrailer opens a sealed trailer with its footer. sealed must contain
// exactly these. key is the trailer key of the object, from [Facts.TrailerKey]
// or [ObjectKey.TrailerKey]. It returns ErrMalformed if the footer or the
// plaintext violates section 7, and ErrNotAuthentic if the trailer was changed,
// belongs to another object, or contradicts the header or the footer.
func OpenTrailer(h *Header, key Key, sealed []byte) (*Trailer, error) {
	t, err := openTrailer(h, &key, sealed)
	if err != nil {
		return nil, fmt.Errorf("opening trailer: %w", err)
	}
	return t, nil
}

func openTrailer(h *Header, key *Key, sealed []byte) (*Trailer, error) {
	f, err := ParseFooter(sealed)
	if err != nil {
		return nil, err
	}
	switch {
	case !h.Trailer:
		return nil, fmt.Errorf("%w: header announces none", ErrNotAuthentic)
	case int64(len(sealed)) != f.Size():
		return nil, fmt.Errorf("%w: %d bytes, footer says %d", ErrNotAuthentic, len(sealed), f.Size())
	case f.IDPrefix != [8]byte(h.ObjectID[:8]):
		return nil, fmt.Errorf("%w: of another object", ErrNotAuthentic)
	case key.isZero():
		return nil, fmt.Errorf("%w: all-zero key", ErrWrongKey)
	}
	nonce, ciphertext := sealed[:gcmNonceSize], sealed[gcmNonceSize:f.SealedTrailer]
	plaintext, err := gcm(key).Open(nil, nonce, ciphertext, trailerAAD(h.bodyFlags(), h.ObjectID))
	if err != nil {
		return nil, ErrNotAuthentic
	}
	t, err := parseTrailer(plaintext, h.Multipart)
	if err != nil {
		return nil, err
	}
	parts := 0
	if t.Parts != nil {
		parts = len(t.Parts.Parts)
	}
	if parts != f.Parts {
		return nil, fmt.Errorf("%w: %d parts, footer says %d", ErrNotAuthentic, parts, f.Parts)
	}
	if !h.Multipart && t.Size != h.Size {
		return nil, fmt.Errorf("%w: %d bytes, header says %d", ErrNotAuthentic, t.Size, h.Size)
	}
	t.Stored = f.Size()
	return t, nil
}

// parseTrailer strictly parses the plaintext of a trailer (sections 7.2 and
// 7.3).
func parseTrailer(b []byte, multipart bool) (*Trailer, error) {
	d := decoder{rest: b}
	want := uint8(kindSingle)
	if multipart {
		want = kindMultipart
	}
	if kind := d.u8(); d.err == nil && kind != want {
		d.fail("trailer of kind %d", kind)
	}
	size := d.u64()
	t := &Trailer{Size: int64(size), Checksums: d.checksums()}
	if multipart {
		t.Parts = d.partTable()
		if d.err == nil && t.Size != t.Parts.Size() {
			d.fail("size %#x is not that of the parts", size)
		}
	} else {
		if size > MaxSize {
			d.fail("size %#x", size)
		}
		if len(b) != singleTrailer || slices.ContainsFunc(d.take(len(d.rest)), func(c byte) bool { return c != 0 }) {
			d.fail("padding")
		}
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("parsing trailer: %w", err)
	}
	return t, nil
}

package sealer

import (
	"encoding/base64"
	"errors"
	"fmt"
)

// Limits of a header (section 9).
const (
	maxKeyName       = 80
	maxSealedDataKey = 1024
	maxContext       = 1024
	minSealedFacts   = 32 + 1 + tagSize
	maxSealedFacts   = 32 + 1 + maxChecksums + 32 + 2 + tagSize
	fixedHeader      = 4 + 16 + 32 + 8 + 1 + 2 + 2 + 32 + 48 + 8 + 16 + 2 // the rest has variable length
	oneChecksumFacts = 32 + 1 + (2 + 64) + 32 + 2 + tagSize
	maxHeader        = fixedHeader + maxKeyName + maxSealedDataKey + maxContext + maxSealedFacts
)

const (
	version = 1

	flagTrailer   = 1
	flagMultipart = 2
	flagShared    = 4

	unknownSize = 1<<64 - 1 // size field of a multipart object
)

// Header is stored with a sealed body (section 3). It contains no secrets in
// the clear. A Header is authentic: [Seal] and [Header.Reseal] create it, or
// [Parsed.Open] and [Parsed.OpenFacts] prove it.
type Header struct {
	Scheme    Scheme
	Trailer   bool // a trailer follows the body
	Multipart bool // the body consists of parts; implies Trailer
	Shared    bool // objects of the bucket share the data key
	Cipher    Cipher
	ObjectID  ID
	Nonce     [32]byte // salt for derivations from the data key
	Size      int64    // plaintext bytes; -1 iff Multipart, whose size is in the trailer

	KeyName       string // KES key, 1 to 80 bytes; empty iff SSE-C
	SealedDataKey []byte // from KES, 1 to 1024 bytes; empty iff SSE-C
	Context       []byte // client's encryption context as canonical JSON, up to 1024 bytes; may be empty

	Commitment      [32]byte
	SealedObjectKey [48]byte
	RootID          RootID
	FactsNonce      [16]byte
	SealedFacts     []byte
}

// decodeHeader strictly parses a metadata value: Encode of the result returns
// value. It returns ErrNotSealed if value is empty, and ErrMalformed if it
// violates section 3.
func decodeHeader(value string) (*Header, error) {
	if value == "" {
		return nil, ErrNotSealed
	}
	if base64.RawURLEncoding.DecodedLen(len(value)) > maxHeader {
		return nil, fmt.Errorf("parsing header: %w: %d characters", ErrMalformed, len(value))
	}
	b, err := base64.RawURLEncoding.DecodeString(value)
	// Compare, because the decoder ignores line ends and loose bits.
	if err != nil || base64.RawURLEncoding.EncodeToString(b) != value {
		return nil, fmt.Errorf("parsing header: %w: not canonical base64url", ErrMalformed)
	}
	h, err := parseHeader(b)
	if err != nil {
		return nil, fmt.Errorf("parsing header: %w", err)
	}
	return h, nil
}

// parseHeader parses the bytes of a header (section 3).
func parseHeader(b []byte) (*Header, error) {
	d := decoder{rest: b}
	if v := d.u8(); d.err == nil && v != version {
		d.fail("version %d", v)
	}
	h := &Header{Scheme: Scheme(d.u8())}
	flags := d.u8()
	h.Cipher = Cipher(d.u8())
	if flags&^(flagTrailer|flagMultipart|flagShared) != 0 {
		d.fail("flags %#02x", flags)
	}
	h.Trailer = flags&flagTrailer != 0
	h.Multipart = flags&flagMultipart != 0
	h.Shared = flags&flagShared != 0
	d.fill(h.ObjectID[:])
	d.fill(h.Nonce[:])
	h.Size = d.headerSize(h.Multipart)
	h.KeyName = string(d.take(int(d.u8())))
	h.SealedDataKey = d.clone(int(d.u16()))
	h.Context = d.clone(int(d.u16()))
	d.fill(h.Commitment[:])
	d.fill(h.SealedObjectKey[:])
	d.fill(h.RootID[:])
	d.fill(h.FactsNonce[:])
	h.SealedFacts = d.clone(int(d.u16()))
	if err := d.end(); err != nil {
		return nil, err
	}
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if n := len(h.SealedFacts); n < minSealedFacts || n > maxSealedFacts {
		return nil, fmt.Errorf("%w: sealed facts of %d bytes", ErrMalformed, n)
	}
	return h, nil
}

// headerSize reads the size field, which is all ones iff the object is
// multipart.
func (d *decoder) headerSize(multipart bool) int64 {
	size := d.u64()
	switch {
	case multipart && size == unknownSize:
		return -1
	case multipart || size > MaxSize:
		d.fail("size %#x", size)
	}
	return int64(size)
}

// Encode returns the header as a metadata value: base64url without padding.
func (h *Header) Encode() string {
	b := h.encodeToFactsNonce().u16(uint16(len(h.SealedFacts))).bytes(h.SealedFacts)
	return base64.RawURLEncoding.EncodeToString(b)
}

// EncodedSize returns an upper limit of the length of [Header.Encode], in
// bytes, for an object that has no data key yet. It assumes a sealed data key
// of KES and at most one checksum in the facts, of any algorithm.
func EncodedSize(scheme Scheme, keyName string, context []byte) int {
	const kesDataKey = 128 // KES has 124
	n := fixedHeader + oneChecksumFacts + len(keyName) + len(context)
	if scheme != SSEC {
		n += kesDataKey
	}
	return base64.RawURLEncoding.EncodedLen(n)
}

func (h *Header) flags() uint8 {
	var f uint8
	if h.Trailer {
		f |= flagTrailer
	}
	if h.Multipart {
		f |= flagMultipart
	}
	if h.Shared {
		f |= flagShared
	}
	return f
}

// encodeToCommitment returns the bytes authenticated by the sealed object key.
func (h *Header) encodeToCommitment() encoder {
	size := uint64(h.Size)
	if h.Multipart {
		size = unknownSize
	}
	room := fixedHeader + len(h.KeyName) + len(h.SealedDataKey) + len(h.Context) + len(h.SealedFacts)
	return make(encoder, 0, room). // of the whole header
					u8(version).u8(uint8(h.Scheme)).u8(h.flags()).u8(uint8(h.Cipher)).
					bytes(h.ObjectID[:]).bytes(h.Nonce[:]).u64(size).
					u8(uint8(len(h.KeyName))).text(h.KeyName).
					u16(uint16(len(h.SealedDataKey))).bytes(h.SealedDataKey).
					u16(uint16(len(h.Context))).bytes(h.Context).
					bytes(h.Commitment[:])
}

// encodeToFactsNonce returns the bytes that, after the binding, are
// authenticated by the sealed facts.
func (h *Header) encodeToFactsNonce() encoder {
	return h.encodeToCommitment().
		bytes(h.SealedObjectKey[:]).bytes(h.RootID[:]).bytes(h.FactsNonce[:])
}

// check returns an error if the fields before the commitment are inconsistent
// (section 3.1).
func (h *Header) check() error {
	switch {
	case !h.Scheme.valid():
		return fmt.Errorf("scheme %d", uint8(h.Scheme))
	case !h.Cipher.valid():
		return fmt.Errorf("cipher %d", uint8(h.Cipher))
	case h.Multipart && !h.Trailer:
		return errors.New("multipart without trailer")
	case h.Multipart != (h.Size == -1):
		return fmt.Errorf("size %d, multipart %t", h.Size, h.Multipart)
	case !h.Multipart && (h.Size < 0 || h.Size > MaxSize):
		return fmt.Errorf("size %d", h.Size)
	case len(h.Context) > 0 && (h.Scheme != SSEKMS || h.Shared):
		return errors.New("context where none is allowed")
	case len(h.Context) > maxContext:
		return fmt.Errorf("context of %d bytes", len(h.Context))
	}
	if h.Scheme == SSEC {
		if h.KeyName != "" || len(h.SealedDataKey) > 0 || h.Shared {
			return errors.New("key of the KMS with SSE-C")
		}
		return nil
	}
	if !validKeyName(h.KeyName) {
		return fmt.Errorf("key name of %d bytes", len(h.KeyName))
	}
	if n := len(h.SealedDataKey); n < 1 || n > maxSealedDataKey {
		return fmt.Errorf("sealed data key of %d bytes", n)
	}
	return nil
}

// validKeyName accepts what KES accepts: 1 to 80 of 0-9, A-Z, a-z, _ and -.
func validKeyName(name string) bool {
	if len(name) < 1 || len(name) > maxKeyName {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

package sealer

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"slices"
)

// SealParams are the parameters of [Seal] and [Header.Reseal].
type SealParams struct {
	Scheme        Scheme
	Binding       Binding
	DataKey       Key    // from KES, or from the client for SSE-C; not all zero
	KeyName       string // KES key; empty iff SSE-C
	SealedDataKey []byte // DataKey as sealed by KES, up to 1024 bytes; empty iff SSE-C
	Shared        bool   // objects of the bucket share DataKey; not with SSE-C
	Context       []byte // client's context as canonical JSON, up to 1024 bytes; only with SSE-KMS and not Shared
	Size          int64  // plaintext bytes, 0 to MaxSize; ignored if Multipart
	Trailer       bool   // SealTrailer or SealPartTable follows the body; implied by Multipart
	Multipart     bool
	Root          Root
	Facts         Facts
}

// Seal creates the header and the object key of a new object. The key is
// random, so call Seal once for each object. It returns ErrTooLarge if the
// size, context or sealed data key exceeds its limit, and ErrParams if
// parameters are inconsistent.
func Seal(p SealParams) (*Header, *ObjectKey, error) {
	return sealWith(p, preferredCipher())
}

func sealWith(p SealParams, c Cipher) (*Header, *ObjectKey, error) {
	k := &ObjectKey{
		key:       keep(NewKey()),
		cipher:    c,
		trailer:   p.Trailer || p.Multipart,
		multipart: p.Multipart,
		size:      p.Size,
		announced: p.Facts.Announced,
	}
	if p.Multipart {
		k.size = -1
	}
	rand.Read(k.id[:])
	h, err := sealHeader(k, &p)
	if err != nil {
		return nil, nil, fmt.Errorf("sealing header: %w", err)
	}
	return h, k, nil
}

// Reseal creates a new header for the same body, to rename, copy or re-key an
// object without touching the body. Scheme, binding, data key, root and facts
// come from p. Object ID, object key, cipher, size, Trailer and Multipart stay
// the same, and their fields in p are ignored. To keep the checksums the caller
// must copy them to p.Facts. It returns ErrParams if k is not the key of h, and
// the errors of [Seal].
func (h *Header) Reseal(k *ObjectKey, p SealParams) (*Header, error) {
	if k.id != h.ObjectID || k.wiped() || k.size != h.Size || k.cipher != h.Cipher || k.flags() != h.bodyFlags() {
		return nil, fmt.Errorf("resealing header: %w: key of another object", ErrParams)
	}
	n, err := sealHeader(k, &p)
	if err != nil {
		return nil, fmt.Errorf("resealing header: %w", err)
	}
	return n, nil
}

// bodyFlags returns the flags that describe how the body is built. They never
// change.
func (h *Header) bodyFlags() uint8 { return h.flags() &^ flagShared }

// sealHeader seals the object key and the facts (sections 4.1 and 4.2).
func sealHeader(k *ObjectKey, p *SealParams) (*Header, error) {
	h := &Header{
		Scheme:        p.Scheme,
		Trailer:       k.trailer,
		Multipart:     k.multipart,
		Shared:        p.Shared,
		Cipher:        k.cipher,
		ObjectID:      k.id,
		Size:          k.size,
		KeyName:       p.KeyName,
		SealedDataKey: slices.Clone(p.SealedDataKey),
		Context:       slices.Clone(p.Context),
		RootID:        p.Root.ID,
	}
	if h.Size > MaxSize || len(h.Context) > maxContext || len(h.SealedDataKey) > maxSealedDataKey {
		return nil, ErrTooLarge
	}
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrParams, err)
	}
	if p.DataKey.isZero() || p.Root.Key.isZero() {
		return nil, fmt.Errorf("%w: all-zero key", ErrParams)
	}
	cs, err := sortChecksums(p.Facts.Checksums)
	if err == nil {
		err = p.Facts.Announced.check(cs)
	}
	if err != nil {
		return nil, err
	}
	if p.Facts.Announced.Algorithm != 0 && !h.Trailer {
		return nil, fmt.Errorf("%w: checksum announced without a trailer", ErrParams)
	}
	rand.Read(h.Nonce[:])
	rand.Read(h.FactsNonce[:])

	secrets := deriveObjectSecrets(&p.DataKey, h.Nonce, h.Scheme, p.Binding)
	defer secrets.sealing.Wipe()
	h.Commitment = secrets.commitment
	h.SealedObjectKey = [48]byte(sealOnce(&secrets.sealing, k.key()[:], h.encodeToCommitment()))

	f := Facts{Headers: p.Facts.Headers, Checksums: cs, Announced: p.Facts.Announced}
	if h.Trailer {
		f.trailerKey = keep(k.TrailerKey())
		defer f.Wipe()
	}
	plaintext := f.encode()
	defer clear(plaintext)
	fk := factsKey(&p.Root, h.ObjectID, h.FactsNonce)
	defer fk.Wipe()
	h.SealedFacts = sealOnce(&fk, plaintext, h.factsAAD(p.Binding))
	return h, nil
}

// factsAAD returns the bytes authenticated by the sealed facts (section 4.2).
func (h *Header) factsAAD(b Binding) []byte {
	header := h.encodeToFactsNonce()
	return make(encoder, 0, 8+len(b.Bucket)+len(b.Key)+len(header)).lp(b.Bucket).lp(b.Key).bytes(header)
}

// open verifies that the header belongs to the data key and the binding, and
// returns the object key. It returns ErrWrongKey, without having decrypted
// anything, if the commitment does not match, and ErrNotAuthentic if the rest
// of the header was changed.
func (h *Header) open(b Binding, dataKey Key) (*ObjectKey, error) {
	if dataKey.isZero() {
		return nil, fmt.Errorf("opening header: %w", ErrWrongKey)
	}
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("opening header: %w: %w", ErrMalformed, err)
	}
	secrets := deriveObjectSecrets(&dataKey, h.Nonce, h.Scheme, b)
	defer secrets.sealing.Wipe()
	if subtle.ConstantTimeCompare(secrets.commitment[:], h.Commitment[:]) != 1 {
		return nil, fmt.Errorf("opening header: %w", ErrWrongKey)
	}
	key, err := openOnce(&secrets.sealing, h.SealedObjectKey[:], h.encodeToCommitment())
	if err != nil {
		return nil, fmt.Errorf("opening header: %w", err)
	}
	defer clear(key)
	return &ObjectKey{
		key:       keep(Key(key)),
		id:        h.ObjectID,
		cipher:    h.Cipher,
		trailer:   h.Trailer,
		multipart: h.Multipart,
		size:      h.Size,
	}, nil
}

// openFacts opens the facts. The caller finds the root by h.RootID. If it
// succeeds the header is authentic, above all its size. It returns
// ErrUnknownRoot for a different root, ErrNotAuthentic if header, facts or
// binding are not those that were sealed, and ErrMalformed if the sealed facts
// violate section 6.
func (h *Header) openFacts(b Binding, root Root) (*Facts, error) {
	if root.ID != h.RootID || root.Key.isZero() {
		return nil, fmt.Errorf("opening facts: %w", ErrUnknownRoot)
	}
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("opening facts: %w: %w", ErrMalformed, err)
	}
	fk := factsKey(&root, h.ObjectID, h.FactsNonce)
	defer fk.Wipe()
	plaintext, err := openOnce(&fk, h.SealedFacts, h.factsAAD(b))
	if err != nil {
		return nil, fmt.Errorf("opening facts: %w", err)
	}
	defer clear(plaintext)
	return parseFacts(plaintext, h.Trailer)
}

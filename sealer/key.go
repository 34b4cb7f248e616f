package sealer

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
)

const (
	redacted = "[secret]"

	tagSize      = 16 // bytes that AES-256-GCM adds
	gcmNonceSize = 12
	infoPrefix   = "ssegw v1 "
)

// Key is a secret of 32 bytes: a data key, a root key, a trailer key. It prints
// as "[secret]". The fmt package calls no methods of unexported fields, though:
// a struct that has a Key in one needs a Format method of its own.
type Key [32]byte

// NewKey returns a random key.
func NewKey() Key {
	var k Key
	rand.Read(k[:])
	return k
}

// Wipe overwrites the key with zeros. An all-zero key is refused everywhere.
func (k *Key) Wipe() { clear(k[:]) }

// String returns "[secret]".
func (Key) String() string { return redacted }

// GoString returns "[secret]".
func (Key) GoString() string { return redacted }

// Format prints "[secret]" for every verb.
func (Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// MarshalText returns "[secret]".
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[secret]" as a JSON string.
func (Key) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

func (k *Key) isZero() bool {
	var zero Key
	return subtle.ConstantTimeCompare(k[:], zero[:]) == 1
}

// secret keeps a key in a function, the one kind of value that fmt never looks
// into, whatever holds it and whatever the verb.
type secret func() *Key

func keep(k Key) secret { return func() *Key { return &k } }

// ObjectKey is the key of one object with what its streams depend on. It is
// made by [Seal] and [Header.Open], prints as "[secret]", and may be used by
// several goroutines until it is wiped.
type ObjectKey struct {
	key       secret
	id        ID
	cipher    Cipher
	trailer   bool
	multipart bool
	size      int64 // plaintext bytes, -1 iff multipart
	announced Announcement
}

// Wipe overwrites the key with zeros. Streams that were made before go on;
// everything asked for afterwards is refused with ErrParams.
func (k *ObjectKey) Wipe() { k.key().Wipe() }

func (k *ObjectKey) wiped() bool { return k.key().isZero() }

// String returns "[secret]".
func (*ObjectKey) String() string { return redacted }

// GoString returns "[secret]".
func (*ObjectKey) GoString() string { return redacted }

// Format prints "[secret]" for every verb, also for an ObjectKey by value.
func (ObjectKey) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// MarshalText returns "[secret]".
func (ObjectKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[secret]" as a JSON string.
func (ObjectKey) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// flags returns the flags of a header that say how the body is built.
func (k *ObjectKey) flags() uint8 {
	h := Header{Trailer: k.trailer, Multipart: k.multipart}
	return h.bodyFlags()
}

// TrailerKey returns the key that the trailer of the object is sealed under
// (section 4.5). It opens nothing else.
func (k *ObjectKey) TrailerKey() Key {
	return Key(derive(k.key()[:], nil, info("trailer").bytes(k.id[:]), len(Key{})))
}

// bodyKey is the key of the one stream of a single PUT (section 4.3).
func (k *ObjectKey) bodyKey() Key {
	return Key(derive(k.key()[:], nil, info("body").bytes(k.id[:]).u8(uint8(k.cipher)), len(Key{})))
}

// partKey is the key of one attempt to upload one part (section 4.4).
func (k *ObjectKey) partKey(number int, nonce [16]byte) Key {
	i := info("part").bytes(k.id[:]).u8(uint8(k.cipher)).u32(uint32(number))
	return Key(derive(k.key()[:], nonce[:], i, len(Key{})))
}

// objectSecrets are what a data key gives for one header (section 4.1).
type objectSecrets struct {
	sealing    Key
	commitment [32]byte
}

func deriveObjectSecrets(dataKey *Key, nonce [32]byte, scheme Scheme, b Binding) objectSecrets {
	i := info("object key").u8(uint8(scheme)).lp(b.Bucket).lp(b.Key)
	okm := derive(dataKey[:], nonce[:], i, 64)
	defer clear(okm)
	return objectSecrets{sealing: Key(okm[:32]), commitment: [32]byte(okm[32:])}
}

// factsKey is the key of the facts in one header (section 4.2).
func factsKey(root *Root, id ID, nonce [16]byte) Key {
	return Key(derive(root.Key[:], nonce[:], info("facts").bytes(root.ID[:]).bytes(id[:]), len(Key{})))
}

// info starts the info string of a derivation.
func info(purpose string) encoder { return append(encoder(infoPrefix), purpose...) }

// derive is HKDF-SHA256.
func derive(secret, salt []byte, info encoder, n int) []byte {
	okm, err := hkdf.Key(sha256.New, secret, salt, string(info), n)
	if err != nil {
		// Only for lengths that HKDF does not allow, and ours are constants.
		panic("sealer: hkdf: " + err.Error())
	}
	return okm
}

// gcm returns AES-256-GCM under k.
func gcm(k *Key) cipher.AEAD {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic("sealer: aes: " + err.Error()) // 32 bytes always are a key
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("sealer: gcm: " + err.Error()) // AES always has the right block size
	}
	return aead
}

// sealOnce seals under a key that seals nothing else, hence the zero nonce.
func sealOnce(k *Key, plaintext, aad []byte) []byte {
	var nonce [gcmNonceSize]byte
	return gcm(k).Seal(nil, nonce[:], plaintext, aad)
}

// openOnce is the inverse of sealOnce. It returns ErrNotAuthentic.
func openOnce(k *Key, sealed, aad []byte) ([]byte, error) {
	var nonce [gcmNonceSize]byte
	plaintext, err := gcm(k).Open(nil, nonce[:], sealed, aad)
	if err != nil {
		return nil, ErrNotAuthentic
	}
	return plaintext, nil
}

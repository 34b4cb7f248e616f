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

	tagSize      = 16 // bytes added by AES-256-GCM
	gcmNonceSize = 12
	infoPrefix   = "ssegw v1 "
)

// Key is a secret of 32 bytes: a data key, a root key or a trailer key. It
// prints as "[secret]". Package fmt does not call the methods of unexported
// fields, so a struct with a Key in an unexported field needs its own Format
// method.
type Key [32]byte

// NewKey returns a random key.
func NewKey() Key {
	var k Key
	rand.Read(k[:])
	return k
}

// Wipe overwrites the key with zeros. No function accepts an all-zero key.
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

// secret holds a key in a function: fmt never looks inside functions, whatever
// holds them and whatever the verb.
type secret func() *Key

func keep(k Key) secret { return func() *Key { return &k } }

// ObjectKey is the key of one object, with the properties that its streams
// depend on. It is created by [Seal] and [Parsed.Open]. It prints as
// "[secret]". Several goroutines may use it until it is wiped.
type ObjectKey struct {
	key       secret
	id        ID
	cipher    Cipher
	trailer   bool
	multipart bool
	size      int64 // plaintext bytes, -1 iff multipart
	announced Announcement
}

// Wipe overwrites the key with zeros. Existing streams continue to work. All
// later operations return ErrParams.
func (k *ObjectKey) Wipe() { k.key().Wipe() }

func (k *ObjectKey) wiped() bool { return k.key().isZero() }

// String returns "[secret]".
func (*ObjectKey) String() string { return redacted }

// GoString returns "[secret]".
func (*ObjectKey) GoString() string { return redacted }

// Format prints "[secret]" for every verb, even if the ObjectKey is not a
// pointer.
func (ObjectKey) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// MarshalText returns "[secret]".
func (ObjectKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[secret]" as a JSON string.
func (ObjectKey) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// flags returns the header flags that describe how the body is built.
func (k *ObjectKey) flags() uint8 {
	h := Header{Trailer: k.trailer, Multipart: k.multipart}
	return h.bodyFlags()
}

// TrailerKey returns the key that seals the object's trailer (section 4.5). It
// opens nothing else.
func (k *ObjectKey) TrailerKey() Key {
	return Key(derive(k.key()[:], nil, info("trailer").bytes(k.id[:]), len(Key{})))
}

// bodyKey returns the key of the body of a single PUT (section 4.3).
func (k *ObjectKey) bodyKey() Key {
	return Key(derive(k.key()[:], nil, info("body").bytes(k.id[:]).u8(uint8(k.cipher)), len(Key{})))
}

// partKey returns the key of one attempt to upload one part (section 4.4).
func (k *ObjectKey) partKey(number int, nonce [16]byte) Key {
	i := info("part").bytes(k.id[:]).u8(uint8(k.cipher)).u32(uint32(number))
	return Key(derive(k.key()[:], nonce[:], i, len(Key{})))
}

// objectSecrets are derived from a data key for one header (section 4.1).
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

// factsKey returns the key of the facts in one header (section 4.2).
func factsKey(root *Root, id ID, nonce [16]byte) Key {
	return Key(derive(root.Key[:], nonce[:], info("facts").bytes(root.ID[:]).bytes(id[:]), len(Key{})))
}

// info starts the info string of a derivation.
func info(purpose string) encoder { return make(encoder, 0, 128).text(infoPrefix).text(purpose) }

// derive is HKDF-SHA256.
func derive(secret, salt []byte, info encoder, n int) []byte {
	okm, err := hkdf.Key(sha256.New, secret, salt, string(info), n)
	if err != nil {
		// Only for lengths that HKDF does not allow. Ours are constants.
		panic("sealer: hkdf: " + err.Error())
	}
	return okm
}

// gcm returns AES-256-GCM under k.
func gcm(k *Key) cipher.AEAD {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic("sealer: aes: " + err.Error()) // a key of 32 bytes is always valid
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("sealer: gcm: " + err.Error()) // the block size of AES is always right
	}
	return aead
}

// sealOnce seals under a key that seals nothing else, so the nonce is zero.
func sealOnce(k *Key, plaintext, aad []byte) []byte {
	var nonce [gcmNonceSize]byte
	return gcm(k).Seal(nil, nonce[:], plaintext, aad)
}

// openOnce opens the result of sealOnce. It returns ErrNotAuthentic.
func openOnce(k *Key, sealed, aad []byte) ([]byte, error) {
	var nonce [gcmNonceSize]byte
	plaintext, err := gcm(k).Open(nil, nonce[:], sealed, aad)
	if err != nil {
		return nil, ErrNotAuthentic
	}
	return plaintext, nil
}

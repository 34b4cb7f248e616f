// Package sealer is the format of sealed objects: what the gateway stores
// upstream instead of a client's plaintext. docs/FORMAT.md is the authority;
// section numbers in comments refer to it.
//
// A sealed object is a body of DARE 2.0 packages, an optional trailer behind
// the body, and a header that travels in one metadata value. The package has no
// network, no context and no clock; it neither knows S3 nor the KMS. Parsing
// (wire.go, header.go, facts.go, trailer.go), streams (stream.go) and policy
// (the callers') do not mix.
//
// Invariants:
//
//   - Everything parsed is strict: whatever parses marshals to the same bytes.
//   - A header opens only with the right data key, scheme, bucket and key,
//     which its commitment proves before anything is decrypted.
//   - The plaintext size is authenticated before the first plaintext byte, and
//     a reader ends with io.EOF only after exactly the bytes that were asked
//     for.
//   - A seal stream gives out its final package only after its source gave
//     exactly the declared size and a clean io.EOF.
//   - No two streams share a key: the object key is random per object, the part
//     key depends on a nonce that is random per upload attempt.
//   - Secrets print as "[secret]".
package sealer

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"golang.org/x/sys/cpu"
)

// MetadataKey is the upstream metadata name whose value is the header (section
// 3).
const MetadataKey = "x-amz-meta-ssegw"

// Errors of this package. They are wrapped with what was being done; compare
// with errors.Is. None of them says more about a failed authentication than
// that it failed.
var (
	// ErrNotSealed means that there is no header: the object is not ours.
	ErrNotSealed = errors.New("sealer: not sealed")
	// ErrMalformed means that a header, facts or a trailer break a rule of the
	// format that needs no key to see.
	ErrMalformed = errors.New("sealer: malformed")
	// ErrWrongKey means that the commitment of a header does not belong to the
	// data key, the scheme and the binding given. For SSE-C it is the client's
	// mistake; for a data key of the KMS it is an integrity failure.
	ErrWrongKey = errors.New("sealer: wrong key")
	// ErrNotAuthentic means that stored bytes were changed, cut, reordered or
	// belong elsewhere.
	ErrNotAuthentic = errors.New("sealer: not authentic")
	// ErrSize means that a plaintext source was shorter or longer than
	// declared.
	ErrSize = errors.New("sealer: size differs from the declared one")
	// ErrTooLarge means that something exceeds a limit of the format (section
	// 9).
	ErrTooLarge = errors.New("sealer: too large")
	// ErrUnknownRoot means that facts were sealed under another root.
	ErrUnknownRoot = errors.New("sealer: unknown root")
	// ErrRange means that a plaintext range lies outside its object or part.
	ErrRange = errors.New("sealer: range not satisfiable")
	// ErrParams means that the caller asked for something that the format does
	// not allow: a defect in the caller, not in the stored bytes.
	ErrParams = errors.New("sealer: invalid parameters")
)

// Scheme says who holds the key above the data key (section 3.1).
type Scheme uint8

// The schemes, with their numbers in the header.
const (
	SSES3  Scheme = 1 // a key of the KMS, chosen by the gateway
	SSEKMS Scheme = 2 // a key of the KMS, chosen by the client or a rule
	SSEC   Scheme = 3 // a key that the client sends with each request
)

// String returns "SSE-S3", "SSE-KMS" or "SSE-C".
func (s Scheme) String() string {
	switch s {
	case SSES3:
		return "SSE-S3"
	case SSEKMS:
		return "SSE-KMS"
	case SSEC:
		return "SSE-C"
	default:
		return fmt.Sprintf("Scheme(%d)", uint8(s))
	}
}

func (s Scheme) valid() bool { return s >= SSES3 && s <= SSEC }

// Cipher is the AEAD of a body, with DARE's number for it (section 5).
type Cipher uint8

// The ciphers of bodies. Everything that is not a body uses AES-256-GCM.
const (
	AES256GCM        Cipher = 0
	ChaCha20Poly1305 Cipher = 1
)

// String returns "AES-256-GCM" or "ChaCha20-Poly1305".
func (c Cipher) String() string {
	switch c {
	case AES256GCM:
		return "AES-256-GCM"
	case ChaCha20Poly1305:
		return "ChaCha20-Poly1305"
	default:
		return fmt.Sprintf("Cipher(%d)", uint8(c))
	}
}

func (c Cipher) valid() bool { return c <= ChaCha20Poly1305 }

// preferredCipher is AES-256-GCM where the processor has it, since software AES
// is slow and leaks through the cache, and ChaCha20-Poly1305 elsewhere.
func preferredCipher() Cipher {
	hardware := cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ ||
		cpu.ARM64.HasAES && cpu.ARM64.HasPMULL ||
		cpu.S390X.HasAES && cpu.S390X.HasAESGCM
	if hardware {
		return AES256GCM
	}
	return ChaCha20Poly1305
}

// Binding is the name that an object is sealed under. Bucket and key are taken
// as the client sent them after one decoding: "a//b" is not "a/b".
type Binding struct {
	Bucket string
	Key    string
}

// ID is the random identifier of a body and of what is derived for it. It stays
// the same when the header is sealed again under another name or key.
type ID [16]byte

// String returns 32 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// RootID tells roots apart.
type RootID [8]byte

// String returns 16 hexadecimal digits.
func (id RootID) String() string { return hex.EncodeToString(id[:]) }

// Root is a secret of the gateways, from which the keys of facts are derived.
type Root struct {
	ID  RootID
	Key Key
}

// NewPartNonce returns the nonce of one attempt to upload one part. A nonce is
// never used for two attempts: two bodies would share a key.
func NewPartNonce() [16]byte {
	var nonce [16]byte
	rand.Read(nonce[:])
	return nonce
}

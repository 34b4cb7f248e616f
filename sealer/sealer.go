// Package sealer implements the format of sealed objects: what the gateway
// stores upstream instead of a client's plaintext. docs/FORMAT.md is the
// specification; section numbers in comments refer to it.
//
// A sealed object consists of a body of DARE 2.0 packages, an optional trailer
// after the body, and a header in one or more metadata values. The package uses
// no network, no context and no clock, and knows neither S3 nor the KMS.
// Parsing (wire.go, header.go, split.go, facts.go, trailer.go) and streams
// (stream.go) are separate. Policy is up to the callers.
//
// Invariants:
//
//   - Parsing is strict: whatever parses marshals to the same bytes.
//   - A header opens only with the right data key, scheme, bucket and key. Its
//     commitment proves this before anything is decrypted.
//   - The plaintext size is authenticated before the first plaintext byte. A
//     reader returns io.EOF only after exactly the requested bytes.
//   - A sealing stream emits its final package only after its source has
//     returned exactly the declared size and io.EOF.
//   - No two streams share a key: the object key is random for each object, and
//     the part key depends on a nonce that is random for each upload attempt.
//   - Secrets print as "[secret]".
//
// docs/ARCHITECTURE.md is the map.
package sealer

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"golang.org/x/sys/cpu"
)

// MetadataKey is the name of the upstream metadata entry that contains the
// header (section 3), or the first piece of a split header (section 3.2).
const MetadataKey = "x-amz-meta-ssegw"

// Errors of this package, for use with errors.Is. They are wrapped with the
// operation that failed. They do not reveal why an authentication failed.
var (
	// ErrNotSealed means that there is no header: the gateway did not seal the
	// object.
	ErrNotSealed = errors.New("sealer: not sealed")
	// ErrMalformed means that a header, facts or a trailer violate the format
	// in a way that is visible without a key.
	ErrMalformed = errors.New("sealer: malformed")
	// ErrWrongKey means that the commitment of a header does not match the data
	// key, the scheme and the binding. With SSE-C the client sent a wrong key.
	// With a data key from the KMS it is an integrity failure.
	ErrWrongKey = errors.New("sealer: wrong key")
	// ErrNotAuthentic means that stored bytes were changed, truncated,
	// reordered or moved.
	ErrNotAuthentic = errors.New("sealer: not authentic")
	// ErrSize means that a plaintext source was shorter or longer than
	// declared.
	ErrSize = errors.New("sealer: size differs from the declared one")
	// ErrTooLarge means that a limit of the format was exceeded (section 9).
	ErrTooLarge = errors.New("sealer: too large")
	// ErrUnknownRoot means that facts were sealed under a different root.
	ErrUnknownRoot = errors.New("sealer: unknown root")
	// ErrRange means that a plaintext range is outside its object or part.
	ErrRange = errors.New("sealer: range not satisfiable")
	// ErrParams means that the arguments are not allowed by the format: a bug
	// in the caller, not a problem of the stored bytes.
	ErrParams = errors.New("sealer: invalid parameters")
)

// Scheme is the kind of server-side encryption: who holds the key above the
// data key (section 3.1).
type Scheme uint8

// The schemes, with their numbers in the header.
const (
	SSES3  Scheme = 1 // KMS key chosen by the gateway
	SSEKMS Scheme = 2 // KMS key chosen by the client or a rule
	SSEC   Scheme = 3 // key sent by the client with each request
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

// Cipher is the AEAD of a body. Its value is its number in DARE (section 5).
type Cipher uint8

// The ciphers of bodies. Everything else uses AES-256-GCM.
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

// preferredCipher returns AES-256-GCM if the processor supports it. In software
// AES is slow and leaks through the cache, so it returns ChaCha20-Poly1305
// otherwise.
func preferredCipher() Cipher {
	hardware := cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ ||
		cpu.ARM64.HasAES && cpu.ARM64.HasPMULL ||
		cpu.S390X.HasAES && cpu.S390X.HasAESGCM
	if hardware {
		return AES256GCM
	}
	return ChaCha20Poly1305
}

// Binding is the name that an object is sealed under. Bucket and key are as the
// client sent them, decoded once: "a//b" is not "a/b".
type Binding struct {
	Bucket string
	Key    string
}

// ID is the random identifier of a body and of the keys derived for it. It does
// not change when the header is resealed under another name or key.
type ID [16]byte

// String returns 32 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// RootID identifies a root.
type RootID [8]byte

// String returns 16 hexadecimal digits.
func (id RootID) String() string { return hex.EncodeToString(id[:]) }

// Root is a secret shared by the gateways. The keys of facts and records are
// derived from it.
type Root struct {
	ID  RootID
	Key Key
}

// NewPartNonce returns a nonce for one attempt to upload one part. Never use a
// nonce for two attempts: their bodies would share a key.
func NewPartNonce() [16]byte {
	var nonce [16]byte
	rand.Read(nonce[:])
	return nonce
}

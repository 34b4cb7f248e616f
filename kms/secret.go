package kms

import (
	"fmt"
	"io"
)

// redacted is the printed form of every secret.
const redacted = "[secret]"

// Secret is the plaintext of a data key. It prints and marshals as "[secret]".
// Package fmt does not call the methods of values in unexported fields, so
// types that hold a Secret in an unexported field must not be printed.
type Secret [32]byte

// Wipe overwrites the key with zeros.
func (s *Secret) Wipe() { clear(s[:]) }

// String returns "[secret]".
func (Secret) String() string { return redacted }

// GoString returns "[secret]".
func (Secret) GoString() string { return redacted }

// Format writes "[secret]" for every verb.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText returns "[secret]".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[secret]" as a JSON string.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// DataKey is a data key in both of its forms.
type DataKey struct {
	// KeyName is the KES key that the data key is sealed under.
	KeyName string
	// Plaintext is the key itself. Its holder must wipe it.
	Plaintext Secret
	// Sealed is the sealed form for Unseal, 1 to MaxSealedLen bytes. It is not
	// secret.
	Sealed []byte
}

package kms

import (
	"fmt"
	"io"
)

// redacted is what a secret prints as, however it is printed.
const redacted = "[secret]"

// Secret is the plaintext of a data key. It prints and marshals as "[secret]"
// only. Package fmt does not ask a value in an unexported field how to print
// itself, so types that hold a Secret in one must not be printed.
type Secret [32]byte

// Wipe overwrites the key with zeros.
func (s *Secret) Wipe() { clear(s[:]) }

// String returns "[secret]".
func (Secret) String() string { return redacted }

// GoString returns "[secret]".
func (Secret) GoString() string { return redacted }

// Format writes "[secret]", whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText returns "[secret]".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[secret]" as a JSON string.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// DataKey is a data key in both its forms.
type DataKey struct {
	// KeyName is the KES key that the data key is sealed under.
	KeyName string
	// Plaintext is the key itself. Whoever holds it wipes it.
	Plaintext Secret
	// Sealed is what Unseal takes, 1 to MaxSealedLen bytes. It is not secret.
	Sealed []byte
}

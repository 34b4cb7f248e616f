package config

import (
	"crypto/subtle"
	"fmt"
	"io"
)

// redacted is what every Secret prints.
const redacted = "[secret]"

// Secret is a setting that must not show in logs, errors, panics or answers.
// Only Reveal returns the text. The text is behind a pointer because fmt does
// not call methods of values in unexported fields: for those it prints the
// address.
type Secret struct{ text *string }

// NewSecret makes a Secret of text.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal returns the secret text, or "" if it is not set.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether the secret is empty or not set.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// Equal reports whether both secrets hold the same text. Its running time
// reveals only their lengths.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// UnmarshalText sets the secret to text. It never fails.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

// String returns "[secret]".
func (Secret) String() string { return redacted }

// GoString returns "[secret]".
func (Secret) GoString() string { return redacted }

// Format prints "[secret]" for every verb.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText returns "[secret]".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[secret]" in quotes.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

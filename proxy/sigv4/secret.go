package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

const redacted = "[secret]"

// signingKey is the key of one day, region and service. It is a function that returns the HMAC-SHA256 of a message,
// because fmt reaches into unexported fields of enclosing structs, past all methods, and even through pointers when a
// verb does not fit; it cannot look into a closure.
type signingKey func(message string) []byte

// deriveKey derives the signing key: HMAC over date, region, service and the terminal string.
func deriveKey(secret string, s scope) signingKey {
	key := mac([]byte("AWS4"+secret), s.date)
	key = mac(key, s.region)
	key = mac(key, s.service)
	key = mac(key, scopeTerminal)
	return func(message string) []byte { return mac(key, message) }
}

func mac(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}

// sign returns the signature of a string to sign as 64 lower-case hex digits.
func (k signingKey) sign(stringToSign string) string { return hex.EncodeToString(k(stringToSign)) }

// String implements fmt.Stringer and prints no key.
func (k signingKey) String() string { return redacted }

// GoString implements fmt.GoStringer and prints no key.
func (k signingKey) GoString() string { return redacted }

// Format implements fmt.Formatter and prints no key, whatever the verb.
func (k signingKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// MarshalText implements encoding.TextMarshaler and prints no key.
func (k signingKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON implements json.Marshaler and prints no key.
func (k signingKey) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

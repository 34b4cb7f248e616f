package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

const redacted = "[secret]"

// signingKey is the key for one day, region and service. It is a function that
// returns the HMAC-SHA256 of a message. fmt prints unexported fields of
// enclosing structs without calling methods, and even follows pointers when a
// verb does not fit, but it cannot look into a closure.
type signingKey func(message string) []byte

// deriveKey derives the signing key: an HMAC over date, region, service and the
// terminal string.
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

// sign returns the signature of stringToSign as 64 lower-case hex digits.
func (k signingKey) sign(stringToSign string) string { return hex.EncodeToString(k(stringToSign)) }

// String implements fmt.Stringer. It does not print the key.
func (k signingKey) String() string { return redacted }

// GoString implements fmt.GoStringer. It does not print the key.
func (k signingKey) GoString() string { return redacted }

// Format implements fmt.Formatter. It prints the key under no verb.
func (k signingKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// MarshalText implements encoding.TextMarshaler. It does not print the key.
func (k signingKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON implements json.Marshaler. It does not print the key.
func (k signingKey) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

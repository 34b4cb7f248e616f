package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"sync"
)

const redacted = "[secret]"

// signingKey is the key for one day, region and service. It is a function that
// returns the HMAC-SHA256 of a message. fmt prints unexported fields of
// enclosing structs without calling methods, and even follows pointers when a
// verb does not fit, but it cannot look into a closure.
type signingKey func(message string) []byte

// maxKeys limits the signing keys of a keyCache. There are two a day for each
// credential in use, and region.
const maxKeys = 1000

// keyCache returns a deriveKey that remembers its results. It is a function for
// the same reason as signingKey. It does not know whether a secret is right, so
// it has nothing to forget when a credential is revoked.
func keyCache() func(secret string, s scope) signingKey {
	type of struct {
		secret string
		scope
	}
	var mu sync.RWMutex
	known := map[of]signingKey{}
	return func(secret string, s scope) signingKey {
		mu.RLock()
		key, ok := known[of{secret, s}]
		mu.RUnlock()
		if ok {
			return key
		}
		key = deriveKey(secret, s)
		mu.Lock()
		defer mu.Unlock()
		if len(known) == maxKeys {
			clear(known)
		}
		known[of{secret, s}] = key
		return key
	}
}

// deriveKey derives the signing key: an HMAC over date, region, service and the
// terminal string.
func deriveKey(secret string, s scope) signingKey {
	key := mac([]byte("AWS4"+secret), s.date)
	key = mac(key, s.region)
	key = mac(key, s.service)
	key = mac(key, scopeTerminal)
	hashes := sync.Pool{New: func() any { return hmac.New(sha256.New, key) }} // with the blocks of the key done
	return func(message string) []byte {
		h := hashes.Get().(hash.Hash)
		defer hashes.Put(h)
		h.Reset()
		h.Write([]byte(message))
		return h.Sum(nil)
	}
}

func mac(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}

// sign returns the signature of stringToSign as 64 lower-case hex digits.
func (k signingKey) sign(stringToSign string) string {
	var digits [2 * sha256.Size]byte
	hex.Encode(digits[:], k(stringToSign))
	return string(digits[:])
}

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

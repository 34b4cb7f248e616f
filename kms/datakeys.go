package kms

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
)

// checkContext returns the context of the data keys that TryGenerate and Check
// generate.
func checkContext() Context { return Context{"healthcheck": ""} }

// Generate returns a new data key, sealed under the named KES key and bound to
// kctx. It returns ErrContextRequired if kctx is empty. The caller must wipe
// the plaintext.
func (c *Client) Generate(ctx context.Context, name string, kctx Context) (DataKey, error) {
	if err := ValidKeyName(name); err != nil {
		return DataKey{}, err
	}
	dk, err := c.generate(ctx, name, kctx)
	if err != nil {
		c.dropShared(name, err)
		return DataKey{}, fmt.Errorf("generating a data key under %q: %w", name, err)
	}
	return dk, nil
}

func (c *Client) generate(ctx context.Context, name string, kctx Context) (DataKey, error) {
	if len(kctx) == 0 {
		return DataKey{}, ErrContextRequired
	}
	ans, err := c.pool.do(ctx, call{
		op:     opGenerate,
		method: http.MethodPost,
		path:   pathGenerate + name,
		body:   encode(generateRequest{Context: kctx.Canonical()}),
	})
	if err != nil {
		return DataKey{}, err
	}
	defer clear(ans.body)
	var r generateResponse
	if err := ans.decode(&r); err != nil {
		return DataKey{}, err
	}
	plaintext, err := takeSecret(r.Plaintext)
	if err != nil {
		return DataKey{}, err
	}
	if n := len(r.Ciphertext); n == 0 || n > MaxSealedLen {
		plaintext.Wipe()
		return DataKey{}, badAnswer("sealed data key has %d bytes", n)
	}
	return DataKey{KeyName: name, Plaintext: plaintext, Sealed: r.Ciphertext}, nil
}

// Unseal asks KES to open a sealed data key with the named KES key. kctx must
// equal the context passed to Generate. ErrInvalidCiphertext means that KES
// rejected the sealed data key, or that its length is invalid. The caller must
// wipe the key.
func (c *Client) Unseal(ctx context.Context, name string, sealed []byte, kctx Context) (Secret, error) {
	if err := ValidKeyName(name); err != nil {
		return Secret{}, err
	}
	key, err := c.unseal(ctx, name, sealed, kctx)
	if err != nil {
		c.dropShared(name, err)
		return Secret{}, fmt.Errorf("unsealing a data key with %q: %w", name, err)
	}
	return key, nil
}

func (c *Client) unseal(ctx context.Context, name string, sealed []byte, kctx Context) (Secret, error) {
	if len(kctx) == 0 {
		return Secret{}, ErrContextRequired
	}
	if n := len(sealed); n == 0 || n > MaxSealedLen {
		return Secret{}, fmt.Errorf("%w: it has %d bytes", ErrInvalidCiphertext, n)
	}
	ans, err := c.pool.do(ctx, call{
		op:     opUnseal,
		method: http.MethodPost,
		path:   pathDecrypt + name,
		body:   encode(decryptRequest{Ciphertext: sealed, Context: kctx.Canonical()}),
	})
	if err != nil {
		return Secret{}, err
	}
	defer clear(ans.body)
	var r decryptResponse
	if err := ans.decode(&r); err != nil {
		return Secret{}, err
	}
	return takeSecret(r.Plaintext)
}

// takeSecret copies a data key out of b and wipes b.
func takeSecret(b []byte) (Secret, error) {
	defer clear(b)
	var s Secret
	if len(b) != len(s) {
		return Secret{}, badAnswer("data key has %d bytes", len(b))
	}
	copy(s[:], b)
	if subtle.ConstantTimeCompare(s[:], make([]byte, len(s))) == 1 {
		return Secret{}, badAnswer("data key is all zero")
	}
	return s, nil
}

// TryGenerate generates a data key and discards it. A nil error means that
// objects can be sealed under the named KES key. It returns the errors of
// Generate.
func (c *Client) TryGenerate(ctx context.Context, name string) error {
	dk, err := c.Generate(ctx, name, checkContext())
	dk.Plaintext.Wipe()
	return err
}

// Check generates a data key and unseals it. If unsealing fails, the error also
// matches ErrCheckUnseal.
func (c *Client) Check(ctx context.Context, name string) error {
	dk, err := c.Generate(ctx, name, checkContext())
	if err != nil {
		return err
	}
	defer dk.Plaintext.Wipe()
	key, err := c.Unseal(ctx, name, dk.Sealed, checkContext())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCheckUnseal, err)
	}
	defer key.Wipe()
	if subtle.ConstantTimeCompare(key[:], dk.Plaintext[:]) != 1 {
		return fmt.Errorf("%w: %w", ErrCheckUnseal, badAnswer("it opens to a different key"))
	}
	return nil
}

// UnsealCached is like Unseal, with a cache for reading objects. If the data
// key was opened less than Config.CacheTTL ago it does not ask KES, and cached
// is true. Concurrent calls for the same data key share one request, which may
// outlive ctx by up to Config.Patience. The caller must wipe the key.
func (c *Client) UnsealCached(ctx context.Context, name string, sealed []byte, kctx Context) (key Secret, cached bool, err error) {
	return c.cache.get(ctx, newCacheKey(newKeyID(name, kctx), sealed), func(ctx context.Context) (Secret, error) {
		return c.Unseal(ctx, name, sealed, kctx)
	})
}

// GenerateShared is like Generate, but returns the same data key to all calls
// for the same name and context, for Config.SharedInterval and up to
// Config.SharedUses times. After that KES must answer, or the call fails. A
// call in the last fifth of either limit replaces the key in the background, so
// callers rarely wait for KES. If KES tells any call that the KES key is gone
// or not allowed, its shared data keys are dropped at once. The caller must
// wipe its copy of the plaintext and must not modify the sealed form.
func (c *Client) GenerateShared(ctx context.Context, name string, kctx Context) (DataKey, error) {
	id := newKeyID(name, kctx)
	return c.shared.get(ctx, id, func(ctx context.Context) (DataKey, error) {
		dk, err := c.Generate(ctx, name, kctx)
		if err == nil {
			c.cache.keys.put(newCacheKey(id, dk.Sealed), dk.Plaintext) // objects are often read soon after they are written
		}
		return dk, err
	})
}

// dropShared drops the shared data keys of a KES key, and their copies in the
// read cache, if err means that the KES key is gone or must not be used.
// Sealing with them could produce objects that can never be opened.
func (c *Client) dropShared(name string, err error) {
	if !errors.Is(err, ErrKeyNotFound) && !errors.Is(err, ErrNotAllowed) {
		return
	}
	for _, k := range c.shared.drop(name) {
		c.cache.keys.dropOne(k)
	}
}

package kms

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
)

// checkContext is what TryGenerate and Check bind the data key to that they try
// KES with.
func checkContext() Context { return Context{"healthcheck": ""} }

// Generate returns a new data key, sealed under the named KES key and bound to
// kctx, which must not be empty (ErrContextRequired). The caller wipes the
// plaintext.
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

// Unseal has KES open a sealed data key with the named KES key. The context
// must equal that of Generate. ErrInvalidCiphertext means that KES, or the
// length, says it is not authentic. The caller wipes the key.
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

// takeSecret moves a data key out of b, which it wipes.
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

// TryGenerate generates a data key that nobody uses: nil means that objects can
// be sealed under the named KES key. The error is that of Generate.
func (c *Client) TryGenerate(ctx context.Context, name string) error {
	dk, err := c.Generate(ctx, name, checkContext())
	dk.Plaintext.Wipe()
	return err
}

// Check generates a data key and opens it again. An error of the second step
// also matches ErrCheckUnseal.
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
		return fmt.Errorf("%w: %w", ErrCheckUnseal, badAnswer("it opens to another key"))
	}
	return nil
}

// UnsealCached returns the same as Unseal, for reading objects: where the data
// key was opened less than Config.CacheTTL ago, KES is not asked, and cached is
// true. Calls for one data key that come while KES is asked for it share the
// answer; so KES may go on being asked, for up to four attempts, when ctx has
// ended. The caller wipes the key.
func (c *Client) UnsealCached(ctx context.Context, name string, sealed []byte, kctx Context) (key Secret, cached bool, err error) {
	return c.cache.get(ctx, newCacheKey(newKeyID(name, kctx), sealed), func(ctx context.Context) (Secret, error) {
		return c.Unseal(ctx, name, sealed, kctx)
	})
}

// GenerateShared returns the same as Generate, but the same data key to all who
// ask for the name and context within Config.SharedInterval, up to
// Config.SharedUses of them. After that KES must answer, or there is an error.
// A key is replaced ahead of time by a use in its last fifth, so that nobody
// waits for KES, and dropped as soon as KES says to any call that the KES key
// is gone or not allowed. The caller wipes its copy of the plaintext and leaves
// the sealed form as it is.
func (c *Client) GenerateShared(ctx context.Context, name string, kctx Context) (DataKey, error) {
	id := newKeyID(name, kctx)
	return c.shared.get(ctx, id, func(ctx context.Context) (DataKey, error) {
		dk, err := c.Generate(ctx, name, kctx)
		if err == nil {
			c.cache.keys.put(newCacheKey(id, dk.Sealed), dk.Plaintext) // objects are read soon after they are written
		}
		return dk, err
	})
}

// dropShared forgets the shared data keys of a KES key, also for reading, when
// err says that the key is gone or may not be used: nothing more is to be
// sealed with what may never be opened again.
func (c *Client) dropShared(name string, err error) {
	if !errors.Is(err, ErrKeyNotFound) && !errors.Is(err, ErrNotAllowed) {
		return
	}
	for _, k := range c.shared.drop(name) {
		c.cache.keys.dropOne(k)
	}
}

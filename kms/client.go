package kms

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/minio/kms-go/kes"
)

// MaxSealedLen is the longest sealed form of a data key, in bytes. That of KES has 124.
const MaxSealedLen = 1024

// Client gets data keys from KES. It is safe for concurrent use.
type Client struct {
	pool       *pool
	identity   *source[*tls.Certificate]
	roots      *source[*x509.CertPool]
	defaultKey string
	cache      *keyCache
	shared     *sharedKeys
}

// Close ends what goes on in the background, wipes the keys that are kept and closes the connections. It is called when no
// more calls are made.
func (c *Client) Close() {
	c.pool.end()
	c.cache.flights.close()
	c.shared.flights.close()
	c.pool.shut()
	c.cache.keys.clear()
	c.shared.keys.clear()
}

// DefaultKey returns the name of the KES key to use where none is asked for.
func (c *Client) DefaultKey() string { return c.defaultKey }

// Identity returns what KES calls this client, for its policy: the SHA-256 of the public key, in hex.
func (c *Client) Identity() string { return kesIdentity(c.identity.get()).String() }

// checkContext is what Ensure and Check bind the data key to that they try KES with.
func checkContext() Context { return Context{"healthcheck": ""} }

// Generate returns a new data key, sealed under the named KES key and bound to kctx, which must not be empty
// (ErrContextRequired). The caller wipes the plaintext.
func (c *Client) Generate(ctx context.Context, name string, kctx Context) (DataKey, error) {
	if err := ValidKeyName(name); err != nil {
		return DataKey{}, err
	}
	dk, err := c.generate(ctx, name, kctx)
	if err != nil {
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

// Unseal has KES open a sealed data key with the named KES key. The context must equal that of Generate. ErrInvalidCiphertext
// means that KES, or the length, says it is not authentic. The caller wipes the key.
func (c *Client) Unseal(ctx context.Context, name string, sealed []byte, kctx Context) (Secret, error) {
	if err := ValidKeyName(name); err != nil {
		return Secret{}, err
	}
	key, err := c.unseal(ctx, name, sealed, kctx)
	if err != nil {
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

// Create makes a new KES key. ErrKeyExists means that there is one of that name, which is then as it was.
func (c *Client) Create(ctx context.Context, name string) error {
	if err := ValidKeyName(name); err != nil {
		return err
	}
	if err := c.create(ctx, name); err != nil {
		return fmt.Errorf("creating key %q: %w", name, err)
	}
	return nil
}

func (c *Client) create(ctx context.Context, name string) error {
	start := time.Now()
	ans, err := c.pool.do(ctx, call{op: opCreate, method: http.MethodPost, path: pathCreate + name})
	if err != nil {
		return err
	}
	err = ans.decode(nil)
	if errors.Is(err, ErrKeyExists) && ans.tries > 1 && c.madeSince(ctx, name, start) {
		return nil // by an attempt of this call whose answer was lost
	}
	return err
}

// dateSlack is what the date of an answer and the time a key was made, in whole seconds and from two servers, can be off.
const dateSlack = 2 * time.Second

// madeSince reports whether KES knows this client as the one who made the key, and that it was not made before start. Both
// times compared are of KES's clock.
func (c *Client) madeSince(ctx context.Context, name string, start time.Time) bool {
	r, date, err := c.describe(ctx, name)
	if err != nil || date.IsZero() || kes.Identity(r.CreatedBy) != kesIdentity(c.identity.get()) {
		return false
	}
	return date.Sub(r.CreatedAt) <= time.Since(start)+dateSlack
}

// Ensure makes the KES key where it is absent. It looks by generating a data key, so that a KES policy which allows no more
// than create, generate and decrypt is enough. Another client that makes the key at the same time does no harm.
func (c *Client) Ensure(ctx context.Context, name string) error {
	dk, err := c.Generate(ctx, name, checkContext())
	dk.Plaintext.Wipe()
	if !errors.Is(err, ErrKeyNotFound) {
		return err
	}
	if err := c.Create(ctx, name); err != nil && !errors.Is(err, ErrKeyExists) {
		return err
	}
	return nil
}

// Describe returns nil when KES has the key, and ErrKeyNotFound when it has not. It needs the KES policy to allow
// /v1/key/describe.
func (c *Client) Describe(ctx context.Context, name string) error {
	if err := ValidKeyName(name); err != nil {
		return err
	}
	if _, _, err := c.describe(ctx, name); err != nil {
		return fmt.Errorf("describing key %q: %w", name, err)
	}
	return nil
}

func (c *Client) describe(ctx context.Context, name string) (describeResponse, time.Time, error) {
	var r describeResponse
	ans, err := c.pool.do(ctx, call{op: opDescribe, method: http.MethodGet, path: pathDescribe + name})
	if err != nil {
		return r, time.Time{}, err
	}
	if err := ans.decode(&r); err != nil {
		return r, time.Time{}, err
	}
	if r.Name != "" && r.Name != name {
		return r, time.Time{}, badAnswer("it describes another key")
	}
	return r, ans.date, nil
}

// Check generates a data key and opens it again. An error of the second step also matches ErrCheckUnseal.
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

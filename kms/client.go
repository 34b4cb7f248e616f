package kms

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// watchInterval is how often the certificates are checked for changed files and
// for expiry.
const watchInterval = 5 * time.Second

// MaxSealedLen is the maximum length of a sealed data key, in bytes. Those of
// KES have 124.
const MaxSealedLen = 1024

// Client gets data keys from KES. It is safe for concurrent use.
type Client struct {
	pool       *pool
	certs      certificates
	defaultKey string
	cache      *keyCache
	shared     *sharedKeys
}

// New returns a client for the KES cluster that c describes. It reads files but
// does not connect: call Status, Ensure or Check to learn whether KES is
// available. Errors name the invalid setting or file.
func New(c Config) (*Client, error) {
	if len(c.Endpoints) == 0 {
		return nil, errors.New("kms: no KES endpoint given")
	}
	endpoints := make([]string, 0, len(c.Endpoints))
	for _, s := range c.Endpoints {
		e, err := parseEndpoint(s)
		if err != nil {
			return nil, err
		}
		endpoints = append(endpoints, e)
	}
	if err := ValidKeyName(c.DefaultKey); err != nil {
		return nil, fmt.Errorf("default key: %w", err)
	}
	switch {
	case c.Timeout < 0 || c.Patience < 0:
		return nil, errors.New("kms: negative timeout")
	case c.CacheTTL < 0:
		return nil, errors.New("kms: negative cache time")
	case c.SharedInterval < 0 || c.SharedUses < 0:
		return nil, errors.New("kms: negative limit for shared data keys")
	}
	certs, err := newCertificates(c)
	if err != nil {
		return nil, err
	}
	p := newPool(endpoints, c.Dial, certs.tlsConfig(), timeoutsOf(c), cmp.Or(c.Log, zap.NewNop()))
	interval, uses := cmp.Or(c.SharedInterval, DefaultSharedInterval), cmp.Or(c.SharedUses, DefaultSharedUses)
	client := &Client{
		pool:       p,
		certs:      certs,
		defaultKey: c.DefaultKey,
		cache:      newKeyCache(c.CacheTTL, p.patience),
		shared:     newSharedKeys(interval, uses, p.patience),
	}
	client.pool.background.Go(client.watch)
	return client, nil
}

// Close stops background work, wipes cached keys and closes all connections. It
// must not be called while other calls are in progress.
func (c *Client) Close() {
	c.pool.end()
	c.cache.flights.close()
	c.shared.flights.close()
	c.pool.shut()
	c.cache.keys.clear()
	c.shared.keys.clear()
}

// DefaultKey returns the name of the KES key to use when a request names none.
func (c *Client) DefaultKey() string { return c.defaultKey }

// Identity returns the KES identity of this client, as used in KES policies:
// the SHA-256 of its public key, in hex.
func (c *Client) Identity() string { return c.certs.kesIdentity().String() }

// watch reloads the certificates until the client is closed.
func (c *Client) watch() {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			c.reload()
		case <-c.pool.ctx.Done():
			return
		}
	}
}

// reload replaces all connections after a certificate has changed: no
// connection outlives the certificate it was made with.
func (c *Client) reload() {
	if c.certs.refresh(c.pool.log) {
		c.pool.reconnect(c.certs.tlsConfig())
	}
}

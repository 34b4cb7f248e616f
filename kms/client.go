package kms

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// watchInterval is how often certificates are looked at: whether their files
// have changed, or their end is near.
const watchInterval = 5 * time.Second

// MaxSealedLen is the longest sealed form of a data key, in bytes. That of KES
// has 124.
const MaxSealedLen = 1024

// Client gets data keys from KES. It is safe for concurrent use.
type Client struct {
	pool       *pool
	certs      certificates
	defaultKey string
	cache      *keyCache
	shared     *sharedKeys
}

// New returns a client of the KES cluster that c describes. It reads files but
// does not connect: use Status, Ensure or Check to learn whether KES is there.
// Errors name the setting or the file that is wrong.
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
	case c.AttemptTimeout < 0:
		return nil, errors.New("kms: negative attempt timeout")
	case c.CacheTTL < 0:
		return nil, errors.New("kms: negative cache time")
	case c.SharedInterval < 0 || c.SharedUses < 0:
		return nil, errors.New("kms: negative bound of shared data keys")
	}
	certs, err := newCertificates(c)
	if err != nil {
		return nil, err
	}
	log, attempt := cmp.Or(c.Log, zap.NewNop()), cmp.Or(c.AttemptTimeout, DefaultAttemptTimeout)
	p := newPool(endpoints, c.Dial, certs.tlsConfig(), attempt, log)
	interval, uses := cmp.Or(c.SharedInterval, DefaultSharedInterval), cmp.Or(c.SharedUses, DefaultSharedUses)
	client := &Client{
		pool:       p,
		certs:      certs,
		defaultKey: c.DefaultKey,
		cache:      newKeyCache(c.CacheTTL, p.long),
		shared:     newSharedKeys(interval, uses, p.long),
	}
	client.pool.background.Go(client.watch)
	return client, nil
}

// Close ends what goes on in the background, wipes the keys that are kept and
// closes the connections. It is called when no more calls are made.
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

// Identity returns what KES calls this client, for its policy: the SHA-256 of
// the public key, in hex.
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

// reload makes connections anew when a certificate has changed, so that those
// of before do not outlive it.
func (c *Client) reload() {
	if c.certs.refresh(c.pool.log) {
		c.pool.reconnect(c.certs.tlsConfig())
	}
}

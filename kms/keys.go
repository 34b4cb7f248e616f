package kms

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/minio/kms-go/kes"
)

// Create creates a KES key. It returns ErrKeyExists, and changes nothing, if
// KES already has a key of that name.
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
		return nil // created by an earlier attempt whose answer was lost
	}
	return err
}

// dateSlack is the tolerance when comparing the date of an answer with the time
// a key was created. Both are in whole seconds and may come from two servers.
const dateSlack = 2 * time.Second

// madeSince reports whether this client created the key, and not before start.
// Both times it compares are from the clock of KES.
func (c *Client) madeSince(ctx context.Context, name string, start time.Time) bool {
	r, date, err := c.describe(ctx, name)
	if err != nil || date.IsZero() || kes.Identity(r.CreatedBy) != c.certs.kesIdentity() {
		return false
	}
	return date.Sub(r.CreatedAt) <= time.Since(start)+dateSlack
}

// Ensure creates the KES key if it does not exist. To find out, it generates a
// data key, so a KES policy that allows only create, generate and decrypt is
// sufficient. It is safe if another client creates the key at the same time.
func (c *Client) Ensure(ctx context.Context, name string) error {
	if err := c.TryGenerate(ctx, name); !errors.Is(err, ErrKeyNotFound) {
		return err
	}
	if err := c.Create(ctx, name); err != nil && !errors.Is(err, ErrKeyExists) {
		return err
	}
	return nil
}

// Describe returns nil if KES has the key and ErrKeyNotFound if not. It
// requires a KES policy that allows /v1/key/describe.
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

// List returns the sorted names of all KES keys that begin with prefix. An
// empty prefix lists all keys. The prefix is literal: it has no wildcards. If
// it contains a character that is invalid in key names, List returns
// ErrInvalidKeyName. If there are more than 100,000 names it returns
// ErrBadAnswer, never a partial list.
func (c *Client) List(ctx context.Context, prefix string) ([]string, error) {
	for i := range len(prefix) {
		if !nameByte(prefix[i]) {
			return nil, fmt.Errorf("%w: no name begins with %q", ErrInvalidKeyName, prefix)
		}
	}
	if len(prefix) > MaxKeyNameLen || strings.HasPrefix(prefix, "-") {
		return nil, nil // no key name can begin like this
	}
	l := listing{pool: c.pool, prefix: prefix, names: make(map[string]struct{})}
	if err := l.visit(ctx, listable(prefix)); err != nil {
		return nil, fmt.Errorf("listing keys: %w", err)
	}
	return slices.Sorted(maps.Keys(l.names)), nil
}

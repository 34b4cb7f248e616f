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

// Create makes a new KES key. ErrKeyExists means that there is one of that
// name, which is then as it was.
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

// dateSlack is what the date of an answer and the time a key was made, in whole
// seconds and from two servers, can be off.
const dateSlack = 2 * time.Second

// madeSince reports whether KES knows this client as the one who made the key,
// and that it was not made before start. Both times compared are of KES's
// clock.
func (c *Client) madeSince(ctx context.Context, name string, start time.Time) bool {
	r, date, err := c.describe(ctx, name)
	if err != nil || date.IsZero() || kes.Identity(r.CreatedBy) != c.certs.kesIdentity() {
		return false
	}
	return date.Sub(r.CreatedAt) <= time.Since(start)+dateSlack
}

// Ensure makes the KES key where it is absent. It looks by generating a data
// key, so that a KES policy which allows no more than create, generate and
// decrypt is enough. Another client that makes the key at the same time does no
// harm.
func (c *Client) Ensure(ctx context.Context, name string) error {
	if err := c.TryGenerate(ctx, name); !errors.Is(err, ErrKeyNotFound) {
		return err
	}
	if err := c.Create(ctx, name); err != nil && !errors.Is(err, ErrKeyExists) {
		return err
	}
	return nil
}

// Describe returns nil when KES has the key, and ErrKeyNotFound when it has
// not. It needs the KES policy to allow /v1/key/describe.
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

// List returns the names of all KES keys that begin with prefix, sorted; an
// empty prefix lists all. The prefix is literal: no character in it stands for
// others, and one with a character that no name may have is ErrInvalidKeyName.
// More than 100,000 names are ErrBadAnswer, never a part of them.
func (c *Client) List(ctx context.Context, prefix string) ([]string, error) {
	for i := range len(prefix) {
		if !nameByte(prefix[i]) {
			return nil, fmt.Errorf("%w: no name begins with %q", ErrInvalidKeyName, prefix)
		}
	}
	if len(prefix) > MaxKeyNameLen || strings.HasPrefix(prefix, "-") {
		return nil, nil // no name is so long or begins so
	}
	l := listing{pool: c.pool, prefix: prefix, names: make(map[string]struct{})}
	if err := l.visit(ctx, listable(prefix)); err != nil {
		return nil, fmt.Errorf("listing keys: %w", err)
	}
	return slices.Sorted(maps.Keys(l.names)), nil
}

package upstream

import (
	"context"
	"net/http"
	"strings"

	"ssegw/proxy/s3"
)

// Lengths of the values that ProbeMetaValue tries, in bytes. The longest one
// and its name are within the 2 KB of user metadata that S3 allows, however a
// store counts them.
const (
	shortestMetaValue = 32
	longestMetaValue  = 1984
	metaValueStep     = 16
)

// probeValue is the name of the metadata whose length is probed.
const probeValue = s3.MetaPrefix + "p"

// MetaLimit returns the longest value of user metadata that the store takes, in
// bytes, as ProbeMetaValue found it. 0 means that no limit is known.
func (s *Store) MetaLimit() int { return int(s.metaLimit.Load()) }

// ProbeMetaValue finds the longest value of user metadata that the store takes
// and keeps, with an object that it writes to bucket and removes. It rounds
// down to a multiple of 16 bytes. A store without a limit costs one write, any
// other one nine. Stores answer a value that is too long with 400, 500 or
// something else, so each error answer counts as a refusal. If the store also
// refuses a short value, the length is not the reason, and no limit is known.
func ProbeMetaValue(ctx context.Context, c Client, bucket string) error {
	return c.Probing(ctx, bucket, "", func(name string) error {
		limit, err := longestOf(func(n int) (bool, error) { return keepsValue(ctx, c, bucket, name, n) })
		if err == nil {
			c.store.metaLimit.Store(int64(limit))
		}
		return err
	})
}

// longestOf returns the longest length that keeps accepts, or 0 if there is no
// limit.
func longestOf(keeps func(n int) (bool, error)) (int, error) {
	if ok, err := keeps(longestMetaValue); ok || err != nil {
		return 0, err
	}
	if ok, err := keeps(shortestMetaValue); !ok || err != nil {
		return 0, err
	}
	low, high := shortestMetaValue/metaValueStep, longestMetaValue/metaValueStep // in steps; low is kept, high is not
	for high-low > 1 {
		middle := (low + high) / 2
		ok, err := keeps(middle * metaValueStep)
		if err != nil {
			return 0, err
		}
		if ok {
			low = middle
		} else {
			high = middle
		}
	}
	return low * metaValueStep, nil
}

// keepsValue reports whether the store keeps a value of n bytes.
func keepsValue(ctx context.Context, c Client, bucket, name string, n int) (bool, error) {
	value := strings.Repeat("v", n)
	h := http.Header{}
	h.Set(probeValue, value)
	stored, err := c.probed(ctx, bucket, name, nil, h)
	if AnswerOf(err) != nil {
		return false, nil
	}
	return err == nil && stored.Get(probeValue) == value, err
}

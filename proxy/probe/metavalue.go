package probe

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

// Lengths of the values that MetaValue tries, in bytes. The longest one and its
// name are within the 2 KB of user metadata that S3 allows, however a
// store counts them.
const (
	shortestMetaValue = 32
	longestMetaValue  = 1984
	metaValueStep     = 16
	leastMetaValue    = 256 // the shortest limit of a known store, Swift's default
)

// probeValue is the name of the metadata whose length is probed.
const probeValue = s3.MetaPrefix + "p"

// MetaValue finds the longest value of user metadata that the store takes and
// keeps, rounded down to a multiple of 16 bytes. A store without a limit costs
// one value, any other one at least ten. If the store also refuses a short
// value, the length is not the reason, and no limit is known.
func (c Prober) MetaValue(ctx context.Context) error {
	c.Store().Learn(func(found *upstream.Capabilities) { found.MetaValue = leastMetaValue }) // until more is known
	limit := 0
	err := c.With(ctx, "", func(name string) (err error) {
		limit, err = longestOf(func(n int) (bool, error) { return c.keepsValue(ctx, name, n) })
		return err
	})
	if err != nil {
		return err
	}
	c.Store().Learn(func(found *upstream.Capabilities) { found.MetaValue = limit })
	return nil
}

// keepsValue reports whether the store keeps a value of n bytes with the object
// name. Some stores answer a value that is too long with 500, and so does a
// store that is in trouble. The length is the reason only if the store takes a
// short value meanwhile, and fails again with this one.
func (c Prober) keepsValue(ctx context.Context, name string, n int) (bool, error) {
	kept, failure := c.tryValue(ctx, name, n)
	if !mayRefuse(failure) {
		return kept, unlessRefused(failure)
	}
	if _, err := c.tryValue(ctx, name, shortestMetaValue); err != nil {
		return false, failure
	}
	if kept, failure = c.tryValue(ctx, name, n); mayRefuse(failure) {
		return false, nil
	}
	return kept, unlessRefused(failure)
}

// mayRefuse reports whether err is an answer with which some stores refuse
// metadata, and others fail.
func mayRefuse(err error) bool {
	status := upstream.StatusOf(err)
	return status == http.StatusInternalServerError || status == http.StatusBadGateway
}

// tryValue stores a value of n bytes with the object name, and reports whether
// the store keeps it.
func (c Prober) tryValue(ctx context.Context, name string, n int) (kept bool, err error) {
	h, value := http.Header{}, strings.Repeat("v", n)
	h.Set(probeValue, value)
	if _, err := c.Put(ctx, c.Bucket, name, nil, h); err != nil {
		return false, err
	}
	stored, err := c.Head(ctx, c.Bucket, name)
	return stored.Get(probeValue) == value, err
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
	if kept, err := keeps(high * metaValueStep); kept || err != nil {
		return 0, cmp.Or(err, errUnsteady)
	}
	return low * metaValueStep, nil
}

// errUnsteady means that the store takes what it has just refused.
var errUnsteady = errors.New("probe: the store takes metadata that it has refused before")

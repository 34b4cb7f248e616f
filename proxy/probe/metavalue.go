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

// valueProbe is a probe that gets values of different lengths.
type valueProbe struct {
	Prober
	name string
}

// keeps reports whether the store keeps a value of n bytes. Some stores answer
// a value that is too long with 5xx, and so does a store that is in trouble.
// The length is the reason only if the store takes a short value meanwhile, and
// fails again with this one.
func (p valueProbe) keeps(ctx context.Context, n int) (bool, error) {
	kept, failure := p.try(ctx, n)
	if upstream.StatusOf(failure) < http.StatusInternalServerError {
		return kept, unlessRefused(failure)
	}
	if _, err := p.try(ctx, shortestMetaValue); err != nil {
		return false, failure
	}
	if kept, failure = p.try(ctx, n); upstream.StatusOf(failure) >= http.StatusInternalServerError {
		return false, nil
	}
	return kept, unlessRefused(failure)
}

// try stores a value of n bytes, and reports whether the store keeps it.
func (p valueProbe) try(ctx context.Context, n int) (kept bool, err error) {
	h, value := http.Header{}, strings.Repeat("v", n)
	h.Set(probeValue, value)
	if _, err := p.Put(ctx, p.Bucket, p.name, nil, h); err != nil {
		return false, err
	}
	stored, err := p.Head(ctx, p.Bucket, p.name)
	return stored.Get(probeValue) == value, err
}

// longest returns the longest length that the store keeps, or 0 if there is no
// limit.
func (p valueProbe) longest(ctx context.Context) (int, error) {
	if ok, err := p.keeps(ctx, longestMetaValue); ok || err != nil {
		return 0, err
	}
	if ok, err := p.keeps(ctx, shortestMetaValue); !ok || err != nil {
		return 0, err
	}
	low, high := shortestMetaValue/metaValueStep, longestMetaValue/metaValueStep // in steps; low is kept, high is not
	for high-low > 1 {
		middle := (low + high) / 2
		ok, err := p.keeps(ctx, middle*metaValueStep)
		if err != nil {
			return 0, err
		}
		if ok {
			low = middle
		} else {
			high = middle
		}
	}
	if kept, err := p.keeps(ctx, high*metaValueStep); kept || err != nil {
		return 0, cmp.Or(err, errUnsteady)
	}
	return low * metaValueStep, nil
}

// errUnsteady means that the store takes what it has just refused.
var errUnsteady = errors.New("probe: the store takes metadata that it has refused before")

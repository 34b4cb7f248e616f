package probe

import (
	"ssegw/proxy/s3"
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

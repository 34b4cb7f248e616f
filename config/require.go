package config

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
)

// Requirement is one way in which objects of a bucket may be sealed.
type Requirement struct {
	Bucket string // a name, or a prefix that ends in *
	Scheme string // one of requiredSchemes
	KESKey string // for sse-kms only; "" means any
}

// Values of Requirement.Scheme.
const (
	RequireAny    = "sse" // sealed under any scheme
	RequireSSES3  = "sse-s3"
	RequireSSEKMS = "sse-kms"
	RequireSSEC   = "sse-c"
)

var requiredSchemes = []string{RequireAny, RequireSSES3, RequireSSEKMS, RequireSSEC}

// ParseRequirement parses BUCKET=SCHEME or BUCKET=sse-kms:KEY.
func ParseRequirement(text string) (Requirement, error) {
	bucket, rest, found := strings.Cut(strings.TrimSpace(text), "=")
	scheme, key, named := strings.Cut(rest, ":")
	switch {
	case !found || bucket == "" || !bucketPattern.MatchString(bucket):
		return Requirement{}, errors.New("must be BUCKET=SCHEME, where BUCKET may end in *")
	case !slices.Contains(requiredSchemes, scheme):
		return Requirement{}, errors.New("must require " + orList(requiredSchemes))
	case named && (scheme != RequireSSEKMS || key == "" || !keyPattern.MatchString(key) || strings.HasSuffix(key, "*")):
		return Requirement{}, errors.New("may name a KES key only behind sse-kms")
	}
	return Requirement{Bucket: bucket, Scheme: scheme, KESKey: key}, nil
}

// ParseProxy parses the address of a proxy, or a range of addresses in CIDR
// notation.
func ParseProxy(text string) (netip.Prefix, error) {
	text = strings.TrimSpace(text)
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

// checkLists checks each item of the settings that are lists.
func (c *Config) checkLists(in *input) {
	for _, item := range c.Require {
		if _, err := ParseRequirement(item); err != nil {
			in.report("SSEGW_REQUIRE", "SSEGW_REQUIRE %s: %q", err, item)
		}
	}
	for _, item := range c.TrustedProxies {
		if _, err := ParseProxy(item); err != nil {
			in.report("SSEGW_TRUSTED_PROXIES", "SSEGW_TRUSTED_PROXIES must be addresses or ranges such as 10.0.0.0/8, not %q", item)
		}
	}
}

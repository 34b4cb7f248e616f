package config

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const (
	minAccessKey = 3 // characters
	minSecretKey = 8 // characters
)

var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	regionName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	domainName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)
)

// shippedSecrets are well-known secret keys: object stores ship them, or their
// documentation shows them.
var shippedSecrets = []string{"minioadmin", "rustfsadmin", "password", "changeme", "12345678"}

func isShipped(secret string) bool { return slices.Contains(shippedSecrets, secret) }

// validate checks what the types of the fields cannot express, and normalises
// Domain.
func (c *Config) validate(in *input) {
	for _, s := range settings {
		in.checkTags(s)
	}
	in.checkAddress("SSEGW_ADDRESS", c.Address)
	in.checkAddress("SSEGW_ADMIN_ADDRESS", c.AdminAddress)
	if c.Address == c.AdminAddress && !strings.HasSuffix(c.Address, ":0") {
		in.report("SSEGW_ADMIN_ADDRESS", "SSEGW_ADMIN_ADDRESS and SSEGW_ADDRESS must not be the same: %q", c.Address)
	}
	c.checkCredentials(in)
	c.checkCredentialsFile(in)
	if problem := bucketProblem(c.State); problem != "" {
		in.report("SSEGW_STATE", "SSEGW_STATE %s: %q", problem, c.State)
	}
	if c.Region != "*" {
		in.checkRegion("SSEGW_REGION", "a region such as us-east-1, or * for any", c.Region)
	}
	in.checkRegion("SSEGW_UPSTREAM_REGION", "a region such as us-east-1", c.UpstreamRegion)
	c.checkDomain(in)
	c.checkLists(in)
	in.checkPair("SSEGW_TLS_CERT_FILE", "SSEGW_TLS_KEY_FILE", c.TLSCertFile != "", c.TLSKeyFile != "")
	if c.DrainTimeout < 0 {
		in.report("SSEGW_DRAIN_TIMEOUT", "SSEGW_DRAIN_TIMEOUT must not be negative: %v", c.DrainTimeout)
	}
	if c.KMSTimeout <= 0 {
		in.report("SSEGW_KMS_TIMEOUT", "SSEGW_KMS_TIMEOUT must be positive: %v", c.KMSTimeout)
	}
	if c.KMSPatience <= 0 {
		in.report("SSEGW_KMS_PATIENCE", "SSEGW_KMS_PATIENCE must be positive: %v", c.KMSPatience)
	}
	c.KMSPatience = max(c.KMSPatience, c.KMSTimeout)
	if c.KMSCacheTTL < 0 {
		in.report("SSEGW_KMS_CACHE_TTL", "SSEGW_KMS_CACHE_TTL must not be negative: %v", c.KMSCacheTTL)
	}
	if c.MaxRequests < 1 {
		in.report("SSEGW_MAX_REQUESTS", "SSEGW_MAX_REQUESTS must be at least 1, not %d", c.MaxRequests)
	}
}

// checkTags checks the value of s against its values and path tags. It refuses
// control characters in secrets: they come from a second line break at the end
// of a file, and would only show as wrong signatures.
func (in *input) checkTags(s setting) {
	v := in.values[s.name]
	if v.text == "" {
		return
	}
	if s.values != nil && !slices.Contains(s.values, v.text) {
		in.report(s.name, "%s must be %s, not %q", v.from, orList(s.values), v.text)
	}
	if s.path != "" {
		switch info, err := os.Stat(v.text); {
		case err != nil:
			in.report(s.name, "%s: %v", v.from, err)
		case s.path == "file" && info.IsDir():
			in.report(s.name, "%s: %s is a folder, not a file", v.from, v.text)
		}
	}
	if s.secret && strings.ContainsFunc(v.text, unicode.IsControl) {
		in.report(s.name, "%s must not have line breaks or other control characters", v.from)
	}
}

// orList joins words as "a, b or c".
func orList(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// checkAddress checks an address to listen on.
func (in *input) checkAddress(variable, address string) {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		in.report(variable, "%s must be HOST:PORT or :PORT with a port from 0 to 65535, not %q", variable, address)
	}
}

// checkCredentials checks the root credential and the store's. An access key is
// part of the credential scope of a signature, so it cannot contain the
// characters that end it there.
func (c *Config) checkCredentials(in *input) {
	in.checkPair(upstreamAccess, upstreamSecret, c.UpstreamAccessKey != "", !c.UpstreamSecretKey.IsZero())
	if strings.ContainsFunc(c.UpstreamAccessKey, badInAccessKey) {
		in.report(upstreamAccess, "%s must be letters, digits and signs other than / , and =", in.shown(upstreamAccess))
	}
	in.require(rootAccess)
	in.require(rootSecret)

	name := in.shown(rootAccess)
	if len(c.AccessKey) < minAccessKey {
		in.report(rootAccess, "%s must have at least %d characters", name, minAccessKey)
	}
	if strings.ContainsFunc(c.AccessKey, badInAccessKey) {
		in.report(rootAccess, "%s must be letters, digits and signs other than / , and =", name)
	}
	name = in.shown(rootSecret)
	secret := c.SecretKey.Reveal()
	switch {
	case secret != "" && secret == c.AccessKey:
		in.report(rootSecret, "%s must not be the same as the access key%s", name, in.sharedHint())
	case isShipped(secret):
		in.report(rootSecret, "%s must not be a well-known default%s", name, in.sharedHint())
	case len(secret) < minSecretKey:
		in.report(rootSecret, "%s must have at least %d characters%s", name, minSecretKey, in.sharedHint())
	}
}

// checkCredentialsFile reads the file once, so that a mistake in it stops the
// start.
func (c *Config) checkCredentialsFile(in *input) {
	const name = "SSEGW_CREDENTIALS_FILE"
	if c.CredentialsFile == "" || in.wrong[name] {
		return
	}
	if _, err := ReadCredentials(c.CredentialsFile, c.AccessKey); err != nil {
		in.report(name, "%s: %s", name, strings.TrimPrefix(err.Error(), "config: credentials: "))
	}
}

// require reports a problem if variable is absent or empty.
func (in *input) require(variable string) {
	switch {
	case !in.isSet(variable):
		in.report(variable, "%s is required and not set", variable)
	case in.values[variable].text == "":
		in.report(variable, "%s is required and empty", in.shown(variable))
	}
}

// sharedHint returns the remedy if the root credential is the store's and is
// refused, or "".
func (in *input) sharedHint() string {
	if in.values[rootSecret] != in.values[upstreamSecret] {
		return ""
	}
	return ": set " + rootAccess + " and " + rootSecret
}

// badInAccessKey reports whether r is not allowed in an access key.
func badInAccessKey(r rune) bool {
	return r <= ' ' || r > '~' || r == '/' || r == ',' || r == '='
}

// checkPair reports a problem if only one of two variables is set that belong
// together.
func (in *input) checkPair(a, b string, hasA, hasB bool) {
	switch {
	case in.wrong[a] || in.wrong[b] || hasA == hasB:
	case hasA:
		in.report(b, "%s is required when %s is set", b, in.shown(a))
	default:
		in.report(a, "%s is required when %s is set", a, in.shown(b))
	}
}

// bucketProblem describes how name breaks the rules of S3 for general purpose
// buckets. It returns "" for a valid name.
func bucketProblem(name string) string {
	if _, err := netip.ParseAddr(name); err == nil {
		return "must not be an IP address"
	}
	if !bucketName.MatchString(name) || strings.Contains(name, "..") {
		return "must be a bucket name: 3 to 63 lower-case letters, digits, dots and hyphens"
	}
	return ""
}

// checkRegion checks the name of a region, which is part of every signature.
func (in *input) checkRegion(variable, want, region string) {
	if !regionName.MatchString(region) {
		in.report(variable, "%s must be %s, not %q", variable, want, region)
	}
}

// checkDomain checks the domains. It trims them, converts them to lower case,
// and removes empty and duplicate items.
func (c *Config) checkDomain(in *input) {
	var domains []string
	for _, item := range c.Domain {
		domain := strings.ToLower(strings.TrimSpace(item))
		if domain == "" || slices.Contains(domains, domain) {
			continue
		}
		if _, err := netip.ParseAddr(domain); err == nil || !domainName.MatchString(domain) {
			in.report("SSEGW_DOMAIN", "SSEGW_DOMAIN must be host names without a port, not %q", domain)
		}
		domains = append(domains, domain)
	}
	c.Domain = domains
}

// parseEndpoint parses the URL of the store. Its errors do not repeat the URL,
// which may contain a password.
func parseEndpoint(text string) (url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return url.URL{}, errors.New("is not a URL: want http://HOST:PORT or https://HOST:PORT")
	case u.Scheme != "http" && u.Scheme != "https":
		return url.URL{}, errors.New("must start with http:// or https://")
	case u.User != nil:
		return url.URL{}, errors.New("must not hold credentials: use SSEGW_UPSTREAM_ACCESS_KEY and SSEGW_UPSTREAM_SECRET_KEY")
	case u.Hostname() == "":
		return url.URL{}, errors.New("must name a host")
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return url.URL{}, errors.New("must not have a path or a query")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return url.URL{}, errors.New("must have a port from 1 to 65535")
		}
	}
	return url.URL{Scheme: u.Scheme, Host: strings.TrimSuffix(u.Host, ":")}, nil
}

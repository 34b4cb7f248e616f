package kms

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxEndpoints limits how many endpoints a list may expand to, so a typo like
// {1...10000000} is an error and not an outage.
const maxEndpoints = 256

// ParseEndpoints parses a comma-separated list of KES endpoints, such as
// "https://kes{1...3}.example.net:7373, https://10.0.0.9:7373". It trims spaces
// and skips empty items. Endpoints are https://host or https://host:port, with
// an optional final slash. Duplicates are removed.
//
// A range {a...b} expands to all its numbers. It is decimal, or lower-case
// hexadecimal if a bound contains a letter, and zero-padded if a bound is, as
// in {01...10}. Several ranges in one item expand to every combination.
//
// Errors are one line and name the item.
func ParseEndpoints(s string) ([]string, error) {
	var endpoints []string
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		expanded, err := expand(item)
		if err != nil {
			return nil, err
		}
		for _, e := range expanded {
			e, err := parseEndpoint(e)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(endpoints, e) {
				endpoints = append(endpoints, e)
			}
		}
		if len(endpoints) > maxEndpoints {
			return nil, fmt.Errorf("kms: more than %d KES endpoints", maxEndpoints)
		}
	}
	if len(endpoints) == 0 {
		return nil, errors.New("kms: no KES endpoint given")
	}
	return endpoints, nil
}

// parseEndpoint checks one endpoint and returns it as https://host[:port].
func parseEndpoint(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		var uerr *url.Error
		if errors.As(err, &uerr) {
			err = uerr.Err // without the endpoint, which would appear twice
		}
		return "", fmt.Errorf("kms: invalid KES endpoint %q: %w", redactUserinfo(s), err)
	}
	reason := ""
	switch {
	case u.User != nil:
		return "", fmt.Errorf("kms: invalid KES endpoint %q: user and password are not supported", u.Redacted())
	case u.Scheme != "https":
		reason = "must begin with https://"
	case u.Hostname() == "":
		reason = "has no host"
	case strings.Trim(u.Path, "/") != "" || len(u.Path) > 1:
		reason = "must not have a path"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(s, "#"):
		reason = "must not have a query or fragment"
	case strings.HasSuffix(u.Host, ":"):
		reason = "has a colon without a port"
	}
	if reason == "" && u.Port() != "" {
		if n, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || n == 0 {
			reason = "port must be 1 to 65535"
		}
	}
	if reason != "" {
		return "", fmt.Errorf("kms: invalid KES endpoint %q: %s", s, reason)
	}
	return "https://" + u.Host, nil
}

// redactUserinfo removes a possible password from an endpoint that does not
// parse.
func redactUserinfo(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "..." + s[i:]
	}
	return s
}

// expand replaces every {a...b} in item by the numbers of the range. The last
// range varies fastest.
func expand(item string) ([]string, error) {
	before, rest, ok := strings.Cut(item, "{")
	if !ok {
		if strings.Contains(item, "}") || strings.Contains(item, "...") {
			return nil, badRange(item)
		}
		return []string{item}, nil
	}
	inner, after, ok := strings.Cut(rest, "}")
	if !ok || strings.Contains(before, "}") || strings.Contains(before, "...") {
		return nil, badRange(item)
	}
	numbers, err := expandRange(item, inner)
	if err != nil {
		return nil, err
	}
	tails, err := expand(after)
	if err != nil {
		return nil, badRange(item)
	}
	if len(numbers)*len(tails) > maxEndpoints {
		return nil, fmt.Errorf("kms: KES endpoint %q: more than %d endpoints", redactUserinfo(item), maxEndpoints)
	}
	out := make([]string, 0, len(numbers)*len(tails))
	for _, n := range numbers {
		for _, tail := range tails {
			out = append(out, before+n+tail)
		}
	}
	return out, nil
}

// expandRange returns the numbers of the range "a...b", formatted like its
// bounds.
func expandRange(item, r string) ([]string, error) {
	from, to, ok := strings.Cut(r, "...")
	if !ok {
		return nil, badRange(item)
	}
	base := 10
	if strings.ContainsAny(from+to, "abcdef") {
		base = 16
	}
	first, err := parseBound(from, base)
	if err != nil {
		return nil, badRange(item)
	}
	last, err := parseBound(to, base)
	if err != nil {
		return nil, badRange(item)
	}
	switch {
	case first > last:
		return nil, fmt.Errorf("kms: KES endpoint %q: range {%s} runs backwards", redactUserinfo(item), r)
	case last-first >= maxEndpoints:
		return nil, fmt.Errorf("kms: KES endpoint %q: more than %d endpoints", redactUserinfo(item), maxEndpoints)
	}
	width := 0
	if (len(from) > 1 && from[0] == '0') || (len(to) > 1 && to[0] == '0') {
		width = max(len(from), len(to))
	}
	numbers := make([]string, 0, last-first+1)
	for n := first; n <= last; n++ {
		s := strconv.FormatUint(n, base)
		numbers = append(numbers, strings.Repeat("0", max(0, width-len(s)))+s)
	}
	return numbers, nil
}

// maxBoundLen limits the length of bounds, and so the zeros of padding.
const maxBoundLen = 10

func parseBound(s string, base int) (uint64, error) {
	if len(s) > maxBoundLen || strings.Trim(s, "0123456789abcdef") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseUint(s, base, 63)
}

func badRange(item string) error {
	return fmt.Errorf("kms: KES endpoint %q: a range is written {1...4}, low to high", redactUserinfo(item))
}

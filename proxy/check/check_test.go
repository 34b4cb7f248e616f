package check

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestReachRemedy(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"dial tcp: lookup kes: no such host":                                         "name resolution",
		"tls: failed to verify certificate: x509: certificate signed by unknown ...": "CA in ROOTS",
		"http: server gave HTTP response to HTTPS client":                            "does not speak https",
		"dial tcp 10.0.0.1:7373: connect: connection refused":                        "start KES",
		"no answer in time": "firewalls",
	}
	for text, want := range tests {
		if got := reachRemedy(text, "KES", "ENDPOINT", "ROOTS"); !strings.Contains(got, want) || !strings.Contains(got, "ENDPOINT") {
			t.Errorf("%s: %s", text, got)
		}
	}
}

// TestReason checks that reason removes the names of packages, and nothing else.
func TestReason(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"state: refused: object: not authentic":          "refused: not authentic",
		"proxy: probing: state: kms: gone":               "probing: gone",
		"kms: unreachable\nproxy: and more":              "unreachable and more",
		"dial tcp: lookup kms: no such host":             "dial tcp: lookup kms: no such host",
		"reading the object: upstream: answered 403 Foo": "reading the object: answered 403 Foo",
	}
	for text, want := range tests {
		if got := reason(errors.New(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestLargest(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 17, 1400} {
		for _, most := range []int{-1, 0, 1, 16, 17, 700, 1399, 1400, 5000} {
			tried := map[int]bool{}
			got, err := largest(limit, func(n int) (bool, error) {
				tried[n] = true
				return n <= most, nil
			})
			want := min(most, limit)
			if err != nil || got > want || want-got > 16 || got >= 0 && !tried[got] {
				t.Errorf("limit %d, store %d: %d, %v", limit, most, got, err)
			}
			if got < 0 != (most < 0) {
				t.Errorf("limit %d, store %d: %d (tried %v)", limit, most, got, slices.Sorted(maps.Keys(tried)))
			}
		}
	}
	if _, err := largest(10, func(int) (bool, error) { return false, url.InvalidHostError("x") }); err == nil {
		t.Error("no error")
	}
}

// TestInspectContext checks that an unauthenticated context may be anything.
func TestInspectContext(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", `{"a":"b"}`: `{"a":"b"}`, "\x1b{": `"\u001b{"`} {
		if got := string(contextJSON([]byte(text))); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

package field

import (
	"net/http"
	"strings"
	"testing"
)

// TestNames: the table changes nothing about the results of net/http.
func TestNames(t *testing.T) {
	for _, name := range append(usual, "x-amz-meta-Other", "x y", "", "ETAG", "Etag", "eTag") {
		for _, form := range []string{name, strings.ToUpper(name), http.CanonicalHeaderKey(name)} {
			if got := Lower(form); got != strings.ToLower(form) {
				t.Errorf("Lower(%q) = %q", form, got)
			}
			if got := Canonical(form); got != http.CanonicalHeaderKey(form) {
				t.Errorf("Canonical(%q) = %q", form, got)
			}
		}
	}
	h := http.Header{}
	Set(h, "x-amz-acl", "private")
	if Get(h, "X-AMZ-Acl") != "private" || h.Get("X-Amz-Acl") != "private" || Get(h, "etag") != "" || Values(h, "x-amz-acl") == nil {
		t.Errorf("header %v", h)
	}
	if n := testing.AllocsPerRun(100, func() { Lower("X-Amz-Date"); Get(h, "x-amz-acl") }); n != 0 {
		t.Errorf("%v allocations for usual names", n)
	}
}

package proxy

import (
	"maps"
	"net/http"
	"slices"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

// harmlessV2 are the headers that anyone can add to a presigned request of
// Signature Version 2, which does not cover them, and why they do no harm.
var harmlessV2 = map[string]string{
	"range":               "a part of what the URL gives",
	"if-range":            "that part or the whole",
	"if-match":            "the request happens or not",
	"if-none-match":       "the request happens or not",
	"if-modified-since":   "the request happens or not",
	"if-unmodified-since": "the request happens or not",

	"origin":                         "which page asks: the answer has CORS headers",
	"access-control-request-method":  "which page asks: the answer has CORS headers",
	"access-control-request-headers": "which page asks: the answer has CORS headers",

	"cache-control":       "describes what the holder of the URL uploads; version 4 does not demand its signature either",
	"content-disposition": "describes what the holder of the URL uploads; version 4 does not demand its signature either",
	"content-encoding":    "describes what the holder of the URL uploads; version 4 does not demand its signature either",
	"content-language":    "describes what the holder of the URL uploads; version 4 does not demand its signature either",
	"expires":             "describes what the holder of the URL uploads; version 4 does not demand its signature either",

	"date":            "no signature of a presigned request is over it",
	"referer":         "what any client says of itself",
	"user-agent":      "what any client says of itself",
	"x-forwarded-for": "counts only from trusted proxies",
}

// TestUnsignedHeadersV2: each header that the gateway forwards or acts on is
// covered by a version 2 signature, or leads to a refusal, or is harmless.
func TestUnsignedHeadersV2(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withConfig(func(c *Config) { c.PresignedV2 = true }))
	names := slices.Concat(s3.ContentHeaders, upstream.Forwarded(), slices.Collect(maps.Keys(ownHeaders)),
		slices.Collect(maps.Keys(harmlessV2)), []string{
			"authorization", "content-md5", "x-amz-checksum-sha256", "x-amz-copy-source-if-match", "x-amz-copy-source-range", "x-amz-meta-a",
			"x-amz-metadata-directive", "x-amz-security-token", "x-amz-tagging-directive", "x-minio-extract", "x-minio-source-mtime",
		})
	passed := map[string]bool{}
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		for _, name := range names {
			g.upstream.forget()
			r := g.presigned(method, g.presignV2(method, "/bucket/k", "", "", nil), nil, name, "true")
			switch sent := len(g.upstream.requests("/bucket")) > 0; {
			case sent && harmlessV2[name] == "":
				t.Errorf("%s with an unsigned %s: %d %s, and the store was asked", method, name, r.status, r.code)
			case !sent && r.status < 400:
				t.Errorf("%s with an unsigned %s: %d", method, name, r.status)
			case sent:
				passed[name] = true
			}
		}
	}
	for name := range harmlessV2 {
		if !passed[name] {
			t.Errorf("%s never passes", name)
		}
	}
}

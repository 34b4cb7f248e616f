package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"ssegw/proxy/s3"
)

// conditionCases are conditions and whether they hold for an object that
// clients see under tag (without quotes) and that was changed just now.
func conditionCases(tag string) []struct {
	name   string
	pairs  []string
	status int // of a GET
} {
	past, future := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	quoted, other := `"`+tag+`"`, `"0123456789abcdef0123456789abcdef-1"`
	base := `"` + strings.TrimSuffix(tag, "-1") + `"`
	cases := []struct {
		name   string
		pairs  []string
		status int
	}{
		{"match", []string{"If-Match", quoted}, 200},
		{"match, bare", []string{"If-Match", tag}, 200},
		{"match, other", []string{"If-Match", other}, 412},
		{"match, other without suffix", []string{"If-Match", `"0123456789abcdef0123456789abcdef"`}, 412},
		{"match, list", []string{"If-Match", other + ", " + quoted}, 200},
		{"match, list of others", []string{"If-Match", other + `, "x"`}, 412},
		{"match, any", []string{"If-Match", "*"}, 200},
		{"none match", []string{"If-None-Match", quoted}, 304},
		{"none match, bare", []string{"If-None-Match", tag}, 304},
		{"none match, weak", []string{"If-None-Match", "W/" + quoted}, 304},
		{"none match, other", []string{"If-None-Match", other}, 200},
		{"none match, list", []string{"If-None-Match", other + "," + quoted}, 304},
		{"none match, list of others", []string{"If-None-Match", other + `,"x"`}, 200},
		{"none match, any", []string{"If-None-Match", "*"}, 304},
		{"modified since past", []string{"If-Modified-Since", past}, 200},
		{"modified since future", []string{"If-Modified-Since", future}, 304},
		{"unmodified since past", []string{"If-Unmodified-Since", past}, 412},
		{"unmodified since future", []string{"If-Unmodified-Since", future}, 200},
		{"match over date", []string{"If-Match", quoted, "If-Unmodified-Since", past}, 200},
		{"list over date", []string{"If-Match", other + "," + quoted, "If-Unmodified-Since", past}, 200},
		{"none match over date", []string{"If-None-Match", other, "If-Modified-Since", future}, 200},
		{"none match list over date", []string{"If-None-Match", other + `,"x"`, "If-Modified-Since", future}, 200},
		{"match and none match", []string{"If-Match", quoted, "If-None-Match", other}, 200},
		{"match and same none match", []string{"If-Match", quoted, "If-None-Match", quoted}, 304},
	}
	if base != quoted {
		// The store's own ETag is not the one that clients know.
		cases = append(cases, []struct {
			name   string
			pairs  []string
			status int
		}{
			{"match, upstream's tag", []string{"If-Match", base}, 412},
		}...)
	}
	return cases
}

// TestReadConditions tries the conditions of GET and HEAD, whole and ranged, on
// sealed and plain objects. Some of the store's ETags end in "-1".
func TestReadConditions(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	tests := []struct {
		name  string
		pairs []string
		etag  string // upstream; "": as it is
	}{
		{"sealed", []string{s3.HeaderSSE, s3.AES256}, ""},
		{"plain", nil, ""},
		{"sealed, one part", []string{s3.HeaderSSE, s3.AES256}, "d41d8cd98f00b204e9800998ecf8427e-1"},
		{"sealed, two parts", []string{s3.HeaderSSE, s3.AES256}, "d41d8cd98f00b204e9800998ecf8427e-2"},
		{"plain, one part", nil, "d41d8cd98f00b204e9800998ecf8427e-1"},
	}
	for _, tt := range tests {
		g.put("/bucket/k", pattern(1000, 1), tt.pairs...).want(t, 200, "")
		if tt.etag != "" {
			g.upstream.edit(testBucket, "k", func(o *memObject) { o.etag = tt.etag })
		}
		shown := g.head("/bucket/k").header.Get("ETag")
		for _, c := range conditionCases(strings.Trim(shown, `"`)) {
			if strings.HasSuffix(c.name, "upstream's tag") && strings.Contains(tt.etag, "-") {
				continue // no such object exists under the shorter tag, as the store says itself
			}
			for _, method := range []string{"GET", "HEAD"} {
				for _, span := range []string{"", "bytes=0-9", "bytes=-9"} {
					pairs, want := c.pairs, c.status
					if span != "" {
						pairs = append([]string{"Range", span}, pairs...)
						want = map[int]int{200: 206}[c.status]
						if want == 0 {
							want = c.status
						}
					}
					r := g.do(clientRequest{method: method, path: "/bucket/k", header: headers(pairs...)})
					if r.status != want || r.err != nil {
						t.Errorf("%s: %s %s %s: %d %s, want %d", tt.name, method, c.name, span, r.status, r.code, want)
					}
					if r.status < 400 && r.header.Get("ETag") != shown {
						t.Errorf("%s: %s %s %s: ETag %s, want %s", tt.name, method, c.name, span, r.header.Get("ETag"), shown)
					}
					if r.status >= 400 && method == "GET" && r.code != "PreconditionFailed" {
						t.Errorf("%s: %s %s %s: %s", tt.name, method, c.name, span, r.code)
					}
				}
			}
		}
	}
}

// TestReadConditionsMissing has conditions on an object that is not there.
func TestReadConditionsMissing(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, name := range []string{"If-Match", "If-None-Match"} {
		for _, span := range []string{"bytes=0-1", "bytes=-1"} {
			r := g.get("/bucket/missing", name, `"0123456789abcdef0123456789abcdef-1"`, "Range", span)
			if r.status != 404 || r.code != "NoSuchKey" {
				t.Errorf("%s %s: %d %s", name, span, r.status, r.code)
			}
		}
	}
}

// TestWriteConditions tries the conditions of PUT and DELETE, which the store
// has to evaluate, with tags as clients know them.
func TestWriteConditions(t *testing.T) {
	t.Parallel()
	other := `"0123456789abcdef0123456789abcdef-1"`
	for _, pairs := range [][]string{{s3.HeaderSSE, s3.AES256}, {}} {
		for _, size := range []int{100, 2 << 20} {
			g := newGateway(t)
			put := func(body []byte, more ...string) clientAnswer {
				return g.put("/bucket/k", body, append(more, pairs...)...)
			}
			name := fmt.Sprintf("%v, %d bytes", pairs, size)
			if r := put(pattern(size, 1), "If-Match", other); r.status != 412 && r.status != 404 {
				t.Errorf("%s: If-Match of nothing: %d %s", name, r.status, r.code)
			}
			put(pattern(size, 1), "If-None-Match", "*").want(t, 200, "")
			put(pattern(size, 2), "If-None-Match", "*").want(t, 412, "PreconditionFailed")
			shown := g.head("/bucket/k").header.Get("ETag")
			put(pattern(size, 2), "If-Match", other).want(t, 412, "PreconditionFailed")
			stored := g.upstream.object(testBucket, "k")
			r := put(pattern(size, 3), "If-Match", shown)
			r.want(t, 200, "")
			if g.upstream.object(testBucket, "k").etag == stored.etag {
				t.Errorf("%s: not replaced", name)
			}
			// The tag that a PUT answers is good for the next one, the old one
			// is not.
			put(pattern(size, 4), "If-Match", shown).want(t, 412, "PreconditionFailed")
			put(pattern(size, 4), "If-Match", r.header.Get("ETag")).want(t, 200, "")

			g.delete("/bucket/k", "If-Match", shown).want(t, 412, "PreconditionFailed")
			g.delete("/bucket/k", "If-Match", g.head("/bucket/k").header.Get("ETag")).want(t, 204, "")
			wantStored(t, g, "k", nil)
		}
	}
}

// TestWriteConditionRace replaces the object between the look at its tag and
// the conditional write: the store refuses.
func TestWriteConditionRace(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	first := g.put("/bucket/k", pattern(10, 1), s3.HeaderSSE, s3.AES256)
	first.want(t, 200, "")
	replaced := false
	g.upstream.on(http.MethodPut, "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !replaced {
			replaced = true
			g.upstream.edit(testBucket, "k", func(o *memObject) { o.etag = "another" })
		}
		next.ServeHTTP(w, r)
	})
	g.put("/bucket/k", pattern(10, 2), s3.HeaderSSE, s3.AES256, "If-Match", first.header.Get("ETag")).want(t, 412, "PreconditionFailed")
}

// TestEmptyTag: "" is the ETag of no object, and no condition is dropped
// because of it.
func TestEmptyTag(t *testing.T) {
	t.Parallel()
	for _, sse := range [][]string{nil, {s3.HeaderSSE, s3.AES256}} {
		g := newGateway(t)
		g.put("/bucket/k", []byte("data"), sse...).want(t, 200, "")
		g.get("/bucket/k", "If-Match", `""`).want(t, 412, "PreconditionFailed")
		g.get("/bucket/k", "If-None-Match", `""`).want(t, 200, "")
		g.delete("/bucket/k", "If-Match", `""`).want(t, 412, "PreconditionFailed")
		g.delete("/bucket/k", "If-Match", `""`, headerIfMatchSize, "4").want(t, 412, "PreconditionFailed")
		// Some stores ignore this tag. So they do not get to see it.
		g.upstream.on("", "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			r.Header.Del("If-Match")
			next.ServeHTTP(w, r)
		})
		g.put("/bucket/k", []byte("more"), "If-Match", `""`).want(t, 412, "PreconditionFailed")
		g.delete("/bucket/k", "If-Match", `""`).want(t, 412, "PreconditionFailed")
	}
}

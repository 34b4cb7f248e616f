package proxy

import (
	"mime"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"ssegw/proxy/probe"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// alteringStores are stores that change headers, each in its own way.
var alteringStores = map[string]func(h http.Header){
	"none": func(http.Header) {},
	"underscores": func(h http.Header) {
		for name, values := range h {
			if to := strings.ReplaceAll(name, "_", "-"); s3.IsStored(name) && to != name {
				delete(h, name)
				h[http.CanonicalHeaderKey(to)] = values
			}
		}
	},
	"all signs": func(h http.Header) {
		for name, values := range h {
			to := strings.Map(func(r rune) rune {
				if strings.ContainsRune("_.!#$%&'*+^`|~", r) {
					return '-'
				}
				return r
			}, name)
			if s3.IsStored(name) && to != name {
				delete(h, name)
				h[http.CanonicalHeaderKey(to)] = values
			}
		}
	},
	"names dropped": func(h http.Header) {
		for name := range h {
			if strings.HasPrefix(name, "X-Amz-Meta-") && strings.Contains(name, "_") {
				delete(h, name)
			}
		}
	},
	"dates": func(h http.Header) {
		if date, err := http.ParseTime(h.Get("Expires")); err != nil {
			h.Del("Expires")
		} else {
			h.Set("Expires", date.UTC().Format(http.TimeFormat))
		}
	},
	"first lines": func(h http.Header) {
		for name, values := range h {
			if s3.IsStored(name) {
				h[name] = values[:1]
			}
		}
	},
	"UTF-8": func(h http.Header) {
		for name, values := range h {
			if s3.IsStored(name) {
				h[name] = []string{strings.ToValidUTF8(values[0], "\uFFFD")}
			}
		}
	},
	"encodes": func(h http.Header) {
		for name, values := range h {
			if strings.HasPrefix(name, "X-Amz-Meta-") {
				h[name] = []string{mime.QEncoding.Encode("UTF-8", values[0])}
			}
		}
	},
	"decodes": func(h http.Header) {
		for name, values := range h {
			if strings.HasPrefix(name, "X-Amz-Meta-") && s3.EncodedWords.MatchString(values[0]) && !s3.IsASCII(s3.DecodeWords(values[0])) {
				h[name] = []string{s3.DecodeWords(values[0])}
			}
		}
	},
	"encodes anew": func(h http.Header) {
		for name, values := range h {
			if v := s3.DecodeWords(values[0]); strings.HasPrefix(name, "X-Amz-Meta-") && s3.EncodedWords.MatchString(values[0]) && !s3.IsASCII(v) {
				h[name] = []string{mime.QEncoding.Encode("utf-8", v)}
			}
		}
	},
	"ASCII": func(h http.Header) {
		for name, values := range h {
			if s3.IsStored(name) && !s3.IsASCII(values[0]) {
				h[name] = []string{strings.Map(func(r rune) rune { return min(r, '?') }, values[0])}
			}
		}
	},
}

// altering is a hook that changes headers as a store does.
func altering(store string) hook {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		alteringStores[store](r.Header)
		next.ServeHTTP(w, r)
	}
}

// oddHeaders are headers that some store changes.
var oddHeaders = map[string][]string{
	"underscore":    {"X-Amz-Meta-A_b", "1"},
	"dot":           {"X-Amz-Meta-A.b", "1"},
	"two lines":     {"X-Amz-Meta-L", "1", "X-Amz-Meta-L", "2"},
	"cache":         {"Cache-Control", "no-cache", "Cache-Control", "max-age=1"},
	"UTF-8":         {"X-Amz-Meta-U", "Grüße"},
	"long UTF-8":    {"X-Amz-Meta-U", strings.Repeat("长", 60)},
	"Latin-1":       {"X-Amz-Meta-U", "Gr\xfc\xdfe"},
	"disposition":   {"Content-Disposition", `attachment; filename="ü"`},
	"disposition 1": {"Content-Disposition", "attachment; filename=\"\xfc\""},
	"expired":       {"Expires", "0"},
	"expires":       {"Expires", "Tue, 01 Jan 2030 00:00:00 GMT"},
	"expires, odd":  {"Expires", "Tuesday, 01-Jan-30 00:00:00 GMT"},
	"encoded word":  {"X-Amz-Meta-E", "=?UTF-8?Q?Gr=C3=BC=C3=9Fe?="},
	"encoded":       {"X-Amz-Meta-E", "=?utf-8?q?user?="},
	"encoded UTF-8": {"X-Amz-Meta-E", "=?utf-8?B?w7w=?= x"},
	"mixed":         {"X-Amz-Meta-E", "é=?utf-8?q?x?="},
	"mixed UTF-8":   {"X-Amz-Meta-E", "ü =?utf-8?q?=C3=BC?="},
	"mixed lines":   {"X-Amz-Meta-E", "emoji 😀", "X-Amz-Meta-E", "x =?utf-8?q?=C3=BC?="},
	"spaces":        {"X-Amz-Meta-S", "a   b"},
}

// sealedWrites write body to /bucket/k with headers.
var sealedWrites = map[string]func(g *testGateway, body []byte, pairs []string) clientAnswer{
	"put": func(g *testGateway, body []byte, pairs []string) clientAnswer {
		return g.put("/bucket/k", body, pairs...)
	},
	"parts": func(g *testGateway, body []byte, pairs []string) clientAnswer {
		return g.withSmallPuts().put("/bucket/k", append(body, make([]byte, smallestPut)...), pairs...)
	},
	"form": func(g *testGateway, body []byte, pairs []string) clientAnswer {
		return g.form(testForm{key: "k", fields: pairs, file: body})
	},
	"upload": func(g *testGateway, body []byte, pairs []string) clientAnswer {
		r := g.do(clientRequest{method: http.MethodPost, path: "/bucket/k", query: map[string][]string{"uploads": {""}}, header: headers(pairs...)})
		if r.status != 200 {
			return r
		}
		u := g.begin("/bucket/k", pairs...)
		u.part(1, body)
		return u.completeWith(u.listed)
	},
	"copy": func(g *testGateway, body []byte, pairs []string) clientAnswer {
		g.put("/bucket/source", body)
		return g.copy("bucket/source", "/bucket/k", append(slices.Clone(pairs), s3.HeaderMetadataDirective, "REPLACE")...)
	},
	"copy onto itself": func(g *testGateway, body []byte, pairs []string) clientAnswer {
		return g.copy("bucket/k", "/bucket/k", append(slices.Clone(pairs), s3.HeaderMetadataDirective, "REPLACE")...)
	},
	"sealing copy": func(g *testGateway, body []byte, pairs []string) clientAnswer {
		g.upstream.store(testBucket, "source", &memObject{body: body, header: headers("Content-Type", "a/b"), etag: memTag(body)})
		return g.copy("bucket/source", "/bucket/k", append(slices.Clone(pairs), s3.HeaderMetadataDirective, "REPLACE")...)
	},
}

// TestAlteringStores: for every such store a write is either refused, and the
// old object stays, or it can be read with the headers that were sent.
func TestAlteringStores(t *testing.T) {
	t.Parallel()
	for store := range alteringStores {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			u := newMemUpstream(t)
			u.on(http.MethodPut, "/", altering(store))
			u.on(http.MethodPost, "/", altering(store))
			kes := newGateway(t).kes
			for kind, write := range sealedWrites {
				g := newGateway(t, withUpstream(u), withKES(kes), withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
				for name, pairs := range oddHeaders {
					g.put("/bucket/k", []byte("old"), "Cache-Control", "old").want(t, 200, "")
					old := u.object(testBucket, "k")
					r := write(g, []byte("new"), pairs)
					twice := kind == "form" && len(pairs) > 2 // no form has a field twice
					switch {
					case r.status == 400 && (store != "none" || !utf8.ValidString(pairs[1]) || twice):
						if r.code != "InvalidArgument" || u.object(testBucket, "k").etag != old.etag {
							t.Errorf("%s, %s: %s, or the old object is gone", kind, name, r.code)
						}
					case r.status >= 300:
						t.Errorf("%s, %s: %d %s %s", kind, name, r.status, r.code, r.body)
					default:
						wantHeader(t, g, kind+", "+name, asRenamed(store, pairs), store != "decodes" && store != "encodes anew")
					}
					for _, r := range []clientAnswer{g.get("/bucket/k"), g.head("/bucket/k")} {
						if r.status != 200 || r.err != nil {
							t.Errorf("%s, %s: written, and then %d %s", kind, name, r.status, r.code)
						}
					}
				}
			}
		})
	}
}

// asRenamed returns the headers with the names that a store which hyphenates
// makes of them.
func asRenamed(store string, pairs []string) []string {
	if store != "underscores" && store != "all signs" {
		return pairs
	}
	h := headers(pairs...)
	alteringStores[store](h)
	var out []string
	for name, values := range h {
		for _, v := range values {
			out = append(out, name, v)
		}
	}
	return out
}

// TestHyphenatedNames: names that a store would make equal, or reserved ones,
// are refused. A store that hyphenates refuses nothing else.
func TestHyphenatedNames(t *testing.T) {
	t.Parallel()
	u := newMemUpstream(t)
	u.on(http.MethodPut, "/", altering("underscores"))
	u.on(http.MethodPost, "/", altering("underscores"))
	g := newGateway(t, withUpstream(u), withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	for kind, write := range sealedWrites {
		g.put("/bucket/k", []byte("old")).want(t, 200, "")
		if r := write(g, []byte("new"), []string{"X-Amz-Meta-A_b", "1", "X-Amz-Meta-C.d", "2"}); r.status >= 300 {
			t.Errorf("%s: %d %s", kind, r.status, r.code)
		}
		if h := g.head("/bucket/k").header; h.Get("X-Amz-Meta-A-B") != "1" || h.Get("X-Amz-Meta-C.d") != "2" {
			t.Errorf("%s: %v", kind, h)
		}
		for _, pairs := range [][]string{
			{"X-Amz-Meta-A_b", "1", "X-Amz-Meta-A-B", "1"},
			{"X-Amz-Meta-A_b_c", "1", "X-Amz-Meta-A_b-C", "1"},
			{"X-Amz-Meta-Ssegw_2", "1"},
		} {
			write(g, []byte("new"), pairs).want(t, 400, "InvalidArgument")
			g.get("/bucket/k").want(t, 200, "")
		}
	}
}

// wantHeader reads the headers back and compares them. Dates may differ in
// form. Encoded words may, too, unless exact.
func wantHeader(t *testing.T, g *testGateway, what string, pairs []string, exact bool) {
	t.Helper()
	sent, got := headers(pairs...), g.head("/bucket/k").header
	for name, values := range sent {
		want := strings.Join(values, ",")
		if date, err := http.ParseTime(want); err == nil && got.Get(name) != want {
			want = date.UTC().Format(http.TimeFormat)
		}
		if lower := strings.ToLower(name); strings.HasPrefix(lower, s3.MetaPrefix) && !s3.IsASCII(want) {
			want = s3.EncodeWords(want) // as Amazon S3 and MinIO send it
		}
		if !exact {
			want = sealer.RewrittenValue(strings.ToLower(name), want)
		}
		if v := got.Get(name); v != want {
			t.Errorf("%s: %s is %q, want %q", what, name, v, want)
		}
	}
}

// TestAlteringDirectories: a store that keeps no content headers with
// directories takes sealed ones without.
func TestAlteringDirectories(t *testing.T) {
	t.Parallel()
	u := newMemUpstream(t)
	u.on(http.MethodPut, "/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/") {
			for _, name := range s3.ContentHeaders {
				r.Header.Del(name)
			}
			r.Header.Set("Content-Type", "application/x-directory")
		}
		next.ServeHTTP(w, r)
	})
	g := newGateway(t, withUpstream(u), withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	writes := map[string]func(pairs ...string) clientAnswer{
		"put":  func(pairs ...string) clientAnswer { return g.put("/bucket/dir/", nil, pairs...) },
		"form": func(pairs ...string) clientAnswer { return g.form(testForm{key: "dir/", fields: pairs}) },
		"copy": func(pairs ...string) clientAnswer {
			return g.copy("bucket/source", "/bucket/dir/", append(pairs, s3.HeaderMetadataDirective, "REPLACE")...)
		},
		"copy onto itself": func(pairs ...string) clientAnswer {
			return g.copy("bucket/dir/", "/bucket/dir/", append(pairs, s3.HeaderMetadataDirective, "REPLACE")...)
		},
	}
	g.put("/bucket/source", nil).want(t, 200, "")
	g.put("/bucket/dir/", nil).want(t, 200, "")
	for name, write := range writes {
		if r := write("X-Amz-Meta-A", "1", "Content-Type", "a/b"); r.status >= 300 {
			t.Errorf("%s: %d %s", name, r.status, r.code)
		}
		if h := g.head("/bucket/dir/"); h.status != 200 || h.header.Get("X-Amz-Meta-A") != "1" {
			t.Errorf("%s: %d %v", name, h.status, h.header)
		}
		write("Cache-Control", "no-cache").want(t, 400, "InvalidArgument")
		g.get("/bucket/dir/").want(t, 200, "")
	}
	g.put("/bucket/k", nil, "Cache-Control", "no-cache").want(t, 200, "")
	if left := u.keys(testStateBucket); slices.ContainsFunc(left, func(name string) bool { return strings.HasPrefix(name, probe.Prefix) }) {
		t.Errorf("probes left: %v", left)
	}
}

package proxy

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"ssegw/kms/kmstest"
	"ssegw/proxy/probe"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
)

// storeWays are the ways in which stores differ from Amazon S3.
var storeWays = map[string]hook{
	"ETags without quotes": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if v := r.Header.Get("If-Match"); v != "" && isWrite(r) {
			if strings.Contains(v, `"`) && v != "*" {
				memFail(w, 412, "PreconditionFailed", "another ETag")
				return
			}
			r.Header.Set("If-Match", `"`+v+`"`)
		}
		next.ServeHTTP(w, r)
	},
	"no conditional writes": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if isWrite(r) && r.Header.Get("If-Match")+r.Header.Get("If-None-Match") != "" {
			memFail(w, 501, "NotImplemented", "conditions")
			return
		}
		next.ServeHTTP(w, r)
	},
	"conditions in PutObject alone": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPost || r.Header.Get("X-Amz-Copy-Source") != "" {
			r.Header.Del("If-Match")
			r.Header.Del("If-None-Match")
		}
		next.ServeHTTP(w, r)
	},
	"no condition on the source": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Del("X-Amz-Copy-Source-If-Match")
		next.ServeHTTP(w, r)
	},
	"no condition on multipart sources": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.Header.Get("X-Amz-Copy-Source-If-Match"), "-") {
			memFail(w, 412, "PreconditionFailed", "another ETag")
			return
		}
		next.ServeHTTP(w, r)
	},
	"copies without tags": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("X-Amz-Metadata-Directive") == "REPLACE" || r.URL.Query().Has("uploads") {
			r.Header.Del("X-Amz-Tagging")
			r.Header.Set("X-Amz-Tagging-Directive", "REPLACE")
		}
		next.ServeHTTP(w, r)
	},
	"uploads without tags": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Query().Has("uploads") {
			r.Header.Del("X-Amz-Tagging")
		}
		next.ServeHTTP(w, r)
	},
	"uploads without underscores": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Query().Has("uploads") {
			for name, values := range r.Header {
				if plain := strings.ReplaceAll(name, "_", "-"); plain != name {
					r.Header.Del(name)
					delete(r.Header, name)
					r.Header[http.CanonicalHeaderKey(plain)] = values
				}
			}
		}
		next.ServeHTTP(w, r)
	},
	"copies keep metadata": forgetting("X-Amz-Metadata-Directive"),
	"no CopyObject": refusing(func(r *http.Request) bool {
		return r.Header.Get("X-Amz-Copy-Source") != "" && !r.URL.Query().Has("uploadId")
	}, 501, "NotImplemented"),
	"no tags": refusing(func(r *http.Request) bool {
		return isWrite(r) && (r.Header.Get("X-Amz-Tagging") != "" || r.URL.Query().Has("tagging"))
	}, 501, "NotImplemented"),
	"no ETag of a Complete": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		doc := answer.Body.String()
		if begin := strings.Index(doc, "<ETag>"); strings.Contains(doc, "<CompleteMultipartUploadResult") {
			doc = doc[:begin] + "<ETag></ETag>" + doc[strings.Index(doc, "</ETag>")+len("</ETag>"):]
		}
		_, _ = w.Write([]byte(doc))
	},
	"Expires as a date": refusing(func(r *http.Request) bool { return r.Header.Get("Expires") == "0" }, 400, "MalformedDate"),
	"directories without metadata": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if isWrite(r) && strings.HasSuffix(r.URL.Path, "/") {
			for name := range r.Header {
				if strings.HasPrefix(name, "X-Amz-Meta-") {
					r.Header.Del(name)
				}
			}
		}
		next.ServeHTTP(w, r)
	},
	"cleaned keys": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.URL.Path = strings.NewReplacer("//", "/", `\`, "/").Replace(r.URL.Path)
		next.ServeHTTP(w, r)
	},
	"odd answers": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/probe-") && (r.Method == http.MethodPost || r.Header.Get("X-Amz-Copy-Source") != "") {
			_, _ = w.Write([]byte("what?"))
			return
		}
		next.ServeHTTP(w, r)
	},
	"500 for documents": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if q := r.URL.Query(); r.Method == http.MethodPut && (q.Has("retention") || q.Has("legal-hold")) && strings.Contains(r.URL.Path, "/probe-") {
			memFail(w, 500, "InternalError", "what?")
			return
		}
		next.ServeHTTP(w, r)
	},
	"no odd keys": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.ContainsAny(r.URL.Path, `\`) || strings.Contains(r.URL.Path, "//") {
			memFail(w, 400, "InvalidObjectName", "odd")
			return
		}
		next.ServeHTTP(w, r)
	},
	"no sub-resources": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		q := r.URL.Query()
		for _, name := range []string{"metrics", "publicAccessBlock", "lifecycle", "retention", "legal-hold", "attributes", "id"} {
			q.Del(name)
		}
		r.URL.RawQuery = q.Encode()
		next.ServeHTTP(w, r)
	},
	"no trailers, no empty signed bodies": refusing(func(r *http.Request) bool {
		framing := r.Header.Get("X-Amz-Content-Sha256")
		return framing == modeTrailer || framing == modeSigned && r.Header.Get("X-Amz-Decoded-Content-Length") == "0"
	}, 400, "InvalidRequest"),
}

func isWrite(r *http.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }

// onStores runs f with each kind of store behind the gateway.
func onStores(t *testing.T, f func(t *testing.T, g *testGateway, ways string)) {
	t.Helper()
	for name, ways := range storeWays {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newMemUpstream(t)
			u.ways = ways
			f(t, newGateway(t, withUpstream(u), withFraming(upstream.FramingAuto), withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts(), name)
		})
	}
}

// TestStores does what clients do on each kind of store. Whatever is accepted
// is readable.
func TestStores(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, g *testGateway, ways string) {
		replace := []string{"X-Amz-Metadata-Directive", "REPLACE", "X-Amz-Meta-B", "2"}
		for _, size := range []int{0, 1, 70_000} {
			body := pattern(size, 1)
			g.put("/bucket/k", body).want(t, 200, "")
			wantObject(t, g, "/bucket/k", body, min(size, 1))
			g.put("/bucket/copy", nil, "X-Amz-Copy-Source", "bucket/k").want(t, 200, "")
			wantObject(t, g, "/bucket/copy", body, min(size, 1))
			g.put("/bucket/k", nil, append(replace, "X-Amz-Copy-Source", "bucket/k")...).want(t, 200, "")
			wantObject(t, g, "/bucket/k", body, min(size, 1))
		}

		body := pattern(5000, 3)
		u := g.begin("/bucket/parts")
		u.listed = []testPart{{number: 1, etag: u.try(1, body).header.Get("ETag")}}
		u.complete()
		wantObject(t, g, "/bucket/parts", body, 1)
		g.put("/bucket/copy", nil, "X-Amz-Copy-Source", "bucket/parts").want(t, 200, "")
		wantObject(t, g, "/bucket/copy", body, 1)
		etag := g.head("/bucket/parts").header.Get("ETag")
		g.put("/bucket/copy", nil, "X-Amz-Copy-Source", "bucket/parts", "X-Amz-Copy-Source-If-Match", etag).want(t, 200, "")
		g.put("/bucket/copy", nil, "X-Amz-Copy-Source", "bucket/parts", "X-Amz-Copy-Source-If-Match", `"0123"`).want(t, 412, "PreconditionFailed")
		g.put("/bucket/parts", nil, append(replace, "X-Amz-Copy-Source", "bucket/parts")...).want(t, 200, "")
		wantObject(t, g, "/bucket/parts", body, 1)
		g.updateEncryption("/bucket/parts", kmstest.DefaultKey).want(t, 200, "")
		wantObject(t, g, "/bucket/parts", body, 1)
		g.delete("/bucket/parts").want(t, 204, "")
		g.get("/bucket/parts").want(t, 404, "NoSuchKey")
	})
}

// TestStoresSubresources: an operation on a sub-resource destroys nothing at a
// store that drops the query.
func TestStoresSubresources(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, g *testGateway, ways string) {
		g.upstream.makeBucket("empty")
		want, code := 204, ""
		if ways == "no sub-resources" {
			want, code = 501, "NotImplemented"
		}
		for _, query := range []url.Values{{"publicAccessBlock": {""}}, {"metrics": {""}, "id": {"a"}}, {"lifecycle": {""}}} {
			for range 2 { // the second time from memory
				g.do(clientRequest{method: http.MethodDelete, path: "/empty", query: query}).want(t, want, code)
			}
			g.do(clientRequest{method: http.MethodHead, path: "/empty"}).want(t, 200, "")
		}
		g.upstream.on(http.MethodPut, "/ssegw-probe-", answerWith(403, "AccessDenied")) // no right to make buckets
		g.subresources = &probe.Subresources{Prober: g.subresources.Prober}
		g.do(clientRequest{method: http.MethodDelete, path: "/empty", query: url.Values{"metrics": {""}, "id": {"a"}}}).want(t, want, code)
		g.do(clientRequest{method: http.MethodHead, path: "/empty"}).want(t, 200, "")
		g.upstream.unhook()

		g.put("/bucket/k", []byte("sealed")).want(t, 200, "")
		if want == 204 {
			want = 200
		}
		for _, name := range []string{"retention", "legal-hold"} {
			g.do(clientRequest{method: http.MethodPut, path: "/bucket/k", query: url.Values{name: {""}}, body: []byte("<Retention/>")}).want(t, want, code)
			wantObject(t, g, "/bucket/k", []byte("sealed"), 1)
		}
		g.upstream.store(testBucket, "plain", &memObject{body: []byte("<plain/>"), header: http.Header{}, etag: "0123"})
		r := g.do(clientRequest{method: http.MethodGet, path: "/bucket/plain", query: url.Values{"attributes": {""}}, header: headers(s3.HeaderObjectAttributes, "ETag,ObjectSize")})
		if ways == "no sub-resources" && (r.status != 200 || !strings.Contains(string(r.body), "<ETag>0123</ETag><ObjectSize>8</ObjectSize>")) {
			t.Errorf("attributes: %d %s", r.status, r.body)
		}
		for _, name := range g.upstream.keys(testStateBucket) {
			if strings.HasPrefix(name, probe.Prefix) {
				t.Errorf("%s is left over", name)
			}
		}
	})
}

// TestStoresKeepSealed: a sealed write that is accepted is readable, whatever
// its key and metadata are. The metadata that most clients use is accepted.
func TestStoresKeepSealed(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, g *testGateway, ways string) {
		for _, key := range []string{"dir/", "a//b", `a\b`, "a/b", "ü", "plus+", " "} {
			for name, header := range map[string][]string{
				"none": nil, "plain": {"X-Amz-Meta-A", "1"}, "underscore": {"X-Amz-Meta-A_b", "1"}, "utf-8": {"X-Amz-Meta-A", "grün"}, "date": {"Expires", "0"},
			} {
				body := []byte(key + name)
				r := g.put("/bucket/"+key, body, header...)
				if r.status != 200 {
					if r.status != 400 || (name == "none" || name == "plain") && (ways != "directories without metadata" || key != "dir/") && (ways != "cleaned keys" && ways != "no odd keys" || !strings.ContainsAny(key, `/\`)) {
						t.Errorf("%s, %s: %d %s", key, name, r.status, r.body)
					}
					continue
				}
				wantObject(t, g, "/bucket/"+key, body, 1)
				g.updateEncryption("/bucket/"+key, kmstest.DefaultKey).want(t, 200, "")
				wantObject(t, g, "/bucket/"+key, body, 1)
				u := g.begin("/bucket/"+key, header...)
				u.part(1, body)
				u.complete()
				wantObject(t, g, "/bucket/"+key, body, 1)
				if h := g.head("/bucket/" + key).header; len(header) > 0 && header[0] == "X-Amz-Meta-A" && name == "plain" && h.Get("X-Amz-Meta-A") != "1" {
					t.Errorf("%s, %s: %v", key, name, h)
				}
			}
		}
		if ways == "Expires as a date" { // nothing else is refused for that
			g.put("/bucket/k", []byte("x"), "X-Amz-Meta-A_b", "grün", "Content-Disposition", `inline; filename="ü"`).want(t, 200, "")
		}
	})
}

// TestStoresKeepTags: copies keep tags, or get those of the request, whatever
// the store does in a copy.
func TestStoresKeepTags(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, g *testGateway, ways string) {
		if ways == "no tags" {
			g.put("/bucket/k", []byte("x"), "X-Amz-Tagging", "a=1").want(t, 501, "NotImplemented")
			return
		}
		g.put("/bucket/k", []byte("x"), "X-Amz-Tagging", "a=1&b=2").want(t, 200, "")
		for name, tt := range map[string]struct {
			header []string
			want   string
		}{
			"kept":     {nil, "a=1&b=2"},
			"with new": {[]string{"X-Amz-Metadata-Directive", "REPLACE"}, "a=1&b=2"},
			"replaced": {[]string{"X-Amz-Tagging-Directive", "REPLACE", "X-Amz-Tagging", "c=%263"}, "c=%263"},
		} {
			for _, to := range []string{"/bucket/copy", "/bucket/k"} {
				header := append(tt.header, "X-Amz-Copy-Source", "bucket/k", "X-Amz-Storage-Class", "STANDARD")
				g.put(to, nil, header...).want(t, 200, "")
				got, err := g.Upstream.Own().Tags(t.Context(), testBucket, strings.TrimPrefix(to, "/bucket/"), url.Values{})
				if err != nil || got.Encode() != tt.want {
					t.Errorf("%s, %s: %v, %v", name, to, got, err)
				}
				g.put("/bucket/k", []byte("x"), "X-Amz-Tagging", "a=1&b=2").want(t, 200, "")
			}
		}
	})
}

// TestStoresKeepUploadTags: sealed uploads get the tags of their Create,
// whatever the store does with them. A Complete that cannot set them fails, and
// sets them when it is repeated.
func TestStoresKeepUploadTags(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, g *testGateway, ways string) {
		if ways == "no tags" {
			r := g.do(clientRequest{method: http.MethodPost, path: "/bucket/k", query: url.Values{"uploads": {""}}, header: headers("X-Amz-Tagging", "a=1")})
			r.want(t, 501, "NotImplemented")
			return
		}
		const tags = "a=1&b=%26+2"
		wantTags := func(want string) {
			t.Helper()
			if got, err := g.Upstream.Own().Tags(t.Context(), testBucket, "k", url.Values{}); err != nil || got.Encode() != want {
				t.Errorf("tags: %v, %v", got, err)
			}
		}
		body := pattern(5000, 3)
		begin := func() *testUpload {
			u := g.begin("/bucket/k", "X-Amz-Tagging", tags)
			u.part(1, body)
			return u
		}
		begin().complete()
		wantObject(t, g, "/bucket/k", body, 1)
		wantTags(tags)
		g.put("/bucket/k", nil, "X-Amz-Copy-Source", "bucket/k", "X-Amz-Metadata-Directive", "REPLACE").want(t, 200, "")
		wantTags(tags)

		u := begin()
		g.upstream.on(http.MethodPut, "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.URL.Query().Has("tagging") {
				memFail(w, 500, "InternalError", "no tags now")
				return
			}
			next.ServeHTTP(w, r)
		})
		setLater := !g.Upstream.Capabilities().UploadTags
		if r := u.completeWith(u.listed); setLater {
			r.want(t, 500, "InternalError")
		}
		g.upstream.unhook()
		for range 2 {
			u.completeWith(u.listed).want(t, 200, "")
			wantObject(t, g, "/bucket/k", body, 1)
			wantTags(tags)
		}

		g.bounds.maxPut, g.bounds.putPart = 4000, 2000
		g.put("/bucket/k", body, "X-Amz-Tagging", tags).want(t, 200, "")
		wantObject(t, g, "/bucket/k", body, 1)
		wantTags(tags)
	})
}

// TestUploadTagsRefused: tags that no store takes are refused at the Create, if
// they are set after the Complete.
func TestUploadTagsRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.Upstream.Learn(func(can *upstream.Capabilities) { can.UploadTags = false })
	for tags, code := range map[string]string{
		"a=1&a=2": "InvalidTag", "=1": "InvalidTag", strings.Repeat("k", 129) + "=1": "InvalidTag", "a=" + strings.Repeat("v", 257): "InvalidTag",
		"a=%zz": "InvalidArgument", "a&b&c&d&e&f&g&h&i&j&k": "BadRequest",
	} {
		r := g.do(clientRequest{method: http.MethodPost, path: "/bucket/k", query: url.Values{"uploads": {""}}, header: headers("X-Amz-Tagging", tags, "X-Amz-Server-Side-Encryption", "AES256")})
		r.want(t, 400, code)
	}
	if n := len(g.upstream.requests("/bucket/k")); n != 0 {
		t.Errorf("the store got %d requests", n)
	}
}

// TestStoresConditions: a condition on a write holds where the store has
// conditions at all. Where it has none, it refuses the write.
func TestStoresConditions(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, g *testGateway, ways string) {
		g.put("/bucket/k", []byte("old")).want(t, 200, "")
		etag := g.head("/bucket/k").header.Get("ETag")
		if ways == "no conditional writes" {
			g.put("/bucket/k", []byte("new"), "If-Match", etag).want(t, 501, "NotImplemented")
			g.put("/bucket/k", []byte("new"), "If-None-Match", "*").want(t, 501, "NotImplemented")
			wantObject(t, g, "/bucket/k", []byte("old"), 1)
			return
		}
		g.put("/bucket/k", []byte("new"), "If-None-Match", "*").want(t, 412, "PreconditionFailed")
		g.put("/bucket/k", []byte("new"), "If-Match", `"0123"`).want(t, 412, "PreconditionFailed")
		g.put("/bucket/k", nil, "X-Amz-Copy-Source", "bucket/k", "X-Amz-Storage-Class", "STANDARD", "If-Match", `"0123"`).want(t, 412, "PreconditionFailed")
		g.put("/bucket/other", []byte("other")).want(t, 200, "")
		g.put("/bucket/k", nil, "X-Amz-Copy-Source", "bucket/other", "If-None-Match", "*").want(t, 412, "PreconditionFailed")
		for _, header := range [][]string{{"If-None-Match", "*"}, {"If-Match", `"0123"`}} {
			u := g.begin("/bucket/k")
			u.listed = []testPart{{number: 1, etag: u.try(1, []byte("new")).header.Get("ETag")}}
			u.completeWith(u.listed, header...).want(t, 412, "PreconditionFailed")
		}
		wantObject(t, g, "/bucket/k", []byte("old"), 1)
		g.put("/bucket/k", []byte("new"), "If-Match", etag).want(t, 200, "")
		wantObject(t, g, "/bucket/k", []byte("new"), 1)
		u := g.begin("/bucket/k")
		u.listed = []testPart{{number: 1, etag: u.try(1, []byte("newer")).header.Get("ETag")}}
		u.completeWith(u.listed, "If-Match", g.head("/bucket/k").header.Get("ETag")).want(t, 200, "")
		wantObject(t, g, "/bucket/k", []byte("newer"), 1)
		g.put("/bucket/k", nil, "X-Amz-Copy-Source", "bucket/other", "If-Match", g.head("/bucket/k").header.Get("ETag")).want(t, 200, "")
		wantObject(t, g, "/bucket/k", []byte("other"), 1)
	})
}

// TestStoresRaces replaces the source of a copy at each request that the copy
// makes. The copy is of one of both objects, and readable. Where the store has
// conditions, a copy onto itself never replaces the newer object by the older.
func TestStoresRaces(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, g *testGateway, ways string) {
		for _, to := range []string{"/bucket/k", "/bucket/copy"} {
			for at := range 12 {
				g.upstream.unhook()
				g.put("/bucket/k", []byte("older object")).want(t, 200, "")
				var mu sync.Mutex
				seen := 0
				g.upstream.on("", "/bucket/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					mu.Lock()
					now := seen == at
					seen++
					mu.Unlock()
					if now {
						g.put("/bucket/k", []byte("newer object")).want(t, 200, "")
					}
					next.ServeHTTP(w, r)
				})
				g.put(to, nil, "X-Amz-Copy-Source", "bucket/k", "X-Amz-Storage-Class", "STANDARD").want(t, 200, "")
				g.upstream.unhook()
				r := g.get(to)
				r.want(t, 200, "")
				replaced := seen > at
				if got := string(r.body); got != "newer object" && (got != "older object" || to == "/bucket/k" && replaced && ways != "no conditional writes") {
					t.Errorf("to %s, at request %d: %q", to, at, got)
				}
			}
		}
	})
}

package proxy

import (
	"io"
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
	"conditions ignored": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if isWrite(r) {
			for _, name := range []string{"If-Match", "If-None-Match", headerIfMatchSize, "X-Amz-If-Match-Last-Modified-Time"} {
				r.Header.Del(name)
			}
		}
		if r.Method == http.MethodPost && r.URL.Query().Has("delete") {
			deleteListed(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	},
	"If-Match of nothing creates": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if isWrite(r) && r.Header.Get("If-Match") != "" {
			head, found := r.Clone(r.Context()), httptest.NewRecorder()
			head.Method, head.URL.RawQuery = http.MethodHead, ""
			head.Header.Del("If-Match")
			if next.ServeHTTP(found, head); found.Code == http.StatusNotFound {
				r.Header.Del("If-Match")
			}
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
	"odd listings": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		q := r.URL.Query()
		switch {
		case r.Method != http.MethodGet:
		case q.Has("uploads"):
			memFail(w, 404, "NoSuchUpload", "no uploads")
			return
		case q.Has("versions"):
			_, _ = w.Write([]byte("<ListBucketVersionsResult></ListBucketVersionsResult>"))
			return
		case q.Get("list-type") == "2" && q.Get("max-keys") == "1":
			memFail(w, 500, "InternalError", "cannot make a token")
			return
		}
		next.ServeHTTP(w, r)
	},
	"NoSuchKey for uploads": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !r.URL.Query().Has("uploadId") || r.Method != http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		if answer.Code == http.StatusNotFound {
			memFail(w, 404, "NoSuchKey", "no key")
			return
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	},
	"no versions, no uploads": refusing(func(r *http.Request) bool {
		return r.Method == http.MethodGet && (r.URL.Query().Has("versions") || r.URL.Query().Has("uploads"))
	}, 405, "MethodNotAllowed"),
	"no trailers, no empty signed bodies": refusing(func(r *http.Request) bool {
		framing := r.Header.Get("X-Amz-Content-Sha256")
		return framing == modeTrailer || framing == modeSigned && r.Header.Get("X-Amz-Decoded-Content-Length") == "0"
	}, 400, "InvalidRequest"),
}

// deleteListed is a DeleteObjects that ignores conditions.
func deleteListed(w http.ResponseWriter, r *http.Request, next http.Handler) {
	doc, _ := io.ReadAll(r.Body)
	list, err := s3.ParseDelete(doc)
	if err != nil {
		memFail(w, 400, "MalformedXML", err.Error())
		return
	}
	for _, e := range list.Entries {
		one := r.Clone(r.Context())
		one.Method, one.URL.RawQuery, one.Body = http.MethodDelete, "", http.NoBody
		one.URL.Path = strings.TrimSuffix(r.URL.Path, "/") + "/" + e.Key
		next.ServeHTTP(httptest.NewRecorder(), one)
	}
	memXML(w, "<DeleteResult></DeleteResult>")
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

// TestStoresRules: a bucket gets a rule. If it was empty, the gateway shows
// nothing in it that is not sealed.
func TestStoresRules(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, g *testGateway, _ string) {
		for bucket, want := range map[string]int{"empty": 403, "full": 200} {
			g.upstream.makeBucket(bucket)
			if want == 200 {
				g.put("/"+bucket+"/old", []byte("old")).want(t, 200, "")
			}
			g.setEncryption(bucket, encryptionDoc(s3.AES256, "")).want(t, 200, "")
			g.put("/"+bucket+"/k", []byte("new")).want(t, 200, "")
			wantObject(t, g, "/"+bucket+"/k", []byte("new"), 1)
			g.upstream.store(bucket, "planted", &memObject{body: []byte("planted"), header: http.Header{}, etag: "0123"})
			if got := g.get("/" + bucket + "/planted"); got.status != want {
				t.Errorf("%s: %d %s", bucket, got.status, got.code)
			}
		}
	})
}

// TestStoresUnknownUploads: every operation on an upload that does not exist is
// NoSuchUpload, in buckets with and without a rule.
func TestStoresUnknownUploads(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, g *testGateway, _ string) {
		g.upstream.makeBucket("plain")
		for _, bucket := range []string{testBucket, "plain"} {
			id := url.Values{"uploadId": {g.begin("/" + bucket + "/k").id}}
			path := "/" + bucket + "/k"
			g.do(clientRequest{method: http.MethodDelete, path: path, query: id}).want(t, 204, "")
			part := maps.Clone(id)
			part.Set("partNumber", "1")
			g.do(clientRequest{method: http.MethodGet, path: path, query: id}).want(t, 404, "NoSuchUpload")
			g.do(clientRequest{method: http.MethodPut, path: path, query: part, body: []byte("part")}).want(t, 404, "NoSuchUpload")
			g.put("/"+bucket+"/source", []byte("source")).want(t, 200, "")
			g.do(clientRequest{method: http.MethodPut, path: path, query: part, header: headers("X-Amz-Copy-Source", bucket+"/source")}).want(t, 404, "NoSuchUpload")
		}
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

// TestStoresSubresourcesUnproven: where the gateway must not make a bucket for
// a probe, a deletion is sent to buckets that are not empty. One of nothing is
// done without asking. Any other one is refused, also at a store that answers a
// GET of the sub-resource.
func TestStoresSubresourcesUnproven(t *testing.T) {
	t.Parallel()
	for _, anonymous := range []bool{false, true} {
		for name, ways := range map[string]hook{
			"all sub-resources": func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) },
			"no sub-resources":  storeWays["no sub-resources"],
			"reads them only": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method == http.MethodDelete {
					r.URL.RawQuery = ""
				}
				next.ServeHTTP(w, r)
			},
		} {
			u := newMemUpstream(t)
			u.ways = ways
			g := newGateway(t, withUpstream(u))
			for _, bucket := range []string{"empty", "full", "set"} {
				u.makeBucket(bucket)
				u.mu.Lock()
				u.public[bucket] = true
				u.mu.Unlock()
			}
			u.store("full", "k", &memObject{header: http.Header{}})
			u.mu.Lock()
			u.docs["/set?publicAccessBlock"] = []byte("<PublicAccessBlockConfiguration/>")
			u.mu.Unlock()
			u.on(http.MethodPut, "/ssegw-probe-", answerWith(403, "AccessDenied"))
			for bucket, want := range map[string]int{"empty": 204, "full": 204, "set": 501} {
				if name == "no sub-resources" && bucket == "empty" {
					want = 501
				}
				if name != "all sub-resources" && bucket == "full" {
					want = 409 // the store's own answer: it would have deleted the bucket
				}
				u.forget()
				r := g.do(clientRequest{method: http.MethodDelete, path: "/" + bucket, query: url.Values{"publicAccessBlock": {""}}, anonymous: anonymous})
				if r.status != want {
					t.Errorf("%s, %s, anonymous=%t: %d %s, want %d", name, bucket, anonymous, r.status, r.body, want)
				}
				if want == 501 && !strings.Contains(string(r.body), "cannot find out") {
					t.Errorf("%s, %s: %s", name, bucket, r.body)
				}
				for _, sent := range u.requests("/" + bucket) {
					if sent.Method == http.MethodDelete && bucket != "full" {
						t.Errorf("%s, %s: the store got %s?%s", name, bucket, sent.Method, sent.Query.Encode())
					}
				}
				g.do(clientRequest{method: http.MethodHead, path: "/" + bucket}).want(t, 200, "")
			}
		}
	}
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

// TestStoresRaces replaces the source of a copy at each request that the copy
// makes. The copy is of one of both objects, and readable. Where the store has
// conditions, a copy onto itself never replaces the newer object by the older.
// Where it ignores them, that takes a write between the gateway's look and the
// end of the copy.
func TestStoresRaces(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, g *testGateway, ways string) {
		for _, to := range []string{"/bucket/k", "/bucket/copy"} {
			for at := range 12 {
				g.upstream.unhook()
				g.put("/bucket/k", []byte("older object")).want(t, 200, "")
				var mu sync.Mutex
				seen, inTime := 0, true
				g.upstream.on("", "/bucket/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					mu.Lock()
					now := seen == at
					seen++
					if q := r.URL.Query(); now && ways == "conditions ignored" {
						inTime = !isWrite(r) || q.Has("uploads") || q.Has("partNumber")
					}
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
				replaced := seen > at && inTime
				if got := string(r.body); got != "newer object" && (got != "older object" || to == "/bucket/k" && replaced && ways != "no conditional writes") {
					t.Errorf("to %s, at request %d: %q", to, at, got)
				}
			}
		}
	})
}

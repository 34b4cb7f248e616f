package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"ssegw/proxy/s3"
)

// plainBucket has no rule.
const plainBucket = "plain"

// conditionalWrites are the writes that take conditions. Each replaces or
// creates an object by "new".
var conditionalWrites = map[string]func(g *testGateway, path string, header []string) clientAnswer{
	"put": func(g *testGateway, path string, header []string) clientAnswer {
		return g.put(path, []byte("new"), header...)
	},
	"long put": func(g *testGateway, path string, header []string) clientAnswer {
		return g.put(path, longNew, header...)
	},
	"empty put": func(g *testGateway, path string, header []string) clientAnswer { return g.put(path, nil, header...) },
	"form": func(g *testGateway, path string, header []string) clientAnswer {
		bucket, key, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		return g.form(testForm{bucket: bucket, key: key, header: headers(header...), file: []byte("new")})
	},
	"copy": func(g *testGateway, path string, header []string) clientAnswer {
		return g.put(path, nil, append([]string{"X-Amz-Copy-Source", path[:strings.LastIndex(path, "/")] + "/source"}, header...)...)
	},
	"copy, other checksum": func(g *testGateway, path string, header []string) clientAnswer {
		return g.put(path, nil, append([]string{"X-Amz-Copy-Source", path[:strings.LastIndex(path, "/")] + "/source", s3.HeaderAlgorithm, "SHA256"}, header...)...)
	},
	"complete": func(g *testGateway, path string, header []string) clientAnswer {
		u := g.begin(path)
		u.listed = []testPart{{number: 1, etag: u.try(1, []byte("new")).header.Get("ETag")}}
		return u.completeWith(u.listed, header...)
	},
}

var longNew = pattern(smallBody+1, 9)

// TestStoresConditions: a write whose condition does not hold changes nothing
// and is refused, at a store that ignores the condition, too. One whose
// condition holds is done, or refused by a store that has no conditions.
func TestStoresConditions(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, g *testGateway, ways string) {
		g.upstream.makeBucket(plainBucket)
		refuses := ways == "no conditional writes"
		for _, bucket := range []string{testBucket, plainBucket} {
			g.put("/"+bucket+"/source", []byte("new")).want(t, 200, "")
			for name, write := range conditionalWrites {
				refuses := refuses || ways == "no CopyObject" && bucket == plainBucket && strings.HasPrefix(name, "copy")
				path := fmt.Sprintf("/%s/k", bucket)
				g.put(path, []byte("old")).want(t, 200, "")
				etag := g.head(path).header.Get("ETag")
				for _, header := range [][]string{
					{"If-None-Match", "*"}, {"If-None-Match", etag}, {"If-Match", `"0123"`}, {"If-Match", `"0123456789abcdef0123456789abcdef-1"`},
				} {
					r := write(g, path, header)
					if r.status != 412 && (r.status != 501 || !refuses) {
						t.Errorf("%s of %s under %q: %d %s", name, path, header, r.status, r.code)
					}
					wantBody(t, g, path, "old")
				}
				if r := write(g, path, []string{"If-Match", etag}); r.status/100 != 2 && (r.status != 501 || !refuses) {
					t.Errorf("%s of %s under its ETag: %d %s", name, path, r.status, r.code)
				}
				missing := fmt.Sprintf("/%s/missing", bucket)
				for _, tag := range []string{`"0123"`, `"0123456789abcdef0123456789abcdef-1"`} {
					r := write(g, missing, []string{"If-Match", tag})
					if !slices.Contains([]int{404, 412}, r.status) && (r.status != 501 || !refuses) {
						t.Errorf("%s of nothing under If-Match: %s: %d %s", name, tag, r.status, r.code)
					}
					if ways == "If-Match of nothing creates" || ways == "conditions ignored" {
						r.want(t, 404, "NoSuchKey") // as Amazon S3 answers
					}
					g.get(missing).want(t, 404, "NoSuchKey")
				}
				if r := write(g, missing, []string{"If-None-Match", "*"}); r.status/100 != 2 && (r.status != 501 || !refuses) {
					t.Errorf("%s of nothing under If-None-Match: %d %s", name, r.status, r.code)
				}
				g.delete(missing).want(t, 204, "")
			}
		}
	})
}

// TestStoresConditionalDeletes: a delete whose condition does not hold deletes
// nothing.
func TestStoresConditionalDeletes(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, g *testGateway, ways string) {
		g.upstream.makeBucket(plainBucket)
		for _, bucket := range []string{testBucket, plainBucket} {
			path := "/" + bucket + "/k"
			g.put(path, []byte("old")).want(t, 200, "")
			h := g.head(path).header
			refused := map[string][]string{
				"ETag": {"If-Match", `"0123"`}, "shown ETag": {"If-Match", `"0123456789abcdef0123456789abcdef-1"`}, "size": {headerIfMatchSize, "4"},
			}
			if ways == "conditions ignored" { // the store of the tests does not know it
				refused["time"] = []string{"X-Amz-If-Match-Last-Modified-Time", "Fri, 01 Jan 2027 00:00:00 GMT"}
			}
			for name, header := range refused {
				if r := g.delete(path, header...); r.status != 412 && (r.status != 501 || ways != "no conditional writes") {
					t.Errorf("%s: %s: %d %s", path, name, r.status, r.code)
				}
				wantBody(t, g, path, "old")
			}
			for name, condition := range map[string]string{
				"ETag": "<ETag>0123</ETag>", "shown ETag": "<ETag>0123456789abcdef0123456789abcdef-1</ETag>", "size": "<Size>4</Size>",
				"time": "<LastModifiedTime>Fri, 01 Jan 2027 00:00:00 GMT</LastModifiedTime>",
			} {
				doc := "<Delete><Object><Key>k</Key>" + condition + "</Object></Delete>"
				r := g.do(clientRequest{method: http.MethodPost, path: "/" + bucket, query: url.Values{"delete": {""}}, body: []byte(doc)})
				if ways == "conditions ignored" {
					r.want(t, 501, "NotImplemented")
				}
				if r.status/100 != 2 && r.status != 501 {
					t.Errorf("%s: %s in DeleteObjects: %d %s", path, name, r.status, r.code)
				}
				wantBody(t, g, path, "old")
			}
			if r := g.delete(path, "If-Match", h.Get("ETag")); r.status != 204 && (r.status != 501 || ways != "no conditional writes") {
				t.Errorf("%s: its ETag: %d %s", path, r.status, r.code)
			}
			if r := g.delete("/"+bucket+"/missing", "If-Match", h.Get("ETag")); ways == "conditions ignored" {
				r.want(t, 404, "NoSuchKey")
			}
		}
	})
}

// wantBody fails unless the object has that body.
func wantBody(t *testing.T, g *testGateway, path, want string) {
	t.Helper()
	if r := g.get(path); r.status != 200 || string(r.body) != want {
		t.Errorf("%s: %d, %.20q, want %q", path, r.status, r.body, want)
	}
}

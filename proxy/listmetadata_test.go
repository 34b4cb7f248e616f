package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssegw/kms/kmstest"
	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// listings are the operations that list objects.
var listings = []string{"list-type=2", "", "versions="}

// fillMixed stores sealed objects, one of them multipart, and others. It
// returns their plaintext sizes in the order of the keys.
func fillMixed(g *testGateway) (sizes []int64) {
	g.t.Helper()
	for i := range 12 {
		size := 100 * i // an empty one too
		switch {
		case i == 5:
			u := g.withSmallParts().begin("/bucket/05", s3.HeaderSSE, s3.AES256)
			u.part(1, pattern(smallestPart, 1))
			u.part(3, pattern(70, 2))
			u.complete()
			size = smallestPart + 70
		case i%3 == 1:
			g.put(fmt.Sprintf("/bucket/%02d", i), pattern(size, 1)).want(g.t, 200, "")
		default:
			g.put(fmt.Sprintf("/bucket/%02d", i), pattern(size, 1), s3.HeaderSSE, s3.AWSKMS).want(g.t, 200, "")
		}
		sizes = append(sizes, int64(size))
	}
	g.upstream.age("00")
	return sizes
}

// wantListing lists the bucket, and compares sizes and ETags with HEAD. It
// returns the requests that the store got for the listing.
func wantListing(t *testing.T, g *testGateway, query string, sizes []int64) (requests []string) {
	t.Helper()
	g.upstream.forget()
	entries := g.list(testBucket, query)
	for _, r := range g.upstream.requests("/") {
		line := r.Method + " " + r.Path
		if s := r.Header.Get("Range"); s != "" {
			line += " part"
		}
		if r.Query.Get("metadata") == "true" {
			line += " metadata"
		}
		requests = append(requests, line)
	}
	slices.Sort(requests)
	if len(entries) != len(sizes) {
		t.Fatalf("%q: %d entries, want %d", query, len(entries), len(sizes))
	}
	for i, e := range entries {
		if e.Size != sizes[i] {
			t.Errorf("%q: %s has %d bytes, want %d", query, e.Key, e.Size, sizes[i])
		}
		if head := g.head("/bucket/" + e.Key); head.header.Get("ETag") != e.ETag {
			t.Errorf("%q: %s is listed with the ETag %s, HEAD says %s", query, e.Key, e.ETag, head.header.Get("ETag"))
		}
	}
	return requests
}

// TestListMetadata: if the store lists metadata, the unknown entries of a page
// cost one request and the part tables. The same page then costs nothing.
func TestListMetadata(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	sizes := fillMixed(g)
	g.upstream.detail = true
	for _, query := range listings {
		replica := g.replica()
		g.kes.ResetRequests()
		want := []string{"GET /bucket", "GET /bucket metadata", "GET /bucket/05 part"}
		if got := wantListing(t, replica, query, sizes); !slices.Equal(got, want) {
			t.Errorf("%q took %q, want %q", query, got, want)
		}
		if got := wantListing(t, replica, query, sizes); !slices.Equal(got, want[:1]) {
			t.Errorf("%q again took %q", query, got)
		}
		if n := g.kes.Requests(kmstest.OpDecrypt) + g.kes.Requests(kmstest.OpGenerate); n != 0 {
			t.Errorf("%q took %d calls to KES", query, n)
		}
	}
	// A single unknown entry is looked at.
	g.put("/bucket/00", pattern(77, 1), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	sizes[0] = 77
	replica := g.replica()
	wantListing(t, replica, "list-type=2", sizes)
	g.put("/bucket/00", pattern(78, 1), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	sizes[0] = 78
	if got := wantListing(t, replica, "list-type=2", sizes); !slices.Equal(got, []string{"GET /bucket", "HEAD /bucket/00"}) {
		t.Errorf("one changed object took %q", got)
	}
}

// TestListMetadataPages asks for the second page of each listing with metadata.
func TestListMetadataPages(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	sizes := fillMixed(g)
	g.upstream.detail = true
	for query, more := range map[string]string{
		"list-type=2&max-keys=4&prefix=0&start-after=03": "list-type=2&max-keys=4&prefix=0&start-after=03",
		"max-keys=4&prefix=0&marker=03":                  "list-type=2&max-keys=4&prefix=0&start-after=03",
		"versions=&max-keys=4&prefix=0&key-marker=03":    "versions=&max-keys=4&prefix=0&key-marker=03",
	} {
		replica := g.replica()
		if got := len(wantListing(t, replica, query, sizes[4:8])); got != 3 {
			t.Errorf("%q took %d requests, want 3", query, got)
		}
		asked := g.upstream.requests("/bucket")
		want, _ := url.ParseQuery(more + "&metadata=true")
		if got := asked[1].Query.Encode(); got != want.Encode() {
			t.Errorf("%q asked for %s, want %s", query, got, want.Encode())
		}
	}
}

// TestListMetadataRefused: stores without such pages are asked only once in a
// while.
func TestListMetadataRefused(t *testing.T) {
	t.Parallel()
	ignored := func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) }
	document := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.Write([]byte("<Metadata/>")) }
	for name, tt := range map[string]struct {
		answer hook
		asked  int // in two listings
	}{
		"ignored":          {ignored, 1},
		"refused":          {answerWith(501, "NotImplemented"), 2},
		"bad request":      {answerWith(400, "InvalidArgument"), 1},
		"another document": {document, 1},
		"in trouble":       {answerWith(503, "SlowDown"), 2},
		"broken off":       {cutAnswer(100), 2},
	} {
		g := newGateway(t)
		sizes := fillMixed(g)
		g.upstream.on(http.MethodGet, "/bucket", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.URL.Query().Get("metadata") == "true" {
				tt.answer(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		})
		asked := func(g *testGateway) int {
			got := wantListing(t, g, "list-type=2", sizes)
			return len(slices.DeleteFunc(got, func(r string) bool { return r != "GET /bucket metadata" }))
		}
		replica := g.replica()
		first := asked(replica)
		replica.caches = object.NewCaches()
		if n := first + asked(replica); n != tt.asked {
			t.Errorf("%s: asked %d times, want %d", name, n, tt.asked)
		}
		replica.caches = object.NewCaches()
		replica.pages.AskAgain() // as if the time were over
		if n := asked(replica); n != 1 {
			t.Errorf("%s: asked %d times after a while", name, n)
		}
	}
}

// TestListMetadataHidden: a listing with metadata but no sealed header does not
// prove that an object is plaintext.
func TestListMetadataHidden(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	sizes := fillMixed(g)
	g.upstream.detail = true
	g.upstream.rewriteListings(func(_ url.Values, page string) string { return strings.ReplaceAll(page, "X-Amz-Meta-Ssegw", "Ssegw") })
	replica := g.replica()
	if got := len(wantListing(t, replica, "list-type=2", sizes)); got != 2+len(sizes) {
		t.Errorf("the page took %d requests", got)
	}
	// Asked by the client, too.
	wantListing(t, g.replica(), "list-type=2&metadata=true", sizes)
}

// TestListMetadataChanged: metadata of an entry that differs from the first
// page is not used.
func TestListMetadataChanged(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(page string) string{
		"another ETag": func(page string) string { return strings.ReplaceAll(page, "<ETag>&#34;", "<ETag>&#34;0") },
		"another size": func(page string) string { return strings.ReplaceAll(page, "<Size>", "<Size>1") },
		"other keys":   func(page string) string { return strings.ReplaceAll(page, "<Key>", "<Key>x") },
		"no metadata":  func(page string) string { return strings.ReplaceAll(page, "UserMetadata>", "Other>") },
	} {
		g := newGateway(t)
		sizes := fillMixed(g)
		g.upstream.detail = true
		g.upstream.rewriteListings(func(q url.Values, page string) string {
			if q.Has("metadata") {
				return change(page)
			}
			return page
		})
		if got := len(wantListing(t, g.replica(), "list-type=2", sizes)); got != 2+len(sizes) {
			t.Errorf("%s: the page took %d requests", name, got)
		}
	}
}

// TestListMetadataTampered: headers in a page are authenticated like those of a
// HEAD.
func TestListMetadataTampered(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, key := range []string{"a", "b", "c", "d"} {
		g.put("/bucket/"+key, pattern(1000, 1), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	}
	g.upstream.edit(testBucket, "a", func(o *memObject) { o.header.Set(sealer.MetadataKey, "nonsense") })
	g.upstream.edit(testBucket, "b", func(o *memObject) { o.body, o.etag = o.body[:700], "cut" })
	g.upstream.edit(testBucket, "c", func(o *memObject) { *o = *g.upstream.object(testBucket, "d"); o.etag = "swapped" })
	g.upstream.detail = true
	replica := g.replica()
	var sizes []int64
	for _, e := range replica.list(testBucket, "list-type=2") {
		sizes = append(sizes, e.Size)
	}
	if want := []int64{1032, 700, 1032, 1000}; !slices.Equal(sizes, want) {
		t.Errorf("sizes %v, want %v", sizes, want)
	}
	for _, reason := range []string{"header", "size", "facts"} {
		if n := replica.counter("ssegw_integrity_failures_total", "reason="+reason); n != 1 {
			t.Errorf("%s: %v failures counted, want 1", reason, n)
		}
	}
	if n := len(g.upstream.requests("/bucket/")); n != 0 {
		t.Errorf("%d requests for single objects", n)
	}
}

// TestListMetadataAsked: a client that asks for metadata gets it without the
// sealed header, and it costs one request.
func TestListMetadataAsked(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/plain", pattern(10, 1), "X-Amz-Meta-Colour", "red").want(t, 200, "")
	g.put("/bucket/sealed", pattern(20, 1), "X-Amz-Meta-Colour", "blue", s3.HeaderSSE, s3.AES256).want(t, 200, "")
	g.upstream.detail = true
	for _, query := range []string{"list-type=2&metadata=true", "versions=&metadata=true"} {
		replica := g.replica()
		if got := wantListing(t, replica, query, []int64{10, 20}); !slices.Equal(got, []string{"GET /bucket metadata"}) {
			t.Errorf("%q took %q", query, got)
		}
		r := replica.do(clientRequest{method: "GET", path: "/bucket", query: parseQuery(query)})
		for _, part := range []string{"<X-Amz-Meta-Colour>red<", "<X-Amz-Meta-Colour>blue<", "<Internal>"} {
			if !strings.Contains(string(r.body), part) {
				t.Errorf("%q: no %s in %s", query, part, r.body)
			}
		}
		if bytes.Contains(bytes.ToLower(r.body), []byte("ssegw")) {
			t.Errorf("%q: %s", query, r.body)
		}
	}
}

// TestListMetadataAnonymous: if anonymous clients get no metadata, the gateway
// still asks for other clients.
func TestListMetadataAnonymous(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	sizes := fillMixed(g)
	g.upstream.public = map[string]bool{testBucket: true}
	g.upstream.detail = true
	g.upstream.on(http.MethodGet, "/bucket", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("Authorization") == "" {
			q := r.URL.Query()
			q.Del("metadata")
			r.URL.RawQuery = q.Encode()
		}
		next.ServeHTTP(w, r)
	})
	replica := g.replica()
	replica.do(clientRequest{method: "GET", path: "/bucket", anonymous: true}).want(t, 200, "")
	replica.caches = object.NewCaches()
	want := []string{"GET /bucket", "GET /bucket metadata", "GET /bucket/05 part"}
	if got := wantListing(t, replica, "", sizes); !slices.Equal(got[:2], want[:2]) || len(got) > 3 {
		t.Errorf("the page took %q, want %q", got, want)
	}
}

// TestListMetadataFirst: once the store is known to list sealed headers, a page
// that was not listed before takes one request. The client gets the same
// document as without metadata.
func TestListMetadataFirst(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/plain", pattern(10, 1), "X-Amz-Meta-Colour", "red").want(t, 200, "")
	for _, key := range []string{"a", "b", "c/d"} {
		g.put("/bucket/"+key, pattern(20, 1), s3.HeaderSSE, s3.AES256, "X-Amz-Meta-Colour", "blue", "X-Amz-Tagging", "a=b").want(t, 200, "")
	}
	g.upstream.detail = true
	replica := g.replica()
	replica.list(testBucket, "list-type=2") // learns what the store sends
	list := func(query string, anonymous bool, want ...string) []byte {
		t.Helper()
		replica.upstream.forget()
		r := replica.do(clientRequest{method: "GET", path: "/bucket", query: parseQuery(query), anonymous: anonymous})
		r.want(t, 200, "")
		var got []string
		for _, asked := range g.upstream.requests("/bucket") {
			if asked.Path == "/bucket" {
				got = append(got, asked.Query.Encode())
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q took %q, want %q", query, got, want)
		}
		return r.body
	}
	for query, want := range map[string]string{
		"list-type=2&fetch-owner=true":      "fetch-owner=true&list-type=2&metadata=true",
		"list-type=2&delimiter=%2F":         "delimiter=%2F&list-type=2&metadata=true",
		"versions=&prefix=":                 "metadata=true&prefix=&versions=",
		"list-type=2&encoding-type=url":     "encoding-type=url&list-type=2&metadata=true",
		"list-type=2&max-keys=2":            "list-type=2&max-keys=2&metadata=true",
		"list-type=2&max-keys=2&prefix=pla": "list-type=2&max-keys=2&metadata=true&prefix=pla",
	} {
		replica.caches = object.NewCaches()
		query, _ = url.QueryUnescape(query)
		first := list(query, false, want)
		again := list(query, false, strings.Trim(strings.Replace("&"+want, "&metadata=true", "", 1), "&"))
		if diff := cmp.Diff(string(again), string(first)); diff != "" {
			t.Errorf("%q (-plain +metadata first):\n%s", query, diff)
		}
	}

	// ListObjects has no metadata, and a page that fails is asked for again.
	list("prefix=pl", false, "prefix=pl")
	g.upstream.on(http.MethodGet, "/bucket", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Query().Has("metadata") {
			answerWith(403, "AccessDenied")(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
	list("list-type=2&prefix=pl", false, "list-type=2&metadata=true&prefix=pl", "list-type=2&prefix=pl")
	g.upstream.unhook()
	g.upstream.public = map[string]bool{testBucket: true}
	list("list-type=2&prefix=pla", true, "list-type=2&prefix=pla")
}

package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssegw/kms/kmstest"
	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/upstream"
)

// TestListCost counts the HEADs for a page. Objects that this gateway wrote
// cost none, except the empty one, whose time it does not know. Each unknown
// object costs one, the first time only, unless it is empty and new. KES is
// never called.
func TestListCost(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	const objects = 40
	for i := range objects {
		g.put(fmt.Sprintf("/bucket/%02d", i), pattern(i, 1), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	}
	g.upstream.age("00")
	heads := func(server *testGateway) int {
		g.upstream.forget()
		for i, e := range server.list(testBucket, "list-type=2") {
			if e.Size != int64(i) {
				t.Errorf("%s has %d bytes", e.Key, e.Size)
			}
		}
		return len(g.upstream.requests("/bucket/"))
	}
	if n := heads(g); n != 1 {
		t.Errorf("listing what was just written took %d HEADs", n)
	}
	if n := heads(g); n != 0 {
		t.Errorf("listing it again took %d HEADs", n)
	}
	replica := newGateway(t, withUpstream(g.upstream), withKES(g.kes))
	g.kes.ResetRequests()
	if n := heads(replica); n != objects {
		t.Errorf("the first listing took %d HEADs", n)
	}
	if n := replica.counter("ssegw_list_heads_total"); n != objects {
		t.Errorf("%v HEADs are counted", n)
	}
	if n := heads(replica); n != 0 {
		t.Errorf("the second listing took %d HEADs", n)
	}
	if n := g.kes.Requests(kmstest.OpDecrypt) + g.kes.Requests(kmstest.OpGenerate); n != 0 {
		t.Errorf("the listings made %d calls to KES", n)
	}
	// A changed object costs a HEAD.
	g.put("/bucket/00", pattern(500, 9), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	if e := replica.list(testBucket, "list-type=2")[0]; e.Size != 500 {
		t.Errorf("a changed object is listed with %d bytes", e.Size)
	}
}

// TestListBounded has no more than pageLookups HEADs under way.
func TestListBounded(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for i := range 3 * pageLookups {
		g.put(fmt.Sprintf("/bucket/%02d", i), []byte("x")).want(t, 200, "")
	}
	replica := newGateway(t, withUpstream(g.upstream), withKES(g.kes))
	var mu sync.Mutex
	now, most := 0, 0
	release := make(chan struct{})
	open := sync.OnceFunc(func() { close(release) })
	g.upstream.on(http.MethodHead, "/bucket/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		mu.Lock()
		now++
		if most = max(most, now); now == pageLookups {
			time.AfterFunc(100*time.Millisecond, open) // time for one more to come, if it may
		}
		mu.Unlock()
		<-release
		mu.Lock()
		now--
		mu.Unlock()
		next.ServeHTTP(w, r)
	})
	replica.list(testBucket, "list-type=2")
	if most != pageLookups {
		t.Errorf("%d HEADs at a time, want %d", most, pageLookups)
	}
}

// TestListSplice changes size, ETag and checksums of sealed objects and nothing
// else of the store's document.
func TestListSplice(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/plain&<", []byte("12345")).want(t, 200, "")
	g.put("/bucket/sealed", []byte("12345"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	sealed := g.upstream.object(testBucket, "sealed")
	for _, query := range []string{"list-type=2", "", "versions="} {
		var fromStore []byte
		g.upstream.on(http.MethodGet, "/bucket", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(&teeWriter{w, &fromStore}, r)
		})
		r := g.do(clientRequest{method: "GET", path: "/bucket", query: parseQuery(query)})
		r.want(t, 200, "")
		_, entry, _ := strings.Cut(string(fromStore), "<Key>sealed</Key>")
		changed := strings.NewReplacer(
			sealed.etag+"&#34;</ETag>", sealed.etag+"-1&#34;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>",
			"<Size>37</Size>", "<Size>5</Size>",
			"<ChecksumAlgorithm>CRC32C</ChecksumAlgorithm>", "",
		).Replace(entry)
		want := strings.TrimSuffix(string(fromStore), entry) + changed
		if diff := cmp.Diff(strings.ReplaceAll(want, "&#34;", "&quot;"), strings.ReplaceAll(string(r.body), "&#34;", "&quot;")); diff != "" {
			t.Errorf("%q (-want +got):\n%s", query, diff)
		}
		if strings.Count(string(r.body), "VendorElement") != 4 || bytes.Contains(r.body, []byte("ssegw")) {
			t.Errorf("%q: %s", query, r.body)
		}
	}
}

func parseQuery(s string) map[string][]string {
	q := map[string][]string{}
	for p := range strings.SplitSeq(s, "&") {
		if name, value, _ := strings.Cut(p, "="); name != "" {
			q[name] = []string{value}
		}
	}
	return q
}

// teeWriter keeps what is written.
type teeWriter struct {
	http.ResponseWriter
	kept *[]byte
}

func (w *teeWriter) Write(p []byte) (int, error) {
	*w.kept = append(*w.kept, p...)
	return w.ResponseWriter.Write(p)
}

// TestListHeadFails: entries that the store does not show are listed as the
// store lists them. If the store is unavailable, the page fails.
func TestListHeadFails(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, key := range []string{"a", "b", "c"} {
		g.put("/bucket/"+key, []byte("12345"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	}
	for _, tt := range []struct {
		hook  hook
		sizes []int64
	}{
		{answerWith(403, ""), []int64{5, 37, 5}},
		{answerWith(404, ""), []int64{5, 37, 5}},
		{answerWith(400, ""), []int64{5, 37, 5}},
		{answerWith(405, ""), []int64{5, 37, 5}},
		{answerWith(416, ""), nil}, // the look asks for no range
		{answerWith(503, ""), nil},
		{func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }, nil},
	} {
		replica := newGateway(t, withUpstream(g.upstream), withKES(g.kes))
		g.upstream.on(http.MethodHead, "/bucket/b", tt.hook)
		if tt.sizes == nil {
			replica.get("/bucket").want(t, 503, "ServiceUnavailable")
			g.upstream.unhook()
			g.upstream.on(http.MethodHead, "/bucket/b", answerWith(429, ""))
			replica.get("/bucket").want(t, 503, "SlowDown")
			continue
		}
		var sizes []int64
		for _, e := range replica.list(testBucket, "list-type=2") {
			sizes = append(sizes, e.Size)
		}
		if !slices.Equal(sizes, tt.sizes) {
			t.Errorf("sizes %v, want %v", sizes, tt.sizes)
		}
		// The store recovers. Failures were not remembered.
		g.upstream.unhook()
		if e := replica.list(testBucket, "list-type=2")[1]; e.Size != 5 {
			t.Errorf("after recovery %d bytes", e.Size)
		}
	}
}

// TestListReplaced replaces an object between the store's page and the lookup.
// The entry keeps its size, and the new size is not remembered for it.
func TestListReplaced(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/k", pattern(1000, 1), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	replica := newGateway(t, withUpstream(g.upstream), withKES(g.kes))
	g.upstream.rewriteListings(func(_ url.Values, page string) string { return strings.Replace(page, "<Size>1032<", "<Size>532<", 1) })
	if l := replica.list(testBucket, "list-type=2"); l[0].Size != 532 {
		t.Errorf("listed with %d bytes", l[0].Size)
	}
	if l := replica.list(testBucket, "list-type=2"); l[0].Size != 532 {
		t.Errorf("listed again with %d bytes", l[0].Size)
	}
}

// TestListGarbage: a page that is not a listing fails the request.
func TestListGarbage(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, doc := range []string{"", "<html>", "<ListBucketResult><Contents><Key>a", "<Other/>"} {
		g.upstream.on(http.MethodGet, "/bucket", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Write([]byte(doc))
		})
		g.get("/bucket").want(t, 503, "ServiceUnavailable")
	}
}

// uploadSummed uploads an object of smallestPart bytes in each part, with
// checksums.
func (g *testGateway) uploadSummed(key, algorithm, kind string, parts int) {
	g.t.Helper()
	u := g.begin("/bucket/"+key, s3.HeaderSSE, s3.AES256, "X-Amz-Checksum-Algorithm", algorithm, "X-Amz-Checksum-Type", kind)
	for i := range parts {
		body := pattern(smallestPart, uint64(i))
		sum := sumText(algorithm, body)
		u.part(i+1, body, sigv4.HeaderName(algorithm), sum)
		u.listed[i].more = fmt.Sprintf("<Checksum%s>%s</Checksum%[1]s>", algorithm, sum)
	}
	u.complete()
}

// TestListMultipart: an entry that may be a multipart object costs one GET of
// its last bytes.
func TestListMultipart(t *testing.T) {
	t.Parallel()
	g := newGateway(t).withSmallParts()
	g.uploadSummed("few", "CRC32", "COMPOSITE", 2)
	g.uploadSummed("many", "SHA512", "COMPOSITE", 40) // with a table longer than expected
	g.uploadSummed("odd", "SHA256", "COMPOSITE", 3)
	g.put("/bucket/plain", pattern(2000, 1)).want(t, 200, "")
	g.upstream.edit(testBucket, "odd", func(o *memObject) { o.etag = "some-thing" })
	g.upstream.edit(testBucket, "plain", func(o *memObject) { o.etag = "ffff-2" })
	sizes := []int64{2000, 40000, 3000, 2000}
	want := []string{
		"GET /bucket", "GET /bucket metadata", "GET /bucket/few part",
		"GET /bucket/many part", "GET /bucket/many part", "GET /bucket/odd part", "GET /bucket/plain part",
	}
	replica := g.replica()
	if got := wantListing(t, replica, "list-type=2", sizes); !slices.Equal(got, want) {
		t.Errorf("the page took %q, want %q", got, want)
	}
	if got := wantListing(t, replica, "list-type=2", sizes); len(got) != 1 {
		t.Errorf("the page again took %q", got)
	}
	if got := wantListing(t, g, "list-type=2", sizes); len(got) != 4 { // the two whose ETags were changed
		t.Errorf("the page took %q through the gateway that wrote the objects", got)
	}
	// Even if the store ignores ranges, objects are not read whole.
	g.upstream.on(http.MethodGet, "/bucket/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Del("Range")
		next.ServeHTTP(w, r)
	})
	replica = g.replica()
	for i, e := range replica.list(testBucket, "list-type=2") {
		size := int64(len(g.upstream.object(testBucket, e.Key).body))
		if e.Key == "odd" {
			size = sizes[i] // all of it was asked for
		}
		if e.Size != size {
			t.Errorf("%s has %d bytes, want %d", e.Key, e.Size, size)
		}
	}
}

// TestListChecksums: listings have the checksum types of sealed objects,
// whether learned from HEADs or from pages with metadata, and the store's own
// types for other objects.
func TestListChecksums(t *testing.T) {
	t.Parallel()
	g := newGateway(t).withSmallParts()
	for key, c := range map[string]clientRequest{
		"0": {body: pattern(2000, 1), mode: modeTrailer, algorithm: "CRC32"},
		"1": {body: pattern(2<<20, 1), mode: modeTrailer, algorithm: "SHA256"}, // in a trailer
		"2": {body: pattern(2000, 1)},
		"3": {body: pattern(2<<20, 1)},
	} {
		c.method, c.path, c.header = "PUT", "/bucket/"+key, headers(s3.HeaderSSE, s3.AES256)
		g.do(c).want(t, 200, "")
	}
	g.uploadSummed("composite", "SHA1", "COMPOSITE", 1)
	g.uploadSummed("full", "CRC32C", "FULL_OBJECT", 1)
	g.put("/bucket/plain", pattern(2000, 1)).want(t, 200, "")
	want := []string{
		"[CRC32] FULL_OBJECT", "[SHA256] FULL_OBJECT", "[CRC64NVME] FULL_OBJECT", "[CRC64NVME] FULL_OBJECT",
		"[SHA1] COMPOSITE", "[CRC32C] FULL_OBJECT", "[CRC32C] ",
	}
	detailed := newGateway(t, withUpstream(g.upstream), withKES(g.kes))
	for name, gateway := range map[string]*testGateway{"the writer": g, "a replica": g.replica(), "a page with metadata": detailed} {
		g.upstream.mu.Lock()
		g.upstream.detail = gateway == detailed
		g.upstream.mu.Unlock()
		for range 2 {
			var got []string
			for _, e := range gateway.list(testBucket, "list-type=2") {
				got = append(got, fmt.Sprint(e.ChecksumAlgorithm, " ", e.ChecksumType))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
	r := g.get("/bucket")
	if want := "-1&#34;</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>2000<"; !strings.Contains(string(r.body), want) {
		t.Errorf("no %s in %s", want, r.body)
	}
}

// TestListNullVersion: stores without versioning list the version ID "null",
// and some do not accept it.
func TestListNullVersion(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/k", pattern(1000, 1), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	g.upstream.on(http.MethodHead, "/bucket/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Query().Has("versionId") {
			memFail(w, 400, "InvalidArgument", "Invalid version id specified")
			return
		}
		next.ServeHTTP(w, r)
	})
	if l := g.replica().list(testBucket, "versions="); l[0].Size != 1000 {
		t.Errorf("listed with %d bytes", l[0].Size)
	}
	g.upstream.rewriteListings(func(_ url.Values, page string) string {
		return strings.Replace(page, "<IsLatest>true", "<IsLatest>false", 1)
	})
	if l := g.replica().list(testBucket, "versions="); l[0].Size != 1032 {
		t.Errorf("an older version is listed with %d bytes", l[0].Size)
	}
}

// BenchmarkList makes a page of 1,000 sealed objects: warm from the caches, and
// cold from the metadata that the store has listed.
func BenchmarkList(b *testing.B) {
	g := newGateway(b)
	g.upstream.detail = true
	for i := range 1000 {
		g.put(fmt.Sprintf("/bucket/directory/object-%08d", i), pattern(1354, 1), s3.HeaderSSE, s3.AES256).want(b, 200, "")
	}
	c := &call{gw: g.Server, in: httptest.NewRequest(http.MethodGet, "/bucket", nil), req: &s3.Request{Bucket: testBucket, Query: url.Values{"metadata": {"true"}}}}
	for _, tt := range []struct {
		name, query string
		cold        bool
	}{{name: "warm", query: "list-type=2"}, {name: "cold", query: "list-type=2&metadata=true", cold: true}} {
		var doc []byte
		g.upstream.on(http.MethodGet, "/bucket", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(&teeWriter{w, &doc}, r)
		})
		g.do(clientRequest{method: "GET", path: "/bucket", query: parseQuery(tt.query)}).want(b, 200, "")
		b.Run(tt.name, func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				if tt.cold {
					b.StopTimer()
					g.caches = object.NewCaches()
					b.StartTimer()
				}
				listing, err := upstream.ParseListing(bytes.NewReader(doc))
				if err != nil {
					b.Fatal(err)
				}
				facts, err := listedFacts(c, listing.Entries, true)
				if err != nil {
					b.Fatal(err)
				}
				page := listing.Splice(func(i int) s3.Edit { return facts[i].Edit(&listing.Entries[i]) })
				if bytes.Count(page, []byte("<Size>1354<")) != 1000 {
					b.Fatal("another page")
				}
			}
		})
	}
}

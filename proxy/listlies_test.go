package proxy

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// TestListRaces: an object that is replaced between the store's page and the
// look at it does not lend its facts to the one on the page, neither to later
// listings nor to those after a restart.
func TestListRaces(t *testing.T) {
	t.Parallel()
	sealed := []string{s3.HeaderSSE, s3.AES256}
	for name, objects := range map[string][2]struct {
		size   int
		header []string
		sum    string // in a trailer
	}{
		"sealed, plaintext":             {{size: 1000, header: sealed}, {size: 500}},
		"plaintext, sealed":             {{size: 1032}, {size: 1000, header: sealed}},
		"sealed, plaintext of its size": {{size: 1000, header: sealed}, {size: 1032}},
		"a trailer, none":               {{2<<20 + 5, sealed, "CRC32C"}, {size: 2<<20 + 185, header: sealed}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			var stored [2]*memObject
			for i, o := range objects {
				request := clientRequest{method: http.MethodPut, path: "/bucket/k", body: pattern(o.size, uint64(i)), header: headers(o.header...)}
				if name == "a trailer, none" && o.sum == "" {
					request.header.Set("X-Amz-Checksum-Crc32c", sumText("CRC32C", request.body))
				}
				if o.sum != "" {
					request.mode, request.algorithm = modeTrailer, o.sum
				}
				g.do(request).want(t, 200, "")
				stored[i] = g.upstream.object(testBucket, "k")
			}
			if name == "a trailer, none" && len(stored[0].body) != len(stored[1].body) {
				t.Fatalf("%d and %d bytes are stored", len(stored[0].body), len(stored[1].body))
			}
			g.upstream.store(testBucket, "k", stored[0])
			p, stop := g.process()
			var once sync.Once
			g.upstream.on(http.MethodHead, "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				once.Do(func() { g.upstream.store(testBucket, "k", stored[1]) })
				next.ServeHTTP(w, r)
			})
			p.list(testBucket, "list-type=2")
			g.upstream.unhook()
			g.upstream.store(testBucket, "k", stored[0]) // a later version is deleted
			wantListing(t, p, "list-type=2", []int64{int64(objects[0].size)})
			stop()
			next, _ := g.process()
			wantListing(t, next, "list-type=2", []int64{int64(objects[0].size)})
		})
	}
}

// TestListSameSecond: an empty object is not taken for one that was written in
// the same second, and has the same ETag.
func TestListSameSecond(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/k", nil, s3.HeaderSSE, s3.AES256).want(t, 200, "")
	g.upstream.age("k")
	first := g.upstream.object(testBucket, "k").modified.Add(time.Hour)
	wantListing(t, g, "list-type=2", []int64{0})
	if n := g.lookedUp("list-type=2"); n != 0 {
		t.Errorf("an old one costs %d lookups", n)
	}
	g.upstream.edit(testBucket, "k", func(o *memObject) { o.modified = first })
	wantListing(t, g, "list-type=2", []int64{0})
	g.put("/bucket/k", nil).want(t, 200, "")
	g.upstream.edit(testBucket, "k", func(o *memObject) { o.modified = first })
	wantListing(t, g, "list-type=2", []int64{0})
	g.put("/bucket/k", nil, s3.HeaderSSE, s3.AES256).want(t, 200, "")
	g.upstream.edit(testBucket, "k", func(o *memObject) { o.modified = first })
	wantListing(t, g, "list-type=2", []int64{0})
}

// TestListWithoutETag: at a store whose pages have no ETags, each object is
// looked up for each page.
func TestListWithoutETag(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.upstream.rewriteListings(func(_ url.Values, page string) string {
		begin, rest, _ := strings.Cut(page, "<ETag>")
		_, end, ok := strings.Cut(rest, "</ETag>")
		if !ok {
			return page
		}
		return begin + "<ETag>&#34;&#34;</ETag>" + end
	})
	for i, want := range []int64{1000, 1032, 1000} {
		size, header := 1000, []string{s3.HeaderSSE, s3.AES256}
		if want == 1032 {
			size, header = 1032, nil
		}
		g.put("/bucket/k", pattern(size, uint64(i)), header...).want(t, 200, "")
		if got := g.list(testBucket, "list-type=2"); len(got) != 1 || got[0].Size != want {
			t.Errorf("%+v, want %d bytes", got, want)
		}
	}
}

// TestListMemoryNotRead: nothing but listings depends on what listings know. A
// cache with wrong facts for every object changes no other answer.
func TestListMemoryNotRead(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/k", pattern(1000, 1), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	p, stop := g.process()
	p.list(testBucket, "list-type=2")
	stop()
	record := g.memory()
	if record == nil {
		t.Fatal("nothing was written")
	}
	g.forgeMemory(func(document []byte) {
		for entry := document[1:]; len(entry) > 0; entry = entry[27:] {
			entry[16], entry[25], entry[26] = 1, 0, 7 // sealed, 7 bytes
		}
	})
	next, _ := g.process()
	if e := next.list(testBucket, "list-type=2"); len(e) != 1 || e[0].Size != 7 {
		t.Fatalf("the forged cache is not in use: %+v", e)
	}
	wantObject(t, next, "/bucket/k", pattern(1000, 1), 10)
	if h := next.head("/bucket/k").header; h.Get("Content-Length") != "1000" {
		t.Errorf("HEAD: %v", h)
	}
	next.put("/bucket/copy", nil, "X-Amz-Copy-Source", "bucket/k", s3.HeaderSSE, s3.AES256).want(t, 200, "")
	wantObject(t, next, "/bucket/copy", pattern(1000, 1), 10)
	next.delete("/bucket/k", headerIfMatchSize, "7").want(t, 412, "PreconditionFailed")
	next.delete("/bucket/k", headerIfMatchSize, "1000").want(t, 204, "")
}

// forgeMemory changes the stored document of what listings know, as only a
// holder of the root can.
func (g *testGateway) forgeMemory(change func(document []byte)) {
	g.t.Helper()
	g.upstream.edit(testStateBucket, state.MemoryObject, func(o *memObject) {
		document, err := sealer.OpenRecord(g.State.Root(), state.MemoryObject, o.body)
		if err != nil {
			g.t.Fatal(err)
		}
		change(document)
		if o.body, err = sealer.SealRecord(g.State.Root(), state.MemoryObject, document); err != nil {
			g.t.Fatal(err)
		}
	})
}

// age makes an object of the store an hour older.
func (u *memUpstream) age(key string) {
	u.t.Helper()
	u.edit(testBucket, key, func(o *memObject) { o.modified = o.modified.Add(-time.Hour) })
}

package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// keepFirstPart makes the store keep the first attempt of each part, and answer
// later ones with its ETag.
func keepFirstPart(u *memUpstream) {
	u.on(http.MethodPut, "/"+testBucket, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		q := r.URL.Query()
		if p := u.uploadParts(q.Get("uploadId"))[atoi(q.Get("partNumber"))]; p != nil {
			w.Header().Set("ETag", `"`+p.etag+`"`)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func atoi(s string) (n int) {
	_, _ = fmt.Sscan(s, &n)
	return n
}

// TestStoreChoosesNoAttempt: a store that keeps the first attempt of a part,
// and answers the second with the first one's ETag, cannot make the first one
// the object.
func TestStoreChoosesNoAttempt(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
	keepFirstPart(g.upstream)
	first, second := pattern(2000, 1), pattern(2000, 2)
	for range 20 {
		u := g.begin("/bucket/k")
		one, two := u.part(1, first), u.part(1, second)
		if one.etag == two.etag {
			t.Fatalf("two attempts are called %s", one.etag)
		}
		if l := listPartsOf(t, u); len(l.Part) != 1 || l.Part[0].ETag != two.etag {
			t.Errorf("listed %+v", l)
		}
		u.completeWith([]testPart{one}).want(t, 400, "InvalidPart")
		if r := u.completeWith([]testPart{two}); r.status == 200 {
			if r := g.get("/bucket/k"); r.status == 200 && r.err == nil || bytes.Equal(r.body, first) {
				t.Fatalf("the store's choice was served: %d, %d bytes", r.status, len(r.body))
			}
		}
	}
}

// TestPartRepeated: an attempt replaces the records of those before it, so that
// Completes need not read ever more of them.
func TestPartRepeated(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sizes []int
		left  int // records, that of the upload included
	}{
		"staged":                   {[]int{10, 11, 12, 13, 14}, 3},
		"not staged":               {[]int{2000, 2001, 2002, 2003}, 2},
		"staged after one":         {[]int{2000, 10}, 3},
		"one after a staged":       {[]int{10, 2000}, 2},
		"staged by fifty attempts": {slices.Repeat([]int{7}, 50), 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
			other := newGateway(t, withUpstream(g.upstream), withKES(g.kes)).withSmallParts()
			u := g.begin("/bucket/k")
			u.part(2, pattern(2500, 99)) // another part's records stay
			var body []byte
			var last testPart
			for i, size := range c.sizes {
				body = pattern(size, uint64(i))
				through := u.through([]*testGateway{g, other}[i%2])
				last = through.part(3, body)
				if i < len(c.sizes)-1 {
					u.listed = append(u.listed[:1], last)
				}
			}
			if n := len(g.records()); n != c.left+1 {
				t.Errorf("%d records: %v", n, g.records())
			}
			u.completeWith(u.listed).want(t, 400, "InvalidPart")
			u.listed = append(u.listed[:1], last)
			u.complete()
			wantObject(t, g, "/bucket/k", slices.Concat(pattern(2500, 99), body), 5)
		})
	}
}

// TestPartRepeatedInVain: a failed attempt leaves the earlier one.
func TestPartRepeatedInVain(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, 2000} {
		for name, spoil := range map[string]func(g *testGateway){
			"part refused": func(g *testGateway) { g.upstream.on(http.MethodPut, "/", answerWith(500, "InternalError")) },
			"record refused": func(g *testGateway) {
				g.upstream.on(http.MethodPut, "/"+testStateBucket+"/uploads", onRecord(answerWith(500, "InternalError")))
			},
			"listing refused":     func(g *testGateway) { g.upstream.on(http.MethodGet, "/"+testStateBucket, answerListing(503)) },
			"removal not allowed": func(g *testGateway) { g.upstream.on(http.MethodDelete, "/", answerWith(500, "InternalError")) },
		} {
			t.Run(fmt.Sprint(name, " ", size), func(t *testing.T) {
				g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
				u := g.begin("/bucket/k")
				one := u.part(1, pattern(size, 1))
				spoil(g)
				r := u.try(1, pattern(size, 2))
				g.upstream.unhook()
				if name == "removal not allowed" {
					// The remains of the first attempt do no harm.
					r.want(t, 200, "")
					u.completeWith([]testPart{{number: 1, etag: r.header.Get("ETag")}}).want(t, 200, "")
					wantObject(t, g, "/bucket/k", pattern(size, 2), 3)
					return
				}
				if r.status < 500 {
					t.Fatalf("%d %s", r.status, r.code)
				}
				if name == "record refused" && size == 2000 {
					// The store has the second attempt. No client knows of it.
					u.completeWith([]testPart{one}).want(t, 400, "InvalidPart")
					return
				}
				u.completeWith([]testPart{one}).want(t, 200, "")
				wantObject(t, g, "/bucket/k", pattern(size, 1), 3)
			})
		}
	}
}

// onRecord runs h for part records alone, not for staged bytes.
func onRecord(h hook) hook {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/p-") {
			h(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// answerListing fails listings.
func answerListing(status int) hook {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Query().Has("list-type") {
			memFail(w, status, "SlowDown", "listing")
			return
		}
		next.ServeHTTP(w, r)
	}
}

// TestPartsAtOnce: of two concurrent attempts at two gateways, the one whose
// bytes the store got last can be completed, in whichever order their records
// were written.
func TestPartsAtOnce(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, 2000} {
		for name, held := range map[string]string{"record held": "/" + testStateBucket + "/uploads/", "part held": "/"} {
			t.Run(fmt.Sprint(name, " ", size), func(t *testing.T) {
				g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
				other := newGateway(t, withUpstream(g.upstream), withKES(g.kes)).withSmallParts()
				u := g.begin("/bucket/k")
				arrived, release := make(chan struct{}), make(chan struct{})
				var once atomic.Bool
				hold := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					if once.CompareAndSwap(false, true) {
						close(arrived)
						<-release
					}
					next.ServeHTTP(w, r)
				}
				if name == "record held" {
					hold = onRecord(hold)
				}
				g.upstream.on(http.MethodPut, held, hold)
				slow := make(chan clientAnswer)
				go func() { slow <- u.through(g).try(1, pattern(size, 1)) }()
				<-arrived
				fast := u.through(other).try(1, pattern(size, 2))
				close(release)
				answers := []clientAnswer{<-slow, fast}
				present := 1 // the last one at the store
				if name == "part held" {
					present = 0
				}
				for _, a := range answers {
					a.want(t, 200, "")
				}
				if size == 2000 {
					u.completeWith([]testPart{{number: 1, etag: answers[1-present].header.Get("ETag")}}).want(t, 400, "InvalidPart")
				}
				u.completeWith([]testPart{{number: 1, etag: answers[present].header.Get("ETag")}}).want(t, 200, "")
				wantObject(t, g, "/bucket/k", pattern(size, uint64(present+1)), 3)
			})
		}
	}
}

// untag rewrites the records of an upload's parts as earlier versions wrote
// them.
func (u *testUpload) untag(change func(*sealer.PartRecord)) {
	u.g.t.Helper()
	up, err := u.g.State.FindUpload(u.g.t.Context(), testBucket, "k", u.id)
	if err != nil {
		u.g.t.Fatal(err)
	}
	parts, err := u.g.State.Parts(u.g.t.Context(), up)
	if err != nil {
		u.g.t.Fatal(err)
	}
	for _, attempts := range parts {
		for _, p := range attempts {
			u.g.upstream.store(testStateBucket, p.Name, nil)
			p.Tagged = false
			change(&p.PartRecord)
			if err := u.g.State.SavePart(u.g.t.Context(), up, p); err != nil {
				u.g.t.Fatal(err)
			}
		}
	}
}

// TestPartRecordsOfEarlierVersions: an upload begun by an earlier version can
// be continued, with the ETags that it gave.
func TestPartRecordsOfEarlierVersions(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
	u := g.begin("/bucket/k")
	u.part(1, pattern(2000, 1))
	u.part(3, pattern(20, 3))
	u.untag(func(*sealer.PartRecord) {})
	tagged := slices.Clone(u.listed)
	u.listed = nil
	for _, p := range listPartsOf(t, u).Part {
		u.listed = append(u.listed, testPart{number: p.PartNumber, etag: p.ETag})
	}
	if len(u.listed) != 2 || u.listed[0].etag != s3.ETagShown(g.upstream.uploadParts(u.id)[1].etag, true) {
		t.Fatalf("listed %+v", u.listed)
	}
	u.completeWith(tagged).want(t, 400, "InvalidPart")
	u.part(2, pattern(3000, 2))
	u.listed[1], u.listed[2] = u.listed[2], u.listed[1]
	u.complete()
	wantObject(t, g, "/bucket/k", slices.Concat(pattern(2000, 1), pattern(3000, 2), pattern(20, 3)), 5)
}

// TestPartsAlike: if two attempts have the same ETag, as only earlier versions
// could give, it names neither.
func TestPartsAlike(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
	u := g.begin("/bucket/k")
	g.upstream.on(http.MethodDelete, "/"+testStateBucket, answerWith(500, "InternalError"))
	u.part(1, pattern(2000, 1))
	u.part(1, pattern(2000, 2))
	g.upstream.unhook()
	etag := g.upstream.uploadParts(u.id)[1].etag
	u.untag(func(r *sealer.PartRecord) { r.ETag = etag })
	if l := listPartsOf(t, u); len(l.Part) != 0 {
		t.Errorf("listed %+v", l)
	}
	u.completeWith([]testPart{{number: 1, etag: etag + "-1"}}).want(t, 400, "InvalidPart")
	u.listed = nil
	u.part(1, pattern(2000, 3))
	u.complete()
	wantObject(t, g, "/bucket/k", pattern(2000, 3), 3)
}

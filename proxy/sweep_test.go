package proxy

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssegw/proxy/probe"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
)

const sweepDay = 24 * time.Hour

// sweepAfter sweeps as if so much time had passed.
func (g *testGateway) sweepAfter(age time.Duration) (int, error) {
	return g.State.Sweep(g.t.Context(), time.Now().Add(age), state.SweepRequests)
}

// wantSwept sweeps and fails the test unless that many objects go.
func (g *testGateway) wantSwept(age time.Duration, want int) {
	g.t.Helper()
	if n, err := g.sweepAfter(age); n != want || err != nil {
		g.t.Errorf("after %s: %d objects swept, want %d: %v", age, n, want, err)
	}
}

// recordsOf are the names of an upload's records, without its prefix.
func (u *testUpload) records() (names []string) {
	prefix := strings.TrimSuffix(uploadRecordName(u), state.UploadRecord)
	for _, name := range u.g.records() {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			names = append(names, rest)
		}
	}
	return names
}

// endDirectly ends an upload at the store, like an operator or a lifecycle
// rule.
func (u *testUpload) endDirectly() {
	u.g.upstream.mu.Lock()
	defer u.g.upstream.mu.Unlock()
	delete(u.g.upstream.uploads, state.StoreID(u.id))
}

// begun begins an upload with a part at the store and a staged one: four
// records.
func (g *testGateway) begun(key string, sse ...string) *testUpload {
	u := g.begin("/bucket/"+key, sse...)
	u.try(1, pattern(2000, 1)).want(g.t, 200, "")
	u.try(2, pattern(20, 2)).want(g.t, 200, "")
	return u
}

var sweepSSE = []string{s3.HeaderSSE, s3.AES256}

// TestSweep: records are removed when they are old and the store no longer has
// the upload; the answer of a Complete after a day; and nothing else.
func TestSweep(t *testing.T) {
	t.Parallel()
	g := newGateway(t).withSmallParts()
	before := g.upstream.keys(testStateBucket)
	alive, plain, ended, endedPlain := g.begun("alive", sweepSSE...), g.begun("plain"), g.begun("ended", sweepSSE...), g.begun("ended-plain")
	ended.endDirectly()
	endedPlain.endDirectly()
	completed := g.begin("/bucket/completed", sweepSSE...)
	completed.part(1, pattern(2000, 1))
	completed.complete()
	all := g.records()

	g.wantSwept(0, 0)
	g.wantSwept(23*time.Hour, 0)
	completed.completeWith(completed.listed).want(t, 200, "")
	g.wantSwept(25*time.Hour, 1) // the answer
	if left := completed.records(); len(left) > 0 {
		t.Errorf("%q left of what was completed", left)
	}
	g.wantSwept(6*sweepDay, 0)
	g.wantSwept(8*sweepDay, 5) // four of the sealed one, one of the plain one
	g.wantSwept(100*sweepDay, 0)
	want := slices.DeleteFunc(all, func(name string) bool {
		return strings.HasSuffix(name, "/"+state.DoneRecord) || strings.HasPrefix(name, (&state.Upload{Bucket: testBucket, Key: "ended", ID: ended.id}).Prefix()) ||
			strings.HasPrefix(name, (&state.Upload{Bucket: testBucket, Key: "ended-plain", ID: endedPlain.id}).Prefix())
	})
	if diff := cmp.Diff(append(before, want...), g.upstream.keys(testStateBucket), sortedNames); diff != "" {
		t.Errorf("the state bucket (-want +got):\n%s", diff)
	}
	// Live uploads still work.
	for _, u := range []*testUpload{alive, plain} {
		r := u.try(1, pattern(2000, 3))
		r.want(t, 200, "")
		u.completeWith([]testPart{{number: 1, etag: r.header.Get("ETag")}}).want(t, 200, "")
		wantObject(t, g, u.path, pattern(2000, 3), 1)
	}
	ended.try(3, pattern(10, 1)).want(t, 404, "NoSuchUpload")
}

var sortedNames = cmp.Transformer("sorted", func(s []string) string { return strings.Join(slices.Sorted(slices.Values(s)), "\n") })

// TestSweepNoSuchKey: at a store that answers NoSuchKey for unknown uploads,
// those that it does not list are gone.
func TestSweepNoSuchKey(t *testing.T) {
	t.Parallel()
	g := newGateway(t).withSmallParts()
	ended, alive := g.begun("k", sweepSSE...), g.begun("k", sweepSSE...)
	ended.endDirectly()
	g.upstream.on(http.MethodGet, "/bucket/k", answerWith(404, "NoSuchKey"))
	g.wantSwept(8*sweepDay, 4)
	if len(ended.records()) != 0 || len(alive.records()) != 4 {
		t.Errorf("left: %q, %q", ended.records(), alive.records())
	}
}

// TestSweepYoung: an upload that got a part lately stays. So does one whose
// record has a recent date, even if the store claims that it is old.
func TestSweepYoung(t *testing.T) {
	t.Parallel()
	g := newGateway(t).withSmallParts()
	u := g.begun("k", sweepSSE...)
	u.endDirectly()
	age := func(by time.Duration, kinds ...string) {
		for _, name := range g.records() {
			if slices.ContainsFunc(kinds, func(kind string) bool { return strings.Contains(name, kind) }) {
				g.upstream.edit(testStateBucket, name, func(o *memObject) { o.modified = time.Now().Add(by) })
			}
		}
	}
	age(-30*sweepDay, "/"+state.UploadRecord, "/p-", "/s-")
	g.wantSwept(0, 0) // the record says when it began
	age(0, "/p-00001")
	g.wantSwept(6*sweepDay, 0)
	age(3*sweepDay, "/p-00001")
	g.wantSwept(8*sweepDay, 0)
	g.wantSwept(11*sweepDay, 4)
}

// TestSweepErrors: no record is removed because of an error of the store or an
// unreadable record.
func TestSweepErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(*testGateway, *testUpload)
		fails bool // the sweep
		logs  string
	}{
		"parts refused": {spoil: func(g *testGateway, _ *testUpload) {
			g.upstream.on(http.MethodGet, "/bucket/k", answerWith(403, "AccessDenied"))
		}},
		"store fails": {spoil: func(g *testGateway, _ *testUpload) {
			g.upstream.on(http.MethodGet, "/bucket/k", answerWith(500, "InternalError"))
		}},
		"404 of another kind": {spoil: func(g *testGateway, _ *testUpload) {
			g.upstream.on(http.MethodGet, "/bucket", answerWith(404, "NoSuchKey"))
		}},
		"404 of another kind, uploads refused": {spoil: func(g *testGateway, _ *testUpload) {
			g.upstream.on(http.MethodGet, "/bucket", answerWith(403, "AccessDenied"))
			g.upstream.on(http.MethodGet, "/bucket/k", answerWith(404, "NoSuchKey"))
		}},
		"404 of another kind, no uploads": {spoil: func(g *testGateway, _ *testUpload) {
			g.upstream.on(http.MethodGet, "/bucket", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				r.URL.RawQuery = "" // the store drops the query
				next.ServeHTTP(w, r)
			})
		}},
		"no bucket": {spoil: func(g *testGateway, _ *testUpload) {
			g.upstream.on(http.MethodGet, "/bucket/k", answerWith(404, "NoSuchBucket"))
		}},
		"store gone": {spoil: func(g *testGateway, _ *testUpload) { g.upstream.on(http.MethodGet, "/bucket/k", dropAnswer) }, fails: true},
		"gateway's credentials": {spoil: func(g *testGateway, _ *testUpload) {
			g.upstream.on(http.MethodGet, "/bucket/k", answerWith(403, "InvalidAccessKeyId"))
		}, fails: true},
		"state not listed": {spoil: func(g *testGateway, _ *testUpload) {
			g.upstream.on(http.MethodGet, "/"+testStateBucket, answerWith(503, "SlowDown"))
		}, fails: true},
		"record not readable": {spoil: func(g *testGateway, _ *testUpload) {
			g.upstream.on(http.MethodGet, "/"+testStateBucket+"/uploads/", answerWith(403, "AccessDenied"))
		}, fails: true},
		"record damaged": {spoil: func(g *testGateway, u *testUpload) {
			g.upstream.edit(testStateBucket, uploadRecordName(u), func(o *memObject) { o.body = flip(o.body, -5) })
		}, logs: "upload record kept"},
		"time unknown": {spoil: func(g *testGateway, _ *testUpload) {
			for _, name := range g.records() {
				g.upstream.edit(testStateBucket, name, func(o *memObject) { o.modified = time.Time{} })
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t).withSmallParts()
			u := g.begun("k", sweepSSE...)
			u.endDirectly()
			c.spoil(g, u)
			before := g.records()
			n, err := g.sweepAfter(30 * sweepDay)
			if n != 0 || (err != nil) != c.fails {
				t.Errorf("%d objects swept: %v", n, err)
			}
			if diff := cmp.Diff(before, g.records()); diff != "" {
				t.Errorf("records (-before +after):\n%s", diff)
			}
			if c.logs != "" && g.logs.FilterMessageSnippet(c.logs).Len() == 0 {
				t.Error("nothing was logged")
			}
		})
	}
}

// TestSweepLeftovers: the remains of an interrupted cleanup are removed, too.
// Objects with unknown names stay, and are logged.
func TestSweepLeftovers(t *testing.T) {
	t.Parallel()
	g := newGateway(t).withSmallParts()
	u := g.begun("k", sweepSSE...)
	u.endDirectly()
	g.upstream.on(http.MethodDelete, "/"+testStateBucket+"/"+strings.TrimSuffix(uploadRecordName(u), state.UploadRecord)+"s-", dropAnswer)
	if n, err := g.sweepAfter(8 * sweepDay); err == nil || n == 0 {
		t.Errorf("%d objects swept: %v", n, err)
	}
	g.upstream.unhook()
	if names := u.records(); !slices.Equal(names, []string{state.UploadRecord}) { // the last to go
		t.Errorf("%q left", names)
	}
	orphan := g.begun("orphan", sweepSSE...)
	g.upstream.store(testStateBucket, uploadRecordName(orphan), nil)
	var strange []string
	for _, name := range []string{"x", "short/upload", strings.Repeat("A", 32) + "/upload", strings.Repeat("a", 32) + "/other", strings.Repeat("a", 32) + "/p-1-x", strings.Repeat("a", 32)} {
		strange = append(strange, state.UploadsPrefix+name)
		g.upstream.store(testStateBucket, state.UploadsPrefix+name, &memObject{header: http.Header{}})
	}
	g.wantSwept(6*sweepDay, 0)
	g.wantSwept(8*sweepDay, 1+3)
	if diff := cmp.Diff(strange, g.records(), sortedNames); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if g.logs.FilterMessageSnippet("no gateway made").Len() == 0 {
		t.Error("nothing was logged")
	}
}

// TestSweepBounded: a sweep makes no more requests than allowed, and follows
// pages. Many sweeps cover everything.
func TestSweepBounded(t *testing.T) {
	t.Parallel()
	g := newGateway(t).withSmallParts()
	u := g.begun("large", sweepSSE...)
	u.endDirectly()
	prefix := strings.TrimSuffix(uploadRecordName(u), state.UploadRecord)
	for i := range 2100 {
		g.upstream.store(testStateBucket, fmt.Sprintf("%sp-%05d-x", prefix, i+1), &memObject{header: http.Header{}, modified: time.Now()})
	}
	for i := range 20 {
		g.begun(fmt.Sprintf("k%d", i), sweepSSE...).endDirectly()
	}
	sweeps := 0
	for ; len(g.records()) > 0; sweeps++ {
		if sweeps > 200 {
			t.Fatalf("%d records left after %d sweeps", len(g.records()), sweeps)
		}
		g.upstream.forget()
		if _, err := g.State.Sweep(t.Context(), time.Now().Add(8*sweepDay), 100); err != nil {
			t.Fatal(err)
		}
		if n := len(g.upstream.requests("/")); n > 105 { // not counted: the pages behind the first of one upload, and what the state's Run asks
			t.Errorf("%d requests", n)
		}
	}
	if sweeps < 20 {
		t.Errorf("%d sweeps sufficed", sweeps)
	}
}

// TestSweepReplicas: replicas that sweep concurrently do no harm, also while
// uploads are in progress.
func TestSweepReplicas(t *testing.T) {
	t.Parallel()
	g := newGateway(t).withSmallParts()
	other := newGateway(t, withUpstream(g.upstream), withKES(g.kes)).withSmallParts()
	for i := range 10 {
		g.begun(fmt.Sprintf("ended%d", i), sweepSSE...).endDirectly()
	}
	alive := g.begun("alive", sweepSSE...)
	var sweeps sync.WaitGroup
	for _, at := range []*testGateway{g, other, g, other} {
		sweeps.Go(func() {
			if _, err := at.State.Sweep(context.Background(), time.Now().Add(8*sweepDay), state.SweepRequests); err != nil {
				t.Error(err)
			}
		})
	}
	alive.listed = nil
	for i := range 5 {
		alive.part(i+1, pattern(2000, uint64(i)))
	}
	alive.completeWith(alive.listed).want(t, 200, "")
	sweeps.Wait()
	// A sweep that comes after the Complete also removes the record of its answer.
	eventually(t, "the records of the uploads to go", func() bool {
		return !slices.ContainsFunc(g.records(), func(name string) bool { return !strings.HasSuffix(name, "/"+state.DoneRecord) })
	})
	wantObject(t, g, "/bucket/alive", slices.Concat(pattern(2000, 0), pattern(2000, 1), pattern(2000, 2), pattern(2000, 3), pattern(2000, 4)), 3)
}

// TestSweepProbes: probes of a start that was killed go after a day.
func TestSweepProbes(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	before := g.upstream.keys(testStateBucket)
	for _, name := range []string{probe.Prefix + "a", probe.Prefix + "b"} {
		g.upstream.store(testStateBucket, name, &memObject{header: http.Header{}, modified: time.Now()})
	}
	g.wantSwept(23*time.Hour, 0)
	g.wantSwept(25*time.Hour, 2)
	if diff := cmp.Diff(before, g.upstream.keys(testStateBucket)); diff != "" {
		t.Errorf("the state bucket (-want +got):\n%s", diff)
	}
}

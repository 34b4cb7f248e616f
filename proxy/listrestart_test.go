package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssegw/proxy/check"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// start opens the state of a gateway that is not open yet. The result stops the
// gateway, like the end of its process, and waits until it has ended.
func (g *testGateway) start() (stop func()) {
	g.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.State.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			g.t.Errorf("the state ended with %v", err)
		}
	})
	g.t.Cleanup(stop)
	eventually(g.t, "the state to open", func() bool { return g.State.Ready() == nil })
	return stop
}

// process starts one more gateway on the store and the KES server of g. The
// result stops it.
func (g *testGateway) process(opts ...gatewayOption) (*testGateway, func()) {
	g.t.Helper()
	p := g.replica(append(opts, notOpened())...)
	return p, p.start()
}

// lookedUp lists the bucket and returns how many requests the store got
// for its objects.
func (g *testGateway) lookedUp(query string) int {
	g.t.Helper()
	g.upstream.forget()
	g.list(testBucket, query)
	return len(g.upstream.requests("/" + testBucket + "/"))
}

// fill stores sealed objects of 1 to n bytes.
func (g *testGateway) fill(n int) (sizes []int64) {
	g.t.Helper()
	for i := range n {
		g.put(fmt.Sprintf("/bucket/%04d", i), pattern(i+1, 1), s3.HeaderSSE, s3.AES256).want(g.t, 200, "")
		sizes = append(sizes, int64(i+1))
	}
	return sizes
}

// memory returns the stored object that has what listings know.
func (g *testGateway) memory() *memObject {
	return g.upstream.object(testStateBucket, state.MemoryObject)
}

// TestListAfterRestart: a page of 1,000 objects that a gateway has looked up
// costs no more lookups after a restart, at any replica. Objects that were
// changed or added since then are looked up.
func TestListAfterRestart(t *testing.T) {
	t.Parallel()
	const objects = 1000
	g := newGateway(t)
	sizes := g.fill(objects)
	cold, stop := g.process()
	if n := cold.lookedUp("list-type=2"); n != objects {
		t.Errorf("the first listing took %d lookups", n)
	}
	stop()

	warm, stop := g.process()
	for _, query := range listings {
		if got := wantListing(t, warm, query, sizes); !slices.Equal(got, []string{"GET /bucket"}) {
			t.Errorf("%q after a restart took %d requests", query, len(got))
		}
	}
	g.put("/bucket/0000", pattern(5000, 2), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	g.put("/bucket/0001", pattern(6000, 2)).want(t, 200, "")
	g.put("/bucket/9999", pattern(7000, 2), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	g.do(clientRequest{method: http.MethodDelete, path: "/bucket/0002"}).want(t, 204, "")
	sizes[0], sizes[1] = 5000, 6000
	sizes = append(slices.Delete(sizes, 2, 3), 7000)
	want := []string{"GET /bucket", "GET /bucket metadata", "HEAD /bucket/0000", "HEAD /bucket/0001", "HEAD /bucket/9999"}
	if got := wantListing(t, warm, "list-type=2", sizes); !slices.Equal(got, want) {
		t.Errorf("after changes: %q", got)
	}
	stop()

	again, _ := g.process()
	if got := wantListing(t, again, "list-type=2", sizes); !slices.Equal(got, want[:1]) {
		t.Errorf("after changes and a restart: %q", got)
	}
}

// TestListAfterRestartMixed: empty, multipart and unsealed objects are known
// after a restart, too. So is what a gateway wrote and listed without a lookup.
func TestListAfterRestartMixed(t *testing.T) {
	t.Parallel()
	g, stop := newGateway(t).process()
	sizes := fillMixed(g)
	for _, query := range listings {
		wantListing(t, g, query, sizes)
	}
	stop()
	warm, _ := g.process()
	for _, query := range listings {
		if got := wantListing(t, warm, query, sizes); !slices.Equal(got, []string{"GET /bucket"}) {
			t.Errorf("%q after a restart took %q", query, got)
		}
	}
}

// TestListMemoryNotTrusted: the store can put anything in place of what
// listings know. The gateway starts, lists what is true, and replaces it.
func TestListMemoryNotTrusted(t *testing.T) {
	t.Parallel()
	sealAs := func(g *testGateway, name string, document []byte) []byte {
		b, err := sealer.SealRecord(g.State.Root(), name, document)
		if err != nil {
			g.t.Fatal(err)
		}
		return b
	}
	for name, damage := range map[string]func(g *testGateway, stored []byte) []byte{
		"changed":   func(_ *testGateway, b []byte) []byte { return flip(b, 100) },
		"truncated": func(_ *testGateway, b []byte) []byte { return b[:len(b)-27] },
		"empty":     func(*testGateway, []byte) []byte { return nil },
		"huge":      func(*testGateway, []byte) []byte { return make([]byte, 7<<20) },
		"of another root": func(g *testGateway, _ []byte) []byte {
			b, err := sealer.SealRecord(sealer.NewRoot(), state.MemoryObject, []byte{1})
			if err != nil {
				g.t.Fatal(err)
			}
			return b
		},
		"another record": func(g *testGateway, _ []byte) []byte {
			return g.upstream.object(testStateBucket, state.RulesObject).body
		},
		"an empty document":     func(g *testGateway, _ []byte) []byte { return sealAs(g, state.MemoryObject, nil) },
		"of an earlier version": func(g *testGateway, _ []byte) []byte { return sealAs(g, state.MemoryObject, []byte{1}) },
		"of a later version":    func(g *testGateway, _ []byte) []byte { return sealAs(g, state.MemoryObject, []byte("\x03later")) },
		"an entry too short": func(g *testGateway, _ []byte) []byte {
			return sealAs(g, state.MemoryObject, append([]byte{2}, make([]byte, 26)...))
		},
		"an entry with a flag": func(g *testGateway, _ []byte) []byte {
			return sealAs(g, state.MemoryObject, append(append([]byte{2}, make([]byte, 16)...), 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
		},
		"under another name": func(g *testGateway, _ []byte) []byte { return sealAs(g, "other", []byte{1}) },
		"more than the largest": func(g *testGateway, _ []byte) []byte {
			return sealAs(g, state.MemoryObject, append([]byte{2}, make([]byte, 27*200_001)...))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			sizes := g.fill(10)
			first, stop := g.process()
			wantListing(t, first, "list-type=2", sizes)
			stop()
			g.upstream.edit(testStateBucket, state.MemoryObject, func(o *memObject) { o.body = damage(g, bytes.Clone(o.body)) })

			next, stop := g.process()
			if n := next.logs.FilterMessageSnippet("known sizes not read").Len(); n != 1 {
				t.Errorf("%d lines are logged", n)
			}
			if got := wantListing(t, next, "list-type=2", sizes); len(got) != 2+10 {
				t.Errorf("the first listing took %q", got)
			}
			stop()
			healed, _ := g.process()
			if got := wantListing(t, healed, "list-type=2", sizes); len(got) != 1 {
				t.Errorf("after a restart: %q", got)
			}
		})
	}
}

// TestListMemoryReplayed: a store that brings back an old copy causes lookups
// and nothing else.
func TestListMemoryReplayed(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	sizes := g.fill(10)
	first, stop := g.process()
	wantListing(t, first, "list-type=2", sizes)
	stop()
	old := g.memory()
	g.put("/bucket/0003", pattern(999, 3), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	sizes[3] = 999
	second, stop := g.process()
	wantListing(t, second, "list-type=2", sizes)
	stop()
	g.upstream.store(testStateBucket, state.MemoryObject, old)
	third, _ := g.process()
	if got := wantListing(t, third, "list-type=2", sizes); !slices.Equal(got, []string{"GET /bucket", "HEAD /bucket/0003"}) {
		t.Errorf("took %q", got)
	}
}

// TestListMemoryReplicas: replicas that stop at the same time leave a good
// object, and one that writes later keeps what the others have learned.
func TestListMemoryReplicas(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	sizes := g.fill(40)
	a, stopA := g.process()
	b, stopB := g.process()
	a.list(testBucket, "list-type=2&prefix=000")
	b.list(testBucket, "list-type=2&prefix=001")
	var stops sync.WaitGroup
	stops.Go(stopA)
	stops.Go(stopB)
	stops.Wait()

	c, stop := g.process()
	if n := len(c.logs.FilterMessageSnippet("known sizes").All()); n != 0 {
		t.Errorf("%d lines are logged", n)
	}
	if n := c.lookedUp("list-type=2"); n != 20 && n != 30 { // of the last writer, or both
		t.Errorf("%d lookups", n)
	}
	stop()
	d, stopD := g.process()
	e, stopE := g.process()
	if got := wantListing(t, d, "list-type=2", sizes); len(got) != 1 {
		t.Errorf("took %q", got)
	}
	g.put("/bucket/1000", pattern(41, 1), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	g.put("/bucket/2000", pattern(42, 1), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	d.list(testBucket, "list-type=2&prefix=1")
	stopD()
	e.list(testBucket, "list-type=2&prefix=2")
	stopE()
	f, _ := g.process()
	if got := wantListing(t, f, "list-type=2", append(sizes, 41, 42)); len(got) != 1 {
		t.Errorf("at last: %q", got)
	}
}

// TestListMemoryLazy: what listings learned is written once it is worth it and
// at most once a minute, and nothing is written after the end.
func TestListMemoryLazy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, onClock())
		g.fill(401)
		p, stop := g.process()
		writes := func() int {
			time.Sleep(state.DefaultTimes.Save + 1)
			synctest.Wait()
			n := 0
			for _, r := range g.upstream.requests("/" + testStateBucket + "/" + state.MemoryObject) {
				if r.Method == http.MethodPut {
					n++
				}
			}
			g.upstream.forget()
			return n
		}
		p.list(testBucket, "list-type=2&max-keys=199")
		if n := writes(); n != 0 {
			t.Errorf("%d writes for 199 objects", n)
		}
		p.list(testBucket, "list-type=2&max-keys=200")
		p.list(testBucket, "list-type=2&max-keys=400")
		if n := writes(); n != 1 {
			t.Errorf("%d writes for 400 objects", n)
		}
		for range 3 {
			p.list(testBucket, "list-type=2&max-keys=400")
			if n := writes(); n != 0 {
				t.Errorf("%d writes for nothing new", n)
			}
		}
		p.list(testBucket, "list-type=2")
		stop()
		if n := writes(); n != 1 {
			t.Errorf("%d writes at the end", n)
		}
		p.put("/bucket/late", []byte("x")).want(t, 200, "")
		p.list(testBucket, "list-type=2")
		if n := writes(); n != 0 {
			t.Errorf("%d writes after the end", n)
		}
	})
}

// TestListMemoryHangs: a state bucket that hangs delays neither a start nor an
// end for longer than the limits, and no goroutine stays.
func TestListMemoryHangs(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, onClock())
				sizes := g.fill(10)
				g.upstream.on(method, "/"+testStateBucket+"/"+state.MemoryObject, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
					_, _ = bytes.NewBuffer(nil).ReadFrom(r.Body)
					<-r.Context().Done()
				})
				began := time.Now()
				p, stop := g.process()
				if took := time.Since(began); took > state.DefaultTimes.Look+time.Second {
					t.Errorf("the start took %s", took)
				}
				wantListing(t, p, "list-type=2", sizes)
				began = time.Now()
				stop()
				if took := time.Since(began); took > state.DefaultTimes.Last {
					t.Errorf("the end took %s", took)
				}
				if !p.logged("known sizes not saved") || g.memory() != nil {
					t.Error("not logged, or saved")
				}
			})
		})
	}
}

// TestListMemoryRefused: a store that refuses to read or write the object costs
// a log line.
func TestListMemoryRefused(t *testing.T) {
	t.Parallel()
	for method, line := range map[string]string{http.MethodGet: "known sizes not read", http.MethodPut: "known sizes not saved"} {
		for _, status := range []int{403, 500} {
			t.Run(fmt.Sprint(method, status), func(t *testing.T) {
				t.Parallel()
				g := newGateway(t)
				sizes := g.fill(10)
				g.upstream.on(method, "/"+testStateBucket+"/"+state.MemoryObject, answerWith(status, "AccessDenied"))
				p, stop := g.process()
				if got := wantListing(t, p, "list-type=2", sizes); len(got) != 2+10 {
					t.Errorf("took %q", got)
				}
				stop()
				if !p.logged(line, fmt.Sprint(status)) {
					t.Error("nothing is logged")
				}
			})
		}
	}
}

// TestListMemoryOnlyForListings: a gateway that lists nothing writes nothing,
// and neither does one at a store that lists metadata.
func TestListMemoryOnlyForListings(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	p, stop := g.process()
	p.fill(10)
	p.get("/bucket/0001").want(t, 200, "")
	p.head("/bucket/0002").want(t, 200, "")
	stop()
	g.upstream.mu.Lock()
	g.upstream.detail = true
	g.upstream.mu.Unlock()
	q, stop := g.process()
	q.list(testBucket, "list-type=2")
	q.list(testBucket, "list-type=2")
	stop()
	if diff := cmp.Diff([]string{state.RootObject, state.RulesObject}, g.upstream.keys(testStateBucket)); diff != "" {
		t.Errorf("state bucket (-want +got):\n%s", diff)
	}
}

// TestListMemoryWithoutRoot: a gateway writes nothing into a state bucket that
// has no root or another one. What it wrote before shows that the root was
// deleted.
func TestListMemoryWithoutRoot(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.fill(10)
	for name, prepare := range map[string]func(){
		"no root": func() { g.upstream.store(testStateBucket, state.RootObject, nil) },
		"another root": func() {
			g.upstream.store(testStateBucket, state.RootObject, newGateway(t).upstream.object(testStateBucket, state.RootObject))
		},
	} {
		root := g.upstream.object(testStateBucket, state.RootObject)
		p, stop := g.process()
		p.list(testBucket, "list-type=2")
		prepare()
		stop()
		if g.memory() != nil || !p.logged("known sizes not saved") {
			t.Errorf("%s: saved, or not logged", name)
		}
		g.upstream.store(testStateBucket, state.RootObject, root)
	}
	p, stop := g.process()
	p.list(testBucket, "list-type=2")
	stop()
	for _, name := range g.upstream.keys(testStateBucket) {
		if name != state.MemoryObject {
			g.upstream.store(testStateBucket, name, nil)
		}
	}
	next := g.replica(notOpened())
	if f := finding(t, next.findings(), "root"); f.Status != check.StatusFailed {
		t.Errorf("check: %+v", f)
	}
	if err := next.State.Open(t.Context()); !errors.Is(err, state.ErrRefused) {
		t.Errorf("a new root: %v", err)
	}
}

// TestListMemoryTakeOver: a gateway that replaces another one in the process
// lists as cheaply, whatever is stored.
func TestListMemoryTakeOver(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.fill(10)
	old, _ := g.process()
	old.lookedUp("list-type=2")
	next := g.replica(notOpened(), func(s *gatewaySetup) { s.like = old.State })
	next.start()
	if n := next.lookedUp("list-type=2"); n != 0 || g.memory() != nil {
		t.Errorf("%d lookups", n)
	}
}

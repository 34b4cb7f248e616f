package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"ssegw/proxy/probe"
	"ssegw/proxy/state"

	"github.com/google/go-cmp/cmp"

	"ssegw/kms"
	"ssegw/kms/kmstest"
	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// run starts Run in the background. The function it returns waits for its end.
func (g *testGateway) run() func() error {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.State.Run(ctx) }()
	wait := sync.OnceValue(func() error {
		defer cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(giveUp):
			return errors.New("Run still runs")
		}
	})
	g.t.Cleanup(func() {
		cancel()
		_ = wait()
	})
	return wait
}

// replica starts one more gateway on the store and the KES server of g.
func (g *testGateway) replica(opts ...gatewayOption) *testGateway {
	g.t.Helper()
	return newGateway(g.t, append([]gatewayOption{withUpstream(g.upstream), withKES(g.kes)}, opts...)...)
}

// atomicWrites makes conditional writes to the state bucket atomic, as those of
// real stores are.
func (u *memUpstream) atomicWrites() {
	var mu sync.Mutex
	u.on(http.MethodPut, "/"+testStateBucket+"/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		mu.Lock()
		defer mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

// logged reports whether the gateway logged a line that contains all the words.
func (g *testGateway) logged(words ...string) bool {
	for _, e := range g.logs.All() {
		line := e.Message + " " + fmt.Sprint(e.ContextMap())
		found := true
		for _, word := range words {
			found = found && strings.Contains(line, word)
		}
		if found {
			return true
		}
	}
	return false
}

func storedRoot(t testing.TB, u *memUpstream) *sealer.RootRecord {
	t.Helper()
	o := u.object(testStateBucket, state.RootObject)
	if o == nil {
		t.Fatal("no root stored")
	}
	r, err := sealer.ParseRootRecord(o.body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFirstStart(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	if diff := cmp.Diff([]string{state.RootObject, state.RulesObject}, g.upstream.keys(testStateBucket)); diff != "" {
		t.Errorf("state bucket (-want +got):\n%s", diff)
	}
	r := storedRoot(t, g.upstream)
	if !r.Initialised || r.KeyName != kmstest.DefaultKey || r.ID != g.State.Root().ID {
		t.Errorf("root record %+v", r)
	}
	again := g.replica()
	if again.State.Root() != g.State.Root() {
		t.Error("the second start has another root")
	}
}

// TestStateIsSealed sees that the stored bytes show nothing of root and rules.
func TestStateIsSealed(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AWSKMS, KeyID: "secret-project-key"}))
	root := g.State.Root()
	for _, name := range g.upstream.keys(testStateBucket) {
		body := g.upstream.object(testStateBucket, name).body
		for _, secret := range [][]byte{root.Key[:], []byte(`"` + testBucket + `"`), []byte("secret-project-key"), []byte("revision"), []byte("aws:kms")} {
			if bytes.Contains(body, secret) {
				t.Errorf("%s shows %q", name, secret)
			}
		}
	}
}

// TestStartRefuses starts gateways on state buckets that a store or an operator
// has damaged. Each gets one line that says what is wrong, nothing is written, and
// no request is served.
func TestStartRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		damage func(t *testing.T, u *memUpstream, kes *kmstest.Server)
		says   []string
	}{
		"root deleted": {func(_ *testing.T, u *memUpstream, _ *kmstest.Server) {
			u.store(testStateBucket, state.RootObject, nil)
		}, []string{testStateBucket, "rules", "no root"}},
		"bucket of somebody else": {func(_ *testing.T, u *memUpstream, _ *kmstest.Server) {
			o := u.object(testStateBucket, state.RulesObject)
			u.store(testStateBucket, "holiday.jpg", o)
			u.store(testStateBucket, state.RootObject, nil)
			u.store(testStateBucket, state.RulesObject, nil)
		}, []string{testStateBucket, "holiday.jpg", "no root"}},
		"rules deleted": {func(_ *testing.T, u *memUpstream, _ *kmstest.Server) {
			u.store(testStateBucket, state.RulesObject, nil)
		}, []string{testStateBucket, "rules", "deleted"}},
		"rules damaged": {func(_ *testing.T, u *memUpstream, _ *kmstest.Server) {
			u.edit(testStateBucket, state.RulesObject, func(o *memObject) { o.body[60] ^= 1 })
		}, []string{"rules", "not authentic"}},
		"rules empty": {func(_ *testing.T, u *memUpstream, _ *kmstest.Server) {
			u.edit(testStateBucket, state.RulesObject, func(o *memObject) { o.body = nil })
		}, []string{"rules", "malformed"}},
		"rules of another root": {func(t *testing.T, u *memUpstream, _ *kmstest.Server) {
			b, err := sealer.SealRecord(sealer.NewRoot(), state.RulesObject, []byte(`{"revision":9,"buckets":{}}`))
			if err != nil {
				t.Fatal(err)
			}
			u.edit(testStateBucket, state.RulesObject, func(o *memObject) { o.body = b })
		}, []string{"rules", "unknown root"}},
		"root damaged": {func(_ *testing.T, u *memUpstream, _ *kmstest.Server) {
			u.edit(testStateBucket, state.RootObject, func(o *memObject) { o.body[len(o.body)-1] ^= 1 })
		}, []string{testStateBucket, "root", "not authentic"}},
		"root cut": {func(_ *testing.T, u *memUpstream, _ *kmstest.Server) {
			u.edit(testStateBucket, state.RootObject, func(o *memObject) { o.body = o.body[:20] })
		}, []string{testStateBucket, "root", "malformed"}},
		"root not finished any more": {func(_ *testing.T, u *memUpstream, _ *kmstest.Server) {
			u.edit(testStateBucket, state.RootObject, func(o *memObject) { o.body[16] = 0 })
			u.store(testStateBucket, state.RulesObject, nil)
		}, []string{testStateBucket, "root", "not authentic"}},
		"data key of the root damaged": {func(_ *testing.T, u *memUpstream, _ *kmstest.Server) {
			u.edit(testStateBucket, state.RootObject, func(o *memObject) { o.body[len(o.body)-90] ^= 1 })
		}, []string{testStateBucket, kmstest.DefaultKey, "not authentic"}},
		"key deleted": {func(_ *testing.T, _ *memUpstream, kes *kmstest.Server) {
			kes.DeleteKey(kmstest.DefaultKey)
		}, []string{testStateBucket, kmstest.DefaultKey, "does not exist"}},
		"key denied": {func(_ *testing.T, _ *memUpstream, kes *kmstest.Server) {
			kes.Deny(kmstest.DefaultKey)
		}, []string{testStateBucket, kmstest.DefaultKey, "not allowed"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
			test.damage(t, g.upstream, g.kes)
			late := g.replica(notOpened())
			err := late.run()()
			if !errors.Is(err, state.ErrRefused) {
				t.Fatalf("Run: %v, want errState", err)
			}
			for _, word := range test.says {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			late.put("/bucket/key", []byte("plaintext")).want(t, 503, "ServiceUnavailable")
			for _, r := range g.upstream.requests("/") {
				if r.Method == http.MethodPut || r.Method == http.MethodDelete {
					t.Errorf("%s %s after the refusal", r.Method, r.Path)
				}
			}
			if late.kes.HasKey(kmstest.DefaultKey) == (name == "key deleted") {
				t.Error("the root's key was made anew")
			}
		})
	}
}

// TestRootDeletedWithRules sees that a new root is made when nothing at all is
// left, which no gateway without a memory can tell from a first start.
func TestRootDeletedWithRules(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.upstream.store(testStateBucket, state.RootObject, nil)
	g.upstream.store(testStateBucket, state.RulesObject, nil)
	if other := g.replica(); other.State.Root() == g.State.Root() {
		t.Error("the same root")
	}
}

// TestRootDeletedBehindProbes: probes that interrupted starts left behind do not
// make the bucket look empty. A start that finds no root writes none.
func TestRootDeletedBehindProbes(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.upstream.store(testStateBucket, state.RootObject, nil)
	for n := range 1500 {
		g.upstream.store(testStateBucket, fmt.Sprintf("%s%032x", probe.Prefix, n), &memObject{header: http.Header{}, etag: "e"})
	}
	other := g.replica(notOpened())
	if err := other.State.Open(t.Context()); !errors.Is(err, state.ErrRefused) {
		t.Errorf("opened: %v", err)
	}
	if g.upstream.object(testStateBucket, state.RootObject) != nil {
		t.Error("a new root was written")
	}
}

// TestInterruptedFirstStart stops a first start after each of its writes, with
// the write done and not done, and after a lost answer. The next start heals it.
func TestInterruptedFirstStart(t *testing.T) {
	t.Parallel()
	for n, name := range []string{"root", "rules", "finished root"} {
		for _, persisted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/persisted=%t", name, persisted), func(t *testing.T) {
				t.Parallel()
				u := newMemUpstream(t)
				g := newGateway(t, withUpstream(u), notOpened())
				writes := 0
				u.on(http.MethodPut, "/"+testStateBucket+"/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					if strings.HasPrefix(r.URL.Path, "/"+testStateBucket+"/"+probe.Prefix) {
						next.ServeHTTP(w, r)
						return
					}
					writes++ // of these, a gateway writes one at a time
					switch {
					case writes <= n:
						next.ServeHTTP(w, r)
					case writes == n+1 && persisted:
						dropAnswer(w, r, next)
					default:
						panic(http.ErrAbortHandler)
					}
				})
				if err := g.State.Open(t.Context()); err == nil {
					t.Fatal("opened in spite of the fault")
				}
				left := u.keys(testStateBucket)
				u.unhook()
				next := g.replica()
				if !storedRoot(t, u).Initialised {
					t.Error("the first start was not finished")
				}
				next.put("/bucket/key", []byte("x"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
				next.get("/bucket/key").want(t, 200, "")
				if _, revision, _ := next.State.KnownRules(); len(left) > 0 && revision != 1 {
					t.Error("other rules than those of a first start")
				}
			})
		}
	}
}

func TestDefaultKeyIsMade(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withKMS(func(c *kms.Config) { c.DefaultKey = "brand-new" }))
	if !g.kes.HasKey("brand-new") || storedRoot(t, g.upstream).KeyName != "brand-new" {
		t.Errorf("root under %q", storedRoot(t, g.upstream).KeyName)
	}
}

func TestDefaultKeyChanged(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	body := []byte("sealed under the old key")
	g.put("/bucket/old", body).want(t, 200, "")

	next := g.replica(withKMS(func(c *kms.Config) { c.DefaultKey = "next-key" }))
	if r := storedRoot(t, g.upstream); r.KeyName != "next-key" || !r.Initialised || r.ID != g.State.Root().ID {
		t.Errorf("root record %+v", r)
	}
	if next.State.Root() != g.State.Root() {
		t.Error("another root")
	}
	for _, replica := range []*testGateway{g, next} {
		if r := replica.get("/bucket/old"); r.status != 200 || !bytes.Equal(r.body, body) {
			t.Errorf("old object: %d %q", r.status, r.body)
		}
	}
	next.put("/bucket/new", body).want(t, 200, "")
	h, err := parsedHeader(g.upstream.object(testBucket, "new").header.Get(sealer.MetadataKey))
	if err != nil || h.KeyName != "next-key" {
		t.Errorf("new object under %q, %v", h.KeyName, err)
	}

	// The old key is needed no more to start, and its loss is the old objects' only.
	g.kes.DeleteKey(kmstest.DefaultKey)
	third := g.replica(withKMS(func(c *kms.Config) { c.DefaultKey = "next-key" }))
	third.get("/bucket/new").want(t, 200, "")
	third.get("/bucket/old").want(t, 400, "KMS.NotFoundException")
	third.head("/bucket/old").want(t, 200, "")
}

// TestStartWaits starts a gateway while KES or the store is away: it lives, is not
// ready, says so, and opens when they come back.
func TestStartWaits(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		away func(g *testGateway)
		back func(g *testGateway)
		says string
	}{
		"KES": {
			func(g *testGateway) { g.kes.Stop() },
			func(g *testGateway) { g.kes.Start() }, "KES",
		},
		"KES fails": {
			func(g *testGateway) { g.kes.SetFault(kmstest.Fault{Status: 500, Message: "boom"}) },
			func(g *testGateway) { g.kes.SetFault(kmstest.Fault{}) }, "KES",
		},
		"store": {
			func(g *testGateway) { g.upstream.on("", "/", breakAfter(0)) },
			func(g *testGateway) { g.upstream.unhook() }, testStateBucket,
		},
		"store fails": {
			func(g *testGateway) { g.upstream.on("", "/", answerWith(500, "InternalError")) },
			func(g *testGateway) { g.upstream.unhook() }, testStateBucket,
		},
		"gateway's credentials refused": {
			func(g *testGateway) { g.upstream.on("", "/", answerWith(403, "InvalidAccessKeyId")) },
			func(g *testGateway) { g.upstream.unhook() }, testStateBucket,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, notOpened())
			test.away(g)
			g.run()
			eventually(t, "a log line", func() bool { return g.logged("waiting to open the state", test.says) })
			if err := g.State.Ready(); !errors.Is(err, state.ErrNotReady) {
				t.Errorf("Ready: %v", err)
			}
			for _, r := range []clientAnswer{g.put("/bucket/key", []byte("x")), g.get("/bucket/key"), g.do(clientRequest{method: http.MethodGet, path: "/bucket"})} {
				r.want(t, 503, "ServiceUnavailable")
				if r.header.Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
			}
			// Who is not allowed in learns nothing of the state.
			g.do(clientRequest{method: "GET", path: "/bucket/key", tamper: func(r *http.Request) {
				r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "Signature=", "Signature=0", 1))
			}}).want(t, 403, "SignatureDoesNotMatch")
			test.back(g)
			eventually(t, "the state to open", func() bool { return g.State.Ready() == nil })
			g.put("/bucket/key", []byte("x"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
		})
	}
}

// TestReplicasStartTogether starts replicas at once on an empty store.
func TestReplicasStartTogether(t *testing.T) {
	t.Parallel()
	u := newMemUpstream(t)
	u.atomicWrites()
	kes := kmstest.NewServer(t)
	replicas := make([]*testGateway, 5)
	for i := range replicas {
		replicas[i] = newGateway(t, withUpstream(u), withKES(kes), notOpened())
	}
	for _, g := range replicas {
		g.run()
	}
	for _, g := range replicas {
		eventually(t, "all to open", func() bool { return g.State.Ready() == nil })
	}
	for i, g := range replicas {
		if g.State.Root() != replicas[0].State.Root() {
			t.Errorf("replica %d has a root of its own", i)
		}
		key := fmt.Sprint("/bucket/", i)
		g.put(key, []byte(key), s3.HeaderSSE, s3.AES256).want(t, 200, "")
		if r := replicas[0].get(key); r.status != 200 || string(r.body) != key {
			t.Errorf("object of replica %d: %d %q", i, r.status, r.body)
		}
	}
	if !storedRoot(t, u).Initialised {
		t.Error("no start was finished")
	}
}

// TestLostRaces lets every conditional write of a first start lose to another
// replica's, in the three ways that stores say so.
func TestLostRaces(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusPreconditionFailed, http.StatusConflict, http.StatusInternalServerError} {
		u := newMemUpstream(t)
		g := newGateway(t, withUpstream(u), notOpened())
		u.on(http.MethodPut, "/"+testStateBucket+"/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			// Somebody else's write is the same write done by somebody else.
			if r.Header.Get("If-Match") == "" && r.Header.Get("If-None-Match") == "" {
				next.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(discardAnswer{http.Header{}}, r)
			memFail(w, status, "Conflict", "another was faster")
		})
		if err := g.State.Open(t.Context()); err != nil {
			t.Errorf("%d: %v", status, err)
			continue
		}
		u.unhook()
		if other := g.replica(); other.State.Root() != g.State.Root() {
			t.Errorf("%d: the replicas have different roots", status)
		}
	}
}

// discardAnswer is a ResponseWriter to nowhere.
type discardAnswer struct{ header http.Header }

func (d discardAnswer) Header() http.Header         { return d.header }
func (d discardAnswer) Write(b []byte) (int, error) { return len(b), nil }
func (d discardAnswer) WriteHeader(int)             {}

// TestStoreWithoutConditions: a store that knows no conditional writes works.
func TestStoreWithoutConditions(t *testing.T) {
	t.Parallel()
	u := newMemUpstream(t)
	u.on(http.MethodPut, "/"+testStateBucket+"/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("If-Match") != "" || r.Header.Get("If-None-Match") != "" {
			memFail(w, 501, "NotImplemented", "conditions")
			return
		}
		next.ServeHTTP(w, r)
	})
	g := newGateway(t, withUpstream(u), withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	g.put("/bucket/key", []byte("x")).want(t, 200, "")
	if !isSealed(u.object(testBucket, "key")) {
		t.Error("not sealed")
	}
	other := g.replica()
	other.get("/bucket/key").want(t, 200, "")
	if other.State.Root() != g.State.Root() {
		t.Error("another root")
	}
}

// TestStateBucketExists: a bucket that an operator made beforehand is used, one
// that cannot be made is waited for.
func TestStateBucketExists(t *testing.T) {
	t.Parallel()
	u := newMemUpstream(t)
	u.makeBucket(testStateBucket)
	newGateway(t, withUpstream(u))

	u = newMemUpstream(t)
	u.on(http.MethodPut, "/"+testStateBucket, answerWith(403, "AccessDenied"))
	g := newGateway(t, withUpstream(u), notOpened())
	g.run()
	eventually(t, "a log line", func() bool { return g.logged("waiting", "making the state bucket", "403") })
	u.makeBucket(testStateBucket)
	u.unhook()
	eventually(t, "the state to open", func() bool { return g.State.Ready() == nil })
}

// TestRunEndsWithContext sees that a gateway that is stopped while it waits ends
// without an error.
func TestRunEndsWithContext(t *testing.T) {
	t.Parallel()
	g := newGateway(t, notOpened())
	g.kes.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- g.State.Run(ctx) }()
	eventually(t, "a first try", func() bool { return g.logged("waiting to open the state") })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestCheckUpstream(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		hook hook
		ok   bool
	}{
		"there":                 {nil, true},
		"no such bucket":        {answerWith(404, ""), true},
		"fails":                 {answerWith(503, ""), false},
		"refuses the gateway":   {answerWith(403, ""), false},
		"breaks the connection": {breakAfter(0), false},
	}
	g := newGateway(t)
	for name, test := range tests {
		g.upstream.unhook()
		if test.hook != nil {
			g.upstream.on(http.MethodHead, "/"+testStateBucket, test.hook)
		}
		if err := g.State.CheckUpstream(t.Context()); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

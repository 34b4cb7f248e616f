package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

const otherBucket = "other-bucket"

// storeRules replaces the stored rules by a document of the test's.
func (g *testGateway) storeRules(doc string) {
	g.t.Helper()
	b, err := sealer.SealRecord(g.State.Root(), state.RulesObject, []byte(doc))
	if err != nil {
		g.t.Fatal(err)
	}
	g.upstream.edit(testStateBucket, state.RulesObject, func(o *memObject) {
		o.body, o.etag = b, upstream.HexSHA256(b)[:32]
	})
}

// TestRulesFailClosed takes the rules away while a gateway runs. Writes, and
// plaintext reads of buckets that depend on rules, are refused. Sealed reads
// work. Everything works again when the rules are back.
func TestRulesFailClosed(t *testing.T) {
	t.Parallel()
	faults := map[string]func(t *testing.T, g *testGateway, before *memObject){
		"deleted": func(_ *testing.T, g *testGateway, _ *memObject) {
			g.upstream.store(testStateBucket, state.RulesObject, nil)
		},
		"state bucket deleted": func(_ *testing.T, g *testGateway, _ *memObject) {
			g.upstream.on("", "/"+testStateBucket, answerWith(404, "NoSuchBucket"))
		},
		"damaged": func(_ *testing.T, g *testGateway, _ *memObject) {
			g.upstream.edit(testStateBucket, state.RulesObject, func(o *memObject) { o.body[50] ^= 1; o.etag = strings.Repeat("d", 32) })
		},
		"replaced by the root": func(_ *testing.T, g *testGateway, _ *memObject) {
			g.upstream.store(testStateBucket, state.RulesObject, g.upstream.object(testStateBucket, state.RootObject))
		},
		"sealed under another name": func(t *testing.T, g *testGateway, _ *memObject) {
			b, err := sealer.SealRecord(g.State.Root(), "upload", []byte(`{"revision":99,"buckets":{}}`))
			if err != nil {
				t.Fatal(err)
			}
			g.upstream.edit(testStateBucket, state.RulesObject, func(o *memObject) { o.body, o.etag = b, strings.Repeat("e", 32) })
		},
		"rolled back": func(_ *testing.T, g *testGateway, before *memObject) {
			g.upstream.store(testStateBucket, state.RulesObject, before)
		},
		"rolled back to a first start": func(_ *testing.T, g *testGateway, _ *memObject) {
			g.storeRules(`{"revision":1,"buckets":{}}`)
		},
	}
	for name, damage := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, onClock())
				g.upstream.makeBucket(otherBucket)
				before := g.upstream.object(testStateBucket, state.RulesObject)
				rule := state.Rule{Algorithm: s3.AES256}
				if err := setRule(t.Context(), g.State, testBucket, &rule); err != nil {
					t.Fatal(err)
				}
				g.put("/bucket/sealed", []byte("sealed")).want(t, 200, "")
				g.upstream.store(testBucket, "plain", &memObject{body: []byte("plain"), header: headers("Content-Type", "a/b"), etag: strings.Repeat("a", 32)})
				g.get("/bucket/plain").want(t, 200, "") // a migrating bucket

				good := g.upstream.object(testStateBucket, state.RulesObject)
				damage(t, g, before)
				// The poll finds it, without any request.
				eventually(t, "the gateway to notice", func() bool { return knownRulesErr(g) != nil })
				if !g.logged("rules refused") {
					t.Error("not logged")
				}
				for _, request := range []clientRequest{
					{method: "PUT", path: "/bucket/new", body: []byte("x")},
					{method: "PUT", path: "/other-bucket/new", body: []byte("x")},
					{method: "PUT", path: "/bucket/new", body: []byte("x"), header: headers(s3.HeaderSSE, s3.AES256)},
					{method: "GET", path: "/bucket/plain"},
					{method: "HEAD", path: "/bucket/plain"},
					{method: "GET", path: "/bucket", query: map[string][]string{"encryption": {""}}},
					{method: "PUT", path: "/bucket", query: map[string][]string{"encryption": {""}}, body: encryptionDoc("AES256", "")},
					{method: "DELETE", path: "/bucket", query: map[string][]string{"encryption": {""}}},
				} {
					code := "ServiceUnavailable"
					if request.method == "HEAD" {
						code = ""
					}
					g.do(request).want(t, 503, code)
				}
				if g.upstream.object(testBucket, "new") != nil || g.upstream.object(otherBucket, "new") != nil {
					t.Error("a write was stored")
				}
				if r := g.get("/bucket/sealed"); r.status != 200 || string(r.body) != "sealed" {
					t.Errorf("sealed read: %d %q", r.status, r.body)
				}
				g.head("/bucket/sealed").want(t, 200, "")
				g.list(testBucket, "list-type=2")

				g.upstream.unhook()
				g.upstream.store(testStateBucket, state.RulesObject, good)
				eventually(t, "the gateway to recover", func() bool { return g.put("/bucket/new", []byte("x")).status == 200 })
				if !isSealed(g.upstream.object(testBucket, "new")) {
					t.Error("the rule is lost")
				}
				g.get("/bucket/plain").want(t, 200, "")
			})
		})
	}
}

// TestRulesNotConfirmed: the store is unavailable for the rules alone. Answers
// in plaintext need rules confirmed within a second, other answers within five.
func TestRulesNotConfirmed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, onClock(), withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
		g.upstream.makeBucket(otherBucket)
		g.upstream.on(http.MethodGet, "/"+testStateBucket, answerWith(500, "InternalError"))
		time.Sleep(2 * time.Second)
		g.put("/other-bucket/plain", []byte("x")).want(t, 503, "ServiceUnavailable")
		g.put("/bucket/sealed", []byte("x")).want(t, 200, "")
		time.Sleep(4 * time.Second)
		g.put("/bucket/sealed", []byte("x")).want(t, 503, "ServiceUnavailable")
		g.upstream.unhook()
		time.Sleep(time.Nanosecond) // one attempt is for all who come at its time
		g.put("/other-bucket/plain", []byte("x")).want(t, 200, "")
		if g.upstream.object(otherBucket, "plain") == nil || knownRulesErr(g) != nil {
			t.Error("an outage is taken for damage")
		}
	})
}

// TestRulesAreSharedWhileRefreshed sees that a crowd of requests that needs
// fresh rules asks the store for them a few times, not once each, and that a
// client that leaves does not fail the others.
func TestRulesAreSharedWhileRefreshed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, onClock())
		release := make(chan struct{})
		var asked atomic.Int32
		g.upstream.on(http.MethodGet, "/"+testStateBucket, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if asked.Add(1) == 1 {
				<-release
			}
			memFail(w, 500, "InternalError", "on demand")
		})
		time.Sleep(state.DefaultTimes.MaxAge + 1) // before the next poll
		first, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 101)
		go func() {
			_, _, err := g.State.Rule(first, otherBucket)
			ended <- err
		}()
		eventually(t, "the first to ask", func() bool { return asked.Load() == 1 })
		var entered sync.WaitGroup
		for range 100 {
			entered.Add(1)
			go func() {
				entered.Done()
				_, _, err := g.State.Rule(t.Context(), otherBucket)
				ended <- err
			}()
		}
		entered.Wait()
		cancel()
		close(release)
		for range 101 {
			if err := <-ended; !errors.Is(err, state.ErrRules) {
				t.Errorf("%v, want errRules", err)
			}
		}
		if n := asked.Load(); n > 20 {
			t.Errorf("101 callers asked the store %d times", n)
		}
	})
}

// TestSlowRules: a store may take longer to confirm the rules than rules may be
// old. A confirmation requested after a request came is fresh enough for that
// request.
func TestSlowRules(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, onClock())
		g.upstream.on(http.MethodGet, "/"+testStateBucket+"/"+state.RulesObject, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			time.Sleep(3 * state.DefaultTimes.MaxAge)
			next.ServeHTTP(w, r)
		})
		for range 3 {
			time.Sleep(state.DefaultTimes.MaxAge + 1)
			g.put("/bucket/k", []byte("x")).want(t, 200, "")
		}
	})
}

// TestLeavingClientEndsNoRefresh: the refresh that a client began serves
// others.
func TestLeavingClientEndsNoRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, onClock())
		time.Sleep(state.DefaultTimes.MaxAge + 1)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := g.State.Rule(ctx, otherBucket); err != nil {
			t.Errorf("%v", err)
		}
	})
}

// TestReplicasSeeRules sets a rule on one replica. Another knows it within a
// second where it would store plaintext, and within five for what is sealed
// anyway.
func TestReplicasSeeRules(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newGateway(t, onClock())
		b := a.replica()
		a.setRule(testBucket, &state.Rule{Algorithm: s3.AES256})
		deadline := time.Now().Add(state.DefaultTimes.MaxAge)
		for n := 0; ; n++ {
			late := time.Now().After(deadline)
			key := fmt.Sprint("key", n)
			b.put("/bucket/"+key, []byte("x")).want(t, 200, "")
			if isSealed(b.upstream.object(testBucket, key)) {
				break
			}
			if late {
				t.Fatalf("stored plaintext %s after the rule was set", time.Since(deadline)+state.DefaultTimes.MaxAge)
			}
			time.Sleep(20 * time.Millisecond)
		}

		a.setRule(testBucket, &state.Rule{Algorithm: s3.AWSKMS})
		start := time.Now()
		eventually(t, "the other replica's scheme", func() bool {
			r := b.put("/bucket/key", []byte("x"))
			r.want(t, 200, "")
			return r.header.Get(s3.HeaderSSE) == s3.AWSKMS
		})
		if took := time.Since(start); took > state.DefaultTimes.Stale {
			t.Errorf("took %s", took)
		}

		// Without the rule objects are plaintext. Until b knows, it seals,
		// which does no harm.
		a.setRule(testBucket, nil)
		eventually(t, "the rule to end", func() bool {
			b.put("/bucket/key", []byte("x")).want(t, 200, "")
			return !isSealed(b.upstream.object(testBucket, "key"))
		})
	})
}

func (g *testGateway) setRule(bucket string, rule *state.Rule) {
	g.t.Helper()
	if err := setRule(g.t.Context(), g.State, bucket, rule); err != nil {
		g.t.Fatal(err)
	}
}

// TestConcurrentRules changes rules of many buckets on three replicas at once:
// every one is kept, and revisions count them.
func TestConcurrentRules(t *testing.T) {
	t.Parallel()
	u := newMemUpstream(t)
	u.atomicWrites()
	first := newGateway(t, withUpstream(u))
	replicas := []*testGateway{first, first.replica(), first.replica()}
	_, before, _ := first.State.KnownRules()
	const each = 6
	var wait sync.WaitGroup
	for i, g := range replicas {
		wait.Go(func() {
			for n := range each {
				rule := state.Rule{Algorithm: s3.AWSKMS, KeyID: fmt.Sprintf("key-%d-%d", i, n)}
				for {
					err := setRule(t.Context(), g.State, fmt.Sprintf("bucket-%d-%d", i, n), &rule)
					if err == nil {
						break
					}
					if !errors.Is(err, state.ErrRules) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wait.Wait()
	rules, last, _ := first.replica().State.KnownRules()
	if got := len(rules); got != each*len(replicas) {
		t.Errorf("%d rules left of %d", got, each*len(replicas))
	}
	for i := range replicas {
		for n := range each {
			if got := rules[fmt.Sprintf("bucket-%d-%d", i, n)].KeyID; got != fmt.Sprintf("key-%d-%d", i, n) {
				t.Errorf("bucket-%d-%d has key %q", i, n, got)
			}
		}
	}
	if got := last - before; got != uint64(each*len(replicas)) {
		t.Errorf("%d revisions for %d changes", got, each*len(replicas))
	}
}

// TestSetRuleAfterLostRaces: a change that another replica's overtook is made
// again, upon that one.
func TestSetRuleAfterLostRaces(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusPreconditionFailed, http.StatusConflict, http.StatusInternalServerError} {
		g := newGateway(t)
		other := g.replica()
		writes := 0
		g.upstream.on(http.MethodPut, "/"+testStateBucket, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if writes++; writes == 1 {
				g.upstream.unhook()
				other.setRule(otherBucket, &state.Rule{Algorithm: s3.AES256})
				memFail(w, status, "Conflict", "another was faster")
				return
			}
			next.ServeHTTP(w, r)
		})
		g.setRule(testBucket, &state.Rule{Algorithm: s3.AES256})
		for _, bucket := range []string{testBucket, otherBucket} {
			if rule, ok, err := g.State.Rule(t.Context(), bucket); !ok || err != nil {
				t.Errorf("%d: %s has %+v, %v", status, bucket, rule, err)
			}
		}
	}
}

// TestSetRuleFaults fails the write of a rule before and after it is stored.
// The error does not mention the state bucket. A rule that was stored anyway
// comes into force.
func TestSetRuleFaults(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		hook   hook
		stored bool
	}{
		"not persisted":           {breakAfter(0), false},
		"persisted, answer lost":  {dropAnswer, true},
		"refused":                 {answerWith(403, "AccessDenied"), false},
		"store is full":           {answerWith(507, "InsufficientStorage"), false},
		"always another's change": {answerWith(412, "PreconditionFailed"), false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, onClock())
				g.upstream.on(http.MethodPut, "/"+testStateBucket, test.hook)
				r := g.setEncryption(testBucket, encryptionDoc("AES256", ""))
				r.want(t, 503, "ServiceUnavailable")
				if bytes.Contains(r.body, []byte(testStateBucket)) || bytes.Contains(r.body, []byte("on demand")) {
					t.Errorf("the answer tells of the state bucket: %s", r.body)
				}
				g.upstream.unhook()
				eventually(t, "the rules to be looked at again", func() bool {
					time.Sleep(state.DefaultTimes.MaxAge)
					_, ok, err := g.State.Rule(t.Context(), testBucket)
					return err == nil && ok == test.stored
				})
				g.setEncryption(testBucket, encryptionDoc("AES256", "")).want(t, 200, "")
				g.put("/bucket/key", []byte("x")).want(t, 200, "")
				if !isSealed(g.upstream.object(testBucket, "key")) {
					t.Error("not sealed")
				}
			})
		})
	}
}

// TestSetRuleSeesRollback: a change never builds on rules older than those
// seen.
func TestSetRuleSeesRollback(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	before := g.upstream.object(testStateBucket, state.RulesObject)
	g.setRule(testBucket, &state.Rule{Algorithm: s3.AES256})
	g.upstream.store(testStateBucket, state.RulesObject, before)
	err := setRule(t.Context(), g.State, otherBucket, &state.Rule{Algorithm: s3.AES256})
	if !errors.Is(err, state.ErrRules) {
		t.Errorf("%v, want errRules", err)
	}
	if got := g.upstream.object(testStateBucket, state.RulesObject); !bytes.Equal(got.body, before.body) {
		t.Error("something was written")
	}
}

// TestTooManyRules: a document that no gateway could read again is not written.
func TestTooManyRules(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	before := g.upstream.object(testStateBucket, state.RulesObject)
	err := setRule(t.Context(), g.State, testBucket, &state.Rule{Algorithm: s3.AWSKMS, KeyID: strings.Repeat("k", state.MaxRules)})
	if !errors.Is(err, state.ErrRules) {
		t.Errorf("%v, want errRules", err)
	}
	if got := g.upstream.object(testStateBucket, state.RulesObject); got.etag != before.etag {
		t.Error("it was written")
	}
}

// TestSealedOnly reads a plaintext object that the store put into a bucket.
func TestSealedOnly(t *testing.T) {
	t.Parallel()
	sealedOnly := state.Rule{Algorithm: s3.AES256, SealedOnly: true}
	migrating := state.Rule{Algorithm: s3.AES256}
	tests := map[string]struct {
		mode    SealedOnly
		auto    sealer.Scheme
		rule    *state.Rule
		refused bool
	}{
		"auto, sealed-only bucket":   {SealedOnlyAuto, 0, &sealedOnly, true},
		"auto, migrating bucket":     {SealedOnlyAuto, 0, &migrating, false},
		"auto, no rule":              {SealedOnlyAuto, 0, nil, false},
		"auto, default for all":      {SealedOnlyAuto, sealer.SSES3, nil, false},
		"always, sealed-only bucket": {SealedOnlyAlways, 0, &sealedOnly, true},
		"always, migrating bucket":   {SealedOnlyAlways, 0, &migrating, true},
		"always, no rule":            {SealedOnlyAlways, 0, nil, false},
		"always, default for all":    {SealedOnlyAlways, sealer.SSEKMS, nil, true},
		"never, sealed-only bucket":  {SealedOnlyNever, 0, &sealedOnly, false},
		"never, migrating bucket":    {SealedOnlyNever, 0, &migrating, false},
		"never, no rule":             {SealedOnlyNever, 0, nil, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withConfig(func(c *Config) { c.SealedOnly, c.AutoEncryption = test.mode, test.auto }))
			if test.rule != nil {
				g.setRule(testBucket, test.rule)
			}
			g.upstream.store(testBucket, "plain", &memObject{body: []byte("swapped in"), header: headers("Content-Type", "a/b"), etag: strings.Repeat("a", 32)})
			status, code := 200, ""
			if test.refused {
				status, code = 403, "AccessDenied"
			}
			r := g.get("/bucket/plain")
			r.want(t, status, code)
			if bytes.Contains(r.body, []byte("swapped in")) == test.refused {
				t.Errorf("body %q", r.body)
			}
			g.get("/bucket/plain", "Range", "bytes=0-1").want(t, map[bool]int{true: 403, false: 206}[test.refused], code)
			g.head("/bucket/plain").want(t, status, "")
			if got := g.counter("ssegw_integrity_failures_total", "reason=not sealed"); (got > 0) != test.refused {
				t.Errorf("counted %v failures", got)
			}
		})
	}
}

// knownRulesErr returns why a gateway does not rely on its rules, or nil.
func knownRulesErr(g *testGateway) error {
	_, _, err := g.State.KnownRules()
	return err
}

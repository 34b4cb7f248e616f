package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssegw/kms"
	"ssegw/kms/kmstest"
	"ssegw/proxy/check"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// rotate replaces the root through a process of its own, as ssegw rekey --root
// does. It returns that process.
func (g *testGateway) rotate(opts ...gatewayOption) *testGateway {
	g.t.Helper()
	command := g.replica(append([]gatewayOption{withTLS()}, opts...)...).withSmallParts()
	old := command.State.Root().ID
	done, err := state.Rotate(g.t.Context(), command.State, false)
	if err != nil {
		g.t.Fatal(err)
	}
	if done.Old != old || done.New == old || command.State.Root().ID != done.New || storedRoot(g.t, g.upstream).ID != done.New {
		g.t.Errorf("%+v, and the root is %s", done, command.State.Root().ID)
	}
	return command
}

// wantKinds reads objects of all kinds. None may have a warning.
func wantKinds(t *testing.T, g *testGateway, kinds []kindOfObject) {
	t.Helper()
	for _, k := range kinds {
		for _, r := range []clientAnswer{g.head(k.path, k.read...), g.get(k.path, k.read...)} {
			r.want(t, 200, "")
			if r.header.Get("X-Ssegw-Warning") != "" || r.header.Get("Content-Length") != fmt.Sprint(len(k.body)) {
				t.Errorf("%s: %v", k.path, r.header)
			}
		}
		if r := g.get(k.path, k.read...); !bytes.Equal(r.body, k.body) {
			t.Errorf("%s: %d other bytes", k.path, len(r.body))
		}
	}
	sizes := map[string]int64{}
	for _, e := range g.list(testBucket, "list-type=2") {
		sizes["/bucket/"+e.Key] = e.Size
	}
	for _, k := range kinds {
		if n, ok := sizes[k.path]; !ok || n != int64(len(k.body)) {
			t.Errorf("%s is listed with %d bytes, %t", k.path, n, ok)
		}
	}
}

// rootOfObject returns the root that a stored object names.
func rootOfObject(t *testing.T, g *testGateway, key string) sealer.RootID {
	t.Helper()
	h, err := parsedHeader(g.upstream.object(testBucket, key).header.Get(sealer.MetadataKey))
	if err != nil {
		t.Fatal(err)
	}
	return h.RootID
}

// TestRotate: replicas with different roots read each other's objects, records
// and uploads, over two rotations.
func TestRotate(t *testing.T) {
	t.Parallel()
	first := newGateway(t, withTLS(), withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
	kinds := storeKinds(t, first)
	oldest := first.State.Root().ID
	parts := [][]byte{pattern(smallestPart, 1), pattern(smallestPart+1, 2), pattern(70, 3)}
	// An upload begins at one replica and is completed at another.
	across := func(path string, begin, middle, end *testGateway) {
		t.Helper()
		u := begin.begin(path)
		for i, g := range []*testGateway{begin, middle, end} {
			u = u.through(g)
			u.part(i+1, parts[i])
			g.do(u.request(http.MethodGet, 0, nil)).want(t, 200, "")
		}
		u.complete()
		kinds = append(kinds, kindOfObject{path, slices.Concat(parts...), nil, len(parts)})
	}
	begun := first.begin("/bucket/begun")
	begun.part(1, parts[0])
	ended := first.begin("/bucket/ended")
	ended.part(1, parts[0])
	request := ended.completeRequest(ended.listed)
	ended.complete()
	kinds = append(kinds, kindOfObject{"/bucket/ended", parts[0], nil, 1})

	newest := first
	for i := range 2 {
		newest = newest.rotate()
		for _, g := range []*testGateway{first, newest} {
			path := fmt.Sprintf("/bucket/put-%d-%t", i, g == first)
			g.put(path, pattern(100, 1)).want(t, 200, "")
			kinds = append(kinds, kindOfObject{path, pattern(100, 1), nil, 0})
		}
		across(fmt.Sprintf("/bucket/up-old-%d", i), first, newest, first)
		across(fmt.Sprintf("/bucket/up-new-%d", i), newest, first, newest)
		across(fmt.Sprintf("/bucket/down-%d", i), first, newest, newest)
		first.State.RefreshRules(t.Context())
		for name, g := range map[string]*testGateway{"first": first, "newest": newest, "started": first.replica(withTLS()).withSmallParts()} {
			wantKinds(t, g, kinds)
			if rule, ok, err := g.State.Rule(t.Context(), testBucket); err != nil || !ok || rule.Algorithm != s3.AES256 {
				t.Errorf("%s: rule %+v, %t, %v", name, rule, ok, err)
			}
		}
		if id := first.State.Root().ID; id != oldest {
			t.Fatalf("the first gateway has root %s", id)
		}
	}
	newest.do(request).want(t, 200, "") // the answer of the Complete is repeated
	begun = begun.through(newest)
	begun.part(2, parts[1])
	begun.complete()
	begun.through(first)
	kinds = append(kinds, kindOfObject{"/bucket/begun", slices.Concat(parts[:2]...), nil, 2})
	newest.copy("bucket/put-0-true", "/bucket/copied").want(t, 200, "")
	if id := rootOfObject(t, newest, "copied"); id != newest.State.Root().ID {
		t.Errorf("a copy is sealed under root %s", id)
	}

	// A change of the rules by the replica with the oldest root stays.
	first.setEncryption("other", encryptionDoc("AES256", "")).want(t, 404, "NoSuchBucket")
	first.setEncryption(testBucket, encryptionDoc("aws:kms", "")).want(t, 200, "")
	newest.State.RefreshRules(t.Context())
	if rule, _, err := newest.State.Rule(t.Context(), testBucket); err != nil || rule.Algorithm != s3.AWSKMS {
		t.Errorf("%+v, %v", rule, err)
	}
	if first.State.Root() != newest.State.Root() {
		t.Error("the first gateway has not followed")
	}
	wantKinds(t, first, kinds)
	for _, g := range []*testGateway{first, newest} {
		if g.logged("root refused") || g.logged("rules refused") || g.logged("not verified") || g.counter("ssegw_integrity_failures_total") > 0 {
			t.Error("a gateway has met something that it does not know")
		}
	}
}

// TestRotateFollows: gateways notice a new root by themselves, without an error
// to clients.
func TestRotateFollows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, onClock(), withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
		g.put("/bucket/before", []byte("x")).want(t, 200, "")
		command := g.rotate(onClock())
		began := time.Now()
		for g.State.Root() != command.State.Root() {
			g.put("/bucket/k", []byte("x")).want(t, 200, "")
			command.get("/bucket/k").want(t, 200, "")
			g.get("/bucket/before").want(t, 200, "")
			time.Sleep(100 * time.Millisecond)
			if time.Since(began) > 5*time.Second {
				t.Fatal("the gateway does not follow")
			}
		}
		if !g.logged("the root was replaced", command.State.Root().ID.String()) {
			t.Error("not logged")
		}
		// Nothing is read again while nothing changes, and nothing else happens.
		g.upstream.forget()
		time.Sleep(time.Minute)
		if id := g.State.Root().ID; id != command.State.Root().ID || g.logged("root refused") {
			t.Errorf("root %s", id)
		}
	})
}

// TestRotateCrashes: wherever a rotation ends, everything stays readable, for
// gateways that serve and that start, and another rotation succeeds.
func TestRotateCrashes(t *testing.T) {
	t.Parallel()
	for _, lost := range []string{"request", "answer"} {
		for n := 1; ; n++ {
			g := newGateway(t, withTLS(), withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
			g.put("/bucket/k", pattern(100, 1)).want(t, 200, "")
			u := g.begin("/bucket/u")
			u.part(1, pattern(100, 2))
			command := g.replica(withTLS())
			writes, name := 0, ""
			g.upstream.on(http.MethodPut, "/"+testStateBucket, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				writes++
				if writes < n {
					next.ServeHTTP(w, r)
					return
				}
				if writes == n && lost == "answer" {
					next.ServeHTTP(discardAnswer{http.Header{}}, r)
				}
				if writes == n {
					name = r.URL.Path
				}
				memFail(w, 503, "SlowDown", "the process ended")
			})
			done, err := state.Rotate(t.Context(), command.State, false)
			g.upstream.unhook()
			if name == "" {
				if err != nil || n < 6 {
					t.Fatalf("%d writes, %v", n, err)
				}
				break
			}
			if err == nil && lost == "request" { // a write whose answer is lost is found to be done
				t.Errorf("write %d, %s: no error, %+v", n, name, done)
			}
			for _, each := range []*testGateway{g, g.replica(withTLS()).withSmallParts(), g.rotate()} {
				wantKinds(t, each, []kindOfObject{{"/bucket/k", pattern(100, 1), nil, 0}})
				key := fmt.Sprintf("after-%s", each.State.Root().ID)
				each.put("/bucket/"+key, []byte("x")).want(t, 200, "")
				if !isSealed(g.upstream.object(testBucket, key)) {
					t.Error("the rule is lost")
				}
				g.get("/bucket/"+key).want(t, 200, "")
			}
			g.State.FollowRoot(t.Context())
			g.State.RefreshRules(t.Context())
			u.part(2, pattern(100, 3))
			if g.logged("root refused") || g.logged("rules refused") {
				t.Errorf("write %d, %s: the gateway refuses the state", n, name)
			}
		}
	}
}

// TestRotateAtOnce: of two rotations at the same time one succeeds, and what
// the loser has written is not in the way.
func TestRotateAtOnce(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withTLS(), withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	g.put("/bucket/k", pattern(100, 1)).want(t, 200, "")
	loser := g.replica()
	other := g.replica()
	ran := false
	g.upstream.on(http.MethodPut, "/"+testStateBucket+"/root", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !ran && r.URL.Path == "/"+testStateBucket+"/root" {
			ran = true
			if _, err := state.Rotate(t.Context(), other.State, false); err != nil {
				t.Error(err)
			}
		}
		next.ServeHTTP(w, r)
	})
	if _, err := state.Rotate(t.Context(), loser.State, false); !errors.Is(err, state.ErrOvertaken) {
		t.Errorf("%v", err)
	}
	g.upstream.unhook()
	for _, each := range []*testGateway{g, loser, other, g.replica()} {
		each.State.FollowRoot(t.Context())
		if each.State.Root() != other.State.Root() {
			t.Error("another root")
		}
		wantKinds(t, each, []kindOfObject{{"/bucket/k", pattern(100, 1), nil, 0}})
	}
}

// TestRotateTakeOver: a gateway that is restarted in place may have a root that
// follows that of its predecessor.
func TestRotateTakeOver(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withTLS(), withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	g.put("/bucket/k", []byte("x")).want(t, 200, "")
	newest := g.rotate().rotate()
	next, err := g.successor(testStateBucket)
	if err != nil {
		t.Fatal(err)
	}
	next.TakeOver()
	if next.Root() != newest.State.Root() || g.State.Root() == next.Root() {
		t.Error("the successor has another root")
	}
	if rule, ok, err := next.Rule(t.Context(), testBucket); err != nil || !ok || rule.Algorithm != s3.AES256 {
		t.Errorf("%+v, %t, %v", rule, ok, err)
	}
	// Back is not forward.
	g.upstream.store(testStateBucket, state.RootObject, g.upstream.object(testStateBucket, "roots/"+g.State.Root().ID.String()))
	cfg := newest.states
	cfg.Like = next
	if err := state.New(cfg).Open(t.Context()); !errors.Is(err, state.ErrRefused) {
		t.Errorf("%v", err)
	}
}

// TestRotateBack: a store that brings old roots back, with what was sealed under
// them, gets no gateway to use them that has seen the new one.
func TestRotateBack(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(g *testGateway, root, rules *memObject, old, now sealer.RootID){
		"the old root": func(g *testGateway, root, _ *memObject, _, _ sealer.RootID) {
			g.upstream.store(testStateBucket, state.RootObject, root)
		},
		"the old state": func(g *testGateway, root, rules *memObject, old, now sealer.RootID) {
			g.upstream.store(testStateBucket, state.RootObject, root)
			g.upstream.store(testStateBucket, state.RulesObject, rules)
			g.upstream.store(testStateBucket, state.HeirsPrefix+old.String(), g.upstream.object(testStateBucket, state.HeirsPrefix+now.String()))
		},
		"no root": func(g *testGateway, _, _ *memObject, _, _ sealer.RootID) {
			g.upstream.store(testStateBucket, state.RootObject, nil)
		},
		"nonsense": func(g *testGateway, _, rules *memObject, _, _ sealer.RootID) {
			g.upstream.store(testStateBucket, state.RootObject, rules)
		},
	} {
		g := newGateway(t, withTLS(), withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
		root, rules, old := g.upstream.object(testStateBucket, state.RootObject), g.upstream.object(testStateBucket, state.RulesObject), g.State.Root().ID
		g.rotate()
		g.State.FollowRoot(t.Context())
		g.State.RefreshRules(t.Context())
		now := g.State.Root().ID
		damage(g, root, rules, old, now)
		g.State.FollowRoot(t.Context())
		if g.State.Root().ID != now || !g.logged("the gateway keeps the one it has") {
			t.Errorf("%s: root %s", name, g.State.Root().ID)
		}
		g.State.RefreshRules(t.Context())
		if _, _, err := g.State.KnownRules(); (err != nil) != (name == "the old state") {
			t.Errorf("%s: rules: %v", name, err)
		}
	}
}

// TestRotateForeign: the root of an earlier installation at the same names opens
// facts if it is below roots/, but never records.
func TestRotateForeign(t *testing.T) {
	t.Parallel()
	earlier := newGateway(t, withTLS(), withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	for range 5 { // the revision of its rules is higher
		earlier.setEncryption(testBucket, encryptionDoc("AES256", "")).want(t, 200, "")
	}
	rules := earlier.upstream.object(testStateBucket, state.RulesObject)
	record := earlier.loseState()
	g := earlier.replica(withTLS(), freshRoots(), withRule(testBucket, state.Rule{Algorithm: s3.AWSKMS}))
	id := earlier.State.Root().ID
	g.upstream.store(testStateBucket, "roots/"+id.String(), record)
	if _, err := g.State.RootOf(t.Context(), id); err != nil {
		t.Error(err)
	}
	g.upstream.store(testStateBucket, state.RulesObject, rules)
	g.State.RefreshRules(t.Context())
	if _, _, err := g.State.KnownRules(); !errors.Is(err, state.ErrRules) {
		t.Errorf("%v", err)
	}
	// A proof by the earlier root alone, whose key may be known, is not enough.
	for _, name := range []string{id.String(), g.State.Root().ID.String()} {
		forged, err := sealer.SealRecord(earlier.State.Root(), state.HeirsPrefix+name, id[:])
		if err != nil {
			t.Fatal(err)
		}
		g.upstream.store(testStateBucket, state.HeirsPrefix+name, &memObject{body: forged, header: http.Header{}, etag: "e"})
	}
	g.State.RefreshRules(t.Context())
	if _, _, err := g.State.KnownRules(); !errors.Is(err, state.ErrRules) {
		t.Errorf("%v", err)
	}
	if err := g.replica(notOpened()).State.Open(t.Context()); !errors.Is(err, state.ErrRefused) {
		t.Errorf("%v", err)
	}
}

// TestRotateWithoutConditions: a store without conditional writes needs a word.
func TestRotateWithoutConditions(t *testing.T) {
	t.Parallel()
	u := newMemUpstream(t)
	u.ways = storeWays["no conditional writes"]
	g := newGateway(t, withUpstream(u), withTLS())
	g.put("/bucket/k", pattern(100, 1), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	before := u.keys(testStateBucket)
	if _, err := state.Rotate(t.Context(), g.State, false); !errors.Is(err, state.ErrUnconditional) {
		t.Errorf("%v", err)
	}
	if now := u.keys(testStateBucket); !slices.Equal(before, now) {
		t.Errorf("%v after %v", now, before)
	}
	old := g.replica(withTLS())
	if _, err := state.Rotate(t.Context(), g.State, true); err != nil {
		t.Fatal(err)
	}
	for _, each := range []*testGateway{g, old, g.replica(withTLS())} {
		wantKinds(t, each, []kindOfObject{{"/bucket/k", pattern(100, 1), nil, 0}})
	}
}

// TestRotateKeys: after a change of the default key and a rotation, no root
// needs the earlier key, not even one from an earlier state bucket.
func TestRotateKeys(t *testing.T) {
	t.Parallel()
	earlier := newGateway(t, withTLS())
	earlier.put("/bucket/earlier", pattern(100, 1), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	record := earlier.loseState()
	g := earlier.replica(withTLS(), withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	g.upstream.store(testStateBucket, "roots/2025", record)
	g.upstream.store(testStateBucket, "roots/damaged", &memObject{body: []byte("nonsense"), header: http.Header{}, etag: "e"})
	g.put("/bucket/first", pattern(100, 1)).want(t, 200, "")
	g.rotate().put("/bucket/second", pattern(100, 1)).want(t, 200, "")

	changed := withKMS(func(c *kms.Config) { c.DefaultKey = "next-key" })
	command := g.replica(changed)
	done, err := state.Rotate(t.Context(), command.State, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Left) != 1 || done.Left[0].Name != "roots/damaged" || len(done.Written) != 5 {
		t.Errorf("left %v, written %v", done.Left, done.Written)
	}
	uses, err := state.KeyUses(t.Context(), command.State)
	if err != nil {
		t.Fatal(err)
	}
	for _, use := range uses {
		if use.Root != "" && use.Key != "next-key" {
			t.Errorf("%s needs the key %s", use.Root, use.Key)
		}
	}
	g.kes.DeleteKey(kmstest.DefaultKey)
	last := g.replica(withTLS(), changed)
	for _, key := range []string{"earlier", "first", "second"} {
		r := last.head("/bucket/" + key)
		if r.status != 200 || r.header.Get("Content-Length") != "100" || r.header.Get("X-Ssegw-Warning") != "" {
			t.Errorf("%s: %d %v", key, r.status, r.header)
		}
	}
	if last.logged("old root not opened", strings.TrimPrefix(rootName(g), "roots/")) {
		t.Error("a root does not open")
	}
}

// rootName is the name of the record of a gateway's root.
func rootName(g *testGateway) string { return state.RootsPrefix + g.State.Root().ID.String() }

// TestRotateWithoutKES: a root that cannot be looked up is no unknown root.
func TestRotateWithoutKES(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withTLS(), freshRoots(), withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	g.rotate().put("/bucket/new", pattern(100, 1)).want(t, 200, "")
	g.kes.Stop()
	g.get("/bucket/new").want(t, 503, "ServiceUnavailable")
	g.do(clientRequest{method: http.MethodGet, path: "/bucket"}).want(t, 503, "ServiceUnavailable")
	g.State.RefreshRules(t.Context())
	if _, _, err := g.State.KnownRules(); err != nil {
		t.Errorf("%v", err)
	}
	g.kes.Start()
	eventually(t, "the object", func() bool { return g.get("/bucket/new").status == 200 })
	if g.counter("ssegw_integrity_failures_total") > 0 {
		t.Error("an object counts as not authentic")
	}
}

// TestRotateListed: the cache of listings survives a rotation, whichever replica
// writes it.
func TestRotateListed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		writer := newGateway(t, onClock())
		writer.fill(5)
		old, stop := writer.process()
		if n := old.lookedUp("list-type=2"); n == 0 {
			t.Fatal("nothing is looked up")
		}
		command := writer.rotate(onClock())
		stop() // within the time in which it has not followed
		if o := writer.memory(); o == nil {
			t.Fatal("nothing is kept")
		} else if id, err := sealer.RecordRoot(o.body); err != nil || id != command.State.Root().ID {
			t.Errorf("kept under root %s, %v", id, err)
		}
		for range 2 { // the first one writes it again
			next, stop := writer.process()
			if n := next.lookedUp("list-type=2"); n != 0 || next.logged("known sizes not read") {
				t.Errorf("%d objects are looked up", n)
			}
			stop()
			writer.rotate(onClock())
		}
	})
}

// TestRotateShows: check and inspect tell which roots there are.
func TestRotateShows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, onClock())
		g.put("/bucket/old", []byte("x"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
		old := g.State.Root().ID
		g.rotate(onClock()).put("/bucket/new", []byte("x"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
		for key, want := range map[string]string{"old": check.RootOld, "new": check.RootPresent} {
			if i := g.inspection(key); i.NotAuthentic() || i.Header.Root != want {
				t.Errorf("%s: %+v", key, i.Header)
			}
		}
		if f := finding(t, g.findings(), "old roots"); f.Status != check.StatusOK || !strings.Contains(f.Detail, old.String()) || !strings.Contains(f.Detail, "1 open") {
			t.Errorf("%+v", f)
		}
		next := g.replica(onClock(), withKMS(func(c *kms.Config) { c.DefaultKey = "next-key" }))
		if f := finding(t, next.findings(), "old roots"); f.Status != check.StatusWarning || !strings.Contains(f.Detail, kmstest.DefaultKey) || !strings.Contains(f.Remedy, "--root") {
			t.Errorf("%+v", f)
		}
		g.upstream.edit(testStateBucket, state.RootsPrefix+old.String(), func(o *memObject) { o.body = flip(o.body, 100) })
		if f := finding(t, g.findings(), "old roots"); f.Status != check.StatusWarning || !strings.Contains(f.Detail, old.String()+" does not open") {
			t.Errorf("%+v", f)
		}
	})
}

package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// kindOfObject is an object of one scheme and shape.
type kindOfObject struct {
	path  string
	body  []byte
	read  []string // headers that a read needs
	parts int
}

// storeKinds stores an object of every kind.
func storeKinds(t *testing.T, g *testGateway) (kinds []kindOfObject) {
	t.Helper()
	for _, scheme := range testSchemes() {
		write := slices.Concat(scheme.write, []string{"X-Amz-Meta-Color", "red", "Content-Type", "text/x", "Cache-Control", "no-cache"})
		path := func(kind string) string { return "/bucket/" + scheme.name + "/" + kind }
		k := kindOfObject{path("small"), pattern(70_000, 1), scheme.read, 0}
		g.put(k.path, k.body, write...).want(t, 200, "")
		kinds = append(kinds, k)
		k = kindOfObject{path("empty"), nil, scheme.read, 0}
		g.put(k.path, k.body, write...).want(t, 200, "")
		kinds = append(kinds, k)
		k = kindOfObject{path("trailer"), pattern(1<<20+77, 2), scheme.read, 0}
		g.do(clientRequest{method: http.MethodPut, path: k.path, body: k.body, mode: modeTrailer, header: headers(write...)}).want(t, 200, "")
		kinds = append(kinds, k)
		k = kindOfObject{path("parts"), nil, scheme.read, 3}
		u := g.begin(k.path, write...)
		for i := range k.parts {
			part := pattern(smallestPart+i, uint64(i))
			u.part(i+1, part, scheme.read...)
			k.body = append(k.body, part...)
		}
		u.complete(scheme.read...)
		kinds = append(kinds, k)
	}
	return kinds
}

// loseState empties the state bucket and returns the record of the root.
func (g *testGateway) loseState() *memObject {
	g.t.Helper()
	root := g.upstream.object(testStateBucket, state.RootObject)
	for _, key := range g.upstream.keys(testStateBucket) {
		g.upstream.store(testStateBucket, key, nil)
	}
	return root
}

const unverified = "content headers and user metadata are not verified"

// TestStateLost: a new installation at an old store can read every object of it
// with the KES keys, or the customer's. Headers are not verified then, and
// clients get a warning.
func TestStateLost(t *testing.T) {
	t.Parallel()
	old := newGateway(t, withTLS()).withSmallParts()
	kinds := storeKinds(t, old)
	old.loseState()
	g := old.replica(withTLS()).withSmallParts()
	if g.State.Root().ID == old.State.Root().ID {
		t.Fatal("the root is not a new one")
	}
	for _, k := range kinds {
		before := g.counter("ssegw_integrity_failures_total", "reason=unknown root")
		if len(k.body) > 0 {
			wantObject(t, g, k.path, k.body, 5, k.read...)
			r := g.get(k.path, append([]string{"Range", "bytes=-7"}, k.read...)...)
			if r.status != 206 || string(r.body) != string(k.body[len(k.body)-7:]) {
				t.Errorf("%s: suffix: %d", k.path, r.status)
			}
		}
		r := g.get(k.path, k.read...)
		r.want(t, 200, "")
		if h := r.header; string(r.body) != string(k.body) || h.Get("X-Amz-Meta-Color") != "red" || h.Get("Content-Type") != "text/x" || !strings.Contains(h.Get("X-Ssegw-Warning"), unverified) {
			t.Errorf("%s: %d bytes, %v", k.path, len(r.body), h)
		}
		if n := g.counter("ssegw_integrity_failures_total", "reason=unknown root"); n <= before {
			t.Errorf("%s: not counted", k.path)
		}
		for i := range k.parts {
			r := g.do(clientRequest{method: "GET", path: k.path, query: url.Values{"partNumber": {fmt.Sprint(i + 1)}}, header: headers(k.read...)})
			if want := pattern(smallestPart+i, uint64(i)); r.status != 206 || string(r.body) != string(want) || r.header.Get("X-Amz-Mp-Parts-Count") != fmt.Sprint(k.parts) {
				t.Errorf("%s: part %d: %d, %d bytes", k.path, i+1, r.status, len(r.body))
			}
		}
		a := g.do(clientRequest{method: "GET", path: k.path, query: url.Values{"attributes": {""}}, header: headers(append([]string{s3.HeaderObjectAttributes, "ObjectSize,ObjectParts"}, k.read...)...)})
		if want := fmt.Sprintf("<ObjectSize>%d</ObjectSize>", len(k.body)); a.status != 200 || !strings.Contains(string(a.body), want) {
			t.Errorf("%s: attributes: %d %s", k.path, a.status, a.body)
		}
		if len(k.read) > 0 {
			g.get(k.path, customerHeaders('x')...).want(t, 403, "AccessDenied")
			g.get(k.path).want(t, 400, "InvalidRequest")
		}
	}
	if !g.logged("not verified", old.State.Root().ID.String()) {
		t.Error("nothing is logged")
	}
	// Without the key there is nothing to read.
	cold := g.replica(withTLS())
	g.kes.Stop()
	cold.get(kinds[0].path).want(t, 503, "ServiceUnavailable")
}

// TestStateLostCopies: a copy of an object with a lost root is sealed under the
// present root. Headers that cannot be verified are not sealed as authentic.
func TestStateLostCopies(t *testing.T) {
	t.Parallel()
	old := newGateway(t, withTLS()).withSmallParts()
	kinds := storeKinds(t, old)
	old.loseState()
	g := old.replica(withTLS()).withSmallParts()
	for _, k := range kinds {
		source := strings.TrimPrefix(k.path, "/")
		var key []string
		for i := 0; i+1 < len(k.read); i += 2 {
			name := strings.Replace(strings.ToLower(k.read[i]), "x-amz-", "x-amz-copy-source-", 1)
			key = append(key, name, k.read[i+1])
		}
		g.copy(source, "/bucket/copy", key...).want(t, 400, "InvalidRequest")
		g.copy(source, "/bucket/copy", append(key, s3.HeaderMetadataDirective, "REPLACE", "X-Amz-Meta-Color", "blue")...).want(t, 200, "")
		r := g.get("/bucket/copy", s3.HeaderChecksumMode, "ENABLED")
		if r.status != 200 || string(r.body) != string(k.body) || r.header.Get("X-Amz-Meta-Color") != "blue" || r.header.Get("X-Ssegw-Warning") != "" {
			t.Errorf("%s copied: %d, %d bytes, %v", k.path, r.status, len(r.body), r.header)
		}
		if r.header.Get("X-Amz-Checksum-Type") == "" {
			t.Errorf("%s copied: no checksum: %v", k.path, r.header)
		}
		fresh := g.replica(withTLS())
		for _, e := range fresh.list(testBucket, "list-type=2&prefix=copy") {
			if e.Size != int64(len(k.body)) || len(e.ChecksumAlgorithm) != 1 {
				t.Errorf("%s copied: listed as %+v", k.path, e)
			}
		}
	}
}

// TestStateLostStrict: a setting refuses objects whose headers cannot be
// verified. The store cannot evade it, or the default's warning, by changing
// the root ID in a header.
func TestStateLostStrict(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/k", []byte("data"), s3.HeaderSSE, s3.AES256, "Content-Type", "text/plain").want(t, 200, "")
	g.upstream.edit(testBucket, "k", func(o *memObject) {
		h, _ := parsedHeader(o.header.Get(sealer.MetadataKey))
		h.RootID[0]++
		o.header.Set(sealer.MetadataKey, h.Encode())
		o.header.Set("Content-Type", "text/html")
	})
	strict := g.replica(withConfig(func(c *Config) { c.StrictHeaderDigest = true }))
	refused(t, strict, "/bucket/k", 500, notAuthentic)
	r := g.get("/bucket/k")
	if r.status != 200 || !strings.Contains(r.header.Get("X-Ssegw-Warning"), unverified) {
		t.Errorf("%d %v", r.status, r.header)
	}
}

// TestOldRoots: if an old root is in the state bucket, its objects are fully
// readable again, for running gateways and for new ones.
func TestOldRoots(t *testing.T) {
	t.Parallel()
	old := newGateway(t, withTLS()).withSmallParts()
	kinds := storeKinds(t, old)
	record := old.loseState()
	running := old.replica(withTLS(), freshRoots())
	if r := running.get(kinds[0].path); r.status != 200 || r.header.Get("X-Ssegw-Warning") == "" {
		t.Fatalf("%d %v", r.status, r.header)
	}
	old.upstream.store(testStateBucket, "roots/2026", record)
	old.upstream.store(testStateBucket, "roots/damaged", &memObject{body: []byte("nonsense"), header: http.Header{}, etag: "e"})
	for name, g := range map[string]*testGateway{"running": running, "started": old.replica(withTLS())} {
		calls := kmsCalls(g)
		for _, k := range kinds {
			r := g.head(k.path, k.read...)
			if r.status != 200 || r.header.Get("Content-Length") != fmt.Sprint(len(k.body)) || r.header.Get("X-Ssegw-Warning") != "" {
				t.Errorf("%s: HEAD %s: %d %v", name, k.path, r.status, r.header)
			}
		}
		var sizes []int64
		for _, e := range g.list(testBucket, "list-type=2") {
			sizes = append(sizes, e.Size)
		}
		var want []int64
		slices.SortFunc(kinds, func(a, b kindOfObject) int { return strings.Compare(a.path, b.path) })
		for _, k := range kinds {
			want = append(want, int64(len(k.body)))
		}
		if !slices.Equal(sizes, want) {
			t.Errorf("%s: sizes %v, want %v", name, sizes, want)
		}
		if n := kmsCalls(g) - calls; name == "started" && n > 0 {
			t.Errorf("%s: HEADs and the page took %d calls of KES", name, n)
		}
		if !g.logged("old root", "damaged") {
			t.Errorf("%s: the damaged root is not logged", name)
		}
	}
}

// TestOldRootOfAnotherBucket: a root that was in a state bucket of another name
// opens under that name.
func TestOldRootOfAnotherBucket(t *testing.T) {
	t.Parallel()
	g := newGateway(t, freshRoots())
	other := state.New(state.Config{Bucket: "other-state", Upstream: g.Upstream, KMS: g.KMS, Log: g.Log})
	if err := other.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := g.State.RootOf(t.Context(), other.Root().ID); err == nil {
		t.Fatal("the root is known before it is there")
	}
	g.upstream.store(testStateBucket, "roots/other-state", g.upstream.object("other-state", state.RootObject))
	if root, err := g.State.RootOf(t.Context(), other.Root().ID); err != nil || root != other.Root() {
		t.Errorf("%v", err)
	}
}

// TestUnknownRootsAreBounded: objects of unknown roots do not cost a request to
// the state bucket each.
func TestUnknownRootsAreBounded(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for i := range 20 {
		g.put(fmt.Sprintf("/bucket/%d", i), []byte("data"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
		g.upstream.edit(testBucket, fmt.Sprint(i), func(o *memObject) {
			h, _ := parsedHeader(o.header.Get(sealer.MetadataKey))
			h.RootID[0] += byte(i + 1)
			o.header.Set(sealer.MetadataKey, h.Encode())
		})
	}
	looks := func(g *testGateway) (n int) {
		for _, r := range g.upstream.requests("/" + testStateBucket) {
			if strings.HasPrefix(r.Query.Get("prefix"), state.RootsPrefix) {
				n++
			}
		}
		return n
	}
	replica := g.replica()
	g.upstream.forget()
	replica.list(testBucket, "list-type=2")
	for i := range 20 {
		replica.get(fmt.Sprintf("/bucket/%d", i)).want(t, 200, "")
	}
	if n := looks(replica); n > 1 {
		t.Errorf("%d looks", n)
	}
}

// TestOldRootsAlone: a gateway does not start in a state bucket that has old
// roots but no root.
func TestOldRootsAlone(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	record := g.loseState()
	g.upstream.store(testStateBucket, "roots/old", record)
	other := g.replica(notOpened())
	if err := other.State.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "roots/old") {
		t.Errorf("%v", err)
	}
	if g.upstream.object(testStateBucket, state.RootObject) != nil {
		t.Error("a root was made")
	}
}

package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssegw/kms"
	"ssegw/kms/kmstest"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// storedHeader is the header of a sealed object in the store.
func (g *testGateway) storedHeader(bucket, key string) *sealer.Header {
	g.t.Helper()
	o := g.upstream.object(bucket, key)
	if !isSealed(o) {
		g.t.Fatalf("%s/%s is not sealed", bucket, key)
	}
	h, err := parsedHeader(o.header.Get(sealer.MetadataKey))
	if err != nil {
		g.t.Fatal(err)
	}
	return h
}

// TestBucketKeyChoice: what decides whether the data key is the bucket's.
func TestBucketKeyChoice(t *testing.T) {
	t.Parallel()
	byKMS := []string{s3.HeaderSSE, s3.AWSKMS}
	with := func(v string, more ...string) []string { return append([]string{s3.HeaderSSEBucketKey, v}, more...) }
	on, off := state.Rule{Algorithm: s3.AWSKMS, BucketKey: true}, state.Rule{Algorithm: s3.AWSKMS}
	for i, tt := range []struct {
		rule   state.Rule
		pairs  []string
		shared bool
		code   string
	}{
		{state.Rule{}, byKMS, false, ""},
		{state.Rule{}, with("true", byKMS...), true, ""},
		{state.Rule{}, with("True", byKMS...), true, ""},
		{state.Rule{}, with("false", byKMS...), false, ""},
		{state.Rule{}, []string{s3.HeaderSSE, s3.AES256}, true, ""},
		{state.Rule{}, with("true", s3.HeaderSSE, s3.AES256), true, ""},
		{state.Rule{}, with("false", s3.HeaderSSE, s3.AES256), true, ""},
		{on, nil, true, ""},
		{on, byKMS, true, ""},
		{on, with("false"), false, ""},
		{on, with("false", byKMS...), false, ""},
		{on, []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEContext, testContext}, false, ""},
		{on, with("true", s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEContext, testContext), false, ""},
		{on, with("true", s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEContext, "e30="), false, ""}, // {}
		{off, nil, false, ""},
		{off, with("true"), true, ""},
		{state.Rule{Algorithm: s3.AES256, BucketKey: true}, byKMS, true, ""},
		{state.Rule{Algorithm: s3.AES256}, nil, true, ""},

		{on, with("yes"), false, "InvalidArgument"},
		{on, with(""), false, "InvalidArgument"},
		{state.Rule{}, with("true"), false, "InvalidArgument"},
		{on, with("true", customerHeaders('c')...), false, "InvalidArgument"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withTLS(), withRule(testBucket, tt.rule))
			r := g.put("/bucket/k", pattern(10, 1), tt.pairs...)
			if tt.code != "" {
				r.want(t, 400, tt.code)
				if g.upstream.object(testBucket, "k") != nil {
					t.Error("stored all the same")
				}
				return
			}
			r.want(t, 200, "")
			h := g.storedHeader(testBucket, "k")
			if h.Shared != tt.shared {
				t.Errorf("shared %v, want %v", h.Shared, tt.shared)
			}
			want := ""
			if tt.shared && h.Scheme == sealer.SSEKMS { // as on Amazon S3, not shown for SSE-S3
				want = "true"
			}
			for _, answer := range []clientAnswer{r, g.get("/bucket/k"), g.head("/bucket/k")} {
				if got := answer.header.Get(s3.HeaderSSEBucketKey); got != want {
					t.Errorf("header %q, want %q", got, want)
				}
			}
		})
	}
	g := newGateway(t)
	g.put("/bucket/k", nil, s3.HeaderSSEBucketKey, "false").want(t, 200, "")
	if isSealed(g.upstream.object(testBucket, "k")) {
		t.Error("sealed for no reason")
	}
}

// TestBucketKeyCalls: a thousand small writes to a bucket cost one call of KES.
func TestBucketKeyCalls(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withKMS(func(c *kms.Config) { c.CacheTTL = time.Minute }), withRule(testBucket, state.Rule{Algorithm: s3.AWSKMS, BucketKey: true}))
	g.kes.ResetRequests()
	for i := range 1000 {
		g.put(fmt.Sprintf("/bucket/%d", i), pattern(10, uint64(i))).want(t, 200, "")
	}
	if n := kmsCalls(g); n > 2 {
		t.Errorf("1000 writes made %d calls", n)
	}
	ids := map[sealer.ID]bool{}
	for i := range 1000 {
		ids[g.storedHeader(testBucket, fmt.Sprint(i)).ObjectID] = true
		if i%100 == 0 {
			if r := g.get(fmt.Sprintf("/bucket/%d", i)); !bytes.Equal(r.body, pattern(10, uint64(i))) {
				t.Errorf("%d is not read back", i)
			}
		}
	}
	if len(ids) != 1000 {
		t.Errorf("%d objects of 1000 have keys of their own", len(ids))
	}
	if n := kmsCalls(g); n > 2 {
		t.Errorf("with reads there were %d calls", n)
	}

	// During an outage of KES a bucket goes on using its data key. Another
	// bucket cannot get its first.
	g.upstream.makeBucket("other")
	g.kes.Stop()
	g.put("/bucket/k", pattern(10, 1)).want(t, 200, "")
	g.get("/bucket/k").want(t, 200, "")
	g.put("/other/k", pattern(10, 1), s3.HeaderSSE, s3.AES256).want(t, 503, "ServiceUnavailable")
}

// TestMultipartCalls: the Create and the first part call KES, the rest does
// not.
func TestMultipartCalls(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		sse   []string
		ttl   time.Duration
		calls int
	}{
		{"SSE-KMS", []string{s3.HeaderSSE, s3.AWSKMS}, time.Minute, 2},
		{"bucket key", []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEBucketKey, "true"}, time.Minute, 1},
		{"SSE-S3", []string{s3.HeaderSSE, s3.AES256}, time.Minute, 1},
		{"without the cache", []string{s3.HeaderSSE, s3.AWSKMS}, 0, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withKMS(func(c *kms.Config) { c.CacheTTL = tt.ttl })).withSmallParts()
			g.kes.ResetRequests()
			u := g.begin("/bucket/k", tt.sse...)
			for i := range 5 {
				u.part(i+1, pattern(smallestPart, uint64(i)))
			}
			u.complete()
			if n := kmsCalls(g); n != tt.calls {
				t.Errorf("%d calls, want %d", n, tt.calls)
			}
			if tt.ttl > 0 {
				g.kes.Stop()
				if r := g.get("/bucket/k"); r.status != 200 || len(r.body) != 5*smallestPart {
					t.Errorf("with KES away: %d", r.status)
				}
			}
		})
	}
}

// TestCachedReads: an object that was read a short time ago stays readable.
func TestCachedReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, onClock(), withKMS(func(c *kms.Config) { c.CacheTTL = time.Minute }))
		for _, key := range []string{"read", "unread"} {
			g.put("/bucket/"+key, pattern(100, 1), s3.HeaderSSE, s3.AWSKMS).want(t, 200, "")
		}
		g.kes.ResetRequests()
		for range 3 {
			g.get("/bucket/read").want(t, 200, "")
		}
		if n := kmsCalls(g); n != 1 {
			t.Errorf("3 reads made %d calls", n)
		}
		if hits, misses := g.counter("ssegw_dek_cache_hits_total"), g.counter("ssegw_dek_cache_misses_total"); hits != 2 || misses != 1 {
			t.Errorf("%v hits and %v misses, want 2 and 1", hits, misses)
		}
		g.kes.Stop()
		if r := g.get("/bucket/read"); !bytes.Equal(r.body, pattern(100, 1)) {
			t.Errorf("with KES away: %d", r.status)
		}
		start := time.Now()
		g.get("/bucket/unread").want(t, 503, "ServiceUnavailable")
		if d := time.Since(start); d > time.Second {
			t.Errorf("refused after %v", d)
		}
		g.head("/bucket/unread").want(t, 200, "")
	})
}

// TestBucketKeyCopies: a copy takes the data key of the bucket that it goes to.
func TestBucketKeyCopies(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.upstream.makeBucket("other")
	body := pattern(1000, 1)
	byBucketKey := []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEBucketKey, "true"}
	g.put("/bucket/k", body, byBucketKey...).want(t, 200, "")
	from := g.storedHeader(testBucket, "k")
	for _, tt := range []struct {
		to     string
		pairs  []string
		shared bool
		same   bool // data key
	}{
		{"bucket/copy", byBucketKey, true, true},
		{"other/copy", byBucketKey, true, false},
		{"other/s3", []string{s3.HeaderSSE, s3.AES256}, true, false},
		{"other/own", []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEBucketKey, "false"}, false, false},
		{"other/same", nil, true, false}, // as its source, where nothing says otherwise
		{"other/asked", []string{s3.HeaderSSEBucketKey, "true"}, true, false},
		{"other/off", []string{s3.HeaderSSEBucketKey, "false"}, false, false},
	} {
		r := g.put("/"+tt.to, nil, append([]string{s3.HeaderCopySource, "/bucket/k"}, tt.pairs...)...)
		r.want(t, 200, "")
		bucket, key, _ := strings.Cut(tt.to, "/")
		to := g.storedHeader(bucket, key)
		if to.Shared != tt.shared || bytes.Equal(to.SealedDataKey, from.SealedDataKey) != tt.same {
			t.Errorf("%s: shared %v, data key of the source %v", tt.to, to.Shared, bytes.Equal(to.SealedDataKey, from.SealedDataKey))
		}
		if got := r.header.Get(s3.HeaderSSEBucketKey) == "true"; got != (tt.shared && to.Scheme == sealer.SSEKMS) {
			t.Errorf("%s: header %q", tt.to, r.header.Get(s3.HeaderSSEBucketKey))
		}
		if r := g.get("/" + tt.to); !bytes.Equal(r.body, body) {
			t.Errorf("%s is not read back: %d", tt.to, r.status)
		}
	}
}

// TestUpdateToBucketKey: UpdateObjectEncryption chooses a bucket key, and takes
// it back.
func TestUpdateToBucketKey(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	body := pattern(1000, 1)
	g.put("/bucket/k", body, s3.HeaderSSE, s3.AWSKMS).want(t, 200, "")
	for _, on := range []bool{true, false} {
		doc := fmt.Sprintf(`<ObjectEncryption><SSE-KMS><KMSKeyArn>%s</KMSKeyArn><BucketKeyEnabled>%v</BucketKeyEnabled></SSE-KMS></ObjectEncryption>`, kmstest.DefaultKey, on)
		g.do(clientRequest{method: http.MethodPut, path: "/bucket/k", query: url.Values{"encryption": {""}}, body: []byte(doc)}).want(t, 200, "")
		if h := g.storedHeader(testBucket, "k"); h.Shared != on {
			t.Errorf("shared %v, want %v", h.Shared, on)
		}
		if r := g.get("/bucket/k"); !bytes.Equal(r.body, body) || (r.header.Get(s3.HeaderSSEBucketKey) == "true") != on {
			t.Errorf("read back as %d, %v", r.status, sseHeaders(r.header))
		}
	}
	g.put("/bucket/c", body, s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEContext, testContext).want(t, 200, "")
	doc := `<ObjectEncryption><SSE-KMS><KMSKeyArn>` + kmstest.DefaultKey + `</KMSKeyArn><BucketKeyEnabled>true</BucketKeyEnabled></SSE-KMS></ObjectEncryption>`
	g.do(clientRequest{method: http.MethodPut, path: "/bucket/c", query: url.Values{"encryption": {""}}, body: []byte(doc)}).want(t, 200, "")
	if h := g.storedHeader(testBucket, "c"); h.Shared || len(h.Context) == 0 {
		t.Error("the object's context was given up for a bucket key")
	}
}

// TestBucketKeyRule: the rule is stored and shown with it.
func TestBucketKeyRule(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, on := range []bool{true, false} {
		doc := (&s3.Encryption{Algorithm: s3.AWSKMS, KeyID: kmstest.DefaultKey, BucketKey: on}).Marshal()
		encryption := url.Values{"encryption": {""}}
		g.do(clientRequest{method: http.MethodPut, path: "/bucket", query: encryption, body: doc}).want(t, 200, "")
		r := g.do(clientRequest{method: http.MethodGet, path: "/bucket", query: encryption})
		if !bytes.Equal(r.body, doc) {
			t.Errorf("got %s, want %s", r.body, doc)
		}
		g.put("/bucket/k", nil).want(t, 200, "")
		if h := g.storedHeader(testBucket, "k"); h.Shared != on {
			t.Errorf("shared %v, want %v", h.Shared, on)
		}
	}
}

package proxy

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"ssegw/kms/kmstest"
	"ssegw/proxy/check"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// withMaxValue is a store that answers 500 to a longer value of user metadata,
// as Swift does.
func withMaxValue(t testing.TB, limit int) gatewayOption {
	u := newMemUpstream(t)
	u.maxValue = limit
	return withUpstream(u)
}

// contextOf is the header of an encryption context of n bytes of JSON.
func contextOf(n int) string {
	return base64.StdEncoding.EncodeToString([]byte(`{"department":"` + strings.Repeat("x", n-len(`{"department":""}`)) + `"}`))
}

// splitSchemes are all schemes, and one with a header of about 800 characters.
func splitSchemes() []testScheme {
	return append(testSchemes(), testScheme{name: "SSE-KMS-long-context", write: []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEContext, contextOf(160)}})
}

// splitWrites write an object that begins with body to /bucket/k.
func splitWrites(scheme testScheme) map[string]func(g *testGateway, body []byte, pairs []string) clientAnswer {
	writes := maps.Clone(sealedWrites)
	writes["upload"] = func(g *testGateway, body []byte, pairs []string) clientAnswer {
		u := g.begin("/bucket/k", pairs...)
		u.read = scheme.read
		u.part(1, append(bytes.Clone(body), make([]byte, smallestPart)...))
		u.part(2, body)
		return u.completeWith(u.listed, scheme.read...)
	}
	writes["streamed"] = func(g *testGateway, body []byte, pairs []string) clientAnswer {
		return g.do(clientRequest{
			method: http.MethodPut, path: "/bucket/k", body: append(bytes.Clone(body), make([]byte, smallBody)...),
			mode: modeTrailer, algorithm: "CRC32C", header: headers(pairs...),
		})
	}
	return writes
}

// wantSplit checks how the header of an object is stored.
func wantSplit(t *testing.T, g *testGateway, key string) {
	t.Helper()
	o := g.upstream.object(testBucket, key)
	if !isSealed(o) {
		t.Fatalf("%v", o)
	}
	names := sealer.HeaderNames(o.header)
	encoded, _ := sealer.HeaderOf(o.header)
	if got, want := len(names) > 1, len(encoded) > g.upstream.maxValue; got != want {
		t.Errorf("a header of %d characters has %d values", len(encoded), len(names))
	}
	for name, values := range o.header {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, sealer.MetadataKey) && !slices.Contains(names, lower) {
			t.Errorf("%s: %s is left over", lower, values)
		}
	}
}

// wantReadable reads an object in every way. No answer shows a piece of its
// header.
func wantReadable(t *testing.T, g *testGateway, body []byte, read []string) {
	t.Helper()
	whole := g.get("/bucket/k", read...)
	if whole.status != 200 || whole.err != nil || !bytes.HasPrefix(whole.body, body) {
		t.Fatalf("GET: %d %s, %v, %d bytes", whole.status, whole.code, whole.err, len(whole.body))
	}
	part := g.get("/bucket/k", append(slices.Clone(read), "Range", "bytes=10-19")...)
	if part.status != 206 || !bytes.Equal(part.body, body[10:20]) {
		t.Errorf("range: %d %s, %q", part.status, part.code, part.body)
	}
	end := g.get("/bucket/k", append(slices.Clone(read), "Range", "bytes=-10")...)
	if end.status != 206 || !bytes.Equal(end.body, whole.body[len(whole.body)-10:]) {
		t.Errorf("last bytes: %d %s, %q", end.status, end.code, end.body)
	}
	head := g.head("/bucket/k", read...)
	if head.status != 200 || head.header.Get("Content-Length") != fmt.Sprint(len(whole.body)) || head.header.Get("X-Amz-Meta-A") != "1" {
		t.Errorf("HEAD: %d %v", head.status, head.header)
	}
	for _, h := range []http.Header{whole.header, part.header, head.header} {
		for name := range h {
			if strings.HasPrefix(strings.ToLower(name), sealer.MetadataKey) {
				t.Errorf("the client sees %s", name)
			}
		}
	}
	if a, r := g.attributes("/bucket/k", allAttributes, read...); r.status != 200 || a.ObjectSize != int64(len(whole.body)) {
		t.Errorf("attributes: %d %s", r.status, r.body)
	}
	for _, lists := range []*testGateway{g, g.replica()} {
		entries := lists.list(testBucket, "list-type=2&prefix=k")
		if len(entries) != 1 || entries[0].Size != int64(len(whole.body)) {
			t.Errorf("listing: %+v", entries)
		}
	}
	g.upstream.forget()
	if i := g.inspection("k"); !i.Sealed || i.Header == nil || i.NotAuthentic() {
		t.Errorf("inspect: %+v", i)
	}
}

// TestSplitHeaders writes and reads objects of all schemes in every way, at
// stores with short values of metadata.
func TestSplitHeaders(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{64, 256} {
		for _, scheme := range splitSchemes() {
			for kind, write := range splitWrites(scheme) {
				t.Run(fmt.Sprintf("%d/%s/%s", limit, scheme.name, kind), func(t *testing.T) {
					t.Parallel()
					g := newGateway(t, withTLS(), withMaxValue(t, limit), withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
					body := pattern(2000, 1)
					g.put("/bucket/k", body).want(t, 200, "") // for the copy onto itself
					if r := write(g, body, append([]string{"X-Amz-Meta-A", "1"}, scheme.write...)); r.status >= 300 {
						t.Fatalf("%d %s %s", r.status, r.code, r.body)
					}
					wantSplit(t, g, "k")
					wantReadable(t, g, body, scheme.read)
					if scheme.name == "SSE-C" {
						return
					}
					g.kes.CreateKey("second-key-with-a-name-that-makes-the-header-longer")
					g.updateEncryption("/bucket/k", "arn:aws:kms:second-key-with-a-name-that-makes-the-header-longer").want(t, 200, "")
					wantSplit(t, g, "k")
					g.copy("bucket/k", "/bucket/k", s3.HeaderSSE, s3.AES256).want(t, 200, "") // a shorter header
					wantSplit(t, g, "k")
					wantReadable(t, g, body, nil)
				})
			}
		}
	}
}

// TestSplitBoundary writes headers of all lengths around the limit.
func TestSplitBoundary(t *testing.T) {
	t.Parallel()
	const limit = 640
	g := newGateway(t, withMaxValue(t, limit))
	lengths := map[int]bool{}
	for n := 60; n < 140; n++ {
		g.put("/bucket/k", []byte("data"), s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEContext, contextOf(n)).want(t, 200, "")
		wantSplit(t, g, "k")
		encoded, err := sealer.HeaderOf(g.upstream.object(testBucket, "k").header)
		if err != nil {
			t.Fatal(err)
		}
		lengths[len(encoded)] = true
		g.get("/bucket/k").want(t, 200, "")
	}
	if !lengths[limit] || !lengths[limit+2] { // no value of base64 has 641 characters
		t.Errorf("no header of %d characters and the next length: %v", limit, slices.Sorted(maps.Keys(lengths)))
	}
}

// TestSplitTooLong: more pieces than the format has are refused before the body
// is read.
func TestSplitTooLong(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withMaxValue(t, 64))
	g.kes.ResetRequests()
	g.put("/bucket/k", []byte("data"), s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEContext, contextOf(900)).want(t, 400, "MetadataTooLarge")
	wantStored(t, g, "k", nil)
	if n := g.kes.Requests(kmstest.OpGenerate); n > 0 {
		t.Errorf("KES was asked %d times", n)
	}
}

// TestSplitBudget: the names and numbers of the pieces count towards the 2 KB
// of user metadata, to the byte.
func TestSplitBudget(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{0, 64, 256} {
		g := newGateway(t, withMaxValue(t, limit))
		own := http.Header{}
		values, err := sealer.HeaderValues(strings.Repeat("A", sealer.EncodedSize(sealer.SSES3, kmstest.DefaultKey, nil)), limit)
		if err != nil {
			t.Fatal(err)
		}
		for name, v := range values {
			own.Set(name, v)
		}
		left := s3.MaxUserMetadata - s3.UserMetadataSize(own)
		fits := func(n int) clientAnswer {
			pairs := []string{s3.HeaderSSE, s3.AES256}
			for i := 10; n > 0; i++ {
				size := min(n, 52)
				if n-size < 3 {
					size = n // the last name and value are not too short
				}
				pairs = append(pairs, fmt.Sprintf("X-Amz-Meta-%d", i), strings.Repeat("m", size-2))
				n -= size
			}
			return g.put("/bucket/k", []byte("data"), pairs...)
		}
		fits(left+1).want(t, 400, "MetadataTooLarge")
		wantStored(t, g, "k", nil)
		fits(left).want(t, 200, "")
		if total := s3.UserMetadataSize(g.upstream.object(testBucket, "k").header); total > s3.MaxUserMetadata {
			t.Errorf("limit %d: %d bytes of metadata", limit, total)
		}
	}
}

// TestValueTooLong: a value of the client's that the store does not take is
// refused with the name and the limit, and nothing is stored.
func TestValueTooLong(t *testing.T) {
	t.Parallel()
	const limit = 256
	for kind, write := range splitWrites(testScheme{}) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withMaxValue(t, limit), withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
			g.put("/bucket/k", []byte("old")).want(t, 200, "")
			old := g.upstream.object(testBucket, "k")
			for name, v := range map[string]string{
				"ASCII": strings.Repeat("v", limit+1), "encoded words": strings.Repeat("ü", 100), "words of two": strings.Repeat("é ", 80),
			} {
				if kind == "upload" {
					r := g.do(clientRequest{method: http.MethodPost, path: "/bucket/k", query: url.Values{"uploads": {""}}, header: headers("X-Amz-Meta-Long", v)})
					r.want(t, 400, "MetadataTooLarge")
					continue
				}
				r := write(g, []byte("new"), []string{"X-Amz-Meta-Long", v})
				if r.code != "MetadataTooLarge" || !strings.Contains(string(r.body), "x-amz-meta-long") || !strings.Contains(string(r.body), fmt.Sprintf("<MaxSizeAllowed>%d<", limit)) {
					t.Errorf("%s: %d %s", name, r.status, r.body)
				}
			}
			wantStored(t, g, "k", old)
			if r := write(g, []byte("new"), []string{"X-Amz-Meta-Long", strings.Repeat("v", limit)}); r.status >= 300 {
				t.Errorf("%d bytes: %d %s", limit, r.status, r.body)
			}
			g.get("/bucket/k").want(t, 200, "")
		})
	}
}

// TestPieceNames: clients cannot send metadata with the name of a piece for
// sealed objects, at any store. In plaintext it is metadata like any other.
func TestPieceNames(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{0, 256} {
		g := newGateway(t, withMaxValue(t, limit)).withSmallParts()
		for kind, write := range sealedWrites {
			if kind == "upload" || kind == "sealing copy" {
				continue // they begin with another request
			}
			g.put("/bucket/k", []byte("old"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
			for _, number := range []string{"2", "16"} {
				r := write(g, []byte("new"), []string{s3.HeaderSSE, s3.AES256, "X-Amz-Meta-SSEGW-" + number, "mine"})
				if r.code != "InvalidArgument" {
					t.Errorf("limit %d, %s, %s: %d %s", limit, kind, number, r.status, r.code)
				}
			}
			r := write(g, []byte("new"), []string{s3.HeaderSSE, s3.AES256, "X-Amz-Meta-SSEGW-17", "mine", "X-Amz-Meta-SSEGW-02", "too"})
			if h := g.head("/bucket/k").header; r.status >= 300 || h.Get("X-Amz-Meta-Ssegw-17") != "mine" || h.Get("X-Amz-Meta-Ssegw-02") != "too" {
				t.Errorf("limit %d, %s: %d %s, %v", limit, kind, r.status, r.code, h)
			}
		}
		g.do(clientRequest{
			method: http.MethodPost, path: "/bucket/k", query: url.Values{"uploads": {""}}, header: headers(s3.HeaderSSE, s3.AES256, "X-Amz-Meta-SSEGW-2", "mine"),
		}).want(t, 400, "InvalidArgument")
		g.put("/bucket/plain", []byte("data"), "X-Amz-Meta-Ssegw-2", "mine").want(t, 200, "")
		if h := g.head("/bucket/plain").header; h.Get("X-Amz-Meta-Ssegw-2") != "mine" {
			t.Errorf("plaintext: %v", h)
		}
		g.copy("bucket/plain", "/bucket/copy").want(t, 200, "")
	}
}

// oldObject stores an SSE-C object of an earlier gateway, whose client chose
// the metadata.
func oldObject(t *testing.T, g *testGateway, key string, metadata http.Header) []byte {
	t.Helper()
	body := pattern(100, 1)
	metadata.Set("Content-Type", "a/b")
	h, k, err := sealer.Seal(sealer.SealParams{
		Scheme: sealer.SSEC, Binding: sealer.Binding{Bucket: testBucket, Key: key}, DataKey: sealer.Key([]byte(strings.Repeat("c", 32))),
		Size: int64(len(body)), Root: g.State.Root(), Facts: sealer.Facts{Headers: sealer.NewContent(metadata, key, int64(len(body))).Digest()},
	})
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := k.SealBody(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := readAll(sealed, sealer.SealedSize(int64(len(body))))
	if err != nil {
		t.Fatal(err)
	}
	metadata.Set(sealer.MetadataKey, h.Encode())
	g.upstream.store(testBucket, key, &memObject{body: b, header: metadata, etag: memTag(b)})
	return body
}

// TestPieceNamesOfOldObjects: metadata of an earlier client with the name of a
// piece stays. It moves along in copies, unless their header has to be split.
func TestPieceNamesOfOldObjects(t *testing.T) {
	t.Parallel()
	key := customerHeaders('c')
	source := []string{s3.HeaderCopySourceSSECAlgorithm, s3.AES256, s3.HeaderCopySourceSSECKey, key[3], s3.HeaderCopySourceSSECKeyMD5, key[5]}
	for _, limit := range []int{0, 256} {
		g := newGateway(t, withTLS(), withMaxValue(t, limit))
		body := oldObject(t, g, "k", headers("X-Amz-Meta-Ssegw-2", "mine", "X-Amz-Meta-A", "1"))
		for _, r := range []clientAnswer{g.get("/bucket/k", key...), g.head("/bucket/k", key...)} {
			if r.status != 200 || r.header.Get("X-Amz-Meta-Ssegw-2") != "mine" || r.header.Get("X-Amz-Meta-A") != "1" || r.header.Get("X-Amz-Meta-Ssegw") != "" {
				t.Errorf("%d %v", r.status, r.header)
			}
		}
		r := g.copy("bucket/k", "/bucket/copy", append(source, s3.HeaderSSE, s3.AES256)...)
		if limit > 0 {
			r.want(t, 400, "InvalidArgument")
			wantStored(t, g, "copy", nil)
			r = g.copy("bucket/k", "/bucket/copy", append(source, s3.HeaderSSE, s3.AES256, s3.HeaderMetadataDirective, "REPLACE")...)
		}
		r.want(t, 200, "")
		if got := g.get("/bucket/copy"); !bytes.Equal(got.body, body) || (got.header.Get("X-Amz-Meta-Ssegw-2") == "mine") != (limit == 0) {
			t.Errorf("limit %d: %d %v", limit, got.status, got.header)
		}
	}
}

// TestSplitTampered changes the pieces of a header in the store.
func TestSplitTampered(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withMaxValue(t, 192))
	warn := g.replica(withConfig(func(c *Config) { c.WarnHeaderDigest = true }))
	body := pattern(2000, 1)
	g.put("/bucket/k", body, s3.HeaderSSE, s3.AES256, "X-Amz-Meta-A", "1").want(t, 200, "")
	g.put("/bucket/other", body, s3.HeaderSSE, s3.AES256, "X-Amz-Meta-A", "1").want(t, 200, "")
	whole, other := g.upstream.object(testBucket, "k"), g.upstream.object(testBucket, "other").header
	encoded, err := sealer.HeaderOf(whole.header)
	if err != nil {
		t.Fatal(err)
	}
	second := sealer.MetadataKey + "-2"
	split := func(h http.Header, limit int) {
		values, err := sealer.HeaderValues(encoded, limit)
		if err != nil {
			t.Fatal(err)
		}
		for name, v := range values {
			h.Set(name, v)
		}
	}
	for name, tt := range map[string]struct {
		edit     func(h http.Header)
		harmless bool
	}{
		"made whole": {func(h http.Header) {
			for _, name := range sealer.HeaderNames(h) {
				h.Del(name)
			}
			h.Set(sealer.MetadataKey, encoded)
		}, true},
		"cut elsewhere":       {func(h http.Header) { split(h, 40) }, true},
		"pieces left over":    {func(h http.Header) { h.Set(sealer.MetadataKey, encoded) }, false},
		"one piece more":      {func(h http.Header) { h.Set(sealer.MetadataKey+"-9", "AAAA") }, false},
		"second dropped":      {func(h http.Header) { h.Del(second) }, false},
		"second repeated":     {func(h http.Header) { h.Set(sealer.MetadataKey+"-3", h.Get(second)) }, false},
		"second of another":   {func(h http.Header) { h.Set(second, other.Get(second)) }, false},
		"all of another":      {func(h http.Header) { maps.Copy(h, other) }, false},
		"another number":      {func(h http.Header) { h.Set(sealer.MetadataKey, "2.2."+h.Get(sealer.MetadataKey)[4:]) }, false},
		"another version":     {func(h http.Header) { h.Set(sealer.MetadataKey, "3."+h.Get(sealer.MetadataKey)[2:]) }, false},
		"first without piece": {func(h http.Header) { h.Set(sealer.MetadataKey, "2.3.") }, false},
	} {
		o := *whole
		o.header = whole.header.Clone()
		tt.edit(o.header)
		g.upstream.store(testBucket, "k", &o)
		for _, r := range []clientAnswer{g.get("/bucket/k"), g.get("/bucket/k", "Range", "bytes=0-9"), g.head("/bucket/k"), g.replica().get("/bucket/k")} {
			if tt.harmless != (r.status < 300) || !tt.harmless && r.status != 500 {
				t.Errorf("%s: %d %s", name, r.status, r.code)
			}
		}
		if i := g.inspection("k"); i.NotAuthentic() == tt.harmless || !i.Sealed {
			t.Errorf("%s: %+v", name, i)
		}
		if r := g.copy("bucket/k", "/bucket/copy"); tt.harmless != (r.status == 200) {
			t.Errorf("%s: copy: %d %s", name, r.status, r.code)
		}
		if entries := g.replica().list(testBucket, "list-type=2&prefix=k"); len(entries) != 1 || tt.harmless && entries[0].Size != int64(len(body)) {
			t.Errorf("%s: %+v", name, entries)
		}
	}
	o := *whole
	o.header = whole.header.Clone()
	o.header.Set("X-Amz-Meta-A", "2")
	g.upstream.store(testBucket, "k", &o)
	r := warn.get("/bucket/k")
	if r.status != 200 || r.header.Get("X-Amz-Meta-A") != "2" {
		t.Errorf("%d %v", r.status, r.header)
	}
	for name := range r.header {
		if strings.HasPrefix(strings.ToLower(name), sealer.MetadataKey) {
			t.Errorf("the client sees %s", name)
		}
	}
	o.header.Del(sealer.MetadataKey)
	if r := g.replica(withRule(testBucket, state.Rule{Algorithm: s3.AES256, SealedOnly: true})).get("/bucket/k"); r.status < 400 {
		t.Errorf("without the first value: %d", r.status)
	}
}

// TestSplitCompleteAgain: a Complete whose answer was lost finds its object.
func TestSplitCompleteAgain(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withMaxValue(t, 64)).withSmallParts()
	u := g.begin("/bucket/k", s3.HeaderSSE, s3.AES256)
	u.part(1, pattern(smallestPart, 1))
	u.part(2, pattern(70, 2))
	g.upstream.on(http.MethodPost, "/bucket/k", dropAnswer)
	if r := u.completeWith(u.listed); r.status != 503 && r.status != 200 {
		t.Fatalf("%d %s", r.status, r.code)
	}
	g.upstream.unhook()
	wantSplit(t, g, "k")
	u.through(g.replica().withSmallParts()).completeWith(u.listed).want(t, 200, "")
}

// TestSplitListing: a page with metadata tells the sizes of objects with split
// headers if it has all pieces. Otherwise they are looked up one by one.
func TestSplitListing(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withMaxValue(t, 64))
	sizes := fillMixed(g)
	g.upstream.detail = true
	want := []string{"GET /bucket", "GET /bucket metadata", "GET /bucket/05 part"}
	if got := wantListing(t, g.replica(), "list-type=2", sizes); !slices.Equal(got, want) {
		t.Errorf("took %q, want %q", got, want)
	}
	g.put("/bucket/01", pattern(100, 1), "X-Amz-Meta-Ssegw-2", "mine").want(t, 200, "")
	page := g.do(clientRequest{method: http.MethodGet, path: "/bucket", query: url.Values{"list-type": {"2"}, "metadata": {"true"}}})
	if n := strings.Count(strings.ToLower(string(page.body)), "x-amz-meta-ssegw"); page.status != 200 || n != 2 || !strings.Contains(string(page.body), ">mine<") {
		t.Errorf("%d elements with the name of the header: %s", n, page.body)
	}
	g.upstream.rewriteListings(func(_ url.Values, page string) string {
		return strings.ReplaceAll(page, "X-Amz-Meta-Ssegw-3", "Dropped")
	})
	got := wantListing(t, g.replica(), "list-type=2", sizes)
	if n := len(got); n != 2+8 || !slices.Contains(got, "HEAD /bucket/00") || slices.Contains(got, "HEAD /bucket/01") {
		t.Errorf("took %q", got)
	}
}

// TestMetaLimit: the probe finds the longest value that a store keeps, however
// the store refuses longer ones.
func TestMetaLimit(t *testing.T) {
	t.Parallel()
	long := func(r *http.Request, n int) bool {
		for name := range r.Header {
			if strings.HasPrefix(strings.ToLower(name), s3.MetaPrefix) && len(r.Header.Get(name)) > n {
				return true
			}
		}
		return false
	}
	refuses := func(n, status int) hook {
		return refusing(func(r *http.Request) bool { return long(r, n) }, status, "InternalError")
	}
	for name, tt := range map[string]struct {
		put  hook
		want int
	}{
		"no limit":        {nil, 0},
		"at the top":      {refuses(1984, 500), 0},
		"below the top":   {refuses(1983, 500), 1968},
		"256":             {refuses(256, 500), 256},
		"255":             {refuses(255, 400), 240},
		"not implemented": {refuses(512, 501), 512},
		"unavailable":     {refuses(512, 503), 512},
		"nothing":         {refuses(0, 400), 0},
		"failing":         {refuses(0, 500), 256}, // which is assumed until the store works
		"32":              {refuses(47, 500), 32},
		"cut": {func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			for name, values := range r.Header {
				if strings.HasPrefix(strings.ToLower(name), s3.MetaPrefix) {
					r.Header.Set(name, values[0][:min(len(values[0]), 100)])
				}
			}
			next.ServeHTTP(w, r)
		}, 96},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newMemUpstream(t)
			if tt.put != nil {
				u.on(http.MethodPut, "/"+testStateBucket+"/probe-", tt.put)
			}
			g := newGateway(t, withUpstream(u), notOpened())
			g.open()
			if got := g.Upstream.Capabilities().MetaValue; got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
			if n := len(u.requests("/" + testStateBucket + "/probe-")); n > 120 {
				t.Errorf("%d requests", n)
			}
			for _, name := range u.keys(testStateBucket) {
				if strings.HasPrefix(name, "probe-") {
					t.Errorf("%s is left over", name)
				}
			}
		})
	}
}

// TestCheckMetaLimit: the check names the limit and the number of values.
func TestCheckMetaLimit(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int]struct {
		status check.Status
		says   []string
	}{
		0:   {check.StatusOK, []string{"bytes for clients"}},
		256: {check.StatusOK, []string{"3 values", "at most 256 bytes"}},
		64:  {check.StatusOK, []string{"11 values", "at most 64 bytes"}},
		32:  {check.StatusFailed, []string{"at most 32 bytes", "another store"}},
	} {
		f := finding(t, newGateway(t, withMaxValue(t, limit)).findings(), "user metadata")
		if f.Status != want.status {
			t.Errorf("limit %d: %+v", limit, f)
		}
		for _, word := range want.says {
			if !strings.Contains(f.Detail+" | "+f.Remedy, word) {
				t.Errorf("limit %d: %+v does not say %q", limit, f, word)
			}
		}
	}
}

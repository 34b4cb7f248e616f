package proxy

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

const (
	sealedPackage = sealer.PackageSize + sealer.PackageOverhead
	notAuthentic  = "XSsegwObjectNotAuthentic"
)

// refused reads an object in all ways. All must fail.
func refused(t *testing.T, g *testGateway, path string, status int, code string) {
	t.Helper()
	before := g.counter("ssegw_integrity_failures_total")
	for _, span := range []string{"", "bytes=0-9", "bytes=-9", "bytes=5-"} {
		var pairs []string
		if span != "" {
			pairs = []string{"Range", span}
		}
		if r := g.get(path, pairs...); r.status != status || r.code != code {
			t.Errorf("GET %s %s: %d %s, %d bytes, want %d %s", path, span, r.status, r.code, len(r.body), status, code)
		}
	}
	if r := g.head(path); r.status != status {
		t.Errorf("HEAD %s: %d, want %d", path, r.status, status)
	}
	if g.counter("ssegw_integrity_failures_total") == before {
		t.Error("no integrity failure was counted")
	}
}

// TestTamperBody changes bits of the body. If the change is in the first
// package of the answer, the answer is an error. If it is later, the connection
// breaks. Ranges without the change are served.
func TestTamperBody(t *testing.T) {
	t.Parallel()
	for _, scheme := range testSchemes() {
		t.Run(scheme.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withTLS())
			body := pattern(3*sealer.PackageSize+1000, 1)
			g.put("/bucket/k", body, scheme.write...).want(t, 200, "")
			whole := g.upstream.object(testBucket, "k")
			for _, at := range []int{0, 1, 16, 17, 5000, sealedPackage - 1, sealedPackage, sealedPackage + 20, 2*sealedPackage + 500, 3 * sealedPackage, len(whole.body) - 1} {
				g.upstream.edit(testBucket, "k", func(o *memObject) { o.body = flip(whole.body, at) })
				r := g.get("/bucket/k", scheme.read...)
				before := r.status == 500 && r.code == notAuthentic
				broken := r.status == 200 && r.err != nil && bytes.HasPrefix(body, r.body) && len(r.body) <= at
				if at < sealedPackage && !before || at >= 3*sealedPackage && !broken || !before && !broken {
					t.Errorf("a bit of byte %d: %d %s, %d bytes, %v", at, r.status, r.code, len(r.body), r.err)
				}
				// The package of the change, and another.
				here, there := at/sealedPackage, (at/sealedPackage+1)%4
				span := func(n int) []string {
					return append([]string{"Range", fmt.Sprintf("bytes=%d-%d", n*sealer.PackageSize+7, n*sealer.PackageSize+70)}, scheme.read...)
				}
				g.get("/bucket/k", span(here)...).want(t, 500, notAuthentic)
				if r := g.get("/bucket/k", span(there)...); r.status != 206 || !bytes.Equal(r.body, body[there*sealer.PackageSize+7:there*sealer.PackageSize+71]) {
					t.Errorf("a range beside byte %d: %d", at, r.status)
				}
			}
			g.upstream.store(testBucket, "k", whole)
			if r := g.get("/bucket/k", scheme.read...); !bytes.Equal(r.body, body) {
				t.Error("the whole object is not read back")
			}
		})
	}
}

// TestTamperObject changes, swaps, cuts and replaces objects at the store.
func TestTamperObject(t *testing.T) {
	t.Parallel()
	body := pattern(2*sealer.PackageSize, 1)
	const packages = 2
	value := func(o *memObject) string { return o.header.Get(sealer.MetadataKey) }
	tests := map[string]func(u *memUpstream, o *memObject){
		"cut at a package":        func(_ *memUpstream, o *memObject) { o.body = o.body[:sealedPackage] },
		"cut in a package":        func(_ *memUpstream, o *memObject) { o.body = o.body[:sealedPackage+100] },
		"cut by a byte":           func(_ *memUpstream, o *memObject) { o.body = o.body[:len(o.body)-1] },
		"a byte more":             func(_ *memUpstream, o *memObject) { o.body = append(o.body, 0) },
		"a package more":          func(_ *memUpstream, o *memObject) { o.body = append(o.body, o.body[:sealedPackage]...) },
		"emptied":                 func(_ *memUpstream, o *memObject) { o.body = nil },
		"the body of another":     func(u *memUpstream, o *memObject) { o.body = u.object(testBucket, "other").body },
		"the header of another":   func(u *memUpstream, o *memObject) { o.header = u.object(testBucket, "other").header },
		"another object":          func(u *memUpstream, o *memObject) { *o = *u.object(testBucket, "other") },
		"one of another bucket":   func(u *memUpstream, o *memObject) { *o = *u.object("bucket2", "k") },
		"header of another write": func(u *memUpstream, o *memObject) { o.header = u.object(testBucket, "before").header },
		"an empty object":         func(u *memUpstream, o *memObject) { *o = *u.object(testBucket, "empty") },
		"header of an empty one":  func(u *memUpstream, o *memObject) { o.header = u.object(testBucket, "empty").header },
		"header cut":              func(_ *memUpstream, o *memObject) { o.header.Set(sealer.MetadataKey, value(o)[:100]) },
		"header longer":           func(_ *memUpstream, o *memObject) { o.header.Set(sealer.MetadataKey, value(o)+"AAAA") },
		"header of nonsense":      func(_ *memUpstream, o *memObject) { o.header.Set(sealer.MetadataKey, "nonsense!") },
		"facts of another write": func(u *memUpstream, o *memObject) {
			h, _ := parsedHeader(value(o))
			old, _ := parsedHeader(value(u.object(testBucket, "before")))
			h.FactsNonce, h.SealedFacts = old.FactsNonce, old.SealedFacts
			o.header.Set(sealer.MetadataKey, h.Encode())
		},
		"size of another": func(_ *memUpstream, o *memObject) {
			h, _ := parsedHeader(value(o))
			h.Size = sealer.PackageSize
			o.header.Set(sealer.MetadataKey, h.Encode())
			o.body = o.body[:sealedPackage]
		},
	}
	for name, tamper := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			g.upstream.makeBucket("bucket2")
			g.put("/bucket/k", pattern(packages*sealer.PackageSize, 2), s3.HeaderSSE, s3.AES256).want(t, 200, "")
			g.upstream.store(testBucket, "before", g.upstream.object(testBucket, "k")) // an older write of the same key
			for _, path := range []string{"/bucket/k", "/bucket/other", "/bucket2/k"} {
				g.put(path, body, s3.HeaderSSE, s3.AES256).want(t, 200, "")
			}
			g.put("/bucket/empty", nil, s3.HeaderSSE, s3.AES256).want(t, 200, "")
			g.upstream.edit(testBucket, "k", func(o *memObject) { tamper(g.upstream, o) })
			if name == "the body of another" || name == "header of another write" {
				// HEAD does not read bodies, and both sizes are right.
				g.get("/bucket/k").want(t, 500, notAuthentic)
				g.get("/bucket/k", "Range", "bytes=70000-70009").want(t, 500, notAuthentic)
				return
			}
			refused(t, g, "/bucket/k", 500, notAuthentic)
		})
	}
}

// TestTamperHeader flips a bit of every byte of the sealed header. Every GET
// and HEAD fails, with one exception: the root ID selects the root for the
// facts. If it is unknown, only the data key authenticates the object, and
// clients get a warning.
func TestTamperHeader(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	body := pattern(1000, 1)
	g.put("/bucket/k", body, s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEContext, testContext).want(t, 200, "")
	whole := g.upstream.object(testBucket, "k")
	header, err := base64.RawURLEncoding.DecodeString(whole.header.Get(sealer.MetadataKey))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parsedHeader(whole.header.Get(sealer.MetadataKey))
	if err != nil {
		t.Fatal(err)
	}
	rootID := bytes.Index(header, parsed.RootID[:])
	for at := range header {
		g.upstream.edit(testBucket, "k", func(o *memObject) {
			o.header.Set(sealer.MetadataKey, base64.RawURLEncoding.EncodeToString(flip(header, at)))
		})
		for _, r := range []clientAnswer{g.get("/bucket/k"), g.head("/bucket/k")} {
			isRead := r.status == 200 && r.header.Get(headerWarning) != "" && (len(r.body) == 0 || bytes.Equal(r.body, body))
			if isRootID := at >= rootID && at < rootID+8; isRootID && !isRead || !isRootID && (r.status < 400 || r.status == 404) {
				t.Errorf("byte %d: %d %v", at, r.status, r.header)
			}
		}
	}
}

// TestTamperList lists a page with altered objects. They are listed as the
// store lists them, the others correctly, and the failures are counted.
func TestTamperList(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, key := range []string{"a", "b", "c", "d"} {
		g.put("/bucket/"+key, pattern(1000, 1), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	}
	g.upstream.edit(testBucket, "a", func(o *memObject) { o.header.Set(sealer.MetadataKey, "nonsense") })
	g.upstream.edit(testBucket, "b", func(o *memObject) { o.body, o.etag = o.body[:700], "cut" })
	g.upstream.edit(testBucket, "c", func(o *memObject) { *o = *g.upstream.object(testBucket, "d"); o.etag = "swapped" })
	replica := newGateway(t, withUpstream(g.upstream), withKES(g.kes))
	var sizes []int64
	for _, e := range replica.list(testBucket, "list-type=2") {
		sizes = append(sizes, e.Size)
	}
	if want := []int64{1032, 700, 1032, 1000}; fmt.Sprint(sizes) != fmt.Sprint(want) {
		t.Errorf("sizes %v, want %v", sizes, want)
	}
	for _, reason := range []string{"header", "size", "facts"} {
		if n := replica.counter("ssegw_integrity_failures_total", "reason="+reason); n != 1 {
			t.Errorf("%s: %v failures counted, want 1", reason, n)
		}
	}
}

// TestTamperMetadata changes headers that the store keeps with an object. GET
// and HEAD refuse the object, or warn if configured for such a store.
func TestTamperMetadata(t *testing.T) {
	t.Parallel()
	edits := map[string]func(http.Header){
		"Content-Type":        func(h http.Header) { h.Set("Content-Type", "text/html") },
		"no Content-Type":     func(h http.Header) { h.Del("Content-Type") },
		"Content-Disposition": func(h http.Header) { h.Set("Content-Disposition", "inline") },
		"Cache-Control":       func(h http.Header) { h.Set("Cache-Control", "max-age=5") },
		"Content-Encoding":    func(h http.Header) { h.Set("Content-Encoding", "gzip") },
		"metadata edited":     func(h http.Header) { h.Set("X-Amz-Meta-Owner", "mallory") },
		"metadata removed":    func(h http.Header) { h.Del("X-Amz-Meta-Owner") },
		"metadata added":      func(h http.Header) { h.Set("X-Amz-Meta-More", "1") },
		"metadata renamed": func(h http.Header) {
			h.Set("X-Amz-Meta-Owne", "r"+h.Get("X-Amz-Meta-Owner"))
			h.Del("X-Amz-Meta-Owner")
		},
	}
	for _, warn := range []bool{false, true} {
		g := newGateway(t, withConfig(func(c *Config) { c.WarnHeaderDigest = warn }))
		g.put("/bucket/k", pattern(1000, 1), s3.HeaderSSE, s3.AES256, "X-Amz-Meta-Owner", "alice", "Cache-Control", "max-age=4").want(t, 200, "")
		whole := g.upstream.object(testBucket, "k")
		for name, edit := range edits {
			t.Run(fmt.Sprintf("%s/warn=%t", name, warn), func(t *testing.T) {
				o := *whole
				o.header = whole.header.Clone()
				edit(o.header)
				g.upstream.store(testBucket, "k", &o)
				defer g.upstream.store(testBucket, "k", whole)
				if !warn {
					refused(t, g, "/bucket/k", 500, notAuthentic)
					return
				}
				g.get("/bucket/k").want(t, 200, "")
				g.head("/bucket/k").want(t, 200, "")
				if g.logs.FilterMessage("the store changed content headers").Len() == 0 {
					t.Error("no warning is logged")
				}
			})
		}
		g.get("/bucket/k").want(t, 200, "")
	}
}

// TestTamperStripped removes the sealed header, or replaces the object by
// plaintext. The bucket decides what is served then.
func TestTamperStripped(t *testing.T) {
	t.Parallel()
	sealedOnly := withRule(testBucket, state.Rule{Algorithm: s3.AES256, SealedOnly: true})
	migrating := withRule(testBucket, state.Rule{Algorithm: s3.AES256})
	setting := func(s SealedOnly) gatewayOption { return withConfig(func(c *Config) { c.SealedOnly = s }) }
	auto := withConfig(func(c *Config) { c.AutoEncryption = sealer.SSES3 })
	tests := []struct {
		name   string
		opts   []gatewayOption
		served bool
	}{
		{"sealed-only bucket", []gatewayOption{sealedOnly}, false},
		{"migrating bucket", []gatewayOption{migrating}, true},
		{"no rule", nil, true},
		{"gateway's default", []gatewayOption{auto}, true},
		{"always, sealed-only bucket", []gatewayOption{sealedOnly, setting(SealedOnlyAlways)}, false},
		{"always, migrating bucket", []gatewayOption{migrating, setting(SealedOnlyAlways)}, false},
		{"always, gateway's default", []gatewayOption{auto, setting(SealedOnlyAlways)}, false},
		{"always, no rule", []gatewayOption{setting(SealedOnlyAlways)}, true},
		{"never, sealed-only bucket", []gatewayOption{sealedOnly, setting(SealedOnlyNever)}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, tt.opts...)
			g.put("/bucket/k", pattern(1000, 1), s3.HeaderSSE, s3.AES256).want(t, 200, "")
			for _, tamper := range map[string]func(*memObject){
				"stripped": func(o *memObject) { o.header.Del(sealer.MetadataKey) },
				"replaced": func(o *memObject) { *o = memObject{body: []byte("evil text"), header: http.Header{}, etag: "e"} },
				"emptied":  func(o *memObject) { *o = memObject{header: http.Header{}, etag: "0"} },
			} {
				g.upstream.edit(testBucket, "k", tamper)
				if tt.served {
					g.get("/bucket/k").want(t, 200, "")
					g.head("/bucket/k").want(t, 200, "")
					continue
				}
				refused(t, g, "/bucket/k", 403, "AccessDenied")
			}
		})
	}
}

// TestTamperTrailer changes the trailer that holds a streamed upload's
// checksum.
func TestTamperTrailer(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	body := pattern(1<<20+100, 1)
	g.do(clientRequest{method: "PUT", path: "/bucket/k", body: body, mode: modeTrailer, header: headers(s3.HeaderSSE, s3.AES256)}).want(t, 200, "")
	sum := sumText("CRC32", body)
	if r := g.head("/bucket/k", s3.HeaderChecksumMode, "ENABLED"); r.header.Get("X-Amz-Checksum-Crc32") != sum {
		t.Fatalf("checksum %q, want %q", r.header.Get("X-Amz-Checksum-Crc32"), sum)
	}
	whole := g.upstream.object(testBucket, "k")
	for at := int(sealer.SealedSize(int64(len(body)))); at < len(whole.body); at += 7 {
		g.upstream.edit(testBucket, "k", func(o *memObject) { o.body = flip(whole.body, at) })
		g := newGateway(t, withUpstream(g.upstream), withKES(g.kes)) // one that has not seen the trailer
		g.get("/bucket/k", s3.HeaderChecksumMode, "ENABLED").want(t, 500, notAuthentic)
		if r := g.head("/bucket/k", s3.HeaderChecksumMode, "ENABLED"); r.status != 500 {
			t.Errorf("byte %d: HEAD %d", at, r.status)
		}
	}
	g.upstream.edit(testBucket, "k", func(o *memObject) { o.body = whole.body[:len(whole.body)-1] })
	g.get("/bucket/k").want(t, 500, notAuthentic)
}

// TestTamperLength: the store announces a wrong length.
func TestTamperLength(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	body := pattern(2*sealer.PackageSize, 1)
	g.put("/bucket/k", body, s3.HeaderSSE, s3.AES256).want(t, 200, "")
	for _, change := range []int{-sealedPackage, -1} {
		g.upstream.on("", "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(&lengthWriter{w, change}, r)
		})
		if r := g.get("/bucket/k"); r.status != 500 || r.code != notAuthentic {
			t.Errorf("%d bytes: GET %d %s", change, r.status, r.code)
		}
		if r := g.head("/bucket/k"); r.status != 500 {
			t.Errorf("%d bytes: HEAD %d", change, r.status)
		}
	}
	g.upstream.unhook()
	// No length at all, as of a chunked answer: it is not known to be right.
	g.upstream.on(http.MethodGet, "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&chunkedWriter{w}, r)
	})
	g.get("/bucket/k").want(t, 500, notAuthentic)
}

// lengthWriter changes the announced length.
type lengthWriter struct {
	http.ResponseWriter
	change int
}

func (l *lengthWriter) WriteHeader(status int) {
	if n, err := strconv.Atoi(l.Header().Get("Content-Length")); err == nil {
		l.Header().Set("Content-Length", strconv.Itoa(n+l.change))
	}
	l.ResponseWriter.WriteHeader(status)
}

// chunkedWriter announces no length.
type chunkedWriter struct{ http.ResponseWriter }

func (c *chunkedWriter) WriteHeader(status int) {
	c.Header().Del("Content-Length")
	c.ResponseWriter.WriteHeader(status)
	http.NewResponseController(c.ResponseWriter).Flush()
}

// TestTrailerOfWholeObject: a read of a whole object verifies the trailer
// before it sends the last bytes. A range does not read the trailer.
func TestTrailerOfWholeObject(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	body := pattern(smallBody+100_000, 1)
	g.do(clientRequest{method: "PUT", path: "/bucket/k", body: body, mode: modeTrailer, header: headers(s3.HeaderSSE, s3.AES256)}).want(t, 200, "")
	size := len(g.upstream.object(testBucket, "k").body)
	if int64(size) != sealer.SealedSize(int64(len(body)))+sealer.SingleTrailerSize {
		t.Fatalf("no trailer: %d bytes", size)
	}
	if r := g.get("/bucket/k"); r.err != nil || !bytes.Equal(r.body, body) {
		t.Fatalf("%d, %d bytes, %v", r.status, len(r.body), r.err)
	}
	for _, at := range []int{0, 12, 100, 155, 156, 163, 170, 179} { // nonce, trailer, tag, footer
		damage := func(o *memObject) { o.body[size-sealer.SingleTrailerSize+at] ^= 1 }
		g.upstream.edit(testBucket, "k", damage)
		for _, query := range []string{"", "with checksum"} {
			pairs := []string{}
			if query != "" {
				pairs = []string{s3.HeaderChecksumMode, "ENABLED"}
			}
			if r := g.get("/bucket/k", pairs...); r.err == nil && r.status == 200 || len(r.body) >= len(body) {
				t.Errorf("byte %d of the trailer %s: %d and a clean end", at, query, r.status)
			}
		}
		if r := g.get("/bucket/k", "Range", "bytes=100-2000000"); r.status != 206 || !bytes.Equal(r.body, body[100:]) {
			t.Errorf("byte %d of the trailer, a range: %d, %d bytes", at, r.status, len(r.body))
		}
		g.upstream.edit(testBucket, "k", damage)
	}
}

// TestSealedUnit: frames and buffers for the store hold whole packages.
func TestSealedUnit(t *testing.T) {
	t.Parallel()
	if upstream.SealedUnit != sealedPackage {
		t.Errorf("%d bytes, a sealed package has %d", upstream.SealedUnit, sealedPackage)
	}
}

package proxy

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// uploadRecordName is the name of an upload's record.
func uploadRecordName(u *testUpload) string {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(u.path, "/"), "/")
	return (&state.Upload{Bucket: bucket, Key: key, ID: u.id}).Prefix() + state.UploadRecord
}

// TestUploadNeverPlaintext damages the record of a sealed upload in every way.
// No part is accepted, and no plaintext reaches the store.
func TestUploadNeverPlaintext(t *testing.T) {
	t.Parallel()
	for _, scheme := range testSchemes() {
		for name, c := range map[string]struct {
			spoil  func(g *testGateway, u *testUpload)
			status int
			code   string
		}{
			"missing": {func(g *testGateway, u *testUpload) {
				g.upstream.store(testStateBucket, uploadRecordName(u), nil)
			}, 404, "NoSuchUpload"},
			"damaged": {func(g *testGateway, u *testUpload) {
				g.upstream.edit(testStateBucket, uploadRecordName(u), func(o *memObject) { o.body = flip(o.body, len(o.body)-5) })
			}, 500, notAuthentic},
			"cut": {func(g *testGateway, u *testUpload) {
				g.upstream.edit(testStateBucket, uploadRecordName(u), func(o *memObject) { o.body = o.body[:20] })
			}, 500, notAuthentic},
			"empty": {func(g *testGateway, u *testUpload) {
				g.upstream.edit(testStateBucket, uploadRecordName(u), func(o *memObject) { o.body = nil })
			}, 500, notAuthentic},
			"of a plain upload": {func(g *testGateway, u *testUpload) {
				plain := g.upstream.object(testStateBucket, uploadRecordName(g.begin("/bucket/k")))
				g.upstream.store(testStateBucket, uploadRecordName(u), plain)
			}, 500, notAuthentic},
			"of another sealed upload": {func(g *testGateway, u *testUpload) {
				other := g.upstream.object(testStateBucket, uploadRecordName(g.begin("/bucket/k", scheme.write...)))
				g.upstream.store(testStateBucket, uploadRecordName(u), other)
			}, 500, notAuthentic},
			"not readable": {func(g *testGateway, u *testUpload) {
				g.upstream.on(http.MethodGet, "/"+testStateBucket+"/uploads/", answerWith(403, "AccessDenied"))
			}, 503, "ServiceUnavailable"},
			"no KMS": {func(g *testGateway, _ *testUpload) {
				g.kes.Stop()
			}, 503, "ServiceUnavailable"},
		} {
			if name == "no KMS" && scheme.name == "SSE-C" {
				continue // it needs none
			}
			t.Run(scheme.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				g := newGateway(t, withTLS(), withConfig(func(c *Config) { c.AutoEncryption = 0 })).withSmallParts()
				u := g.begin("/bucket/k", scheme.write...)
				u.read = scheme.read
				kept := g.upstream.uploadParts(u.id)
				c.spoil(g, u)
				g.upstream.forget()
				for _, size := range []int{10, 5000, 2 << 20} {
					r := u.try(1, pattern(size, 1))
					if r.status != c.status || r.code != c.code {
						t.Errorf("a part of %d bytes: %d %s, want %d %s", size, r.status, r.code, c.status, c.code)
					}
					if strings.Contains(string(r.body), testStateBucket) {
						t.Errorf("the state bucket shows: %s", r.body)
					}
				}
				if now := g.upstream.uploadParts(u.id); len(now) != len(kept) {
					t.Errorf("%d parts upstream", len(now))
				}
				for _, r := range g.upstream.requests("/") {
					if r.Method == http.MethodPut {
						t.Errorf("a PUT of %s reached the store", r.Path)
					}
				}
				if c.code == "NoSuchUpload" {
					u.completeWith([]testPart{{number: 1, etag: "x"}}).want(t, c.status, c.code)
					g.do(u.request(http.MethodGet, 0, nil)).want(t, c.status, c.code)
				}
			})
		}
	}
}

// TestUploadUnknown: an upload without a record accepts no part, even if the
// store knows it.
func TestUploadUnknown(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.upstream.mu.Lock()
	g.upstream.uploads = map[string]*memUpload{"direct": {bucket: testBucket, key: "k", id: "direct", header: http.Header{}, parts: map[int]*memPart{}}}
	g.upstream.mu.Unlock()
	for _, id := range []string{"direct", "none", "", "../root", strings.Repeat("x", 500)} {
		u := &testUpload{g: g, path: "/bucket/k", id: id}
		if r := u.try(1, []byte("data")); r.status != 404 || r.code != "NoSuchUpload" {
			t.Errorf("%q: %d %s", id, r.status, r.code)
		}
	}
	if n := len(g.upstream.uploadParts("direct")); n != 0 {
		t.Errorf("%d parts upstream", n)
	}
}

// TestUploadUnknownInTheStoresWords: the client gets the store's error about an
// upload without a record, for example that the bucket does not exist.
func TestUploadUnknownInTheStoresWords(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.upstream.on("", "/bucket/k", answerWith(404, "NoSuchBucket"))
	u := &testUpload{g: g, path: "/bucket/k", id: "upload"}
	u.try(1, []byte("data")).want(t, 404, "NoSuchBucket")
	u.completeWith([]testPart{{number: 1, etag: "x"}}).want(t, 404, "NoSuchBucket")
	g.do(u.request(http.MethodGet, 0, nil)).want(t, 404, "NoSuchBucket")
	g.do(u.request(http.MethodDelete, 0, nil)).want(t, 404, "NoSuchBucket")
}

// TestUploadFailedCreate: an upload that cannot be recorded is aborted.
func TestUploadFailedCreate(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.upstream.on(http.MethodPut, "/"+testStateBucket+"/uploads/", answerWith(500, "InternalError"))
	r := g.do(clientRequest{method: http.MethodPost, path: "/bucket/k", query: map[string][]string{"uploads": {""}}, header: headers(s3.HeaderSSE, s3.AES256)})
	r.want(t, 503, "ServiceUnavailable")
	if g.upstream.uploadParts("upload-1") != nil {
		t.Error("the upload is still there")
	}
}

// TestPartNotRecorded: if the record of a part cannot be written, the request
// fails, the part is not listed, and it can be sent again.
func TestPartNotRecorded(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]hook{"refused": answerWith(500, "InternalError"), "answer lost": dropAnswer} {
		g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
		u := g.begin("/bucket/k")
		u.part(1, pattern(2000, 1))
		g.upstream.on(http.MethodPut, "/"+testStateBucket+"/", h)
		if r := u.try(2, pattern(3000, 2)); r.status != 503 {
			t.Errorf("%s: %d", name, r.status)
		}
		g.upstream.unhook()
		u.part(2, pattern(1500, 3))
		if l := listPartsOf(t, u); len(l.Part) != 2 || l.Part[1].Size != 1500 {
			t.Errorf("%s: %+v", name, l)
		}
		u.complete()
		wantObject(t, g, "/bucket/k", slices.Concat(pattern(2000, 1), pattern(1500, 3)), 3)
	}
}

// TestPartRecordsTampered: records that are damaged, moved to another part or
// taken from another upload fail the Complete; staged bytes that are changed
// fail the Complete or the read.
func TestPartRecordsTampered(t *testing.T) {
	t.Parallel()
	find := func(g *testGateway, u *testUpload, kind string) string {
		t.Helper()
		for _, name := range g.records() {
			if strings.HasPrefix(name, strings.TrimSuffix(uploadRecordName(u), state.UploadRecord)+kind) {
				return name
			}
		}
		t.Fatalf("no record %s of %s", kind, u.id)
		return ""
	}
	rename := func(g *testGateway, from, to string) {
		o := g.upstream.object(testStateBucket, from)
		g.upstream.store(testStateBucket, from, nil)
		g.upstream.store(testStateBucket, to, o)
	}
	for name, c := range map[string]struct {
		spoil func(g *testGateway, u, other *testUpload)
		code  string
	}{
		"deleted": {func(g *testGateway, u, _ *testUpload) { g.upstream.store(testStateBucket, find(g, u, "p-00001"), nil) }, "InvalidPart"},
		"of another part": {func(g *testGateway, u, _ *testUpload) {
			n := find(g, u, "p-00001")
			rename(g, n, strings.Replace(n, "p-00001", "p-00002", 1))
		}, notAuthentic},
		"of another upload": {func(g *testGateway, u, other *testUpload) {
			n := find(g, other, "p-00001")
			rename(g, n, strings.Replace(n, strings.TrimSuffix(uploadRecordName(other), state.UploadRecord), strings.TrimSuffix(uploadRecordName(u), state.UploadRecord), 1))
		}, notAuthentic},
		"damaged": {func(g *testGateway, u, _ *testUpload) { n := find(g, u, "p-00001"); rename(g, n, n[:len(n)-1]) }, notAuthentic},
		"no number": {func(g *testGateway, u, _ *testUpload) {
			n := find(g, u, "p-00001")
			rename(g, n, strings.Replace(n, "p-00001", "p-x", 1))
		}, notAuthentic},
		"staged deleted": {func(g *testGateway, u, _ *testUpload) { g.upstream.store(testStateBucket, find(g, u, "s-00003"), nil) }, notAuthentic},
		"staged cut": {func(g *testGateway, u, _ *testUpload) {
			g.upstream.edit(testStateBucket, find(g, u, "s-00003"), func(o *memObject) { o.body = o.body[1:] })
		}, notAuthentic},
		"staged longer": {func(g *testGateway, u, _ *testUpload) {
			g.upstream.edit(testStateBucket, find(g, u, "s-00003"), func(o *memObject) { o.body = append(o.body, 0) })
		}, notAuthentic},
		"staged changed": {func(g *testGateway, u, _ *testUpload) {
			g.upstream.edit(testStateBucket, find(g, u, "s-00003"), func(o *memObject) { o.body = flip(o.body, 30) })
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
			u, other := g.begin("/bucket/k"), g.begin("/bucket/k")
			for _, u := range []*testUpload{u, other} {
				u.part(1, pattern(2000, 1))
				u.part(2, pattern(2000, 2))
				u.part(3, pattern(100, 3))
			}
			c.spoil(g, u, other)
			r := u.completeWith(u.listed)
			if c.code == "" {
				r.want(t, 200, "")
				got := g.get("/bucket/k")
				if got.err == nil || !bytes.HasPrefix(slices.Concat(pattern(2000, 1), pattern(2000, 2)), got.body) {
					t.Errorf("%d, %d bytes, %v", got.status, len(got.body), got.err)
				}
				return
			}
			if r.code != c.code {
				t.Errorf("%d %s, want %s", r.status, r.code, c.code)
			}
			if g.upstream.object(testBucket, "k") != nil {
				t.Error("an object was made")
			}
		})
	}
}

// TestMultipartTampered removes, repeats, exchanges and mixes parts of the
// stored object. Every read fails, and no byte of another part is served.
func TestMultipartTampered(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
	parts := [][]byte{pattern(70_000, 1), pattern(70_000, 2), pattern(70_000, 3)}
	make := func(key string) (*memObject, [][]byte) {
		u := g.begin("/bucket/" + key)
		for i, p := range parts {
			u.part(i+1, p)
		}
		u.complete()
		o := g.upstream.object(testBucket, key)
		sealed := [][]byte{}
		n := int(sealer.SealedSize(70_000))
		for i := range parts {
			sealed = append(sealed, o.body[i*n:(i+1)*n])
		}
		return o, append(sealed, o.body[len(parts)*n:])
	}
	o, s := make("k")
	_, again := make("k")
	whole := slices.Concat(parts...)
	g.upstream.store(testBucket, "k", o)
	wantObject(t, g, "/bucket/k", whole, 5)
	for name, body := range map[string][]byte{
		"last dropped":     slices.Concat(s[0], s[1], s[3]),
		"first dropped":    slices.Concat(s[1], s[2], s[3]),
		"repeated":         slices.Concat(s[0], s[1], s[1], s[3]),
		"one more":         slices.Concat(s[0], s[1], s[2], s[2], s[3]),
		"exchanged":        slices.Concat(s[1], s[0], s[2], s[3]),
		"other attempt":    slices.Concat(s[0], again[1], s[2], s[3]),
		"other table":      slices.Concat(s[0], s[1], s[2], again[3]),
		"no table":         slices.Concat(s[0], s[1], s[2]),
		"table alone":      s[3],
		"cut inside":       slices.Concat(s[0][:66_000], s[1], s[2], s[3]),
		"package repeated": slices.Concat(s[0][:sealedPackage], s[0][:len(s[0])-sealedPackage], s[1], s[2], s[3]),
		"tail repeated":    slices.Concat(s[0], s[1], s[2], s[3], s[3]),
		"nothing":          nil,
	} {
		t.Run(name, func(t *testing.T) {
			for _, etag := range []string{o.etag, memTag([]byte(name)) + "-4"} { // the caches know the first
				g.upstream.store(testBucket, "k", &memObject{body: body, header: o.header, etag: etag, modified: o.modified})
				r := g.get("/bucket/k")
				right := bytes.Equal(r.body, whole) && name == "other table" && etag == o.etag // the table was cached
				if r.status < 300 && !right && (r.err == nil || !bytes.HasPrefix(whole, r.body)) {
					t.Errorf("GET: %d, %d bytes, %v", r.status, len(r.body), r.err)
				}
				for i, p := range parts {
					r := g.do(clientRequest{method: http.MethodGet, path: "/bucket/k", query: map[string][]string{"partNumber": {string(rune('1' + i))}}})
					if r.status < 300 && r.err == nil && !bytes.Equal(r.body, p) {
						t.Errorf("part %d: %d, %d bytes", i+1, r.status, len(r.body))
					}
				}
			}
		})
	}
}

// TestAbort removes the upload and all its records, also the second time.
func TestAbort(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
	u := g.begin("/bucket/k")
	u.part(1, pattern(2000, 1))
	u.part(2, pattern(10, 1))
	if n := len(g.records()); n != 4 {
		t.Fatalf("%d records: %v", n, g.records())
	}
	g.upstream.on(http.MethodDelete, "/"+testStateBucket, answerWith(500, "InternalError"))
	for range 2 { // the second time, the store has no upload any more
		g.do(u.request(http.MethodDelete, 0, nil)).want(t, 503, "ServiceUnavailable")
	}
	g.upstream.unhook()
	g.do(u.request(http.MethodDelete, 0, nil)).want(t, 404, "NoSuchUpload")
	if n := len(g.records()); n != 0 || g.upstream.uploadParts(u.id) != nil {
		t.Errorf("%d records left: %v", n, g.records())
	}
	u.try(1, []byte("x")).want(t, 404, "NoSuchUpload")
	u.completeWith(u.listed).want(t, 404, "NoSuchUpload")

	u = g.begin("/bucket/k")
	if r := g.do(u.request(http.MethodDelete, 0, nil)); r.status != 204 {
		t.Errorf("%d", r.status)
	}
	if n := len(g.records()); n != 0 {
		t.Errorf("%d records left", n)
	}
}

package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

const crc64Header = "X-Amz-Checksum-Crc64nvme"

// wantDefault checks that an answer shows the default checksum of body, and no
// other.
func wantDefault(t testing.TB, what string, h http.Header, body []byte) {
	t.Helper()
	if h.Get(crc64Header) != sumText("CRC64NVME", body) || h.Get(s3.HeaderChecksumType) != s3.FullObject {
		t.Errorf("%s of %d bytes: no default checksum in %v", what, len(body), h)
	}
	for name := range h {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, s3.ChecksumPrefix) && name != crc64Header && lower != s3.HeaderChecksumType {
			t.Errorf("%s of %d bytes: %s", what, len(body), name)
		}
	}
}

// wantDefaultRead is wantDefault of every way to read an object.
func wantDefaultRead(t testing.TB, g *testGateway, path string, body []byte, read ...string) {
	t.Helper()
	mode := append([]string{s3.HeaderChecksumMode, "ENABLED"}, read...)
	for what, r := range map[string]clientAnswer{"GET": g.get(path, mode...), "HEAD": g.head(path, mode...)} {
		r.want(t, 200, "")
		wantDefault(t, what, r.header, body)
	}
	if h := g.get(path, append([]string{"Range", "bytes=0-0"}, mode...)...).header; h.Get(crc64Header) != "" {
		t.Errorf("a range shows the whole's checksum: %v", h)
	}
	_, r := g.attributes(path, "Checksum", read...)
	want := "<Checksum><ChecksumCRC64NVME>" + sumText("CRC64NVME", body) + "</ChecksumCRC64NVME><ChecksumType>FULL_OBJECT</ChecksumType></Checksum>"
	if !strings.Contains(string(r.body), want) {
		t.Errorf("no %s in %s", want, r.body)
	}
}

// TestDefaultChecksum: an object written without a checksum gets CRC64NVME,
// also in the answer, for all schemes and all ways to write.
func TestDefaultChecksum(t *testing.T) {
	t.Parallel()
	for _, scheme := range testSchemes() {
		t.Run(scheme.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withTLS())
			for _, size := range []int{0, 1, smallBody, smallBody + 1, 3<<20 + 7} {
				body := pattern(size, 4)
				for _, mode := range []string{modeHash, modeUnsigned, modeSigned} {
					w := g.do(clientRequest{method: http.MethodPut, path: "/bucket/k", body: body, mode: mode, header: headers(scheme.write...)})
					w.want(t, 200, "")
					wantDefault(t, "PUT", w.header, body)
				}
				if size > 0 {
					wantDefaultRead(t, g, "/bucket/k", body, scheme.read...)
				}
			}
			body := pattern(smallBody+1, 5)
			g.put("/bucket/plain", body).want(t, 200, "")
			r := g.copy("bucket/plain", "/bucket/copied", scheme.write...)
			r.want(t, 200, "")
			if !strings.Contains(string(r.body), "<ChecksumCRC64NVME>"+sumText("CRC64NVME", body)+"<") {
				t.Errorf("copy: %s", r.body)
			}
			wantDefaultRead(t, g, "/bucket/copied", body, scheme.read...)
			g.copy("bucket/copied", "/bucket/again", slices.Concat(scheme.write, ofSource(scheme.read))...).want(t, 200, "")
			wantDefaultRead(t, g, "/bucket/again", body, scheme.read...)
		})
	}
}

// TestDefaultChecksumOfForms: small files, large ones and those that go up in
// parts.
func TestDefaultChecksumOfForms(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	for _, size := range []int{1, smallBody + 1, formPart, formPart + 1} {
		body := pattern(size, 3)
		r := g.form(testForm{file: body})
		r.want(t, 204, "")
		wantDefault(t, "form", r.header, body)
		wantDefaultRead(t, g, "/bucket/key", body)
	}
}

// TestDefaultChecksumOfParts: an upload without an algorithm. The checksums
// that its parts come with are verified and given back; that of the object is
// the default one, and the parts have none in it.
func TestDefaultChecksumOfParts(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
	parts := [][]byte{pattern(70_000, 1), pattern(2000, 2), pattern(1500, 3), pattern(5, 4)}
	whole := slices.Concat(parts...)
	g.put("/bucket/src", parts[3]).want(t, 200, "")
	u := g.begin("/bucket/k")
	r := u.try(1, parts[0])
	r.want(t, 200, "")
	if h := r.header; h.Get(crc64Header) != "" {
		t.Errorf("the checksum of a part that nobody asked for: %v", h)
	}
	u.listed = append(u.listed, testPart{number: 1, etag: r.header.Get("ETag")})
	u.try(2, parts[1], "X-Amz-Checksum-Sha256", sumText("SHA256", nil)).want(t, 400, "BadDigest")
	for i, algorithm := range []string{"SHA256", "CRC64NVME"} {
		name, sum := "X-Amz-Checksum-"+algorithm, sumText(algorithm, parts[i+1])
		r := u.try(i+2, parts[i+1], name, sum)
		r.want(t, 200, "")
		if r.header.Get(name) != sum {
			t.Errorf("%s: %v", algorithm, r.header)
		}
		u.listed = append(u.listed, testPart{number: i + 2, etag: r.header.Get("ETag")})
	}
	r = u.try(4, nil, "X-Amz-Copy-Source", "bucket/src")
	r.want(t, 200, "")
	if strings.Contains(string(r.body), "Checksum") {
		t.Errorf("%s", r.body)
	}
	l := listPartsOf(t, u)
	u.listed = append(u.listed, testPart{number: 4, etag: l.Part[3].ETag})
	if list := g.do(u.request(http.MethodGet, 0, nil)); !strings.Contains(string(list.body), "<ChecksumAlgorithm>null</ChecksumAlgorithm><ChecksumType>null</ChecksumType>") ||
		strings.Count(string(list.body), "<ChecksumCRC64NVME>") != 1 || !strings.Contains(string(list.body), sumText("CRC64NVME", parts[2])) {
		t.Errorf("%s", list.body)
	}
	u.completeWith(u.listed, crc64Header, sumText("CRC64NVME", parts[0])).want(t, 400, "BadDigest")
	u.completeWith(u.listed, "X-Amz-Checksum-Sha256", sumText("SHA256", whole)).want(t, 400, "InvalidRequest")
	u.completeWith(u.listed, s3.HeaderChecksumType, s3.FullObject).want(t, 400, "InvalidRequest")
	r = u.completeWith(u.listed, crc64Header, sumText("CRC64NVME", whole))
	r.want(t, 200, "")
	if want := "<ChecksumCRC64NVME>" + sumText("CRC64NVME", whole) + "</ChecksumCRC64NVME><ChecksumType>FULL_OBJECT<"; !strings.Contains(string(r.body), want) {
		t.Errorf("no %s in %s", want, r.body)
	}
	wantObject(t, g, "/bucket/k", whole, 5)
	wantDefaultRead(t, g, "/bucket/k", whole)
	if _, r := g.attributes("/bucket/k", "ObjectParts"); strings.Contains(string(r.body), "ChecksumCRC64NVME") || !strings.Contains(string(r.body), "<PartsCount>4<") {
		t.Errorf("%s", r.body)
	}
}

// TestTrailerRequests: the checksum of a large object costs the gateway that
// wrote it no request, and another gateway one small request.
func TestTrailerRequests(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	other := newGateway(t, withUpstream(g.upstream), withKES(g.kes))
	body := pattern(smallBody+1, 1)
	g.put("/bucket/k", body).want(t, 200, "")
	for _, c := range []struct {
		at   *testGateway
		want []string // ranges that are asked for
	}{
		{g, []string{""}},
		{other, []string{"", fmt.Sprintf("bytes=%d-%d", sealer.SealedSize(smallBody+1), sealer.SealedSize(smallBody+1)+sealer.SingleTrailerSize-1)}},
		{other, []string{""}},
	} {
		g.upstream.forget()
		r := c.at.get("/bucket/k", s3.HeaderChecksumMode, "ENABLED")
		if r.want(t, 200, ""); !bytes.Equal(r.body, body) {
			t.Error("another body")
		}
		wantDefault(t, "GET", r.header, body)
		var got []string
		for _, r := range g.upstream.requests("/bucket/k") {
			got = append(got, r.Header.Get("Range"))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("ranges %q, want %q", got, c.want)
		}
	}
}

// TestAnnouncedInFacts: the facts announce the algorithm of the trailer's
// checksum, also in a copy.
func TestAnnouncedInFacts(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
	large := pattern(smallBody+1, 1)
	g.put("/bucket/small", []byte("data")).want(t, 200, "")
	g.put("/bucket/declared", large, "X-Amz-Checksum-Crc32", sumText("CRC32", large)).want(t, 200, "")
	g.put("/bucket/large", large).want(t, 200, "")
	g.do(clientRequest{method: http.MethodPut, path: "/bucket/trailing", body: large, mode: modeTrailer, algorithm: "SHA1"}).want(t, 200, "")
	g.copy("bucket/trailing", "/bucket/copy").want(t, 200, "")
	g.form(testForm{key: "form", file: pattern(formPart+1, 1)}).want(t, 204, "")
	for key, pairs := range map[string][]string{"parts": nil, "composite": {s3.HeaderAlgorithm, "CRC32"}, "full": {s3.HeaderAlgorithm, "CRC32", s3.HeaderChecksumType, s3.FullObject}} {
		u := g.begin("/bucket/"+key, pairs...)
		p := u.part(1, []byte("data"), "X-Amz-Checksum-Crc32", sumText("CRC32", []byte("data")))
		if key != "parts" {
			p.more = "<ChecksumCRC32>" + sumText("CRC32", []byte("data")) + "</ChecksumCRC32>"
		}
		u.completeWith([]testPart{p}).want(t, 200, "")
	}
	for key, want := range map[string]sealer.Announcement{
		"small": {}, "declared": {},
		"large":     {Algorithm: sealer.ChecksumCRC64NVME},
		"trailing":  {Algorithm: sealer.ChecksumSHA1},
		"copy":      {Algorithm: sealer.ChecksumSHA1},
		"form":      {Algorithm: sealer.ChecksumCRC64NVME},
		"parts":     {Algorithm: sealer.ChecksumCRC64NVME},
		"composite": {Algorithm: sealer.ChecksumCRC32, Composite: true},
		"full":      {Algorithm: sealer.ChecksumCRC32},
	} {
		h, err := sealer.Parse(g.upstream.object(testBucket, key).header.Get(sealer.MetadataKey))
		if err != nil {
			t.Fatal(err)
		}
		_, facts, err := h.OpenFacts(sealer.Binding{Bucket: testBucket, Key: key}, g.State.Root())
		if err != nil {
			t.Fatal(err)
		}
		if facts.Announced != want {
			t.Errorf("%s: announced %+v, want %+v", key, facts.Announced, want)
		}
		g.head("/bucket/"+key, s3.HeaderChecksumMode, "ENABLED").want(t, 200, "")
	}
}

// TestObjectSize: the size in the store's answer to a write is that of sealed
// bytes, and does not reach the client.
func TestObjectSize(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.upstream.on(http.MethodPut, "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		w.Header().Set(s3.HeaderObjectSize, fmt.Sprint(r.ContentLength))
		next.ServeHTTP(w, r)
	})
	if r := g.put("/bucket/k", pattern(1000, 1), s3.HeaderSSE, s3.AES256); r.header.Get(s3.HeaderObjectSize) != "1000" {
		t.Errorf("%v", r.header)
	}
}

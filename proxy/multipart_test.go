package proxy

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssegw/kms/kmstest"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// smallestPart stands for the 5 MiB of real stores where tests need many parts.
const smallestPart = 1000

// withSmallParts lets parts be as small as smallestPart bytes, at the gateway
// and upstream.
func (g *testGateway) withSmallParts() *testGateway {
	g.bounds.minPart = smallestPart
	g.upstream.mu.Lock()
	defer g.upstream.mu.Unlock()
	g.upstream.minPart = smallestPart
	return g
}

// testUpload is a multipart upload as a client drives it.
type testUpload struct {
	g        *testGateway
	path, id string
	read     []string // headers that each part needs, of SSE-C
	listed   []testPart
}

// testPart is an entry of a Complete.
type testPart struct {
	number int
	etag   string
	more   string // further elements
}

// begin creates an upload.
func (g *testGateway) begin(path string, pairs ...string) *testUpload {
	g.t.Helper()
	r := g.do(clientRequest{method: http.MethodPost, path: path, query: url.Values{"uploads": {""}}, header: headers(pairs...)})
	r.want(g.t, 200, "")
	var doc struct{ Bucket, Key, UploadId string }
	if err := xml.Unmarshal(r.body, &doc); err != nil || "/"+doc.Bucket+"/"+doc.Key != path || doc.UploadId == "" {
		g.t.Fatalf("%v: %s", err, r.body)
	}
	return &testUpload{g: g, path: path, id: doc.UploadId}
}

// through returns the same upload as seen through another gateway.
func (u *testUpload) through(g *testGateway) *testUpload {
	other := *u
	other.g, other.listed = g, slices.Clone(u.listed)
	return &other
}

func (u *testUpload) request(method string, number int, body []byte, pairs ...string) clientRequest {
	q := url.Values{"uploadId": {u.id}}
	if number != 0 {
		q.Set("partNumber", strconv.Itoa(number))
	}
	return clientRequest{method: method, path: u.path, query: q, body: body, header: headers(append(slices.Clone(u.read), pairs...)...)}
}

// try uploads a part.
func (u *testUpload) try(number int, body []byte, pairs ...string) clientAnswer {
	u.g.t.Helper()
	return u.g.do(u.request(http.MethodPut, number, body, pairs...))
}

// part uploads a part, which must succeed, and lists it for the Complete.
func (u *testUpload) part(number int, body []byte, pairs ...string) testPart {
	u.g.t.Helper()
	r := u.try(number, body, pairs...)
	r.want(u.g.t, 200, "")
	p := testPart{number: number, etag: r.header.Get("ETag")}
	if !strings.HasSuffix(p.etag, `-1"`) {
		u.g.t.Errorf("part %d has the ETag %s", number, p.etag)
	}
	u.listed = append(u.listed, p)
	return p
}

// completeWith completes with the given parts.
func (u *testUpload) completeWith(parts []testPart, pairs ...string) clientAnswer {
	u.g.t.Helper()
	return u.g.do(u.completeRequest(parts, pairs...))
}

func (u *testUpload) completeRequest(parts []testPart, pairs ...string) clientRequest {
	var doc strings.Builder
	doc.WriteString(`<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
	for _, p := range parts {
		fmt.Fprintf(&doc, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag>%s</Part>", p.number, strings.ReplaceAll(p.etag, `"`, "&quot;"), p.more)
	}
	doc.WriteString("</CompleteMultipartUpload>")
	return clientRequest{
		method: http.MethodPost, path: u.path, query: url.Values{"uploadId": {u.id}}, body: []byte(doc.String()), header: headers(pairs...),
	}
}

// complete completes with all parts, which must succeed, and returns the ETag.
// The gateway removes the records after its answer.
func (u *testUpload) complete(pairs ...string) string {
	u.g.t.Helper()
	r := u.completeWith(u.listed, pairs...)
	r.want(u.g.t, 200, "")
	var doc struct{ ETag string }
	if err := xml.Unmarshal(r.body, &doc); err != nil || doc.ETag == "" {
		u.g.t.Fatalf("%v: %s", err, r.body)
	}
	eventually(u.g.t, "the records of an upload to go", func() bool { return slices.Equal(u.records(), []string{state.DoneRecord}) })
	return doc.ETag
}

// records returns the names of the upload records in the state bucket.
func (g *testGateway) records() []string {
	return slices.DeleteFunc(g.upstream.keys(testStateBucket), func(name string) bool { return !strings.HasPrefix(name, state.UploadsPrefix) })
}

// wantObject reads an object whole, in random ranges and by HEAD, and compares.
func wantObject(t testing.TB, g *testGateway, path string, body []byte, ranges int, pairs ...string) {
	t.Helper()
	r := g.get(path, pairs...)
	r.want(t, 200, "")
	if !bytes.Equal(r.body, body) {
		t.Fatalf("%s: %d bytes differ from the %d that were written", path, len(r.body), len(body))
	}
	if h := g.head(path, pairs...); h.status != 200 || h.header.Get("Content-Length") != strconv.Itoa(len(body)) || h.header.Get("ETag") != r.header.Get("ETag") {
		t.Errorf("HEAD %s: %d, %v", path, h.status, h.header)
	}
	random := rand.New(rand.NewPCG(uint64(len(body)), 5))
	for range ranges {
		a := random.IntN(len(body))
		b := a + random.IntN(len(body)-a)
		r := g.get(path, append([]string{"Range", fmt.Sprintf("bytes=%d-%d", a, b)}, pairs...)...)
		if want := fmt.Sprintf("bytes %d-%d/%d", a, b, len(body)); r.status != 206 || r.err != nil || !bytes.Equal(r.body, body[a:b+1]) || r.header.Get("Content-Range") != want {
			t.Fatalf("%s bytes %d-%d: %d, %v, %s, %d bytes", path, a, b, r.status, r.err, r.header.Get("Content-Range"), len(r.body))
		}
	}
}

// partSizes are the sizes of the parts of uploads, none of them staged but the
// last.
var partSizes = map[string][]int{
	"one tiny":       {1},
	"one empty":      {0},
	"one":            {smallestPart},
	"last empty":     {smallestPart, 0},
	"last staged":    {3000, 70_000, smallestPart - 1},
	"last not":       {sealer.PackageSize, sealer.PackageSize + 1, 2*sealer.PackageSize - 1},
	"all full":       {2 * sealer.PackageSize, 2 * sealer.PackageSize},
	"odd":            {1001, 65_537, 200_001, 1234, 99_999, 17},
	"gaps, one each": {1000, 1000, 1000, 1000, 1},
}

// TestMultipart uploads parts in all schemes, in any order, and reads the
// object in every way that shows its parts or its size.
func TestMultipart(t *testing.T) {
	t.Parallel()
	for _, scheme := range testSchemes() {
		for name, sizes := range partSizes {
			t.Run(scheme.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				g := newGateway(t, withTLS()).withSmallParts()
				u := g.begin("/bucket/dir/k", append([]string{"X-Amz-Meta-Color", "red", "Content-Type", "text/x"}, scheme.write...)...)
				u.read = scheme.read
				var body []byte
				var parts [][]byte
				for i, size := range sizes {
					parts = append(parts, pattern(size, uint64(i)))
					body = append(body, parts[i]...)
				}
				for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(len(sizes)) {
					u.part(2*i+1, parts[i])
				}
				slices.SortFunc(u.listed, func(a, b testPart) int { return a.number - b.number })
				etag := u.complete()
				wantObject(t, g, "/bucket/dir/k", body, min(len(body), 60), scheme.read...)
				wantParts(t, g, parts, scheme)
				r := g.head("/bucket/dir/k", scheme.read...)
				if diff := cmp.Diff(wantSSE(scheme), sseHeaders(r.header)); diff != "" {
					t.Error(diff)
				}
				if r.header.Get("ETag") != etag || r.header.Get("X-Amz-Meta-Color") != "red" || r.header.Get("Content-Type") != "text/x" {
					t.Errorf("%v, completed with %s", r.header, etag)
				}
				before := kmsCalls(g)
				if l := g.list(testBucket, "list-type=2"); len(l) != 1 || l[0].Size != int64(len(body)) || l[0].ETag != etag {
					t.Errorf("listed as %+v", l)
				}
				if kmsCalls(g) != before {
					t.Error("listing asked the KMS")
				}
				if left := g.records(); len(left) != 1 || !strings.HasSuffix(left[0], "/"+state.DoneRecord) {
					t.Errorf("records left: %v", left)
				}
			})
		}
	}
}

// kmsCalls counts the calls for data keys.
func kmsCalls(g *testGateway) int {
	return g.kes.Requests(kmstest.OpGenerate) + g.kes.Requests(kmstest.OpDecrypt)
}

// wantParts reads an object part by part.
func wantParts(t *testing.T, g *testGateway, parts [][]byte, scheme testScheme) {
	t.Helper()
	offset, total := 0, len(slices.Concat(parts...))
	for i, p := range parts {
		q := url.Values{"partNumber": {strconv.Itoa(2*i + 1)}}
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			r := g.do(clientRequest{method: method, path: "/bucket/dir/k", query: q, header: headers(scheme.read...)})
			status, span := 206, fmt.Sprintf("bytes %d-%d/%d", offset, offset+len(p)-1, total)
			if len(p) == 0 {
				status, span = 200, ""
			}
			if r.status != status || r.header.Get("Content-Range") != span || r.header.Get("X-Amz-Mp-Parts-Count") != strconv.Itoa(len(parts)) ||
				r.header.Get("Content-Length") != strconv.Itoa(len(p)) || method == http.MethodGet && !bytes.Equal(r.body, p) {
				t.Errorf("%s part %d: %d, %v", method, 2*i+1, r.status, r.header)
			}
		}
		offset += len(p)
	}
	for _, n := range []int{2, 2*len(parts) + 1, 10_000} {
		r := g.do(clientRequest{method: http.MethodGet, path: "/bucket/dir/k", query: url.Values{"partNumber": {strconv.Itoa(n)}}, header: headers(scheme.read...)})
		r.want(t, 416, "InvalidPartNumber")
	}
}

func wantSSE(s testScheme) []string {
	out := []string{}
	for p := range slices.Chunk(s.shown, 2) {
		out = append(out, strings.ToLower(p[0])+"="+p[1])
	}
	slices.Sort(out)
	return out
}

// TestMultipartHeaders: the SSE headers of each answer.
func TestMultipartHeaders(t *testing.T) {
	t.Parallel()
	for _, scheme := range testSchemes() {
		t.Run(scheme.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withTLS())
			r := g.do(clientRequest{method: http.MethodPost, path: "/bucket/k", query: url.Values{"uploads": {""}}, header: headers(scheme.write...)})
			if diff := cmp.Diff(wantSSE(scheme), sseHeaders(r.header)); diff != "" {
				t.Error("Create: ", diff)
			}
			u := g.begin("/bucket/k", scheme.write...)
			u.read = scheme.read
			r = u.try(1, []byte("data"))
			r.want(t, 200, "")
			if diff := cmp.Diff(wantSSE(scheme), sseHeaders(r.header)); diff != "" {
				t.Error("UploadPart: ", diff)
			}
			u.listed = []testPart{{number: 1, etag: r.header.Get("ETag")}}
			r = u.completeWith(u.listed)
			r.want(t, 200, "")
			want := slices.DeleteFunc(wantSSE(scheme), func(s string) bool { return strings.HasPrefix(s, strings.ToLower(s3.HeaderSSECKeyMD5)) })
			if diff := cmp.Diff(want, sseHeaders(r.header)); diff != "" {
				t.Error("Complete: ", diff)
			}
			if !strings.Contains(string(r.body), "/bucket/k</Location>") {
				t.Errorf("%s", r.body)
			}
		})
	}
}

// TestMultipartRanges reads 500 random ranges across the bounds of odd parts.
func TestMultipartRanges(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
	u := g.begin("/bucket/k")
	var body []byte
	for i, size := range []int{131_072, 1000, 65_536, 65_537, 300_001, 1111, 70_000, 5} {
		p := pattern(size, uint64(i))
		u.part(i+1, p)
		body = append(body, p...)
	}
	u.complete()
	wantObject(t, g, "/bucket/k", body, 500)
	bound := 0
	for _, size := range []int{131_072, 1000, 65_536, 65_537, 300_001, 1111, 70_000} {
		bound += size
		for _, span := range [][2]int{{bound - 1, bound}, {bound, bound}, {bound - 1, bound - 1}, {bound, bound + 1}} {
			r := g.get("/bucket/k", "Range", fmt.Sprintf("bytes=%d-%d", span[0], span[1]))
			if r.status != 206 || !bytes.Equal(r.body, body[span[0]:span[1]+1]) {
				t.Errorf("%v: %d", span, r.status)
			}
		}
	}
	for span, want := range map[string][]byte{"bytes=-7": body[len(body)-7:], "bytes=300000-": body[300_000:], "bytes=-99999999": body} {
		if r := g.get("/bucket/k", "Range", span); r.status != 206 || !bytes.Equal(r.body, want) {
			t.Errorf("%s: %d, %d bytes", span, r.status, len(r.body))
		}
	}
	g.get("/bucket/k", "Range", fmt.Sprintf("bytes=%d-", len(body))).want(t, 416, "InvalidRange")
}

// TestMultipartManyParts: more parts than fit a page of any listing, through
// two gateways and in parallel.
func TestMultipartManyParts(t *testing.T) {
	t.Parallel()
	const parts = 1200
	rule := withRule(testBucket, state.Rule{Algorithm: s3.AES256})
	a := newGateway(t, rule).withSmallParts()
	b := newGateway(t, withUpstream(a.upstream), withKES(a.kes)).withSmallParts()
	u := a.begin("/bucket/k")
	size := func(n int) int { return smallestPart + n%7 }
	through := []*testUpload{u.through(a), u.through(b)}
	u.listed = make([]testPart, parts)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for n := worker; n < parts; n += 4 {
				r := through[worker%2].try(n+1, pattern(size(n), uint64(n)))
				if r.status != 200 {
					t.Errorf("part %d: %d %s %v", n+1, r.status, r.code, r.err)
				}
				u.listed[n] = testPart{number: n + 1, etag: r.header.Get("ETag")}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	var body []byte
	for n := range parts {
		body = append(body, pattern(size(n), uint64(n))...)
	}
	marker, listed := "0", 0
	for _, want := range []int{1000, 200} {
		page := listPartsOf(t, u.through(b), "part-number-marker", marker)
		if len(page.Part) != want || page.IsTruncated != (want == 1000) {
			t.Fatalf("a page of %d parts, truncated %t", len(page.Part), page.IsTruncated)
		}
		for _, p := range page.Part {
			if w := u.listed[listed]; p.PartNumber != w.number || p.ETag != w.etag || p.Size != int64(size(listed)) {
				t.Fatalf("listed %+v, want %+v", p, w)
			}
			listed++
		}
		marker = page.NextPartNumberMarker
	}
	u.through(b).complete()
	wantObject(t, a, "/bucket/k", body, 30)
	if left := a.records(); len(left) != 1 {
		t.Errorf("%d records left", len(left))
	}
}

// listedParts is the answer of ListParts.
type listedParts struct {
	IsTruncated          bool
	NextPartNumberMarker string
	Part                 []struct {
		PartNumber    int
		ETag          string
		Size          int64
		ChecksumCRC32 string
	}
}

func listPartsOf(t testing.TB, u *testUpload, query ...string) (l listedParts) {
	t.Helper()
	c := u.request(http.MethodGet, 0, nil)
	for p := range slices.Chunk(query, 2) {
		c.query.Set(p[0], p[1])
	}
	r := u.g.do(c)
	r.want(t, 200, "")
	if err := xml.Unmarshal(r.body, &l); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestListParts: ListParts returns the current attempts with plaintext sizes,
// also staged ones, in pages. A client that finds an upload by listing can
// continue and complete it.
func TestListParts(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
	u := g.begin("/bucket/k")
	u.part(1, pattern(2000, 1))
	u.part(3, pattern(10, 1)) // staged
	u.part(2, pattern(3000, 2))
	u.part(2, pattern(3001, 3)) // again
	if l := listPartsOf(t, u, "max-parts", "2"); !l.IsTruncated || len(l.Part) != 2 || l.NextPartNumberMarker != "2" {
		t.Errorf("%+v", l)
	}
	if l := listPartsOf(t, u, "part-number-marker", "2"); l.IsTruncated || len(l.Part) != 1 || l.Part[0].PartNumber != 3 || l.Part[0].Size != 10 {
		t.Errorf("%+v", l)
	}
	for _, bad := range [][2]string{{"max-parts", "-1"}, {"max-parts", "x"}, {"part-number-marker", "-2"}} {
		c := u.request(http.MethodGet, 0, nil)
		c.query.Set(bad[0], bad[1])
		g.do(c).want(t, 400, "InvalidArgument")
	}
	// This is how a container registry continues after a restart.
	r := g.do(clientRequest{method: http.MethodGet, path: "/bucket", query: url.Values{"uploads": {""}, "prefix": {"k"}}})
	var uploads struct {
		Upload []struct{ Key, UploadId string }
	}
	if err := xml.Unmarshal(r.body, &uploads); err != nil || len(uploads.Upload) != 1 {
		t.Fatalf("%v: %s", err, r.body)
	}
	again := &testUpload{g: g, path: "/bucket/" + uploads.Upload[0].Key, id: uploads.Upload[0].UploadId}
	for i, p := range listPartsOf(t, again).Part {
		if want := []int64{2000, 3001, 10}[i]; p.Size != want {
			t.Errorf("part %d has %d bytes, want %d", p.PartNumber, p.Size, want)
		}
		again.listed = append(again.listed, testPart{number: p.PartNumber, etag: p.ETag})
	}
	again.complete()
	wantObject(t, g, "/bucket/k", slices.Concat(pattern(2000, 1), pattern(3001, 3), pattern(10, 1)), 10)
}

// TestMultipartAttempts: two attempts of a part have different keys, and a
// Complete takes the later one.
func TestMultipartAttempts(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
	same := pattern(2000, 1)
	u := g.begin("/bucket/k")
	nonces := map[[16]byte]bool{}
	attempt := func() []byte {
		u.part(1, same)
		up, err := g.State.FindUpload(t.Context(), testBucket, "k", u.id)
		if err != nil {
			t.Fatal(err)
		}
		recorded, err := g.State.Attempts(t.Context(), up, 1)
		if err != nil || len(recorded) != 1 {
			t.Fatalf("%v, %d attempts", err, len(recorded))
		}
		nonces[recorded[0].Nonce] = true
		return g.upstream.uploadParts(u.id)[1].body
	}
	first, second := attempt(), attempt()
	// Byte 4 to 16 of a stream are its DARE nonce. With the same part key the
	// same package would also share no ciphertext: the keys are compared by the
	// records.
	if len(nonces) != 2 {
		t.Error("one part nonce for two attempts")
	}
	if bytes.Equal(first[:16], second[:16]) || bytes.Equal(first[16:], second[16:]) {
		t.Error("two attempts share their stream")
	}
	u.completeWith(u.listed[:1]).want(t, 400, "InvalidPart")
	u.completeWith(u.listed[1:]).want(t, 200, "")
	wantObject(t, g, "/bucket/k", same, 5)

	// A small attempt after a large one, and the other way round.
	for i, sizes := range [][2]int{{2000, 5}, {5, 2000}} {
		u := g.begin("/bucket/mixed")
		u.part(1, pattern(sizes[0], 1))
		u.part(1, pattern(sizes[1], 2))
		for _, name := range g.records() { // the clock of the mixed stores: the staged attempt came later, or earlier
			if strings.Contains(name, "/p-") {
				g.upstream.edit(testStateBucket, name, func(o *memObject) { o.modified = o.modified.Add(time.Hour - time.Duration(i)*2*time.Hour) })
			}
		}
		if l := listPartsOf(t, u); len(l.Part) != 1 || l.Part[0].Size != int64(sizes[1]) {
			t.Errorf("%d: listed as %+v", i, l)
		}
		u.completeWith(u.listed[1:]).want(t, 200, "")
		wantObject(t, g, "/bucket/mixed", pattern(sizes[1], 2), 3)
	}
}

// TestMultipartRefusals: what a Complete or a part may not say.
func TestMultipartRefusals(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
	u := g.begin("/bucket/k")
	one, two, three := u.part(1, pattern(2000, 1)), u.part(2, pattern(999, 2)), u.part(3, pattern(2000, 3))
	for name, c := range map[string]struct {
		parts []testPart
		code  string
	}{
		"small one in the middle": {[]testPart{one, two, three}, "EntityTooSmall"},
		"order":                   {[]testPart{three, one}, "InvalidPartOrder"},
		"twice":                   {[]testPart{one, one}, "InvalidPartOrder"},
		"another's ETag":          {[]testPart{{number: 1, etag: three.etag}}, "InvalidPart"},
		"unknown part":            {[]testPart{one, {number: 4, etag: one.etag}}, "InvalidPart"},
		"no ETag":                 {[]testPart{{number: 1}}, "MalformedXML"},
		"none":                    {nil, "MalformedXML"},
		"part 0":                  {[]testPart{{number: 0, etag: one.etag}}, "InvalidArgument"},
		"part 10,000":             {[]testPart{one, {number: 10_000, etag: one.etag}}, "InvalidPart"},
		"checksum":                {[]testPart{{1, one.etag, "<ChecksumCRC32>AAAAAA==</ChecksumCRC32>"}}, "InvalidPart"},
	} {
		if r := u.completeWith(c.parts); r.status != 400 || r.code != c.code {
			t.Errorf("%s: %d %s, want %s", name, r.status, r.code, c.code)
		}
	}
	u.completeWith([]testPart{one}, s3.HeaderMPObjectSize, "1999").want(t, 400, "InvalidRequest")
	for _, n := range []int{-1, 10_000, 10_001} {
		u.try(n, []byte("x")).want(t, 400, "InvalidArgument")
	}
	c := u.request(http.MethodPut, 1, pattern(3000, 9))
	c.mode, c.spoil = modeUnsigned, nil
	c.header.Set("X-Amz-Checksum-Crc32", sumText("CRC32", []byte("other")))
	g.do(c).want(t, 400, "BadDigest")
	// None of that damaged the upload.
	u.completeWith([]testPart{one, three}, s3.HeaderMPObjectSize, "4000").want(t, 200, "")
	wantObject(t, g, "/bucket/k", slices.Concat(pattern(2000, 1), pattern(2000, 3)), 5)
}

// TestMultipartCustomerKey: with SSE-C each part needs the key, and the right
// one.
func TestMultipartCustomerKey(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withTLS()).withSmallParts()
	key, other := customerHeaders('c'), customerHeaders('d')
	u := g.begin("/bucket/k", key...)
	u.try(1, pattern(2000, 1)).want(t, 400, "InvalidRequest")
	u.try(1, pattern(2000, 1), other...).want(t, 400, "InvalidRequest")
	if n := len(g.upstream.uploadParts(u.id)); n != 0 {
		t.Errorf("%d parts upstream", n)
	}
	u.read = key
	u.part(1, pattern(2000, 1))
	u.part(2, pattern(20, 2))
	u.complete()
	wantObject(t, g, "/bucket/k", slices.Concat(pattern(2000, 1), pattern(20, 2)), 5, key...)
	g.get("/bucket/k").want(t, 400, "InvalidRequest")
	g.get("/bucket/k", other...).want(t, 403, "AccessDenied")

	// The key is not valid for another upload.
	for _, pairs := range [][]string{nil, {s3.HeaderSSE, s3.AES256}} {
		u := g.begin("/bucket/k", pairs...)
		u.try(1, pattern(2000, 1), key...).want(t, 400, "InvalidRequest")
		if n := len(g.upstream.uploadParts(u.id)); n != 0 {
			t.Errorf("%v: %d parts upstream", pairs, n)
		}
	}
}

// TestStagedPartFails: a client does not get the state bucket's error for a part
// that is staged there.
func TestStagedPartFails(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	u := g.begin("/bucket/k")
	g.upstream.on(http.MethodPut, "/"+testStateBucket, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "<Error><Code>AccessDenied</Code><Message>"+testStateBucket+"</Message></Error>")
	})
	r := u.try(1, []byte("small"))
	r.want(t, 503, "ServiceUnavailable")
	if bytes.Contains(r.body, []byte(testStateBucket)) {
		t.Errorf("answered %s", r.body)
	}
	g.upstream.unhook()
	u.part(1, []byte("small"))
	u.complete()
	wantObject(t, g, "/bucket/k", []byte("small"), 1)
}

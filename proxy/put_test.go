package proxy

import (
	"bytes"
	"crypto/md5" //nolint:gosec // SSE-C names its keys by MD5
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssegw/kms/kmstest"
	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// clientModes are all ways in which clients send bodies.
var clientModes = []string{modeHash, modeUnsigned, modeTrailer, modeSigned, modeSignedTrailer}

// checksumAlgorithms are all that S3 knows.
var checksumAlgorithms = []string{
	"CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256", "SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128",
}

// edgeSizes lie around the bounds of packages and of small bodies.
var edgeSizes = []int{0, 1, 65535, 65536, 65537, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3 << 20}

// customerHeaders are the three headers of SSE-C for a key made of one byte.
func customerHeaders(fill byte) []string {
	key := bytes.Repeat([]byte{fill}, 32)
	sum := md5.Sum(key) //nolint:gosec // see the import
	return []string{
		s3.HeaderSSECAlgorithm, s3.AES256,
		s3.HeaderSSECKey, base64.StdEncoding.EncodeToString(key),
		s3.HeaderSSECKeyMD5, base64.StdEncoding.EncodeToString(sum[:]),
	}
}

// testScheme is a way to ask for encryption.
type testScheme struct {
	name  string
	write []string // headers of a PUT
	read  []string // headers of a GET or HEAD
	shown []string // headers of every answer
}

// testContext is an encryption context as clients send it; testContextShown is
// the same as canonical JSON, which answers carry.
var (
	testContext      = base64.StdEncoding.EncodeToString([]byte(`{ "b":"2", "a":"1" }`))
	testContextShown = base64.StdEncoding.EncodeToString([]byte(`{"a":"1","b":"2"}`))
)

func testSchemes() []testScheme {
	key := customerHeaders('c')
	return []testScheme{
		{name: "SSE-S3", write: []string{s3.HeaderSSE, s3.AES256}, shown: []string{s3.HeaderSSE, s3.AES256}},
		{
			name:  "SSE-KMS",
			write: []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "arn:aws:kms:" + kmstest.DefaultKey, s3.HeaderSSEContext, testContext},
			shown: []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "arn:aws:kms:" + kmstest.DefaultKey, s3.HeaderSSEContext, testContextShown},
		},
		{
			name:  "SSE-KMS-bucket-key",
			write: []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEBucketKey, "true"},
			shown: []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "arn:aws:kms:" + kmstest.DefaultKey, s3.HeaderSSEBucketKey, "true"},
		},
		{name: "SSE-C", write: key, read: key, shown: []string{s3.HeaderSSECAlgorithm, s3.AES256, s3.HeaderSSECKeyMD5, key[5]}},
	}
}

// sseHeaders are the SSE headers of an answer, as sorted name=value.
func sseHeaders(h http.Header) []string {
	out := []string{}
	for name, values := range h {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, s3.SSEPrefix) {
			out = append(out, lower+"="+strings.Join(values, "|"))
		}
	}
	slices.Sort(out)
	return out
}

// TestRoundTrip writes objects of all sizes, schemes and framings and reads
// them back in every way that shows their size, ETag and encryption.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, framing := range []upstream.Framing{upstream.FramingTrailer, upstream.FramingSigned, upstream.FramingPlain} {
		t.Run(framing.String(), func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withTLS(), withFraming(framing))
			n := 0
			for _, scheme := range testSchemes() {
				for _, size := range edgeSizes {
					mode := clientModes[n%len(clientModes)]
					n++
					path := fmt.Sprintf("/%s/%s-%d", testBucket, scheme.name, size)
					t.Run(fmt.Sprintf("%s/%d/%s", scheme.name, size, mode), func(t *testing.T) {
						roundTrip(t, g, scheme, path, pattern(size, uint64(n)), mode)
					})
				}
			}
			checkListings(t, g, n)
		})
	}
}

func roundTrip(t *testing.T, g *testGateway, scheme testScheme, path string, body []byte, mode string) {
	var shown []string
	for p := range slices.Chunk(scheme.shown, 2) {
		shown = append(shown, p[0]+"="+p[1])
	}
	slices.Sort(shown)

	w := g.do(clientRequest{method: "PUT", path: path, body: body, mode: mode, header: headers(append(scheme.write, "X-Amz-Meta-Who", "me")...)})
	w.want(t, 200, "")
	head := g.head(path, scheme.read...)
	head.want(t, 200, "")
	read := g.get(path, scheme.read...)
	read.want(t, 200, "")
	if !bytes.Equal(read.body, body) {
		t.Fatalf("read %d bytes, not those that were written", len(read.body))
	}
	for _, a := range []clientAnswer{w, head, read} {
		if diff := cmp.Diff(shown, sseHeaders(a.header)); diff != "" {
			t.Errorf("SSE headers (-want +got):\n%s", diff)
		}
		if a.header.Get("ETag") != w.header.Get("ETag") || !strings.HasSuffix(a.header.Get("ETag"), `-1"`) {
			t.Errorf("ETag %s after %s", a.header.Get("ETag"), w.header.Get("ETag"))
		}
		if a.header.Get(sealer.MetadataKey) != "" {
			t.Error("the sealed header reaches the client")
		}
	}
	for _, a := range []clientAnswer{head, read} {
		if a.header.Get("Content-Length") != strconv.Itoa(len(body)) || a.header.Get("X-Amz-Meta-Who") != "me" {
			t.Errorf("Content-Length %s, metadata %q", a.header.Get("Content-Length"), a.header.Get("X-Amz-Meta-Who"))
		}
	}
	_, key, _ := strings.Cut(path[1:], "/")
	checkSecrecy(t, g, key, body)
}

// checkSecrecy looks for the plaintext and its digests in what the store got.
func checkSecrecy(t *testing.T, g *testGateway, key string, body []byte) {
	t.Helper()
	o := g.upstream.object(testBucket, key)
	if !isSealed(o) {
		t.Fatal("the stored object is not sealed")
	}
	for at := 0; at+16 <= len(body); at += 16_001 { // several in every package
		if bytes.Contains(o.body, body[at:at+16]) {
			t.Fatalf("plaintext from %d on is stored", at)
		}
	}
	if len(body) == 0 {
		return // the digests of nothing are known to all
	}
	seen := fmt.Sprint(o.header)
	for _, r := range g.upstream.requests("/" + testBucket + "/" + key) {
		seen += fmt.Sprint(r.Header)
	}
	for _, algorithm := range checksumAlgorithms {
		sum := sumText(algorithm, body)
		raw, _ := base64.StdEncoding.DecodeString(sum)
		for _, form := range []string{sum, hex.EncodeToString(raw)} {
			if strings.Contains(seen, form) || bytes.Contains(o.body, []byte(form)) || len(raw) >= 8 && bytes.Contains(o.body, raw) {
				t.Errorf("the %s of the plaintext reaches the store", algorithm)
			}
		}
	}
}

// checkListings compares the three listings with HEAD. The first gateway knows
// the sizes; a second one has to ask.
func checkListings(t *testing.T, g *testGateway, objects int) {
	replica := newGateway(t, withTLS(), withUpstream(g.upstream), withKES(g.kes))
	for _, server := range []*testGateway{g, replica} {
		for _, query := range []string{"list-type=2", "prefix=SSE", "versions="} {
			entries := server.list(testBucket, query)
			if len(entries) != objects {
				t.Fatalf("%s: %d entries, want %d", query, len(entries), objects)
			}
			for _, e := range entries {
				size := e.Key[strings.LastIndexByte(e.Key, '-')+1:]
				want := `"` + g.upstream.look(testBucket, e.Key).etag + `-1"`
				if strconv.FormatInt(e.Size, 10) != size || e.ETag != want {
					t.Errorf("%s: %s is listed with %d bytes and ETag %s, want %s", query, e.Key, e.Size, e.ETag, want)
				}
			}
		}
	}
}

// TestPutChecksums writes with each checksum algorithm, in a header and as a
// trailer: it is shown on PUT and, where asked for, on GET and HEAD; it never
// reaches the store of a sealed object and always that of a plain one.
func TestPutChecksums(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, algorithm := range checksumAlgorithms {
		for _, size := range []int{5, 1<<20 + 5} {
			for _, mode := range []string{modeHash, modeUnsigned, modeTrailer, modeSignedTrailer} {
				for _, sealed := range []bool{true, false} {
					t.Run(fmt.Sprintf("%s/%d/%s/%t", algorithm, size, mode, sealed), func(t *testing.T) {
						checksumRoundTrip(t, g, algorithm, mode, pattern(size, 3), sealed)
					})
				}
			}
		}
	}
}

func checksumRoundTrip(t *testing.T, g *testGateway, algorithm, mode string, body []byte, sealed bool) {
	h, name, sum := http.Header{}, "X-Amz-Checksum-"+algorithm, sumText(algorithm, body)
	if mode == modeHash || mode == modeUnsigned {
		h.Set(name, sum)
	}
	if sealed {
		h.Set(s3.HeaderSSE, s3.AES256)
	}
	w := g.do(clientRequest{method: "PUT", path: "/bucket/sum", body: body, mode: mode, algorithm: algorithm, header: h})
	w.want(t, 200, "")
	if got := w.header.Get(name); got != sum {
		t.Errorf("PUT shows %q, want %q", got, sum)
	}
	stored := g.upstream.look(testBucket, "sum").header.Get(name)
	if want := map[bool]string{true: "", false: sum}[sealed]; stored != want && (!sealed || algorithm != "CRC32C" || stored == sum) {
		t.Errorf("the store keeps %q, want %q", stored, want)
	}
	for _, method := range []string{"GET", "HEAD"} {
		r := g.do(clientRequest{method: method, path: "/bucket/sum", header: headers(s3.HeaderChecksumMode, "ENABLED")})
		r.want(t, 200, "")
		if r.header.Get(name) != sum {
			t.Errorf("%s shows %q, want %q", method, r.header.Get(name), sum)
		}
	}
	if !sealed {
		return
	}
	if r := g.get("/bucket/sum"); r.header.Get(name) != "" || r.header.Get("X-Amz-Checksum-Crc32c") != "" {
		t.Error("a checksum is shown that nobody asked for")
	}
}

// TestPutKMSCalls counts what a write and its reads cost at KES.
func TestPutKMSCalls(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.kes.ResetRequests()
	g.put("/bucket/k", pattern(10, 1), s3.HeaderSSE, s3.AWSKMS).want(t, 200, "")
	if n := g.kes.Requests(kmstest.OpGenerate); n != 1 {
		t.Errorf("a PUT made %d data keys", n)
	}
	before := g.kes.AllRequests()
	g.head("/bucket/k").want(t, 200, "")
	g.list(testBucket, "list-type=2")
	if diff := cmp.Diff(before, g.kes.AllRequests()); diff != "" {
		t.Errorf("HEAD and LIST ask KES:\n%s", diff)
	}
	g.get("/bucket/k").want(t, 200, "")
	if n := g.kes.Requests(kmstest.OpDecrypt); n > 1 {
		t.Errorf("a GET opened %d data keys", n)
	}
}

// TestPutOverwrites replaces an object by each kind of other.
func TestPutOverwrites(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/k", pattern(100, 1)).want(t, 200, "")
	g.put("/bucket/k", pattern(3<<20, 2), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	if r := g.get("/bucket/k"); !bytes.Equal(r.body, pattern(3<<20, 2)) {
		t.Error("sealed over plain is not read back")
	}
	g.put("/bucket/k", pattern(100, 3)).want(t, 200, "")
	r := g.get("/bucket/k")
	if !bytes.Equal(r.body, pattern(100, 3)) || len(sseHeaders(r.header)) > 0 || strings.Contains(r.header.Get("ETag"), "-") {
		t.Errorf("plain over sealed is not read back: %d %v", r.status, r.header)
	}
}

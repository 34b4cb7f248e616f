package proxy

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// A liar stands between a gateway and the store, and answers in any way. Three
// things must hold for the gateway: no client gets a wrong byte and a clean
// end, the store gets no plaintext, and the process does not end.

// marker is in every 64 bytes of the plaintexts, to find any piece that reaches
// the store.
const marker = "plaintext-marker"

// markedBody returns size bytes of plaintext that differ between seeds.
func markedBody(size int, seed uint64) []byte {
	b := pattern(size, seed)
	for at := 0; at+len(marker) <= size; at += 64 {
		copy(b[at:], marker)
	}
	return b
}

// liar answers the requests for objects and upload records. Each answer follows
// the next byte of its tape. After the end of the tape it is honest.
type liar struct {
	mu    sync.Mutex
	tape  []byte
	leaks []string // requests with plaintext in their bodies
}

// next takes n bytes of the tape, and zeros after its end.
func (l *liar) next(n int) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]byte, n)
	l.tape = l.tape[copy(out, l.tape):]
	return out
}

// answer is the hook.
func (l *liar) answer(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if strings.HasSuffix(r.URL.Path, "/"+state.RulesObject) || strings.HasSuffix(r.URL.Path, "/"+state.RootObject) {
		next.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if bytes.Contains(body, []byte(marker)) {
		l.mu.Lock()
		l.leaks = append(l.leaks, r.Method+" "+r.URL.String())
		l.mu.Unlock()
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failingReader{}))
	}
	bytes := l.next(3)
	lies[int(bytes[0])%len(lies)](w, r, next, int(bytes[1]), int(bytes[2]))
}

// honest is what the store answers.
func honest(r *http.Request, next http.Handler) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	next.ServeHTTP(w, r)
	return w
}

// send sends an answer, even if its Content-Length is wrong.
func send(w http.ResponseWriter, status int, h http.Header, body []byte) {
	maps.Copy(w.Header(), h)
	if n := h.Get("Content-Length"); n != "" && n != strconv.Itoa(len(body)) {
		// net/http keeps to a length that was announced; the connection ends
		// where it can't.
		w.WriteHeader(max(status, 200))
		_, _ = w.Write(body)
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(max(status, 200))
	_, _ = w.Write(body)
}

// statuses are what a lie's status is taken from.
var statuses = []int{200, 201, 204, 206, 299, 301, 304, 307, 400, 401, 403, 404, 405, 409, 411, 412, 416, 429, 500, 501, 503, 599}

// liedHeaders are the headers that lies are about.
var liedHeaders = []string{
	"ETag", "Content-Length", "Content-Range", "Content-Type", "Last-Modified", sealer.MetadataKey, "X-Amz-Version-Id", "X-Amz-Meta-A",
	"X-Amz-Delete-Marker", "Content-Encoding", "X-Amz-Missing-Meta", "X-Amz-Mp-Parts-Count", "Location", "X-Evil", "X-Amz-Evil", "Set-Cookie",
}

// liedValues are values of such headers; some are those of other objects, which
// tamper makes.
var liedValues = []string{"", "0", "1", "-1", "9223372036854775807", "bytes 0-9/10", "bytes 0-1/2", "bytes */0", "junk", `"junk-1"`, "text/html", "AQ", "\u00e9", "true", "Thu, 01 Dec 1994 16:00:00 GMT"}

// errorDocument is an S3 error, or what a store takes for one.
func errorDocument(kind int) string {
	codes := []string{"NoSuchKey", "NoSuchUpload", "NoSuchBucket", "AccessDenied", "PreconditionFailed", "InvalidRange", "SlowDown", "InternalError", "XEvil"}
	if kind%4 == 3 {
		return "<html><script>evil()</script></html>"
	}
	return "<Error><Code>" + codes[kind%len(codes)] + "</Code><Message>m</Message></Error>"
}

// lies are what a liar does with a request. a and b choose among variants.
var lies = []func(w http.ResponseWriter, r *http.Request, next http.Handler, a, b int){
	func(w http.ResponseWriter, r *http.Request, next http.Handler, _, _ int) { next.ServeHTTP(w, r) },
	// A status without a document, without the request being carried out.
	func(w http.ResponseWriter, _ *http.Request, _ http.Handler, a, _ int) {
		w.WriteHeader(statuses[a%len(statuses)])
	},
	// A status with a document.
	func(w http.ResponseWriter, _ *http.Request, _ http.Handler, a, b int) {
		w.Header().Set("Content-Type", []string{"application/xml", "text/html", ""}[b%3])
		w.WriteHeader(statuses[a%len(statuses)])
		_, _ = io.WriteString(w, errorDocument(b))
	},
	// The request is carried out, and the answer is wrong.
	func(w http.ResponseWriter, r *http.Request, next http.Handler, a, b int) {
		honest(r, next)
		w.WriteHeader(statuses[a%len(statuses)])
		_, _ = io.WriteString(w, errorDocument(b))
	},
	// The right answer under another status.
	func(w http.ResponseWriter, r *http.Request, next http.Handler, a, _ int) {
		right := honest(r, next)
		send(w, statuses[a%len(statuses)], right.Header(), right.Body.Bytes())
	},
	// A header is missing or wrong.
	func(w http.ResponseWriter, r *http.Request, next http.Handler, a, b int) {
		right := honest(r, next)
		h := right.Header()
		if v := liedValues[b%len(liedValues)]; v == "" {
			h.Del(liedHeaders[a%len(liedHeaders)])
		} else {
			h.Set(liedHeaders[a%len(liedHeaders)], v)
		}
		send(w, right.Code, h, right.Body.Bytes())
	},
	// The answer is cut, or its connection is.
	func(w http.ResponseWriter, r *http.Request, next http.Handler, a, b int) {
		right := honest(r, next)
		body := right.Body.Bytes()
		h := right.Header()
		if b%2 == 0 {
			h.Del("Content-Length") // so that the end is a clean one
		}
		send(w, right.Code, h, body[:len(body)*(a%8)/8])
	},
	// A byte of the answer is changed.
	func(w http.ResponseWriter, r *http.Request, next http.Handler, a, b int) {
		right := honest(r, next)
		body := right.Body.Bytes()
		if len(body) > 0 {
			body[(a<<8|b)*131%len(body)] ^= byte(1 + b)
		}
		send(w, right.Code, right.Header(), body)
	},
	// Bytes follow the answer, or it comes twice.
	func(w http.ResponseWriter, r *http.Request, next http.Handler, a, _ int) {
		right := honest(r, next)
		body := right.Body.Bytes()
		right.Header().Del("Content-Length")
		if a%2 == 0 {
			body = append(body, body...)
		} else {
			body = append(body, bytes.Repeat([]byte("x"), a)...)
		}
		send(w, right.Code, right.Header(), body)
	},
	// Another object's answer.
	func(w http.ResponseWriter, r *http.Request, next http.Handler, a, _ int) {
		other := r.Clone(r.Context())
		other.URL.Path = "/" + testBucket + "/" + liedKeys[a%len(liedKeys)]
		next.ServeHTTP(w, other)
	},
	// The bytes of one object under the headers of another.
	func(w http.ResponseWriter, r *http.Request, next http.Handler, a, _ int) {
		right := honest(r, next)
		other := r.Clone(r.Context())
		other.Method, other.URL.Path = http.MethodGet, "/"+testBucket+"/"+liedKeys[a%len(liedKeys)]
		body := honest(other, next).Body.Bytes()
		right.Header().Set("Content-Length", strconv.Itoa(len(body)))
		send(w, right.Code, right.Header(), body)
	},
	// Range and conditions are not honoured.
	func(w http.ResponseWriter, r *http.Request, next http.Handler, a, _ int) {
		for i, name := range []string{"Range", "If-Match", "If-None-Match", "X-Amz-Copy-Source-If-Match"} {
			if a>>i&1 == 0 {
				r.Header.Del(name)
			}
		}
		next.ServeHTTP(w, r)
	},
	// Nothing is carried out, and the answer reports success.
	func(w http.ResponseWriter, _ *http.Request, _ http.Handler, _, _ int) {
		w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
	},
	// The connection breaks before the answer, carried out or not.
	func(_ http.ResponseWriter, r *http.Request, next http.Handler, a, _ int) {
		if a%2 == 0 {
			honest(r, next)
		}
		panic(http.ErrAbortHandler)
	},
	// An interim answer, and then the right one.
	func(w http.ResponseWriter, r *http.Request, next http.Handler, a, _ int) {
		w.WriteHeader([]int{102, 103, 199}[a%3])
		next.ServeHTTP(w, r)
	},
	// Text of the answer's document is changed.
	func(w http.ResponseWriter, r *http.Request, next http.Handler, a, b int) {
		right := honest(r, next)
		right.Header().Del("Content-Length")
		pairs := [][2]string{
			{"false", "true"}, {"<Key>", "<Key>../"}, {"<Size>", "<Size>9"}, {"<ETag>", "<ETag>x"}, {"<UploadId>", "<UploadId>1"},
			{"</", "<"}, {"<PartNumber>", "<PartNumber>1"}, {"Result", "Resulty"}, {"&#34;", ""},
		}
		p := pairs[a%len(pairs)]
		send(w, right.Code, right.Header(), []byte(strings.Replace(right.Body.String(), p[0], p[1], 1+b%3)))
	},
}

// liedKeys are the objects that are there before the lying begins.
var liedKeys = []string{"empty", "small", "long", "parts", "plain-type"}

// liedBodies are their plaintexts, and those of the objects written during the
// lying.
var liedBodies = map[string][]byte{
	"empty": {}, "small": markedBody(1000, 1), "long": markedBody(3*sealer.PackageSize+5, 2), "plain-type": markedBody(70_000, 3),
	"parts": markedBody(3*2000, 4), "put": markedBody(5000, 5), "streamed": markedBody(smallBody+1000, 6), "made": markedBody(2*2000+10, 7),
}

// newLiedTo returns a gateway that has a bucket with a rule, and objects in it.
func newLiedTo(t testing.TB) *testGateway {
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256, SealedOnly: true}), withUpstreamIdle(time.Second)).withSmallParts()
	for _, key := range liedKeys {
		if key == "parts" {
			u := g.begin("/bucket/parts")
			for i, part := range slices.Collect(slices.Chunk(liedBodies[key], 2000)) {
				u.part(i+1, part)
			}
			u.complete()
			continue
		}
		g.put("/bucket/"+key, liedBodies[key], "X-Amz-Meta-A", "1").want(t, 200, "")
	}
	return g
}

// reset makes the store what newLiedTo left, so that runs do not build on each
// other.
func (u *memUpstream) snapshot() (reset func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	kept := map[string]map[string]*memObject{}
	for name, objects := range u.buckets {
		kept[name] = maps.Clone(objects)
	}
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		for name, objects := range kept {
			u.buckets[name] = maps.Clone(objects)
		}
		u.uploads, u.seen, u.hooks, u.docs = nil, nil, nil, map[string][]byte{}
	}
}

// lieTo lies to a gateway, following the tape, while a client uses most
// operations. It checks the three things, then again with an honest store.
func lieTo(t testing.TB, g *testGateway, tape []byte) {
	t.Helper()
	l := &liar{tape: tape}
	g.upstream.on("", "/bucket", l.answer)
	g.upstream.on("", "/"+testStateBucket, l.answer)
	for round := range 2 {
		for _, key := range append(slices.Clone(liedKeys), "put", "streamed", "made", "copy") {
			readLied(t, g, key)
		}
		g.do(clientRequest{method: "GET", path: "/bucket", query: url.Values{"list-type": {"2"}}})
		g.do(clientRequest{method: "GET", path: "/bucket", query: url.Values{"versions": {""}}})
		g.do(clientRequest{method: "POST", path: "/bucket", query: url.Values{"delete": {""}}, body: []byte("<Delete><Object><Key>small</Key><Size>7</Size></Object></Delete>")})
		g.put("/bucket/put", liedBodies["put"])
		g.put("/bucket/streamed", liedBodies["streamed"], "X-Amz-Sdk-Checksum-Algorithm", "")
		g.put("/bucket/copy", nil, s3.HeaderCopySource, "bucket/long")
		uploadLied(g)
		if round == 0 {
			g.upstream.unhook()
		}
	}
	if len(l.leaks) > 0 {
		t.Fatalf("the store got plaintext: %q", l.leaks)
	}
	for key := range g.upstream.buckets[testBucket] {
		if o := g.upstream.object(testBucket, key); bytes.Contains(o.body, []byte(marker)) {
			t.Fatalf("the store has plaintext of %s", key)
		}
	}
	if n := g.counter("ssegw_panics_total"); n != 0 {
		t.Fatalf("%v panics: %v", n, g.logs.FilterMessage("panic").All())
	}
}

// readLied reads an object in several ways. What ends cleanly is right.
func readLied(t testing.TB, g *testGateway, key string) {
	t.Helper()
	want, ok := liedBodies[key]
	if key == "copy" {
		want, ok = liedBodies["long"], true
	}
	if !ok {
		t.Fatalf("no body of %s", key)
	}
	size := len(want)
	for _, span := range []string{"", "bytes=0-99", "bytes=-10", fmt.Sprintf("bytes=%d-%d", size/2, size/2+700)} {
		r := g.do(clientRequest{method: "GET", path: "/bucket/" + key, header: headers("Range", span)})
		checkLied(t, key+" "+span, r)
		switch {
		case r.err != nil || r.status >= 300:
		case r.status == 200 && !bytes.Equal(r.body, want):
			t.Fatalf("GET of %s: %d bytes, and wrong ones", key, len(r.body))
		case r.status == 206:
			var first, last, total int
			if _, err := fmt.Sscanf(r.header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total); err != nil || total != size || last >= size || !bytes.Equal(r.body, want[first:last+1]) {
				t.Fatalf("GET %s of %s: %q, %d bytes, and wrong ones", span, key, r.header.Get("Content-Range"), len(r.body))
			}
		}
	}
	r := g.head("/bucket/" + key)
	checkLied(t, key+" HEAD", r)
	if r.status == 200 && r.header.Get("Content-Length") != strconv.Itoa(size) {
		t.Fatalf("HEAD of %s: %s bytes, want %d", key, r.header.Get("Content-Length"), size)
	}
}

// checkLied checks what holds for every answer.
func checkLied(t testing.TB, what string, r clientAnswer) {
	t.Helper()
	for _, name := range []string{"X-Evil", "X-Amz-Evil", "Set-Cookie", sealer.MetadataKey} {
		if v := r.header.Get(name); v != "" {
			t.Fatalf("%s: the client gets %s: %s", what, name, v)
		}
	}
	if r.status >= 300 && bytes.Contains(r.body, []byte("<script>")) && strings.HasPrefix(r.header.Get("Content-Type"), "text/html") {
		t.Fatalf("%s: the client gets a page of the store's", what)
	}
}

// uploadLied makes an object in parts, as far as the gateway lets it.
func uploadLied(g *testGateway) {
	r := g.do(clientRequest{method: http.MethodPost, path: "/bucket/made", query: url.Values{"uploads": {""}}})
	_, rest, _ := strings.Cut(string(r.body), "<UploadId>")
	id, _, ok := strings.Cut(rest, "</UploadId>")
	if !ok {
		return
	}
	u := &testUpload{g: g, path: "/bucket/made", id: id}
	var listed []testPart
	for i, part := range slices.Collect(slices.Chunk(liedBodies["made"], 2000)) {
		second := ""                                                        // the ETag of the second attempt, if that succeeded
		for _, attempt := range [][]byte{markedBody(len(part), 99), part} { // the second takes the first one's place
			if r := u.try(i+1, attempt); r.status != 200 {
				second = ""
			} else {
				second = r.header.Get("ETag")
			}
		}
		if second != "" {
			listed = append(listed, testPart{number: i + 1, etag: second})
		}
	}
	g.do(u.request(http.MethodGet, 0, nil))
	if len(listed) == 3 {
		u.completeWith(listed)
		u.completeWith(listed)
	} else {
		g.do(u.request(http.MethodDelete, 0, nil))
	}
}

// tapes are the seeds: each lie to each kind of request, and random ones.
func tapes(random int) [][]byte {
	var out [][]byte
	for i := range lies {
		for variant := range 4 {
			tape := bytes.Repeat([]byte{byte(i), byte(variant), byte(variant * 7)}, 300)
			out = append(out, tape)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range random {
		tape := make([]byte, 3*(1+r.IntN(200)))
		for i := range tape {
			if i%3 != 0 || r.IntN(3) == 0 { // most answers are honest, so that the client gets somewhere
				tape[i] = byte(r.Uint32())
			}
		}
		out = append(out, tape)
	}
	return out
}

// TestLiar tries all seeds.
func TestLiar(t *testing.T) {
	t.Parallel()
	const each = 10
	all := tapes(60)
	for first := 0; first < len(all); first += each {
		t.Run(fmt.Sprint("from ", first), func(t *testing.T) {
			t.Parallel()
			g := newLiedTo(t)
			reset := g.upstream.snapshot()
			for i, tape := range all[first:min(first+each, len(all))] {
				reset()
				lieTo(t, g, tape)
				if t.Failed() {
					t.Fatalf("tape %d", first+i)
				}
			}
		})
	}
}

// FuzzLiar looks for more lies.
func FuzzLiar(f *testing.F) {
	seeds := tapes(20)
	if flag.Lookup("test.fuzz").Value.String() == "" {
		seeds = seeds[:5] // TestLiar tells all of them
	}
	for _, tape := range seeds {
		f.Add(tape)
	}
	shared := newLiedTo(f)
	reset := shared.upstream.snapshot()
	f.Fuzz(func(t *testing.T, tape []byte) {
		if len(tape) > 3000 {
			return
		}
		reset()
		g := *shared
		g.t = t
		lieTo(t, &g, tape)
	})
}

package proxy

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// TestCompleteAgain: a Complete can be repeated, at any gateway, also after the
// store's or the gateway's answer was lost.
func TestCompleteAgain(t *testing.T) {
	t.Parallel()
	body := slices.Concat(pattern(2000, 1), pattern(10, 2))
	for name, sse := range map[string][]string{"sealed": {s3.HeaderSSE, s3.AES256}, "plain": nil} {
		for what, spoil := range map[string]func(*testGateway){
			"answered": func(*testGateway) {},
			"answer of the store lost": func(g *testGateway) {
				g.upstream.on(http.MethodPost, "/bucket/k", dropAnswer)
			},
			"killed before the record": func(g *testGateway) {
				g.upstream.on(http.MethodPut, "/"+testStateBucket, answerWith(500, "InternalError"))
			},
		} {
			if name == "plain" && what == "answer of the store lost" {
				continue // nothing says whose object it is
			}
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				g := newGateway(t).withSmallParts()
				other := newGateway(t, withUpstream(g.upstream), withKES(g.kes)).withSmallParts()
				u := g.begin("/bucket/k", sse...)
				for i, p := range [][]byte{body[:2000], body[2000:]} {
					r := u.try(i+1, p)
					r.want(t, 200, "")
					u.listed = append(u.listed, testPart{number: i + 1, etag: r.header.Get("ETag")})
				}
				spoil(g)
				first := u.completeWith(u.listed)
				g.upstream.unhook()
				if what == "answered" {
					first.want(t, 200, "")
				}
				for _, at := range []*testGateway{other, g, other} {
					r := u.through(at).completeWith(u.listed)
					r.want(t, 200, "")
					var doc struct{ ETag string }
					if err := xml.Unmarshal(r.body, &doc); err != nil || doc.ETag != at.head("/bucket/k").header.Get("ETag") {
						t.Errorf("%v: %s", err, r.body)
					}
					if what == "answered" && string(r.body) != string(first.body) {
						t.Errorf("%s, first %s", r.body, first.body)
					}
				}
				wantObject(t, g, "/bucket/k", body, 5)
				u.completeWith(u.listed[:1]).want(t, 404, "NoSuchUpload")
			})
		}
	}
}

// TestCompleteAgainCutShort: a repeated Complete gets its answer also if some
// records could not be removed.
func TestCompleteAgainCutShort(t *testing.T) {
	t.Parallel()
	for name, sse := range map[string][]string{"sealed": {s3.HeaderSSE, s3.AES256}, "plain": nil} {
		for removed := range int64(4) {
			t.Run(fmt.Sprint(name, " after ", removed), func(t *testing.T) {
				t.Parallel()
				g := newGateway(t).withSmallParts()
				u := g.begin("/bucket/k", sse...)
				for i := range 4 {
					r := u.try(i+1, pattern(2000, uint64(i)))
					r.want(t, 200, "")
					u.listed = append(u.listed, testPart{number: i + 1, etag: r.header.Get("ETag")})
				}
				var deletes atomic.Int64
				g.upstream.on(http.MethodDelete, "/"+testStateBucket, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					if deletes.Add(1) > removed {
						answerWith(500, "InternalError")(w, r, next)
						return
					}
					next.ServeHTTP(w, r)
				})
				first := u.completeWith(u.listed)
				first.want(t, 200, "")
				for range 2 {
					again := u.completeWith(u.listed)
					again.want(t, 200, "")
					if diff := cmp.Diff(string(first.body), string(again.body)); diff != "" {
						t.Error(diff)
					}
				}
			})
		}
	}
}

// TestCompleteAgainOtherObject: an object that replaced the upload's is not
// taken for it.
func TestCompleteAgainOtherObject(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(*testGateway){
		"sealed":  func(g *testGateway) { g.put("/bucket/k", []byte("other"), s3.HeaderSSE, s3.AES256).want(t, 200, "") },
		"removed": func(g *testGateway) { g.delete("/bucket/k") },
		"upload": func(g *testGateway) {
			u := g.begin("/bucket/k", s3.HeaderSSE, s3.AES256)
			u.part(1, pattern(2000, 1))
			u.complete()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t).withSmallParts()
			u := g.begin("/bucket/k", s3.HeaderSSE, s3.AES256)
			u.part(1, pattern(2000, 1))
			g.upstream.on(http.MethodPost, "/bucket/k", dropAnswer)
			u.completeWith(u.listed).want(t, 503, "ServiceUnavailable")
			g.upstream.unhook()
			write(g)
			u.completeWith(u.listed).want(t, 404, "NoSuchUpload")
		})
	}
}

// TestCompleteErrorIn200: an error after a status of 200 is an error, for
// sealed uploads and others, and leaves the upload as it was.
func TestCompleteErrorIn200(t *testing.T) {
	t.Parallel()
	for name, sse := range map[string][]string{"sealed": {s3.HeaderSSE, s3.AES256}, "plain": nil} {
		g := newGateway(t).withSmallParts()
		u := g.begin("/bucket/k", sse...)
		r := u.try(1, pattern(2000, 1))
		u.listed = []testPart{{number: 1, etag: r.header.Get("ETag")}}
		g.upstream.on(http.MethodPost, "/bucket/k", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Write([]byte(xml.Header + "<Error><Code>InternalError</Code><Message>again</Message></Error>"))
		})
		if r := u.completeWith(u.listed); r.status != 500 || r.code != "InternalError" {
			t.Errorf("%s: %d %s", name, r.status, r.code)
		}
		g.upstream.on(http.MethodPost, "/bucket/k", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Write([]byte("<html>"))
		})
		if r := u.completeWith(u.listed); r.status != 503 {
			t.Errorf("%s: %d %s", name, r.status, r.code)
		}
		g.upstream.unhook()
		u.completeWith(u.listed).want(t, 200, "")
		wantObject(t, g, "/bucket/k", pattern(2000, 1), 1)
	}
}

// TestCompleteConditions: the store evaluates the conditions, which have the
// ETags that clients know.
func TestCompleteConditions(t *testing.T) {
	t.Parallel()
	for _, sse := range [][]string{{s3.HeaderSSE, s3.AES256}, nil} {
		g := newGateway(t).withSmallParts()
		upload := func(body []byte) *testUpload {
			u := g.begin("/bucket/k", sse...)
			r := u.try(1, body)
			r.want(t, 200, "")
			u.listed = []testPart{{number: 1, etag: r.header.Get("ETag")}}
			return u
		}
		u := upload([]byte("first"))
		u.completeWith(u.listed, "If-Match", `"0123456789abcdef0123456789abcdef-1"`).want(t, 412, "PreconditionFailed")
		u.completeWith(u.listed, "If-None-Match", "*").want(t, 200, "")
		u = upload([]byte("second"))
		u.completeWith(u.listed, "If-None-Match", "*").want(t, 412, "PreconditionFailed")
		u.completeWith(u.listed, "If-Match", `"0123456789abcdef0123456789abcdef-1"`).want(t, 412, "PreconditionFailed")
		u.completeWith(u.listed, "If-Match", g.head("/bucket/k").header.Get("ETag")).want(t, 200, "")
		wantObject(t, g, "/bucket/k", []byte("second"), 1)
		// A PUT's ETag is shown in another form than the store has it.
		etag := g.put("/bucket/k", []byte("third"), sse...).header.Get("ETag")
		u = upload([]byte("fourth"))
		u.completeWith(u.listed, "If-Match", etag).want(t, 200, "")
		wantObject(t, g, "/bucket/k", []byte("fourth"), 1)
	}
}

// TestMultipartChecksums: checksums of parts are verified and make that of the
// object, which is returned on Complete, GET, HEAD and in attributes.
func TestMultipartChecksums(t *testing.T) {
	t.Parallel()
	parts := [][]byte{pattern(70_000, 1), pattern(2000, 2), pattern(30, 3)}
	whole := slices.Concat(parts...)
	for _, c := range []struct{ algorithm, typ string }{
		{"CRC32", ""}, {"CRC32", s3.FullObject}, {"CRC32C", s3.Composite}, {"CRC32C", s3.FullObject}, {"CRC64NVME", ""}, {"SHA256", ""}, {"SHA1", s3.Composite},
	} {
		t.Run(c.algorithm+c.typ, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
			pairs := []string{"X-Amz-Checksum-Algorithm", c.algorithm}
			if c.typ != "" {
				pairs = append(pairs, "X-Amz-Checksum-Type", c.typ)
			}
			u := g.begin("/bucket/k", pairs...)
			header := "X-Amz-Checksum-" + c.algorithm
			u.try(1, parts[0], header, sumText(c.algorithm, []byte("other"))).want(t, 400, "BadDigest")
			other := "SHA256"
			if c.algorithm == other {
				other = "CRC32"
			}
			u.try(1, parts[0], "X-Amz-Checksum-"+other, sumText(other, parts[0])).want(t, 400, "InvalidRequest")
			var digests []byte
			for i, p := range parts {
				sum := sumText(c.algorithm, p)
				request := u.request(http.MethodPut, i+1, p)
				switch i {
				case 0:
					request.header.Set(header, sum)
				case 1:
					request.mode, request.algorithm = modeTrailer, c.algorithm
				case 2:
					if c.typ == s3.Composite || c.typ == "" && c.algorithm != "CRC64NVME" {
						g.do(request).want(t, 400, "InvalidRequest")
						request.header.Set(header, sum)
					} // else it comes without, and the gateway computes it
				}
				r := g.do(request)
				r.want(t, 200, "")
				if r.header.Get(header) != sum {
					t.Errorf("part %d: %v", i+1, r.header)
				}
				u.listed = append(u.listed, testPart{i + 1, r.header.Get("ETag"), "<Checksum" + c.algorithm + ">" + sum + "</Checksum" + c.algorithm + ">"})
				raw, _ := base64.StdEncoding.DecodeString(sum)
				digests = append(digests, raw...)
			}
			want, typ := sumText(c.algorithm, whole), s3.FullObject
			if c.typ == s3.Composite || c.typ == "" && c.algorithm != "CRC64NVME" {
				want, typ = sumText(c.algorithm, digests)+"-3", s3.Composite
			}
			u.completeWith(u.listed, header, sumText(c.algorithm, []byte("other"))).want(t, 400, "BadDigest")
			u.completeWith(u.listed, "X-Amz-Checksum-"+other, sumText(other, whole)).want(t, 400, "InvalidRequest")
			wrong := s3.Composite
			if typ == s3.Composite {
				wrong = s3.FullObject
			}
			u.completeWith(u.listed, "X-Amz-Checksum-Type", wrong).want(t, 400, "InvalidRequest")
			r := u.completeWith(u.listed, header, want, "X-Amz-Checksum-Type", typ)
			r.want(t, 200, "")
			for _, s := range []string{"<Checksum" + c.algorithm + ">" + want + "<", "<ChecksumType>" + typ + "<"} {
				if !strings.Contains(string(r.body), s) {
					t.Errorf("no %s in %s", s, r.body)
				}
			}
			for _, r := range []clientAnswer{g.get("/bucket/k", "X-Amz-Checksum-Mode", "ENABLED"), g.head("/bucket/k", "X-Amz-Checksum-Mode", "ENABLED")} {
				if r.status != 200 || r.header.Get(header) != want || r.header.Get("X-Amz-Checksum-Type") != typ {
					t.Errorf("%d, %v, want %s", r.status, r.header, want)
				}
			}
			if h := g.head("/bucket/k").header; h.Get(header) != "" {
				t.Errorf("unasked: %v", h)
			}
			wantObject(t, g, "/bucket/k", whole, 5)
		})
	}
}

// TestPlainUpload: without a rule or a header multipart uploads are passed on,
// and their objects are plaintext.
func TestPlainUpload(t *testing.T) {
	t.Parallel()
	g := newGateway(t).withSmallParts()
	u := g.begin("/bucket/k", "X-Amz-Meta-A", "b")
	body := slices.Concat(pattern(2000, 1), pattern(3000, 2))
	for i, p := range [][]byte{body[:2000], body[2000:]} {
		n := []int{1, 10_000}[i]
		r := u.try(n, p)
		r.want(t, 200, "")
		u.listed = append(u.listed, testPart{number: n, etag: r.header.Get("ETag")})
	}
	if l := listPartsOf(t, u); len(l.Part) != 2 || l.Part[1].Size != 3000 {
		t.Errorf("%+v", l)
	}
	u.completeWith(u.listed).want(t, 200, "")
	o := g.upstream.object(testBucket, "k")
	if isSealed(o) || string(o.body) != string(body) || o.header.Get("X-Amz-Meta-A") != "b" {
		t.Error("not stored as it was sent")
	}
	wantObject(t, g, "/bucket/k", body, 5)
	if sealer.MaxParts != 9999 {
		t.Error("the last part number is for the part table")
	}
}

// TestCompleteRefusedKeepsParts: a refused Complete replaces no part at the
// store, not even one that it does not list.
func TestCompleteRefusedKeepsParts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		numbers, sizes []int
		whole          []int // which of them the object is made of at last
	}{
		"a part that is not listed":       {[]int{1, 2, 3}, []int{2000, 3000, 4000}, []int{0, 1, 2}},
		"a staged one that is not listed": {[]int{1, 2, 3}, []int{2000, 30, 4000}, []int{0, 2}},
		"a staged one after an attempt":   {[]int{1, 3, 3}, []int{2000, 4000, 30}, []int{0, 2}},
		"an attempt after a staged one":   {[]int{1, 3, 3}, []int{2000, 30, 4000}, []int{0, 2}},
		"the staged one itself, repeated": {[]int{1, 3}, []int{2000, 30}, []int{0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t).withSmallParts()
			u := g.begin("/bucket/k", s3.HeaderSSE, s3.AES256)
			for i, size := range c.sizes {
				u.part(c.numbers[i], pattern(size, uint64(i)))
			}
			for _, listed := range [][]testPart{u.listed[:1], {u.listed[0], u.listed[len(u.listed)-1]}} {
				u.completeWith(listed, "If-Match", `"0123456789abcdef0123456789abcdef-1"`).want(t, 412, "PreconditionFailed")
			}
			var whole []testPart
			var body []byte
			for _, i := range c.whole {
				whole, body = append(whole, u.listed[i]), append(body, pattern(c.sizes[i], uint64(i))...)
			}
			u.completeWith(whole).want(t, 200, "")
			wantObject(t, g, "/bucket/k", body, 5)
		})
	}
}

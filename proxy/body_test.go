package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
)

// badBody is a wrong upload and its answer.
type badBody struct {
	name   string
	edit   func(*clientRequest)
	status int
	code   string
}

// flip returns a copy of b with one bit changed; a negative place counts from
// the end.
func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 1
	return b
}

// spoilAt changes a bit of the encoded body.
func spoilAt(at int) func([]byte) []byte {
	return func(b []byte) []byte { return flip(b, at) }
}

// spoilText replaces the last occurrence of a text in the encoded body by
// another of its length.
func spoilText(from, to string) func([]byte) []byte {
	return func(b []byte) []byte {
		at := bytes.LastIndex(b, []byte(from))
		if at < 0 {
			panic("the body has no " + from)
		}
		copy(b[at:], to)
		return b
	}
}

const junkSignature = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// badBodies are the wrong uploads; each mode is one that clients use.
func badBodies() []badBody {
	mode := func(m string, spoil func([]byte) []byte) func(*clientRequest) {
		return func(c *clientRequest) { c.mode, c.spoil = m, spoil }
	}
	cases := []badBody{
		{"request signature", func(c *clientRequest) {
			c.tamper = func(r *http.Request) {
				r.Header.Set("Authorization", flipHex(r.Header.Get("Authorization")))
			}
		}, 403, "SignatureDoesNotMatch"},
		{"request signature of a trailer upload", func(c *clientRequest) {
			c.mode = modeTrailer
			c.tamper = func(r *http.Request) {
				r.Header.Set("Authorization", flipHex(r.Header.Get("Authorization")))
			}
		}, 403, "SignatureDoesNotMatch"},
		{"SHA-256, first byte", mode(modeHash, spoilAt(0)), 400, "XAmzContentSHA256Mismatch"},
		{"SHA-256, last byte", mode(modeHash, spoilAt(-1)), 400, "XAmzContentSHA256Mismatch"},
		{"MD5", func(c *clientRequest) {
			c.mode = modeUnsigned
			c.header.Set("Content-Md5", sumText("MD5", []byte("other")))
		}, 400, "BadDigest"},
		{"MD5 with SHA-256", func(c *clientRequest) {
			c.header.Set("Content-Md5", sumText("MD5", []byte("other")))
		}, 400, "BadDigest"},
		{"MD5, malformed", func(c *clientRequest) {
			c.header.Set("Content-Md5", "abc")
		}, 400, "InvalidDigest"},
		{"chunk data, first", mode(modeSigned, spoilAt(200)), 403, "SignatureDoesNotMatch"},
		{"chunk data, last", mode(modeSigned, spoilAt(-100)), 403, "SignatureDoesNotMatch"},
		{"signature of the final chunk", mode(modeSigned, spoilAt(-10)), 403, "SignatureDoesNotMatch"},
		{"signature of every chunk", mode(modeSigned, func(b []byte) []byte {
			at := bytes.Index(b, []byte("chunk-signature=")) + len("chunk-signature=")
			copy(b[at:], junkSignature)
			return b
		}), 403, "SignatureDoesNotMatch"},
		{"signature of the trailer", mode(modeSignedTrailer, spoilAt(-10)), 403, "SignatureDoesNotMatch"},
		{"trailer, signed", mode(modeSignedTrailer, spoilText("crc32:", "crc32:A")), 403, "SignatureDoesNotMatch"},
		{"data under a signed trailer", mode(modeSignedTrailer, spoilAt(200)), 403, "SignatureDoesNotMatch"},
		{"another trailer", mode(modeTrailer, spoilText("checksum-crc32:", "checksum-crc33:")), 400, "MalformedTrailerError"},
		{"decoded length too small", func(c *clientRequest) { c.mode, c.decoded = modeTrailer, int64(len(c.body)-1) }, 400, "IncompleteBody"},
		{"decoded length too great", func(c *clientRequest) { c.mode, c.decoded = modeTrailer, int64(len(c.body)+1) }, 400, "IncompleteBody"},
		{"decoded length too great, signed", func(c *clientRequest) { c.mode, c.decoded = modeSigned, int64(len(c.body)+1) }, 400, "IncompleteBody"},
		{"body cut, SHA-256", func(c *clientRequest) { c.cut = len(c.body) - 1 }, 400, "IncompleteBody"},
		{"body cut, unsigned", func(c *clientRequest) { c.mode, c.cut = modeUnsigned, len(c.body)/2 }, 400, "IncompleteBody"},
		{"body cut, signed", func(c *clientRequest) { c.mode, c.cut = modeSigned, len(c.body)/2 }, 400, "IncompleteBody"},
		{"cut before the final chunk", func(c *clientRequest) {
			c.mode, c.chunk, c.cut = modeSigned, 2<<20, len(fmt.Sprintf("%x;chunk-signature=\r\n", len(c.body)))+64+len(c.body)+2
		}, 400, "IncompleteBody"},
		{"cut before the trailer", func(c *clientRequest) {
			c.mode, c.chunk, c.cut = modeTrailer, 2<<20, len(fmt.Sprintf("%x\r\n", len(c.body)))+len(c.body)+2+3
		}, 400, "IncompleteBody"},
	}
	for _, algorithm := range checksumAlgorithms {
		cases = append(cases,
			badBody{algorithm + " header", func(c *clientRequest) {
				c.mode = modeUnsigned
				c.header.Set("X-Amz-Checksum-"+algorithm, sumText(algorithm, []byte("other")))
			}, 400, "BadDigest"},
			badBody{algorithm + " trailer", func(c *clientRequest) {
				c.algorithm = algorithm
				mode(modeTrailer, spoilAt(200))(c)
			}, 400, "BadDigest"},
			badBody{algorithm + " trailer value", func(c *clientRequest) {
				c.algorithm = algorithm
				name := strings.ToLower(algorithm) + ":"
				mode(modeTrailer, spoilText(name+sumText(algorithm, c.body), name+sumText(algorithm, []byte("other"))))(c)
			}, 400, "BadDigest"},
		)
	}
	return cases
}

// flipHex changes the last digit of a signature.
func flipHex(s string) string {
	last := byte('0')
	if s[len(s)-1] == last {
		last = '1'
	}
	return s[:len(s)-1] + string(last)
}

// TestBadBody sends every wrong upload, small and large, sealed and plain, in
// every framing to a store that commits as soon as the declared length has
// come. None becomes an object, and none replaces one.
func TestBadBody(t *testing.T) {
	t.Parallel()
	for _, framing := range []upstream.Framing{upstream.FramingTrailer, upstream.FramingSigned, upstream.FramingPlain} {
		for _, sealed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/sealed=%t", framing, sealed), func(t *testing.T) {
				t.Parallel()
				var opts []gatewayOption
				if sealed {
					opts = append(opts, withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
				}
				g := newGateway(t, append(opts, withFraming(framing))...)
				g.put("/bucket/old", []byte("the old object")).want(t, 200, "")
				old := g.upstream.object(testBucket, "old")
				g.upstream.eager = true
				for _, size := range []int{1000, 1<<20 + 70_000} {
					for _, bad := range badBodies() {
						t.Run(fmt.Sprintf("%d/%s", size, bad.name), func(t *testing.T) {
							refuseBody(t, g, bad, size, old)
						})
					}
				}
			})
		}
	}
}

func refuseBody(t *testing.T, g *testGateway, bad badBody, size int, old *memObject) {
	for _, key := range []string{"old", "new"} {
		c := clientRequest{method: http.MethodPut, path: "/bucket/" + key, body: pattern(size, 9), header: http.Header{}}
		bad.edit(&c)
		r := g.do(c)
		r.want(t, bad.status, bad.code)
	}
	if keys := g.upstream.keys(testBucket); len(keys) != 1 {
		t.Errorf("the store holds %q", keys)
		g.upstream.store(testBucket, "new", nil)
	}
	if diff := cmp.Diff(old, g.upstream.object(testBucket, "old"), cmp.AllowUnexported(memObject{})); diff != "" {
		t.Errorf("the old object changed")
		g.upstream.store(testBucket, "old", old)
	}
}

// TestBadEmptyBody sends empty bodies that do not match their headers. Nothing
// is read of such a body, but its end must be verified.
func TestBadEmptyBody(t *testing.T) {
	t.Parallel()
	other := []byte("other")
	cases := []badBody{
		{"SHA-256", func(c *clientRequest) {
			c.mode = upstream.HexSHA256(other)
		}, 400, "XAmzContentSHA256Mismatch"},
		{"MD5", func(c *clientRequest) { c.header.Set("Content-Md5", sumText("MD5", other)) }, 400, "BadDigest"},
		{"signature of the final chunk", func(c *clientRequest) { c.mode, c.spoil = modeSigned, spoilAt(-10) }, 403, "SignatureDoesNotMatch"},
		{"trailer value", func(c *clientRequest) {
			c.mode, c.spoil = modeTrailer, spoilText("crc32:AAAAAA==", "crc32:AAAAAQ==")
		}, 400, "BadDigest"},
		{"final chunk cut", func(c *clientRequest) { c.mode, c.cut = modeSigned, 20 }, 400, "IncompleteBody"},
	}
	for _, algorithm := range checksumAlgorithms {
		cases = append(cases, badBody{algorithm, func(c *clientRequest) {
			c.header.Set("X-Amz-Checksum-"+algorithm, sumText(algorithm, other))
		}, 400, "BadDigest"})
	}
	for _, framing := range []upstream.Framing{upstream.FramingTrailer, upstream.FramingPlain} {
		for _, sealed := range []bool{true, false} {
			var opts []gatewayOption
			if sealed {
				opts = append(opts, withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
			}
			g := newGateway(t, append(opts, withFraming(framing))...)
			g.put("/bucket/old", []byte("the old object")).want(t, 200, "")
			old := g.upstream.object(testBucket, "old")
			for _, bad := range cases {
				t.Run(fmt.Sprintf("%s/sealed=%t/%s", framing, sealed, bad.name), func(t *testing.T) {
					refuseBody(t, g, bad, 0, old)
				})
			}
		}
	}
}

// TestBodyOfUnknownLength: a PUT without Content-Length is refused, as on
// Amazon S3.
func TestBodyOfUnknownLength(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, sealed := range []bool{false, true} {
		c := clientRequest{method: http.MethodPut, path: "/bucket/k", mode: modeUnsigned, header: http.Header{}}
		if sealed {
			c.header.Set(s3.HeaderSSE, s3.AES256)
		}
		r := g.request(c)
		r.Body, r.ContentLength = http.NoBody, -1
		r.Body = readOnly{strings.NewReader("data")}
		resp, err := g.http.Do(r)
		readAnswer(resp, err).want(t, 411, "MissingContentLength")
	}
	if keys := g.upstream.keys(testBucket); len(keys) > 0 {
		t.Errorf("the store holds %q", keys)
	}
}

// readOnly is a body whose length net/http cannot find out.
type readOnly struct{ *strings.Reader }

func (readOnly) Close() error { return nil }

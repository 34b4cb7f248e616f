package proxy

import (
	"bytes"
	"crypto/md5" //nolint:gosec // Content-MD5
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
)

// uploadsLeft counts the uploads that the store was left with.
func (u *memUpstream) uploadsLeft() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.uploads)
}

// wantNothing fails the test if a refused form left an object or an upload.
func (g *testGateway) wantNothing(t testing.TB) {
	t.Helper()
	if keys := g.upstream.keys(testBucket); len(keys) > 0 {
		t.Errorf("the store has %q", keys)
	}
	// An upload is aborted before the answer, unless the client has
	// disconnected.
	eventually(t, "uploads to be taken back", func() bool { return g.upstream.uploadsLeft() == 0 })
}

// withFields returns pairs of names and values, and more of them.
func withFields(pairs []string, more ...string) []string { return slices.Concat(pairs, more) }

// smallFormPart stands for formPart where tests need many forms that go up in
// parts.
const smallFormPart = 70_000

// withSmallForms lowers the limit of a form's file in memory.
func (g *testGateway) withSmallForms() *testGateway {
	g.withSmallParts()
	g.bounds.formPart = smallFormPart
	return g
}

// TestFormUpload uploads forms of all sizes and schemes and reads them back.
func TestFormUpload(t *testing.T) {
	t.Parallel()
	large := newGateway(t, withTLS())
	for _, scheme := range append(testSchemes(), testScheme{name: "plain"}) {
		for _, size := range []int{formPart, formPart + 1} {
			t.Run(fmt.Sprintf("%s/%d", scheme.name, size), func(t *testing.T) {
				formRoundTrip(t, large, scheme, fmt.Sprintf("%s-%d", scheme.name, size), pattern(size, 1))
			})
		}
	}
	if n := large.upstream.uploadsLeft(); n > 0 {
		t.Errorf("%d uploads left", n)
	}
	sizes := []int{0, 1, 65536, smallFormPart - 1, smallFormPart, smallFormPart + 1, 2 * smallFormPart, 1<<20 + 1}
	for _, framing := range []upstream.Framing{upstream.FramingTrailer, upstream.FramingSigned, upstream.FramingPlain} {
		t.Run(framing.String(), func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withTLS(), withFraming(framing)).withSmallForms()
			schemes := append(testSchemes(), testScheme{name: "plain"})
			for _, scheme := range schemes {
				for _, size := range sizes {
					t.Run(fmt.Sprintf("%s/%d", scheme.name, size), func(t *testing.T) {
						formRoundTrip(t, g, scheme, fmt.Sprintf("%s-%d", scheme.name, size), pattern(size, uint64(size)))
					})
				}
			}
			if n := g.upstream.uploadsLeft(); n > 0 {
				t.Errorf("%d uploads left", n)
			}
		})
	}
}

func formRoundTrip(t *testing.T, g *testGateway, scheme testScheme, key string, body []byte) {
	var shown []string
	for p := range slices.Chunk(scheme.shown, 2) {
		shown = append(shown, p[0]+"="+p[1])
	}
	slices.Sort(shown)
	a := g.form(testForm{key: key, file: body, fields: withFields(scheme.write, "x-amz-meta-mark", "a b", "Content-Type", "image/png")})
	a.want(t, 204, "")
	if diff := cmp.Diff(shown, sseHeaders(a.header), cmpEmpty); diff != "" {
		t.Errorf("SSE headers of the answer (-want +got):\n%s", diff)
	}
	stored := g.upstream.object(testBucket, key)
	if isSealed(stored) != (scheme.name != "plain") {
		t.Fatalf("sealed: %t", isSealed(stored))
	}
	if sample := body[:min(len(body), 64)]; len(sample) == 64 && scheme.name != "plain" && bytes.Contains(stored.body, sample) {
		t.Error("the store has plaintext")
	}
	read := g.get("/bucket/"+key, scheme.read...)
	read.want(t, 200, "")
	if !bytes.Equal(read.body, body) {
		t.Error("read back something else")
	}
	head := g.head("/bucket/"+key, scheme.read...)
	if head.status != 200 || head.header.Get("Content-Length") != fmt.Sprint(len(body)) {
		t.Errorf("HEAD: %d, length %s", head.status, head.header.Get("Content-Length"))
	}
	for _, h := range []http.Header{read.header, head.header} {
		if h.Get("ETag") != a.header.Get("ETag") || h.Get("X-Amz-Meta-Mark") != "a b" || h.Get("Content-Type") != "image/png" {
			t.Errorf("headers %v, ETag of the answer %s", h, a.header.Get("ETag"))
		}
	}
	if bound := int(g.bounds.formPart); len(body) > bound {
		part := g.get("/bucket/"+key, append([]string{"Range", fmt.Sprintf("bytes=%d-%d", bound-5, bound)}, scheme.read...)...)
		if part.status != 206 || !bytes.Equal(part.body, body[bound-5:bound+1]) {
			t.Errorf("range over the bound of parts: %d, %x", part.status, part.body)
		}
	}
}

// cmpEmpty makes nil and empty slices equal.
var cmpEmpty = cmp.Transformer("empty", func(s []string) string { return strings.Join(s, "\n") })

// TestFormRule: a bucket's rule applies to forms as to any write, anonymous
// ones included.
func TestFormRule(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AWSKMS}))
	g.upstream.public[testBucket] = true
	for _, size := range []int{10, 20 << 20} {
		for _, anonymous := range []bool{false, true} {
			key := fmt.Sprintf("%d-%t", size, anonymous)
			g.upstream.forget()
			g.form(testForm{key: key, file: pattern(size, 1), anonymous: anonymous}).want(t, 204, "")
			if !isSealed(g.upstream.object(testBucket, key)) {
				t.Errorf("%s is not sealed", key)
			}
			for _, r := range g.upstream.requests("/bucket/" + key) {
				if signed := r.Header.Get("Authorization") != ""; signed == anonymous {
					t.Errorf("%s: %s, signed %t", key, r.Method, signed)
				}
			}
			if a := g.get("/bucket/" + key); !bytes.Equal(a.body, pattern(size, 1)) {
				t.Errorf("%s: read back something else: %d %s", key, a.status, a.code)
			}
		}
	}
}

// TestFormAnonymous: the store decides whether a form without a credential may
// write.
func TestFormAnonymous(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, size := range []int{10, 20 << 20} {
		g.form(testForm{file: pattern(size, 1), anonymous: true}).want(t, 403, "AccessDenied")
		g.wantNothing(t)
	}
	if n := len(g.upstream.requests("/bucket")); n == 0 {
		t.Error("the store was not asked")
	}
}

// TestFormRefusals: a refused form of any size leaves nothing.
func TestFormRefusals(t *testing.T) {
	t.Parallel()
	exclude := func(name string) func(string) string {
		return func(policy string) string { return strings.Replace(policy, `{"`+name+`":`, `{"x-ignore-`+name+`":`, 1) }
	}
	sum := md5.Sum([]byte("other")) //nolint:gosec // see the import
	tests := []struct {
		name string
		form testForm
		code string
	}{
		{"wrong signature", testForm{tamper: func(f *formFields) { f.set("x-amz-signature", strings.Repeat("0", 64)) }}, "SignatureDoesNotMatch"},
		{"no signature", testForm{tamper: func(f *formFields) { f.remove("x-amz-signature") }}, "InvalidArgument"},
		{"unknown access key", testForm{tamper: func(f *formFields) {
			f.set("X-Amz-Credential", "stranger/"+time.Now().UTC().Format("20060102")+"/us-east-1/s3/aws4_request")
		}}, "InvalidAccessKeyId"},
		{"expired", testForm{policy: func(p string) string {
			return strings.Replace(p, fmt.Sprint(time.Now().UTC().Year()), "2001", 1)
		}}, "AccessDenied"},
		{"a condition does not hold", testForm{conditions: []string{`["starts-with","$key","user/"]`}}, "AccessDenied"},
		{"a field that no condition covers", testForm{fields: []string{"acl", "public-read"}, policy: exclude("acl")}, "AccessDenied"},
		{"metadata that no condition covers", testForm{tamper: func(f *formFields) { f.add("x-amz-meta-a", "b") }}, "AccessDenied"},
		{"policy of another bucket", testForm{policy: func(p string) string { return strings.ReplaceAll(p, `"bucket":"bucket"`, `"bucket":"other"`) }}, "AccessDenied"},
		{"bucket field", testForm{fields: []string{"bucket", "other"}}, "AccessDenied"},
		{"bucket field, anonymous", testForm{fields: []string{"bucket", "other"}, anonymous: true}, "AccessDenied"},
		{"bucket field, state bucket", testForm{fields: []string{"bucket", testStateBucket}}, "AccessDenied"},
		{"not a bucket of clients", testForm{bucket: testStateBucket}, "NoSuchBucket"},
		{"wrong Content-MD5", testForm{fields: []string{"Content-MD5", base64.StdEncoding.EncodeToString(sum[:])}}, "BadDigest"},
		{"wrong checksum", testForm{fields: []string{"x-amz-checksum-sha256", sumText("SHA256", []byte("other"))}}, "BadDigest"},
		{"checksum that is none", testForm{fields: []string{"x-amz-checksum-sha256", "x"}}, "InvalidRequest"},
		{"algorithm without checksum", testForm{fields: []string{"x-amz-checksum-algorithm", "SHA256"}}, "InvalidRequest"},
		{"SDK's algorithm", testForm{fields: []string{"x-amz-sdk-checksum-algorithm", "CRC32", "x-amz-checksum-crc32", "AAAAAA=="}}, "NotImplemented"},
		{"copy source", testForm{fields: []string{"x-amz-copy-source", "bucket/other"}}, "NotImplemented"},
		{"SHA-256 of a body", testForm{fields: []string{"x-amz-content-sha256", emptyHash}}, "NotImplemented"},
		{"reserved metadata", testForm{fields: []string{"x-amz-meta-ssegw", "AAAA"}}, "InvalidArgument"},
		{"reserved metadata, other case", testForm{fields: []string{"X-Amz-Meta-SSEGW", "AAAA"}, anonymous: true}, "InvalidArgument"},
		{"unpacking", testForm{fields: []string{"x-amz-meta-snowball-auto-extract", "true"}}, "NotImplemented"},
		{"unknown x-amz field", testForm{fields: []string{"x-amz-unheard-of", "1"}}, "NotImplemented"},
		{"field that is no header", testForm{fields: []string{"x-amz-meta-a", "b\r\nx-amz-acl: public-read"}}, "InvalidArgument"},
		{"name that is no header", testForm{fields: []string{"x-amz-meta-a b", "c"}}, "InvalidArgument"},
		{"acl under two names", testForm{fields: []string{"acl", "private", "x-amz-acl", "public-read"}}, "InvalidArgument"},
		{"field twice", testForm{tamper: func(f *formFields) { f.add("Key", "other") }}, "InvalidArgument"},
		{"no key", testForm{tamper: func(f *formFields) { f.remove("key") }}, "InvalidArgument"},
		{"empty key", testForm{key: "${filename}"}, "InvalidArgument"},
		{"key of dots", testForm{key: "a/../b"}, "InvalidURI"},
		{"long key", testForm{key: strings.Repeat("k", 1025)}, "KeyTooLongError"},
		{"no file", testForm{without: true}, "InvalidArgument"},
		{"too many fields", testForm{fields: []string{"x-amz-meta-a", strings.Repeat("b", 21<<10)}}, "MaxPostPreDataLengthExceededError"},
		{"too much metadata", testForm{fields: []string{s3.HeaderSSE, s3.AES256, "x-amz-meta-a", strings.Repeat("b", 2000)}}, "MetadataTooLarge"},
		{"tagging that is no XML", testForm{fields: []string{"tagging", "a=b"}}, "MalformedXML"},
		{"SSE-C over http", testForm{fields: customerHeaders('c')}, "InvalidRequest"},
		{"SSE that does not exist", testForm{fields: []string{s3.HeaderSSE, "AES128"}}, "InvalidArgument"},
		{"SSE left empty", testForm{fields: []string{s3.HeaderSSE, ""}}, "InvalidArgument"},
		{"too large", testForm{conditions: []string{`["content-length-range",0,2]`}}, "EntityTooLarge"},
		{"too small", testForm{conditions: []string{`["content-length-range",40000000,50000000]`}}, "EntityTooSmall"},
		{"end missing", testForm{after: "\r\n"}, "MalformedPOSTRequest"},
		{"signed header", testForm{header: headers("x-amz-acl", "public-read")}, "InvalidArgument"},
		{"SSE as a header", testForm{header: headers(s3.HeaderSSE, s3.AES256)}, "InvalidArgument"},
		{"digest of the request", testForm{header: headers("Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))}, "BadDigest"},
		{"digest of the request, long tail", testForm{
			header: headers("Content-MD5", base64.StdEncoding.EncodeToString(sum[:])),
			after:  "\r\n--" + formBoundary + "--\r\n" + strings.Repeat("x", 100<<10),
		}, "BadDigest"},
		{"SHA-256 of the request", testForm{header: headers(s3.HeaderContentSHA256, emptyHash)}, "XAmzContentSHA256Mismatch"},
		{"no boundary", testForm{header: headers("Content-Type", "multipart/form-data")}, "MalformedPOSTRequest"},
		{"other boundary", testForm{header: headers("Content-Type", "multipart/form-data; boundary=other")}, ""},
	}
	withLarge := []string{
		"wrong signature", "a condition does not hold", "not a bucket of clients", "wrong Content-MD5", "wrong checksum", "no key",
		"too large", "too small", "end missing", "digest of the request, long tail", "SHA-256 of the request", "no boundary",
	}
	for _, size := range []int{100, 3*smallFormPart - 10_000, 20 << 20} {
		g := newGateway(t)
		if size < formPart {
			g.withSmallForms()
		}
		g.upstream.makeBucket("other")
		g.upstream.public[testBucket] = true
		for _, test := range tests {
			if size > formPart && !slices.Contains(withLarge, test.name) {
				continue // they take their time
			}
			t.Run(fmt.Sprintf("%s/%d", test.name, size), func(t *testing.T) {
				test.form.file = pattern(size, 1)
				a := g.form(test.form)
				if a.status < 400 || a.status > 501 || a.code != test.code && test.code != "" {
					t.Errorf("answer %d %q (%v), want %q", a.status, a.code, a.err, test.code)
				}
				g.wantNothing(t)
				if keys := g.upstream.keys("other"); len(keys) > 0 {
					t.Errorf("the other bucket has %q", keys)
				}
			})
		}
	}
}

// TestFormAccepted uploads forms that are odd but valid.
func TestFormAccepted(t *testing.T) {
	t.Parallel()
	sum := md5.Sum([]byte("content")) //nolint:gosec // see the import
	tests := map[string]testForm{
		"bucket field":        {fields: []string{"bucket", testBucket}, policy: func(p string) string { return strings.Replace(p, `{"bucket":"bucket"},`, "", 1) }},
		"ignored field":       {tamper: func(f *formFields) { f.add("x-ignore-this", "1") }},
		"application's field": {fields: []string{"utf8", "✓", "submit", "Upload"}},
		"upper case":          {fields: []string{"X-AMZ-META-UP", "1"}},
		"MD5":                 {fields: []string{"Content-MD5", base64.StdEncoding.EncodeToString(sum[:])}},
		"empty Content-Type":  {fields: []string{"Content-Type", ""}},
		"field after the file": {after: "\r\n--" + formBoundary + "\r\nContent-Disposition: form-data; name=\"acl\"\r\n\r\npublic-read\r\n" +
			"--" + formBoundary + "\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nother\r\n--" + formBoundary + "--\r\n"},
		"junk after the form": {encoded: func(b []byte) []byte { return append(b, "junk"...) }},
		"quoted-printable": {encoded: func(b []byte) []byte {
			return bytes.Replace(b, []byte("Content-Type: application/octet-stream"), []byte("Content-Transfer-Encoding: quoted-printable"), 1)
		}},
		"range": {conditions: []string{`["content-length-range",7,7]`}},
	}
	for name, form := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			form.file = []byte("content")
			g.form(form).want(t, 204, "")
			if diff := cmp.Diff([]string{"key"}, g.upstream.keys(testBucket)); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
			o := g.upstream.object(testBucket, "key")
			if string(o.body) != "content" || o.header.Get("Content-Type") != s3.DefaultContentType {
				t.Errorf("stored %q, %v", o.body, o.header)
			}
			if acl := g.upstream.requests("/bucket/key")[0].Header.Get("X-Amz-Acl"); acl != "" {
				t.Errorf("acl %q", acl)
			}
		})
	}
}

// TestFormHeaders: fields become the headers of the object, for a file in one
// piece and in parts.
func TestFormHeaders(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	for _, size := range []int{10, 20 << 20} {
		key := fmt.Sprint(size)
		g.form(testForm{key: key, file: pattern(size, 1), fields: []string{
			"acl", "public-read", "Cache-Control", "max-age=5", "Expires", "never", "Content-Encoding", "gzip",
			"tagging", "<Tagging><TagSet><Tag><Key>a b</Key><Value>c&amp;d</Value></Tag></TagSet></Tagging>",
			"x-amz-storage-class", "GLACIER", "x-amz-website-redirect-location", "/other", "x-amz-meta-a", "ü",
		}}).want(t, 204, "")
		sent := g.upstream.requests("/bucket/" + key)[0].Header
		for name, want := range map[string]string{
			"X-Amz-Acl": "public-read", "X-Amz-Tagging": "a%20b=c%26d", "X-Amz-Storage-Class": "GLACIER",
			"X-Amz-Website-Redirect-Location": "/other", "X-Amz-Meta-A": s3.EncodeWords("ü"), "Cache-Control": "max-age=5",
			"Expires": "never", "Content-Encoding": "gzip", "Content-Type": s3.DefaultContentType,
			"Policy": "", "X-Amz-Signature": "", "X-Amz-Credential": "",
		} {
			if got := sent.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
	}
}

// TestFormChecksums: a checksum of the form is kept with a sealed object, and
// with a plain one that is stored in one piece.
func TestFormChecksums(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{s3.AES256, ""} {
		g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: rule}))
		for i, algorithm := range checksumAlgorithms {
			size := []int{10, 3 << 20, formPart + 1}[i%3]
			body, name := pattern(size, 2), sigv4.HeaderName(algorithm)
			a := g.form(testForm{file: body, fields: []string{name, sumText(algorithm, body), "x-amz-checksum-algorithm", algorithm}})
			a.want(t, 204, "")
			want := sumText(algorithm, body)
			if rule == "" && size > formPart {
				want = ""
			}
			if got := a.header.Get(name); got != want {
				t.Errorf("%s of %d bytes: answered %q, want %q", algorithm, size, got, want)
			}
			head := g.head("/bucket/key", s3.HeaderChecksumMode, "ENABLED")
			if got := head.header.Get(name); got != want {
				t.Errorf("%s of %d bytes: read %q, want %q", algorithm, size, got, want)
			}
		}
	}
}

// TestFormFilename puts the name of the file, without its path, into the key.
func TestFormFilename(t *testing.T) {
	t.Parallel()
	for filename, want := range map[string]string{
		"cat.jpg": "user/cat.jpg", `C:\My Pictures\cat.jpg`: "user/cat.jpg", "/home/me/cat.jpg": "user/cat.jpg",
		"Ü ber.jpg": "user/Ü ber.jpg", "${filename}": "user/${filename}",
	} {
		g := newGateway(t)
		g.form(testForm{key: "user/${filename}", filename: filename, conditions: []string{`["starts-with","$key","user/"]`}}).want(t, 204, "")
		if diff := cmp.Diff([]string{want}, g.upstream.keys(testBucket)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", filename, diff)
		}
	}
}

// TestFormAnswers are the answers that a form can ask for.
func TestFormAnswers(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for value, want := range map[string]int{"": 204, "200": 200, "201": 201, "204": 204, "404": 204, "x": 204} {
		a := g.form(testForm{key: "a b/ü", file: []byte("x"), fields: []string{"success_action_status", value}})
		a.want(t, want, "")
		location := g.url + "/bucket/a%20b/%C3%BC"
		etag := `"9dd4e461268c8034f5c8564e155c67a6"`
		if a.header.Get("Location") != location || a.header.Get("ETag") != etag {
			t.Errorf("%s: Location %s, ETag %s", value, a.header.Get("Location"), a.header.Get("ETag"))
		}
		if want != 201 {
			if len(a.body) > 0 {
				t.Errorf("%s: body %q", value, a.body)
			}
			continue
		}
		var doc postAnswer
		if err := xml.Unmarshal(a.body, &doc); err != nil {
			t.Fatal(err)
		}
		doc.XMLName = xml.Name{}
		if diff := cmp.Diff(postAnswer{Location: location, Bucket: testBucket, Key: "a b/ü", ETag: etag}, doc); diff != "" {
			t.Errorf("document (-want +got):\n%s", diff)
		}
	}
	for _, test := range []struct{ name, target, want string }{
		{"success_action_redirect", "https://example.com/done", "https://example.com/done?"},
		{"success_action_redirect", "https://example.com/done?a=b#c", "https://example.com/done?a=b&"},
		{"redirect", "http://example.com", "http://example.com?"},
		{"success_action_redirect", "javascript:alert(1)", ""},
		{"success_action_redirect", "/relative", ""},
		{"success_action_redirect", "http://[", ""},
		{"success_action_redirect", "https://example.com/\r\nSet-Cookie: a=b", ""},
	} {
		a := g.form(testForm{file: []byte("x"), fields: []string{test.name, test.target}})
		if test.want == "" {
			a.want(t, 204, "")
			continue
		}
		a.want(t, 303, "")
		target, err := url.Parse(a.header.Get("Location"))
		if err != nil || !strings.HasPrefix(a.header.Get("Location"), test.want) {
			t.Fatalf("Location %s", a.header.Get("Location"))
		}
		for name, want := range map[string]string{"bucket": testBucket, "key": "key", "etag": a.header.Get("ETag")} {
			if got := target.Query().Get(name); got != want || got == "" {
				t.Errorf("%s: %s is %q, want %q", test.target, name, got, want)
			}
		}
	}
}

// TestFormConditions: conditions of the request hold for the object, in one
// piece and in parts.
func TestFormConditions(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, size := range []int{10, 20 << 20} {
		key := fmt.Sprint(size)
		form := testForm{key: key, file: pattern(size, 1), header: headers("If-None-Match", "*")}
		g.form(form).want(t, 204, "")
		form.file = pattern(size, 2)
		g.form(form).want(t, 412, "PreconditionFailed")
		if a := g.get("/bucket/" + key); !bytes.Equal(a.body, pattern(size, 1)) {
			t.Errorf("%s was replaced", key)
		}
	}
	if n := g.upstream.uploadsLeft(); n > 0 {
		t.Errorf("%d uploads left", n)
	}
	for _, r := range g.upstream.requests("/bucket") {
		if r.Query.Has("uploads") && r.Header.Get("If-None-Match") != "" {
			t.Error("the condition is one of CreateMultipartUpload, too")
		}
	}
}

// TestFormFaults: a form that fails at any point leaves no object, and its
// upload is aborted.
func TestFormFaults(t *testing.T) {
	t.Parallel()
	part := func(number string, h hook) hook {
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.URL.Query().Get("partNumber") == number {
				h(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		}
	}
	tests := map[string]func(g *testGateway, f *testForm){
		"first part": func(g *testGateway, _ *testForm) {
			g.upstream.on("PUT", "/bucket", part("1", answerWith(500, "InternalError")))
		},
		"last part": func(g *testGateway, _ *testForm) {
			g.upstream.on("PUT", "/bucket", part("3", answerWith(503, "SlowDown")))
		},
		"broken part": func(g *testGateway, _ *testForm) { g.upstream.on("PUT", "/bucket", part("2", breakAfter(100_000))) },
		"early answer": func(g *testGateway, _ *testForm) {
			g.upstream.on("PUT", "/bucket", part("2", answerWith(403, "AccessDenied")))
		},
		"Create":           func(g *testGateway, _ *testForm) { g.upstream.on("POST", "/bucket", answerWith(403, "AccessDenied")) },
		"Create's answer":  func(g *testGateway, _ *testForm) { g.upstream.on("POST", "/bucket", answerWith(200, "x")) },
		"the KMS":          func(g *testGateway, _ *testForm) { g.kes.Stop() },
		"the client":       func(_ *testGateway, f *testForm) { f.cut = 18 << 20 },
		"the client early": func(_ *testGateway, f *testForm) { f.cut = 1000 },
		"Complete": func(g *testGateway, _ *testForm) {
			g.upstream.on("POST", "/bucket", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.URL.Query().Has("uploadId") {
					memFail(w, 200, "InternalError", "after all")
					return
				}
				next.ServeHTTP(w, r)
			})
		},
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
			form := testForm{file: pattern(20<<20, 1)}
			spoil(g, &form)
			if a := g.form(form); a.err == nil && a.status < 400 {
				t.Errorf("answer %d", a.status)
			}
			g.wantNothing(t)
		})
	}
}

// TestFormSigned: a request with its own signature is not a form upload, and a
// form needs its own signature.
func TestFormSigned(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.do(clientRequest{
		method: http.MethodPost, path: "/bucket", header: headers("Content-Type", "multipart/form-data; boundary="+formBoundary),
		body: testForm{anonymous: true, file: []byte("x")}.encode(t),
	}).want(t, 400, "InvalidArgument")
	g.wantNothing(t)
}

// TestFormLog: the access log names the signer and the object of a form.
func TestFormLog(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.form(testForm{file: []byte("x")}).want(t, 204, "")
	eventually(t, "the access log", func() bool {
		for _, e := range g.logs.FilterMessage("request").All() {
			if m := e.ContextMap(); m["action"] == "PostObject" && m["key"] == "key" && m["access_key"] == clientAccessKey {
				return true
			}
		}
		return false
	})
}

package sigv4

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // Signature Version 2
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
)

// verifierV2 is testVerifier that also accepts presigned requests of version 2.
func verifierV2(now time.Time) *Verifier {
	v := verifierAt(now)
	v.cfg.PresignedV2 = true
	return v
}

// presignV2 signs as botocore's HmacV1QueryAuth does. It signs the raw query,
// and moves x-amz-* headers, Content-Type and Content-MD5 into it.
func presignV2(t testing.TB, method, target, hostBucket string, expires int64, headers ...string) *Request {
	t.Helper()
	req := newTestRequest(t, method, target, "", headers...)
	raw := req.URL.RawQuery
	var amz, subs []string
	for name := range req.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") {
			amz = append(amz, lower+":"+req.Header.Get(name)+"\n")
		}
	}
	sort.Strings(amz)
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, hasValue := strings.Cut(pair, "=")
		if !slices.Contains(signedV2, name) && !strings.HasPrefix(name, "response-") {
			continue
		}
		decoded, err := url.QueryUnescape(value)
		if err != nil {
			t.Fatal(err)
		}
		if hasValue {
			decoded = "=" + decoded
		}
		subs = append(subs, name+decoded)
	}
	sort.Strings(subs)
	resource := req.URL.EscapedPath()
	if hostBucket != "" {
		resource = "/" + hostBucket + resource
	}
	if len(subs) > 0 {
		resource += "?" + strings.Join(subs, "&")
	}
	at := strconv.FormatInt(expires, 10)
	h := hmac.New(sha1.New, []byte(testSecret))
	io.WriteString(h, method+"\n"+req.Header.Get("Content-MD5")+"\n"+req.Header.Get("Content-Type")+"\n"+at+"\n"+strings.Join(amz, "")+resource)
	query := req.URL.Query()
	moved := http.Header{}
	for name, values := range req.Header {
		lower := strings.ToLower(name)
		query[lower] = values
		if !strings.HasPrefix(lower, "x-amz-") {
			moved[name] = values
		}
	}
	query.Set("AWSAccessKeyId", testKey)
	query.Set("Expires", at)
	query.Set("Signature", base64.StdEncoding.EncodeToString(h.Sum(nil)))
	return &Request{
		Method: method, Path: req.URL.Path, RawPath: req.URL.EscapedPath(), Query: query, Header: http.Header{}, Host: testHost,
		HostBucket: hostBucket, Moved: moved,
	}
}

var soon = testTime.Add(time.Minute).Unix()

// TestDocumentedV2 verifies the example of the documentation.
func TestDocumentedV2(t *testing.T) {
	r := &Request{
		Method: "GET", Path: "/photos/puppy.jpg", Header: http.Header{}, Host: "johnsmith.s3.amazonaws.com", HostBucket: "johnsmith",
		Query: url.Values{"AWSAccessKeyId": {testKey}, "Expires": {"1175139620"}, "Signature": {"NpgCjnDzrM+WFzoENXmpNDUsSn8="}},
	}
	auth, err := verifierV2(time.Unix(1175139000, 0)).Verify(r)
	if err != nil || !auth.Presigned() || auth.AccessKey() != testKey {
		t.Fatalf("auth = %v, %v", auth, err)
	}
}

func TestPresignedV2(t *testing.T) {
	for name, r := range map[string]*Request{
		"get":                 presignV2(t, "GET", "/bucket/a%20b/%C3%A9+c", "", soon),
		"head":                presignV2(t, "HEAD", "/bucket/key", "", soon),
		"delete":              presignV2(t, "DELETE", "/bucket/key?versionId=x%2By", "", soon),
		"virtual host":        presignV2(t, "GET", "/key", "bucket", soon),
		"headers in query":    presignV2(t, "PUT", "/bucket/key", "", soon, "Content-Type", "text/plain", "Content-MD5", "x==", "x-amz-meta-b", "2", "x-amz-meta-a", "1"),
		"response parameters": presignV2(t, "GET", "/bucket/key?response-content-type=text%2Fplain&response-cache-control=no", "", soon),
		"sub-resource":        presignV2(t, "GET", "/bucket/key?acl", "", soon),
		"sub-resource, =":     presignV2(t, "GET", "/bucket/key?acl=", "", soon),
		"part":                presignV2(t, "PUT", "/bucket/key?uploadId=a%2Fb&partNumber=7", "", soon),
		"listing":             presignV2(t, "GET", "/bucket?list-type=2&prefix=a%2F&max-keys=3", "", soon),
		"a note":              presignV2(t, "GET", "/bucket/key?x-id=GetObject", "", soon),
		"a week":              presignV2(t, "GET", "/bucket/key", "", testTime.Add(7*24*time.Hour).Unix()),
	} {
		auth, err := verifierV2(testTime).Verify(r)
		if err != nil || !auth.Presigned() || auth.AccessKey() != testKey {
			t.Errorf("%s: %v, %v", name, auth, err)
		}
		if _, err := testVerifier().Verify(r); code(err) != CodeInvalidRequest {
			t.Errorf("%s where version 2 is off: %v", name, err)
		}
		sent := cloneRequest(r) // the headers themselves, in addition to the query or instead of it
		for name, values := range r.Query {
			if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") || lower == "content-type" || lower == "content-md5" {
				sent.Header[http.CanonicalHeaderKey(name)] = values
				delete(sent.Query, name)
			}
		}
		sent.Moved = nil
		if _, err := verifierV2(testTime).Verify(sent); err != nil {
			t.Errorf("%s, headers sent: %v", name, err)
		}
	}
}

func TestPresignedV2Refusals(t *testing.T) {
	valid := func() *Request {
		return presignV2(t, "GET", "/bucket/key?versionId=v", "", soon, "x-amz-meta-a", "1")
	}
	for _, m := range []mutation{
		{"PUT", func(r *Request) { r.Method = http.MethodPut }, CodeSignatureDoesNotMatch},
		{"POST", func(r *Request) { r.Method = http.MethodPost }, CodeInvalidRequest},
		{"path", func(r *Request) { r.RawPath += "x" }, CodeSignatureDoesNotMatch},
		{"another bucket by host", func(r *Request) { r.HostBucket = "other" }, CodeSignatureDoesNotMatch},
		{"version", setQuery("versionId", "w"), CodeSignatureDoesNotMatch},
		{"sub-resource added", setQuery("acl", ""), CodeSignatureDoesNotMatch},
		{"response parameter added", setQuery("response-content-type", "text/html"), CodeSignatureDoesNotMatch},
		{"parameter that no signature covers", setQuery("encryption", ""), CodeAccessDenied},
		{"its case", setQuery("ACL", ""), CodeAccessDenied},
		{"x-amz parameter added", setQuery("x-amz-acl", "public-read"), CodeSignatureDoesNotMatch},
		{"x-amz header added", setHeader("X-Amz-Copy-Source", "victim/key"), CodeSignatureDoesNotMatch},
		{"x-amz header changed", setHeader("X-Amz-Meta-A", "2"), CodeSignatureDoesNotMatch},
		{"MinIO's header added", setHeader("X-Minio-Force-Delete", "true"), CodeAccessDenied},
		{"Content-Type added", setHeader("Content-Type", "text/html"), CodeSignatureDoesNotMatch},
		{"later", setQuery("Expires", strconv.FormatInt(soon+1, 10)), CodeSignatureDoesNotMatch},
		{"expired", setQuery("Expires", strconv.FormatInt(testTime.Unix()-1, 10)), CodeAccessDenied},
		{"in two weeks", setQuery("Expires", strconv.FormatInt(testTime.Add(14*24*time.Hour).Unix(), 10)), CodeAccessDenied},
		{"no number", setQuery("Expires", "soon"), CodeAccessDenied},
		{"signature", editQuery("Signature", "=", ""), CodeSignatureDoesNotMatch},
		{"no signature", func(r *Request) { r.Query.Del("Signature") }, CodeAccessDenied},
		{"no access key", func(r *Request) { r.Query.Del("AWSAccessKeyId") }, CodeAccessDenied},
		{"no end", func(r *Request) { r.Query.Del("Expires") }, CodeAccessDenied},
		{"unknown access key", setQuery("AWSAccessKeyId", "AKIAOTHER"), CodeInvalidAccessKeyID},
		{"session token", setQuery(paramToken, "x"), CodeInvalidToken},
		{"version 4 too", setQuery(paramSignature, "x"), CodeInvalidRequest},
		{"Authorization too", setHeader("Authorization", "AWS x:y"), CodeInvalidArgument},
		{"signed chunks", setQuery("x-amz-content-sha256", modeSigned), CodeInvalidRequest},
	} {
		t.Run(m.name, func(t *testing.T) {
			r := valid()
			if _, err := verifierV2(testTime).Verify(r); err != nil {
				t.Fatalf("the unchanged request: %v", err)
			}
			m.change(r)
			if auth, err := verifierV2(testTime).Verify(r); code(err) != m.want || auth != nil {
				t.Errorf("got %v, %v; want %s", auth, err, m.want)
			}
		})
	}
	// A signature in the Authorization header is still refused.
	r := &Request{Method: "GET", Path: "/b/k", Query: url.Values{}, Header: http.Header{"Authorization": {"AWS " + testKey + ":frJIUN8DYpKDtOLCwo//yllqDzg="}}, Host: testHost}
	if _, err := verifierV2(testTime).Verify(r); code(err) != CodeInvalidRequest {
		t.Errorf("header form: %v", err)
	}
}

// FuzzPresignV2 checks that a request presigned with version 2 verifies, and no
// longer does after a change of one signed byte.
func FuzzPresignV2(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, method, path, _, value, header string, where uint16) {
		if !slices.Contains(methodsV2, method) || fuzzRequest(method, path, "x-id", value, header) == nil || collapse(header) != header {
			return
		}
		target := canonicalURI("/"+path) + "?versionId=" + strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
		r := presignV2(t, method, target, "", soon, "x-amz-meta-fuzz", header)
		if _, err := verifierV2(testTime).Verify(r); err != nil {
			t.Fatalf("%v\n%+v", err, r)
		}
		flip := func(s string) string {
			if s == "" {
				return "x"
			}
			b := []byte(s)
			b[int(where)%len(b)] ^= 1
			return string(b)
		}
		for i, change := range []func(*Request){
			func(r *Request) { r.RawPath = flip(r.RawPath) },
			func(r *Request) { r.Query.Set("versionId", flip(r.Query.Get("versionId"))) },
			func(r *Request) { r.Query.Set("Signature", flip(r.Query.Get("Signature"))) },
			func(r *Request) { r.Query.Set("AWSAccessKeyId", flip(testKey)) },
			func(r *Request) { r.Query.Set("x-amz-meta-fuzz", header+"x") },
		} {
			changed := cloneRequest(r)
			change(changed)
			if _, err := verifierV2(testTime).Verify(changed); err == nil {
				t.Fatalf("change %d verifies:\n%+v\n%+v", i, r, changed)
			}
		}
	})
}

// TestSignedHeadersInQuery covers SDKs that move headers into the query of a
// presigned request and may list them as signed. The client that uses the URL
// does not send these headers.
func TestSignedHeadersInQuery(t *testing.T) {
	// As the signer of aws-sdk-js v2 does with Content-Type, Cache-Control and
	// Content-MD5.
	req := newTestRequest(t, "PUT", "/bucket/key?Content-Type=text%2Fplain&Content-MD5=CY9rzUYh03PK3k6DJie09g%3D%3D&Cache-Control=no-cache", "",
		"Cache-Control", "no-cache", "Content-Md5", "CY9rzUYh03PK3k6DJie09g==")
	signed := received(t, presign(t, req, testTime, "60"))
	names := signed.Query.Get(paramSignedHeaders)
	if !strings.Contains(names, "cache-control") || !strings.Contains(names, "content-md5") {
		t.Fatalf("signed: %s", names)
	}
	signed.Header = http.Header{}
	signed.Moved = http.Header{"Cache-Control": {"no-cache"}, "Content-Md5": {"CY9rzUYh03PK3k6DJie09g=="}, "Content-Type": {"text/plain"}}
	signed.ContentLength = 4
	auth, err := testVerifier().Verify(signed)
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{"test": "", "fake": CodeBadDigest} {
		b, err := auth.Body(strings.NewReader(body))
		if err == nil {
			_, err = io.ReadAll(b)
		}
		if code(err) != want {
			t.Errorf("%s: %v", body, err)
		}
	}
	signed.Moved.Set("Cache-Control", "max-age=1")
	if _, err := testVerifier().Verify(signed); code(err) != CodeSignatureDoesNotMatch {
		t.Errorf("another value: %v", err)
	}
	signed.Moved.Del("Cache-Control")
	if _, err := testVerifier().Verify(signed); code(err) != CodeSignatureDoesNotMatch {
		t.Errorf("no value: %v", err)
	}
}

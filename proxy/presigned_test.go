package proxy

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"  //nolint:gosec // Content-MD5
	"crypto/sha1" //nolint:gosec // Signature Version 2
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
)

// presigned makes a request from a URL alone, like a browser or curl.
func (g *testGateway) presigned(method, address string, body []byte, pairs ...string) clientAnswer {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, address, bytes.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	for name, values := range headers(pairs...) {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	return readAnswer(g.http.Do(r))
}

// presignV4 presigns with the SDK's signer; what stands in the query is signed
// as it is. pairs are headers that are signed as such.
func (g *testGateway) presignV4(method, path string, query url.Values, pairs ...string) string {
	g.t.Helper()
	query.Set("X-Amz-Expires", "60")
	r, err := http.NewRequestWithContext(g.t.Context(), method, g.url+path+"?"+query.Encode(), nil)
	if err != nil {
		g.t.Fatal(err)
	}
	for name, values := range headers(pairs...) {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	credentials := aws.Credentials{AccessKeyID: clientAccessKey, SecretAccessKey: clientSecretKey}
	address, _, err := signer.PresignHTTP(g.t.Context(), credentials, r, modeUnsigned, "s3", clientRegion, time.Now())
	if err != nil {
		g.t.Fatal(err)
	}
	return address
}

// presignV2 presigns a path with the headers that boto3 puts into the query.
func (g *testGateway) presignV2(method, path, contentType, contentMD5 string, more url.Values) string {
	expires := strconv.FormatInt(time.Now().Add(time.Minute).Unix(), 10)
	h := hmac.New(sha1.New, []byte(clientSecretKey))
	fmt.Fprintf(h, "%s\n%s\n%s\n%s\n%s", method, contentMD5, contentType, expires, path)
	query := url.Values{"AWSAccessKeyId": {clientAccessKey}, "Expires": {expires}, "Signature": {base64.StdEncoding.EncodeToString(h.Sum(nil))}}
	for name, values := range more {
		query[name] = values
	}
	return g.url + path + "?" + query.Encode()
}

// TestPresignedHeaders: headers that a presigner moved into the query count as
// headers of the request. They are stored with the object, and verified.
func TestPresignedHeaders(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withConfig(func(c *Config) { c.PresignedV2 = true }))
	body := []byte("data")
	sum := md5.Sum(body) //nolint:gosec // see the import
	digest := base64.StdEncoding.EncodeToString(sum[:])
	moved := url.Values{"Content-Type": {"text/plain"}, "Cache-Control": {"no-cache"}, "Content-MD5": {digest}, "x-amz-server-side-encryption": {s3.AES256}}
	address := g.presignV4("PUT", "/bucket/k", moved)
	g.presigned("PUT", address, []byte("fake")).want(t, 400, "BadDigest")
	g.presigned("PUT", address, body, "Content-Type", "text/plain").want(t, 200, "")
	g.presigned("PUT", address, body).want(t, 200, "")
	r := g.get("/bucket/k")
	r.want(t, 200, "")
	if r.header.Get("Content-Type") != "text/plain" || r.header.Get("Cache-Control") != "no-cache" || !isSealed(g.upstream.object(testBucket, "k")) {
		t.Errorf("%v", r.header)
	}

	v2 := url.Values{"content-type": {"text/css"}, "content-md5": {digest}}
	address = g.presignV2("PUT", "/bucket/v2", "text/css", digest, v2)
	g.presigned("PUT", address, []byte("fake")).want(t, 400, "BadDigest")
	g.presigned("PUT", address, body).want(t, 200, "")
	r = g.presigned("GET", g.presignV2("GET", "/bucket/v2", "", "", nil), nil)
	if r.want(t, 200, ""); string(r.body) != "data" || r.header.Get("Content-Type") != "text/css" {
		t.Errorf("%q %v", r.body, r.header)
	}
	g.presigned("DELETE", g.presignV2("GET", "/bucket/v2", "", "", nil), nil).want(t, 403, "SignatureDoesNotMatch")
	g.presigned("GET", g.presignV2("GET", "/bucket/v2", "", "", url.Values{"encryption": {""}}), nil).want(t, 405, "MethodNotAllowed")
	g.presigned("GET", g.presignV2("GET", "/bucket/v2", "", "", url.Values{"attributes": {""}}), nil).want(t, 403, "AccessDenied")
	g.presigned("DELETE", g.presignV2("DELETE", "/bucket/v2", "", "", nil), nil).want(t, 204, "")

	off := newGateway(t, withUpstream(g.upstream), withKES(g.kes))
	off.presigned("GET", off.presignV2("GET", "/bucket/k", "", "", nil), nil).want(t, 400, "InvalidRequest")
}

// TestPresignedConditions: Range and the standard conditions count as headers
// in the query too, where aws-sdk-js v2 puts them.
func TestPresignedConditions(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withConfig(func(c *Config) { c.PresignedV2 = true }), withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	g.put("/bucket/k", []byte("0123456789")).want(t, 200, "")
	etag := g.head("/bucket/k").header.Get("ETag")
	for _, c := range []struct {
		method, name, value string
		status              int
		code                string
	}{
		{"GET", "Range", "bytes=1-2", 206, ""},
		{"GET", "If-Match", etag, 200, ""},
		{"GET", "If-Match", `"x"`, 412, "PreconditionFailed"},
		{"GET", "If-None-Match", etag, 304, ""},
		{"GET", "If-Modified-Since", "Mon, 01 Jan 2001 00:00:00 GMT", 200, ""},
		{"GET", "If-Unmodified-Since", "Mon, 01 Jan 2001 00:00:00 GMT", 412, "PreconditionFailed"},
		{"PUT", "If-None-Match", "*", 412, "PreconditionFailed"},
		{"PUT", "If-Match", `"x"`, 412, "PreconditionFailed"},
	} {
		query := url.Values{c.name: {c.value}}
		for version, address := range map[string]string{
			"4": g.presignV4(c.method, "/bucket/k", url.Values{c.name: {c.value}}),
			"2": g.presignV2(c.method, "/bucket/k", "", "", query),
		} {
			for _, sent := range [][]string{nil, {c.name, c.value}} {
				r := g.presigned(c.method, address, nil, sent...)
				if r.status != c.status || r.code != c.code || r.status == 206 && string(r.body) != "12" {
					t.Errorf("version %s, %s %s %q, sent %v: %d %s %q", version, c.method, c.name, c.value, sent, r.status, r.code, r.body)
				}
			}
			g.presigned(c.method, address, nil, c.name, "other").want(t, 400, "InvalidArgument")
		}
	}
}

// TestPresignedContentHeaders: the signed value in the query is stored, even if
// the client sends another as a header, unless the signature covers the header.
func TestPresignedContentHeaders(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withConfig(func(c *Config) { c.PresignedV2 = true }), withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	for name, value := range map[string]string{
		"Cache-Control": "no-cache", "Content-Disposition": "inline", "Content-Encoding": "gzip", "Content-Language": "de",
		"Content-Type": "text/css", "Expires": "Wed, 21 Oct 2065 07:28:00 GMT",
	} {
		address := g.presignV4("PUT", "/bucket/k", url.Values{name: {value}})
		g.presigned("PUT", address, []byte("x"), name, "Text/Plain").want(t, 200, "")
		if got := g.head("/bucket/k").header.Get(name); got != value {
			t.Errorf("%s: %q was signed, and %q stored", name, value, got)
		}
		// The signature is over the header itself.
		listed := g.presignV4("PUT", "/bucket/k", url.Values{name: {value}}, name, "Text/Plain")
		g.presigned("PUT", listed, []byte("x"), name, "Text/Plain").want(t, 400, "InvalidArgument")
		g.presigned("PUT", g.presignV4("PUT", "/bucket/k", url.Values{name: {value}}, name, value), []byte("x"), name, value).want(t, 200, "")
	}
	// Version 2 has no list of signed headers. It always covers Content-Type.
	v2 := g.presignV2("PUT", "/bucket/k", "text/css", "", url.Values{"Content-Type": {"text/css"}})
	g.presigned("PUT", v2, []byte("x"), "Content-Type", "text/plain").want(t, 400, "InvalidArgument")
	for name, values := range map[string][2]string{
		"X-Amz-Meta-A": {"1", "2"}, "X-Amz-Storage-Class": {"STANDARD", "GLACIER"}, "Content-Md5": {"nQPg9djYT24qPCnXQkRRtw==", "x"},
	} {
		address := g.presignV4("PUT", "/bucket/k", url.Values{name: {values[0]}})
		r := g.presigned("PUT", address, []byte("x"), name, values[1])
		if r.status != 400 && r.status != 403 {
			t.Errorf("%s contradicts itself: %d %s", name, r.status, r.code)
		}
	}
}

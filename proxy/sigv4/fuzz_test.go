package sigv4

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/aws/smithy-go/encoding/httpbinding"
)

// fuzzRequest builds a client request from fuzzed parts. It returns nil if they
// make no valid HTTP request.
func fuzzRequest(method, path, name, value, header string) *http.Request {
	validMethod := method != "" && !strings.ContainsFunc(method, func(r rune) bool { return r < 'A' || r > 'Z' })
	lower := strings.ToLower(name)
	// url.Values can hold any bytes, but the test and the verifier give these
	// names a meaning.
	reserved := strings.HasPrefix(lower, "x-amz-") || name == "Signature" || name == "AWSAccessKeyId"
	validHeader := utf8.ValidString(header) && !strings.ContainsFunc(header, func(r rune) bool { return r < ' ' || r > '~' })
	if !validMethod || reserved || !validHeader {
		return nil
	}
	path = "/" + path
	query := url.Values{name: {value}, "x-id": {"PutObject"}}
	return &http.Request{
		Method: method,
		Host:   testHost,
		// The SDK encodes the path itself, as S3 requires, and passes it to the
		// signer as RawPath.
		URL: &url.URL{Scheme: "http", Host: testHost, Path: path, RawPath: httpbinding.EscapePath(path, false),
			RawQuery: strings.ReplaceAll(query.Encode(), "+", "%20")},
		Header: http.Header{"X-Amz-Meta-Fuzz": {header}},
	}
}

func addSeeds(f *testing.F) {
	f.Add("GET", "bucket/key", "versionId", "a b+c", "plain", uint16(0))
	f.Add("PUT", "bucket//a b/é~!'()*+,;=@$&:", "prefix", "ü/\x00%2F", "  two   spaces\t ", uint16(13))
	f.Add("DELETE", "", "", "", "", uint16(99))
	f.Add("POST", "b/../c/%2e", "uploads", "", "a,b", uint16(500))
}

// FuzzVerifyAgainstSDK checks that a request signed by the SDK verifies, and no
// longer does after a change of one byte.
func FuzzVerifyAgainstSDK(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, method, path, name, value, header string, where uint16) {
		req := fuzzRequest(method, path, name, value, header)
		if req == nil {
			return
		}
		signHeader(t, req, unsignedPayload)
		checkSignature(t, received(t, req), where)
	})
}

// FuzzPresign is the same for presigned requests.
func FuzzPresign(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, method, path, name, value, header string, where uint16) {
		req := fuzzRequest(method, path, name, value, header)
		if req == nil {
			return
		}
		query := req.URL.Query()
		query.Set(paramExpires, "60")
		req.URL.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
		signed, headers, err := sdkSigner().PresignHTTP(t.Context(), credentials(testSecret), req, unsignedPayload, serviceS3, testRegion, testTime)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(signed)
		if err != nil {
			t.Fatal(err)
		}
		headers.Del("Host")
		r := received(t, &http.Request{Method: method, Host: testHost, URL: u, Header: headers})
		checkSignature(t, r, where)
	})
}

// checkSignature verifies r, and then r with one byte changed.
func checkSignature(t *testing.T, r *Request, where uint16) {
	if _, err := testVerifier().Verify(r); err != nil {
		t.Fatalf("%v\n%+v", err, r)
	}
	flip := func(s string) string {
		if s == "" {
			return "x"
		}
		b := []byte(s)
		at := int(where) % len(b)
		if b[at] ^= 1; b[at] == ' ' || s[at] == ' ' {
			b[at] = 'x' // spaces may collapse
		}
		return string(b)
	}
	changes := []func(*Request){
		func(r *Request) { r.Method = flip(r.Method) },
		func(r *Request) { r.Path = flip(r.Path) },
		func(r *Request) { r.Host = flip(r.Host) },
		func(r *Request) {
			names := make([]string, 0, len(r.Query))
			for name := range r.Query {
				names = append(names, name)
			}
			slices.Sort(names)
			name := names[int(where)%len(names)]
			r.Query[name] = []string{flip(r.Query.Get(name))}
		},
		func(r *Request) { r.Header.Set("X-Amz-Meta-Fuzz", flip(r.Header.Get("X-Amz-Meta-Fuzz"))) },
		func(r *Request) {
			if r.Header.Get("Authorization") == "" {
				r.Query.Set(paramSignature, flip(r.Query.Get(paramSignature)))
				return
			}
			r.Header.Set("Authorization", flip(r.Header.Get("Authorization")))
		},
	}
	for i, change := range changes {
		changed := cloneRequest(r)
		change(changed)
		before, after := r.Header.Get("Authorization"), changed.Header.Get("Authorization")
		if strings.EqualFold(before, after) && before != after {
			continue // the case of SignedHeaders does not matter
		}
		if auth, err := testVerifier().Verify(changed); err == nil && !auth.Anonymous() {
			t.Fatalf("change %d verifies:\n%+v\n%+v", i, r, changed)
		}
	}
}

// FuzzAuthorizationHeader looks for panics, and for headers other than the one
// valid header that verify.
func FuzzAuthorizationHeader(f *testing.F) {
	for _, seed := range []string{
		"", " ", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 ", "AWS a:b", "Basic x", "AWS4-HMAC-SHA256 Credential=" + strings.Repeat("/", 5000),
		"AWS4-HMAC-SHA256 Credential=" + testKey + "/20261123/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00",
		"AWS4-HMAC-SHA256 Credential=////aws4_request,SignedHeaders=;,Signature=", "AWS4-HMAC-SHA256 ,,,=,=",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		r := &Request{Method: "GET", Path: "/", Host: testHost, Header: http.Header{
			"Authorization": {value}, "X-Amz-Date": {testTime.Format(timeFormat)}, "X-Amz-Content-Sha256": {unsignedPayload},
		}}
		auth, err := testVerifier().Verify(r)
		if err == nil {
			t.Fatalf("%q verifies as %v", value, auth)
		}
		if c := code(err); strings.HasPrefix(c, "not an *Error") {
			t.Fatal(c)
		}
	})
}

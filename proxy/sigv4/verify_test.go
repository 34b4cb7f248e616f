package sigv4

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

const getTarget = "/bucket/a%20key%2B//~%C3%A9?versionId=a%2Fb&x-id=GetObject&empty="

func signedGet(t testing.TB) *Request {
	req := newTestRequest(t, http.MethodGet, getTarget, "", "X-Amz-Meta-A", "  two   spaces ", "Range", "bytes=0-1")
	signHeader(t, req, unsignedPayload)
	return received(t, req)
}

func presignedGet(t testing.TB) *Request {
	return received(t, presign(t, newTestRequest(t, http.MethodGet, getTarget, ""), testTime, "60"))
}

// mutation breaks a request in one way. want is the code of the refusal.
type mutation struct {
	name   string
	change func(r *Request)
	want   string
}

func checkMutations(t *testing.T, valid func(testing.TB) *Request, mutations []mutation) {
	t.Helper()
	if _, err := testVerifier().Verify(valid(t)); err != nil {
		t.Fatalf("the unchanged request: %v", err)
	}
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			r := cloneRequest(valid(t))
			m.change(r)
			auth, err := testVerifier().Verify(r)
			if code(err) != m.want || auth != nil {
				t.Errorf("got %v, %v; want %s", auth, err, m.want)
			}
		})
	}
}

func setHeader(name, value string) func(*Request) {
	return func(r *Request) { r.Header.Set(name, value) }
}

func editAuth(from, to string) func(*Request) {
	return func(r *Request) {
		before := r.Header.Get("Authorization")
		if !strings.Contains(before, from) {
			panic("nothing to edit: " + from + " in " + before)
		}
		r.Header.Set("Authorization", strings.Replace(before, from, to, 1))
	}
}

func setQuery(name, value string) func(*Request) {
	return func(r *Request) { r.Query.Set(name, value) }
}

func editQuery(name, from, to string) func(*Request) {
	return func(r *Request) {
		if !strings.Contains(r.Query.Get(name), from) {
			panic("nothing to edit: " + from + " in " + r.Query.Get(name))
		}
		r.Query.Set(name, strings.Replace(r.Query.Get(name), from, to, 1))
	}
}

func TestVerifyHeaderRefusals(t *testing.T) {
	t.Parallel()
	const day, skewed = "/20261123/", "20261123T094300Z"
	checkMutations(t, signedGet, []mutation{
		{"method", func(r *Request) { r.Method = http.MethodPut }, CodeSignatureDoesNotMatch},
		{"path", func(r *Request) { r.Path += "x" }, CodeSignatureDoesNotMatch},
		{"slash doubled in path", func(r *Request) { r.Path = "/" + r.Path }, CodeSignatureDoesNotMatch},
		{"parameter changed", setQuery("versionId", "other"), CodeSignatureDoesNotMatch},
		{"parameter added", setQuery("response-content-type", "text/html"), CodeSignatureDoesNotMatch},
		{"parameter removed", func(r *Request) { r.Query.Del("empty") }, CodeSignatureDoesNotMatch},
		{"parameter doubled", func(r *Request) { r.Query.Add("versionId", "other") }, CodeSignatureDoesNotMatch},
		{"host", func(r *Request) { r.Host = "other" }, CodeSignatureDoesNotMatch},
		{"no host", func(r *Request) { r.Host = "" }, CodeSignatureDoesNotMatch},
		{"x-forwarded-host does not count", func(r *Request) {
			r.Header.Set("X-Forwarded-Host", r.Host)
			r.Host = "other"
		}, CodeSignatureDoesNotMatch},
		{"signed header changed", setHeader("Range", "bytes=0-2"), CodeSignatureDoesNotMatch},
		{"signed header removed by a hop", func(r *Request) { r.Header.Del("Range") }, CodeSignatureDoesNotMatch},
		{"signed header doubled", func(r *Request) { r.Header.Add("Range", "bytes=0-1") }, CodeSignatureDoesNotMatch},
		{"payload hash changed", setHeader("X-Amz-Content-Sha256", hexSHA256("")), CodeSignatureDoesNotMatch},
		{"payload hash missing", func(r *Request) { r.Header.Del(headerContentSHA256) }, CodeInvalidRequest},
		{"payload hash malformed", setHeader("X-Amz-Content-Sha256", "abc"), CodeInvalidArgument},
		{"payload signed asymmetrically", setHeader("X-Amz-Content-Sha256", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"), CodeNotImplemented},
		{"payload hash also in the query", setQuery("X-Amz-Content-Sha256", hexSHA256("")), CodeInvalidArgument},
		{"unsigned x-amz-meta", setHeader("X-Amz-Meta-B", "x"), CodeAccessDenied},
		{"unsigned copy source", setHeader("X-Amz-Copy-Source", "victim/key"), CodeAccessDenied},
		{"unsigned empty x-amz header", setHeader("X-Amz-Acl", ""), CodeAccessDenied},
		{"unsigned extension header", setHeader("X-Minio-Force-Delete", "true"), CodeAccessDenied},
		{"GHSA-9c4q-hq6p-c237 snowball header", setHeader("X-Amz-Meta-Snowball-Auto-Extract", "true"), CodeAccessDenied},
		{"host not signed", editAuth("host;", ""), CodeAccessDenied},
		{"x-amz-date not signed", editAuth("x-amz-date;", ""), CodeAccessDenied},
		{"signature", editAuth("Signature=", "Signature=0"), CodeSignatureDoesNotMatch},
		{"CVE-2025-31489 junk signature", func(r *Request) {
			r.Header.Set(headerContentSHA256, modeUnsignedTrailer)
			value := r.Header.Get("Authorization")
			r.Header.Set("Authorization", value[:len(value)-8]+"deadbeef")
		}, CodeSignatureDoesNotMatch},
		{"unknown access key", editAuth(testKey, "AKIAOTHER"), CodeInvalidAccessKeyID},
		{"16 minutes late", setHeader(headerDate, skewed), CodeRequestTimeTooSkewed},
		{"16 minutes early", setHeader(headerDate, "20261123T101601Z"), CodeRequestTimeTooSkewed},
		{"date within the window", setHeader(headerDate, "20261123T100001Z"), CodeSignatureDoesNotMatch},
		{"date malformed", setHeader(headerDate, "yesterday"), CodeAccessDenied},
		{"date doubled", func(r *Request) { r.Header.Add(headerDate, r.Header.Get(headerDate)) }, CodeAccessDenied},
		{"no date", func(r *Request) { r.Header.Del(headerDate) }, CodeAccessDenied},
		{"scope of another day", editAuth(day, "/20261122/"), CodeAuthorizationMalformed},
		{"scope date malformed", editAuth(day, "/2026112/"), CodeAuthorizationMalformed},
		{"wrong region", editAuth(testRegion, "eu-west-1"), CodeAuthorizationMalformed},
		{"empty region", editAuth(testRegion, ""), CodeAuthorizationMalformed},
		{"wrong service", editAuth("/s3/", "/sts/"), CodeAuthorizationMalformed},
		{"wrong terminal", editAuth("aws4_request", "aws5_request"), CodeAuthorizationMalformed},
		{"no access key", editAuth(testKey, ""), CodeAuthorizationMalformed},
		{"CVE-2026-55873 scope without service", editAuth("/s3/", "/"), CodeAuthorizationMalformed},
		{"no SignedHeaders", editAuth("SignedHeaders=", "X="), CodeAuthorizationMalformed},
		{"empty name in SignedHeaders", editAuth("SignedHeaders=", "SignedHeaders=;"), CodeAuthorizationMalformed},
		{"name twice in SignedHeaders", editAuth("SignedHeaders=", "SignedHeaders=host;"), CodeAuthorizationMalformed},
		{"no Signature", editAuth("Signature=", "X="), CodeAuthorizationMalformed},
		{"Signature twice", editAuth("Signature=", "Signature=a,Signature="), CodeAuthorizationMalformed},
		{"a fourth part", editAuth("Signature=", "X=y,Signature="), CodeAuthorizationMalformed},
		{"part without value", editAuth("Signature=", "Signature,X="), CodeAuthorizationMalformed},
		{"two Authorization headers", func(r *Request) { r.Header.Add("Authorization", "AWS a:b") }, CodeInvalidArgument},
		{"empty Authorization", setHeader("Authorization", ""), CodeInvalidArgument},
		{"one word", setHeader("Authorization", "AWS4-HMAC-SHA256"), CodeInvalidArgument},
		{"five thousand slashes", setHeader("Authorization", "AWS4-HMAC-SHA256 Credential="+strings.Repeat("/", 5000)), CodeAuthorizationMalformed},
		{"Basic", setHeader("Authorization", "Basic QWxhZGRpbjpvcGVu"), CodeInvalidArgument},
		{"V2", setHeader("Authorization", "AWS "+testKey+":frJIUN8DYpKDtOLCwo//yllqDzg="), CodeInvalidRequest},
		{"V4A", editAuth("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), CodeInvalidRequest},
		{"query credential too", setQuery(paramCredential, "x"), CodeInvalidArgument},
		{"query signature too, lower case", setQuery("x-amz-signature", "x"), CodeInvalidArgument},
		{"V2 query too", setQuery("Signature", "x"), CodeInvalidArgument},
		{"session token", setHeader(paramToken, "x"), CodeInvalidToken},
		{"x-amz parameter in two cases", func(r *Request) {
			r.Query.Set("x-amz-acl", "private")
			r.Query.Set("X-Amz-Acl", "public-read")
		}, CodeInvalidArgument},
	})
}

func TestVerifyPresignedRefusals(t *testing.T) {
	t.Parallel()
	checkMutations(t, presignedGet, []mutation{
		{"GET used for PUT", func(r *Request) { r.Method = http.MethodPut }, CodeSignatureDoesNotMatch},
		{"path", func(r *Request) { r.Path += "x" }, CodeSignatureDoesNotMatch},
		{"host", func(r *Request) { r.Host = "other" }, CodeSignatureDoesNotMatch},
		{"parameter added", setQuery("response-content-type", "text/html"), CodeSignatureDoesNotMatch},
		{"x-amz parameter added", setQuery("X-Amz-Acl", "public-read"), CodeSignatureDoesNotMatch},
		{"parameter doubled", func(r *Request) { r.Query.Add("versionId", "other") }, CodeSignatureDoesNotMatch},
		{"expiry stretched", setQuery(paramExpires, "61"), CodeSignatureDoesNotMatch},
		{"GHSA-xm99-m3gq-83g8 unsigned copy source", setHeader("X-Amz-Copy-Source", "victim/key"), CodeAccessDenied},
		{"unsigned payload hash", setHeader(headerContentSHA256, unsignedPayload), CodeAccessDenied},
		{"host not signed", editQuery(paramSignedHeaders, "host", "range"), CodeAccessDenied},
		{"signature", editQuery(paramSignature, "", "0"), CodeSignatureDoesNotMatch},
		{"unknown access key", editQuery(paramCredential, testKey, "AKIAOTHER"), CodeInvalidAccessKeyID},
		{"expires 604801", setQuery(paramExpires, "604801"), CodeAuthorizationQuery},
		{"expires 0", setQuery(paramExpires, "0"), CodeAccessDenied},
		{"expires -1", setQuery(paramExpires, "-1"), CodeAuthorizationQuery},
		{"expires 1e3", setQuery(paramExpires, "1e3"), CodeAuthorizationQuery},
		{"date malformed", setQuery(paramDate, "2026-11-23"), CodeAuthorizationQuery},
		{"scope of another day", editQuery(paramCredential, "20261123", "20261122"), CodeAuthorizationQuery},
		{"wrong region", editQuery(paramCredential, testRegion, "eu-west-1"), CodeAuthorizationQuery},
		{"wrong service", editQuery(paramCredential, "/s3/", "/iam/"), CodeAuthorizationQuery},
		{"malformed credential", setQuery(paramCredential, testKey), CodeAuthorizationQuery},
		{"malformed SignedHeaders", setQuery(paramSignedHeaders, ";host"), CodeAuthorizationQuery},
		{"V4A", setQuery(paramAlgorithm, algorithmV4A), CodeAuthorizationQuery},
		{"CVE-2026-41145 only a credential", func(r *Request) {
			r.Query = url.Values{paramCredential: r.Query[paramCredential]}
		}, CodeAuthorizationQuery},
		{"CVE-2026-41145 lower-case parameters", func(r *Request) {
			r.Query = url.Values{"x-amz-credential": r.Query[paramCredential], "x-amz-signature": {"junk"}}
		}, CodeAuthorizationQuery},
		{"no signature", func(r *Request) { r.Query.Del(paramSignature) }, CodeAuthorizationQuery},
		{"Authorization too", setHeader("Authorization", "AWS4-HMAC-SHA256 x"), CodeInvalidArgument},
		{"empty Authorization too", setHeader("Authorization", ""), CodeInvalidArgument},
		{"V2 too", setQuery("Signature", "x"), CodeInvalidRequest},
		{"session token", setQuery(paramToken, "x"), CodeInvalidToken},
		{"malformed payload hash", setQuery("X-Amz-Content-Sha256", "x"), CodeInvalidArgument},
		{"other x-amz-date header", func(r *Request) {
			r.Header.Set(headerDate, "20261122T000000Z")
			r.Query.Set(paramSignedHeaders, "host;x-amz-date")
		}, CodeInvalidArgument},
	})
}

func TestVerifyPresignedWindow(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		now  time.Duration // relative to the request's date
		want string
	}{
		{"at once", 0, ""},
		{"last second", 60 * time.Second, ""},
		{"expired", 61 * time.Second, CodeAccessDenied},
		{"client clock ahead by 15 minutes", -15 * time.Minute, ""},
		{"client clock ahead by 16 minutes", -16 * time.Minute, CodeAccessDenied},
		{"date 24 h in the future", -24 * time.Hour, CodeAccessDenied},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := verifierAt(testTime.Add(tt.now)).Verify(presignedGet(t)); code(err) != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestVerifyAnonymous(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		header http.Header
		query  url.Values
		want   string
	}{
		{"nothing", nil, nil, ""},
		{"unsigned payload", http.Header{"X-Amz-Content-Sha256": {unsignedPayload}}, nil, ""},
		{"payload hash", http.Header{"X-Amz-Content-Sha256": {hexSHA256("")}}, nil, ""},
		{"unsigned trailer", http.Header{"X-Amz-Content-Sha256": {modeUnsignedTrailer}}, nil, ""},
		{"unsigned trailer without x-amz-content-sha256", http.Header{"X-Amz-Trailer": {"x-amz-checksum-crc32"}}, nil, ""},
		{"signed chunks", http.Header{"X-Amz-Content-Sha256": {modeSigned}}, nil, CodeInvalidRequest},
		{"signed trailer", http.Header{"X-Amz-Content-Sha256": {modeSignedTrailer}}, nil, CodeInvalidRequest},
		{"junk payload hash", http.Header{"X-Amz-Content-Sha256": {"junk"}}, nil, ""},
		{"two payload hashes", http.Header{"X-Amz-Content-Sha256": {unsignedPayload, hexSHA256("")}}, nil, CodeInvalidArgument},
		{"session token", http.Header{"X-Amz-Security-Token": {"x"}}, nil, CodeInvalidToken},
		{"V2 query", nil, url.Values{"AWSAccessKeyId": {testKey}, "Signature": {"x"}, "Expires": {"1"}}, CodeInvalidRequest},
		{"only a date", nil, url.Values{paramDate: {"20261123T100000Z"}}, CodeAuthorizationQuery},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			auth, err := testVerifier().Verify(&Request{Method: "PUT", Path: "/b/k", Header: tt.header, Query: tt.query, Host: testHost})
			if code(err) != tt.want {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if err == nil && (!auth.Anonymous() || auth.AccessKey() != "" || auth.Presigned()) {
				t.Errorf("auth = %v", auth)
			}
		})
	}
}

func TestVerifyRegions(t *testing.T) {
	t.Parallel()
	sign := func(region string) *Request {
		req := newTestRequest(t, http.MethodPost, "/minio/kms/v1/key/create?key-id=my%2Fkey", "")
		req.Header.Set(headerContentSHA256, hexSHA256(""))
		if err := sdkSigner().SignHTTP(t.Context(), credentials(testSecret), req, hexSHA256(""), serviceS3, region, testTime); err != nil {
			t.Fatal(err)
		}
		return received(t, req)
	}
	tests := []struct {
		region     string
		allowEmpty bool
		want       string
	}{
		{"", true, ""},
		{testRegion, true, ""},
		{"eu-west-1", true, CodeAuthorizationMalformed},
		{"", false, CodeAuthorizationMalformed},
	}
	for _, tt := range tests {
		r := sign(tt.region)
		r.AllowEmptyRegion = tt.allowEmpty
		_, err := testVerifier().Verify(r)
		if code(err) != tt.want {
			t.Errorf("%q, %v: got %v, want %q", tt.region, tt.allowEmpty, err, tt.want)
		}
		if e, ok := err.(*Error); ok && !slices.Contains(e.Details, Detail{"Region", testRegion}) {
			t.Errorf("%q: the refusal does not name the region: %v", tt.region, e.Details)
		}
	}
}

// TestAnyRegion verifies requests and forms signed for regions that the
// verifier does not know, or for no region.
func TestAnyRegion(t *testing.T) {
	t.Parallel()
	v := testVerifier()
	v.cfg.Region = AnyRegion
	for _, region := range []string{testRegion, "eu-central-1", "US", "*", ""} {
		byHeader := newTestRequest(t, http.MethodPut, "/bucket/key", "hello")
		byHeader.Header.Set(headerContentSHA256, hexSHA256("hello"))
		if err := sdkSigner().SignHTTP(t.Context(), credentials(testSecret), byHeader, hexSHA256("hello"), serviceS3, region, testTime); err != nil {
			t.Fatal(err)
		}
		r := received(t, byHeader)
		if _, err := v.Verify(r); err != nil {
			t.Errorf("header for %q: %v", region, err)
		}
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "/"+region+"/s3/", "/elsewhere/s3/", 1))
		if _, err := v.Verify(r); code(err) != CodeSignatureDoesNotMatch {
			t.Errorf("header for %q that claims another region: %v", region, err)
		}

		byQuery := newTestRequest(t, http.MethodGet, "/bucket/key?X-Amz-Expires=60", "")
		uri, _, err := sdkSigner().PresignHTTP(t.Context(), credentials(testSecret), byQuery, "UNSIGNED-PAYLOAD", serviceS3, region, testTime)
		if err != nil {
			t.Fatal(err)
		}
		if byQuery.URL, err = url.Parse(uri); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(received(t, byQuery)); err != nil {
			t.Errorf("presigned for %q: %v", region, err)
		}

		fields := form(policyDocument(strings.Replace(standardConditions, testRegion, region, 1)))
		s := scope{date: testTime.Format(dayFormat), region: region, service: serviceS3}
		fields[fieldCredential] = testKey + "/" + s.String()
		fields[fieldSignature] = deriveKey(testSecret, s).sign(fields[fieldPolicy])
		if _, err := v.VerifyPolicy("photos", fields); err != nil {
			t.Errorf("form for %q: %v", region, err)
		}
	}
}

func TestVerifyHeaderForms(t *testing.T) {
	t.Parallel()
	tests := map[string]func(r *Request){
		"no space after commas": func(r *Request) {
			r.Header.Set("Authorization", strings.ReplaceAll(r.Header.Get("Authorization"), ", ", ","))
		},
		"other order of parts": func(r *Request) {
			scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			parts := strings.Split(rest, ", ")
			r.Header.Set("Authorization", scheme+" "+parts[2]+", "+parts[0]+", "+parts[1])
		},
		"upper-case SignedHeaders": editAuth("host;", "Host;"),
		"unsigned ordinary header": setHeader("User-Agent", "x"),
		"unsigned trace header":    setHeader("X-Amzn-Trace-Id", "Root=1"),
		"other spacing of a value": setHeader("X-Amz-Meta-A", "two spaces"),
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			r := signedGet(t)
			change(r)
			if _, err := testVerifier().Verify(r); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestVerifyDateHeader(t *testing.T) {
	t.Parallel()
	for _, format := range []string{http.TimeFormat, timeFormat} {
		r := &Request{Method: "GET", Path: "/b", Host: testHost, Header: http.Header{
			"Date": {testTime.Format(format)}, "X-Amz-Content-Sha256": {unsignedPayload},
		}}
		s := scope{testTime.Format(dayFormat), testRegion, serviceS3}
		signed := []string{"date", "host", headerContentSHA256}
		canonical, err := canonicalRequest(r, signed, unsignedPayload, collapse)
		if err != nil {
			t.Fatal(err)
		}
		signature := deriveKey(testSecret, s).sign(stringToSign(&credential{scope: s, time: testTime.Format(timeFormat)}, canonical))
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+testKey+"/"+s.String()+", SignedHeaders="+
			strings.Join(signed, ";")+", Signature="+signature)
		if _, err := testVerifier().Verify(r); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
}

func TestAccessKeyWithSlash(t *testing.T) {
	t.Parallel()
	accessKey, s, err := byHeader.parseCredential("a/b//20261123//s3/aws4_request")
	if err != nil || accessKey != "a/b/" || s != (scope{"20261123", "", "s3"}) {
		t.Errorf("got %q, %v, %v", accessKey, s, err)
	}
}

func TestEmptySecretIsUnknown(t *testing.T) {
	t.Parallel()
	v := New(Config{Region: testRegion, Now: func() time.Time { return testTime },
		Secret: func(string) (string, bool) { return "", true }})
	req := newTestRequest(t, http.MethodGet, "/", "")
	req.Header.Set(headerContentSHA256, unsignedPayload)
	if err := sdkSigner().SignHTTP(t.Context(), credentials(dummySecret), req, unsignedPayload, serviceS3, testRegion, testTime); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(received(t, req)); code(err) != CodeInvalidAccessKeyID {
		t.Errorf("got %v", err)
	}
}

package proxy

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"ssegw/kms/kmstest"
	"ssegw/proxy/s3"
	"ssegw/proxy/sse"
)

// requestOf makes a request for a route, about the object k of testBucket.
func requestOf(r s3.Route, u *testUpload, partETag string) clientRequest {
	c := clientRequest{method: r.Method, path: "/", query: url.Values{}, header: http.Header{}}
	if r.Level >= s3.Bucket {
		c.path += testBucket
	}
	if r.Level == s3.Object {
		c.path += "/k"
	}
	for _, name := range r.Query {
		c.query.Set(name, "1")
	}
	if c.query.Has("list-type") {
		c.query.Set("list-type", "2")
	}
	if c.query.Has("uploadId") {
		c.query.Set("uploadId", u.id)
		c.path = u.path
	}
	if r.CopySource {
		c.header.Set("X-Amz-Copy-Source", testBucket+"/source")
	}
	if r.Action == s3.CompleteMultipartUpload {
		c.body = []byte("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + partETag + "</ETag></Part></CompleteMultipartUpload>")
	}
	return c
}

// sseValues are values of the headers of server-side encryption: one that
// fits, and one that does not.
var sseValues = map[string][2]string{
	s3.HeaderSSE:                     {s3.AES256, "nonsense"},
	s3.HeaderSSEKeyID:                {kmstest.DefaultKey, "no key!"},
	s3.HeaderSSEContext:              {testContext, "nonsense"},
	s3.HeaderSSEBucketKey:            {"true", "perhaps"},
	s3.HeaderSSECAlgorithm:           {s3.AES256, "nonsense"},
	s3.HeaderSSECKey:                 {customerHeaders('c')[3], "nonsense"},
	s3.HeaderSSECKeyMD5:              {customerHeaders('c')[5], "nonsense"},
	s3.HeaderCopySourceSSECAlgorithm: {s3.AES256, "nonsense"},
	s3.HeaderCopySourceSSECKey:       {customerHeaders('c')[3], "nonsense"},
	s3.HeaderCopySourceSSECKeyMD5:    {customerHeaders('c')[5], "nonsense"},
}

// TestSSEHeadersOfEveryRoute sends each header of server-side encryption with
// each operation. A header that the operation does not honour is refused, and
// so is an invalid value. Nothing is stored, and no answer ignores the header.
func TestSSEHeadersOfEveryRoute(t *testing.T) {
	t.Parallel()
	if len(sseValues) != len(sse.Headers) {
		t.Fatal("not all headers are tried")
	}
	g := newGateway(t, withTLS()).withSmallParts()
	for _, key := range []string{"k", "source"} {
		g.put("/bucket/"+key, []byte("data")).want(t, 200, "")
	}
	kinds := map[string][]string{"plain": nil, "SSE-S3": {s3.HeaderSSE, s3.AES256}, "SSE-C": customerHeaders('c')}
	for kind, pairs := range kinds {
		u := g.begin("/bucket/upload", pairs...)
		if kind == "SSE-C" {
			u.read = pairs
		}
		etag := u.try(1, []byte("part")).header.Get("ETag")
		for _, route := range s3.Routes() {
			if route.Class == s3.Refuse || route.Action == s3.PostObject {
				continue // 501 with and without; TestSSEHeadersOfForms
			}
			if kind != "plain" && !slices.Contains(route.Query, "uploadId") {
				continue // tried once
			}
			for header, values := range sseValues {
				for i, value := range values {
					honoured := sse.Honoured[route.Action]&sse.Headers[header] != 0
					if honoured && i == 0 {
						continue // the tests of the operation
					}
					g.upstream.forget()
					c := requestOf(route, u, etag)
					c.header.Set(header, value)
					r := g.do(c)
					if r.status != 400 && (!honoured || r.status < 400) {
						t.Errorf("%s (%s) with %s: %s: %d %s", route.Action, kind, header, value, r.status, r.code)
					}
					if !honoured && c.method != http.MethodHead && (r.code != "InvalidArgument" || !strings.Contains(string(r.body), header+" header is not supported")) {
						t.Errorf("%s (%s) with %s: %s", route.Action, kind, header, r.body)
					}
					for _, seen := range g.upstream.requests("/bucket") {
						if seen.Method != http.MethodGet && seen.Method != http.MethodHead {
							t.Errorf("%s (%s) with %s: %s: the store saw %s %s", route.Action, kind, header, value, seen.Method, seen.Path)
						}
					}
				}
			}
		}
	}
	if o := g.upstream.object(testBucket, "upload"); o != nil {
		t.Error("an upload was completed")
	}
}

// TestSSEHeadersOfForms: fields of forms count as headers.
func TestSSEHeadersOfForms(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for header, values := range sseValues {
		for i, value := range values {
			if i == 0 && sse.Honoured[s3.PostObject]&sse.Headers[header] != 0 {
				continue
			}
			if r := g.form(testForm{fields: []string{header, value}, file: []byte("data")}); r.status != 400 && r.code != "NotImplemented" {
				t.Errorf("%s: %s: %d %s", header, value, r.status, r.code)
			}
		}
	}
	if left := g.upstream.keys(testBucket); len(left) != 0 {
		t.Errorf("stored %v", left)
	}
}

// TestCompleteSSEHeaders: a Complete, and each part, may repeat the encryption
// headers of the Create, and no others.
func TestCompleteSSEHeaders(t *testing.T) {
	t.Parallel()
	kms := []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, kmstest.DefaultKey, s3.HeaderSSEContext, testContext}
	s3sse := []string{s3.HeaderSSE, s3.AES256}
	key, other := customerHeaders('c'), customerHeaders('d')
	for name, c := range map[string]struct {
		create, complete []string
		code             string
	}{
		"the same, SSE-S3":         {s3sse, s3sse, ""},
		"the same, SSE-KMS":        {kms, kms, ""},
		"without the key's name":   {kms, kms[:2], ""},
		"bucket key":               {kms[:4], append(slices.Clone(kms[:4]), s3.HeaderSSEBucketKey, "true"), ""},
		"nothing":                  {kms, nil, ""},
		"other scheme":             {s3sse, kms[:2], "InvalidRequest"},
		"other scheme, SSE-S3":     {kms, s3sse, "InvalidRequest"},
		"other key":                {kms, []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "second-key"}, "InvalidRequest"},
		"other context":            {kms, []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEContext, "e30="}, "InvalidRequest"},
		"nonsense":                 {s3sse, []string{s3.HeaderSSE, "nonsense"}, "InvalidArgument"},
		"plain upload":             {nil, s3sse, "InvalidRequest"},
		"plain upload, own key":    {nil, key, "InvalidRequest"},
		"customer key":             {key, key, ""},
		"customer key, without it": {key, nil, ""},
		"customer key, wrong":      {key, other, "InvalidRequest"},
		"customer key, SSE-S3":     {key, s3sse, "InvalidRequest"},
		"customer key for SSE-S3":  {s3sse, key, "InvalidRequest"},
		"with checksums":           {append(slices.Clone(key), s3.HeaderAlgorithm, "CRC64NVME"), key, ""},
		"with checksums, no key":   {append(slices.Clone(key), s3.HeaderAlgorithm, "CRC64NVME"), nil, "InvalidRequest"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withTLS()).withSmallParts()
			u := g.begin("/bucket/k", c.create...)
			if c.create != nil && c.create[0] == key[0] {
				u.read = key
			}
			g.put("/bucket/source", []byte("data")).want(t, 200, "")
			status := 200
			if c.code != "" {
				status = 400
			}
			if name != "customer key, without it" && name != "with checksums, no key" { // which parts need
				for _, source := range [][]string{nil, {"X-Amz-Copy-Source", "bucket/source"}} {
					body := []byte("data")
					if source != nil {
						body = nil
					}
					request := u.request(http.MethodPut, 2, body)
					request.header = headers(slices.Concat(c.complete, source)...)
					if c.create != nil && c.create[0] == key[0] && (c.complete == nil || c.complete[0] != key[0]) {
						continue
					}
					g.do(request).want(t, status, c.code)
				}
			}
			r := u.try(1, []byte("data"))
			r.want(t, 200, "")
			listed := []testPart{{number: 1, etag: r.header.Get("ETag")}}
			r = u.completeWith(listed, c.complete...)
			r.want(t, status, c.code)
			if made := g.upstream.object(testBucket, "k") != nil; made != (c.code == "") {
				t.Errorf("an object: %t", made)
			}
			if status == 400 && c.code == "InvalidRequest" && !strings.Contains(string(r.body), "multipart upload") && !strings.Contains(string(r.body), "used originally") {
				t.Errorf("%s", r.body)
			}
		})
	}
}

package proxy

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"ssegw/kms/kmstest"
	"ssegw/proxy/s3"
)

func (g *testGateway) updateEncryption(path, key string, pairs ...string) clientAnswer {
	g.t.Helper()
	doc := `<ObjectEncryption xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><SSE-KMS><KMSKeyArn>` + key + `</KMSKeyArn></SSE-KMS></ObjectEncryption>`
	return g.do(clientRequest{method: http.MethodPut, path: path, query: url.Values{"encryption": {""}}, body: []byte(doc), header: headers(pairs...)})
}

// TestUpdateObjectEncryption gives objects of all kinds another key. No byte of
// a body passes the gateway, and metadata and tags stay.
func TestUpdateObjectEncryption(t *testing.T) {
	t.Parallel()
	body := pattern(150_000, 1)
	kms := []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEContext, testContext}
	for name, c := range map[string]struct {
		sse   []string
		parts bool
		limit int64
	}{
		"SSE-S3":            {[]string{s3.HeaderSSE, s3.AES256}, false, 0},
		"SSE-KMS":           {kms, false, 0},
		"SSE-KMS multipart": {kms, true, 0},
		"large":             {kms, true, 60_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t).withSmallParts()
			if c.limit > 0 {
				g.bounds.maxCopy, g.bounds.copyRange = c.limit, c.limit
			}
			g.kes.CreateKey("second-key")
			pairs := append([]string{"X-Amz-Meta-A", "1", "X-Amz-Tagging", "a=1", "X-Amz-Storage-Class", "COLD", "X-Amz-Website-Redirect-Location", "/x"}, c.sse...)
			if c.parts {
				u := g.begin("/bucket/k", pairs...)
				u.part(1, body[:100_000])
				u.part(2, body[100_000:])
				u.complete()
			} else {
				g.put("/bucket/k", body, pairs...).want(t, 200, "")
			}
			g.upstream.forget()
			g.updateEncryption("/bucket/k", "arn:aws:kms:"+"second-key").want(t, 200, "")
			wantNoBodies(t, g)
			g.kes.DeleteKey(kmstest.DefaultKey)
			wantObject(t, g, "/bucket/k", body, 5)
			h := g.head("/bucket/k").header
			if h.Get(s3.HeaderSSEKeyID) != "arn:aws:kms:"+"second-key" || h.Get("X-Amz-Meta-A") != "1" || h.Get("X-Amz-Tagging-Count") != "1" ||
				h.Get("X-Amz-Storage-Class") != "COLD" || h.Get("X-Amz-Website-Redirect-Location") != "/x" {
				t.Errorf("%v", h)
			}
			if want := len(c.sse) > 2; (h.Get(s3.HeaderSSEContext) == testContextShown) != want {
				t.Errorf("context %q", h.Get(s3.HeaderSSEContext))
			}
		})
	}
}

func TestUpdateObjectEncryptionRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withTLS())
	key := customerHeaders('c')
	g.put("/bucket/plain", []byte("data")).want(t, 200, "")
	g.put("/bucket/customer", []byte("data"), key...).want(t, 200, "")
	g.put("/bucket/k", []byte("data"), s3.HeaderSSE, s3.AWSKMS).want(t, 200, "")
	before := g.upstream.object(testBucket, "k")
	g.updateEncryption("/bucket/plain", kmstest.DefaultKey).want(t, 400, "InvalidRequest")
	if r := g.updateEncryption("/bucket/customer", kmstest.DefaultKey); r.status != 400 {
		t.Errorf("SSE-C: %d %s", r.status, r.code)
	}
	g.updateEncryption("/bucket/k", "no-such-key").want(t, 404, "kms:KeyNotFound")
	if r := g.updateEncryption("/bucket/none", kmstest.DefaultKey); r.status != 404 {
		t.Errorf("%d %s", r.status, r.code)
	}
	for _, name := range []string{s3.HeaderMetadataDirective, s3.HeaderTaggingDirective} {
		g.updateEncryption("/bucket/k", kmstest.DefaultKey, name, "REPLACE").want(t, 400, "InvalidArgument")
	}
	for _, doc := range []string{"", "<ObjectEncryption/>", "<x>", strings.Repeat("x", 100)} {
		r := g.do(clientRequest{method: http.MethodPut, path: "/bucket/k", query: url.Values{"encryption": {""}}, body: []byte(doc)})
		if r.status != 400 {
			t.Errorf("%q: %d %s", doc, r.status, r.code)
		}
	}
	wantStored(t, g, "k", before)
}

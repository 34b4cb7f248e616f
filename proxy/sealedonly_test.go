package proxy

import (
	"net/http"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
)

// TestUploadIntoSealedOnly: an upload begun without encryption stores no
// plaintext in a bucket that has become sealed-only since.
func TestUploadIntoSealedOnly(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]gatewayOption{
		"rule":   nil,
		"always": {withConfig(func(c *Config) { c.SealedOnly = SealedOnlyAlways })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, opts...).withSmallParts()
			g.put("/bucket/source", []byte("data")).want(t, 200, "")
			plain, sealed := g.begin("/bucket/plain"), g.begin("/bucket/sealed", s3.HeaderSSE, s3.AES256)
			listed := []testPart{{number: 1, etag: plain.try(1, pattern(2000, 1)).header.Get("ETag")}}
			sealed.part(1, pattern(2000, 2))
			rule := state.Rule{Algorithm: s3.AES256, SealedOnly: name == "rule"}
			if err := setRule(t.Context(), g.State, testBucket, &rule); err != nil {
				t.Fatal(err)
			}
			g.upstream.forget()
			plain.try(2, pattern(2000, 2)).want(t, 403, "AccessDenied")
			plain.try(2, nil, "X-Amz-Copy-Source", "bucket/source").want(t, 403, "AccessDenied")
			plain.completeWith(listed).want(t, 403, "AccessDenied")
			for _, r := range g.upstream.requests("/bucket/plain") {
				if r.Method != http.MethodGet && r.Method != http.MethodHead {
					t.Errorf("the store saw %s %s", r.Method, r.Path)
				}
			}
			listPartsOf(t, plain)
			sealed.complete()
			wantObject(t, g, "/bucket/sealed", pattern(2000, 2), 1)
			if r := g.do(plain.request(http.MethodDelete, 0, nil)); r.status != 204 {
				t.Errorf("Abort: %d %s", r.status, r.code)
			}
		})
	}
}

// TestBucketWithUploads: a bucket with an upload under way is not empty.
func TestBucketWithUploads(t *testing.T) {
	t.Parallel()
	g := newGateway(t).withSmallParts()
	u := g.begin("/bucket/k")
	listed := []testPart{{number: 1, etag: u.try(1, pattern(2000, 1)).header.Get("ETag")}}
	g.setEncryption(testBucket, encryptionDoc("AES256", "")).want(t, 200, "")
	u.completeWith(listed).want(t, 200, "")
	wantObject(t, g, "/bucket/k", pattern(2000, 1), 1)
}

// TestBucketEmptyWithoutUploads: rules can be set at a store that cannot list
// uploads or versions.
func TestBucketEmptyWithoutUploads(t *testing.T) {
	t.Parallel()
	for _, status := range []int{405, 501} {
		for _, what := range []string{"uploads", "versions"} {
			g := newGateway(t)
			g.upstream.on(http.MethodGet, "/bucket", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.URL.Query().Has(what) {
					memFail(w, status, "NotImplemented", what)
					return
				}
				next.ServeHTTP(w, r)
			})
			g.setEncryption(testBucket, encryptionDoc("AES256", "")).want(t, 200, "")
			g.upstream.store(testBucket, "planted", &memObject{body: []byte("x"), header: headers(), etag: memTag(nil)})
			g.get("/bucket/planted").want(t, 403, "AccessDenied")
		}
	}
}

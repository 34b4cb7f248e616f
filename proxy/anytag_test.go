package proxy

import (
	"net/http"
	"testing"

	"ssegw/proxy/s3"
)

// TestAnyTag: the "*" of an If-Match holds for each object, also at stores that
// take it for an ETag.
func TestAnyTag(t *testing.T) {
	t.Parallel()
	for _, sse := range [][]string{nil, {s3.HeaderSSE, s3.AES256}} {
		g := newGateway(t)
		g.put("/bucket/k", []byte("data"), sse...).want(t, 200, "")
		g.upstream.on("", "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Header.Get("If-Match") == "*" {
				memFail(w, 412, "PreconditionFailed", "no object has this ETag")
				return
			}
			next.ServeHTTP(w, r)
		})
		g.get("/bucket/k", "If-Match", "*").want(t, 200, "")
		g.head("/bucket/k", "If-Match", "*").want(t, 200, "")
		g.put("/bucket/copy", nil, s3.HeaderCopySource, "bucket/k", s3.HeaderCopySourceIfMatch, "*").want(t, 200, "")
		g.get("/bucket/none", "If-Match", "*").want(t, 404, "NoSuchKey")
		g.put("/bucket/source", []byte("new")).want(t, 200, "")
		for name, write := range conditionalWrites {
			if r := write(g, "/bucket/k", []string{"If-Match", "*"}); r.status/100 != 2 {
				t.Errorf("%s under If-Match: *: %d %s", name, r.status, r.code)
			}
			if r := write(g, "/bucket/none", []string{"If-Match", "*"}); r.status != 404 && r.status != 412 {
				t.Errorf("%s of nothing under If-Match: *: %d %s", name, r.status, r.code)
			}
		}
		g.delete("/bucket/k", "If-Match", "*").want(t, 204, "")
		g.get("/bucket/k").want(t, 404, "NoSuchKey")
	}
}

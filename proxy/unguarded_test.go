package proxy

import (
	"net/http"
	"strings"
	"testing"

	"ssegw/proxy/jobs"
	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// TestEncryptVainConditions: a store can refuse all conditional writes in one
// bucket, such as one with versions, although it honours them elsewhere. The
// job then names --unconditional, which does without.
func TestEncryptVainConditions(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	body := pattern(1000, 1)
	g.put("/bucket/k", body).want(t, 200, "")
	g.upstream.on(http.MethodPut, "/bucket/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("If-Match") != "" {
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		next.ServeHTTP(w, r)
	})
	job := &jobs.Job{Kind: jobs.Encrypt, Bucket: testBucket, Settings: jobs.Settings{Scheme: sealer.SSES3.String(), KeepPlain: true}}
	j := g.runJob(job)
	if len(j.Named) != 1 || j.Named[0].Result != jobs.ResultLeft || !strings.Contains(j.Named[0].Why, "--unconditional") {
		t.Errorf("%+v", j.Named)
	}
	if h := g.head("/bucket/k").header; h.Get(s3.HeaderSSE) != "" {
		t.Errorf("sealed without a condition: %v", h)
	}
	job.Settings.Unconditional = true
	if j := g.runJob(job); counted(j)[jobs.ResultSealed] != 1 {
		t.Errorf("%+v", j)
	}
	wantObject(t, g, "/bucket/k", body, 5)
	if h := g.head("/bucket/k").header; h.Get(s3.HeaderSSE) != s3.AES256 {
		t.Errorf("not sealed: %v", h)
	}
}

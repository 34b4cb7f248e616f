package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"ssegw/proxy/jobs"
	"ssegw/proxy/s3"
)

// TestRekeyLooks: a listing with metadata spares the second HEAD of each object
// that has not changed since.
func TestRekeyLooks(t *testing.T) {
	t.Parallel()
	for detail, want := range map[bool]int{false: 6, true: 3} {
		g := newGateway(t)
		g.upstream.detail = detail
		for i := range 3 {
			g.put(fmt.Sprint("/bucket/", i), pattern(1000, uint64(i)), s3.HeaderSSE, s3.AWSKMS).want(t, 200, "")
		}
		g.kes.CreateKey("second")
		g.upstream.forget()
		j := g.runJob(&jobs.Job{Kind: jobs.Rekey, Bucket: testBucket, Settings: jobs.Settings{Key: "second"}})
		if n := counted(j)[jobs.ResultRekeyed]; n != 3 {
			t.Errorf("%d objects under the new key: %v", n, j.Named)
		}
		heads := 0
		for _, r := range g.upstream.requests("/bucket/") {
			if r.Method == http.MethodHead {
				heads++
			}
		}
		if heads != want {
			t.Errorf("with metadata in listings %v: %d HEADs, want %d", detail, heads, want)
		}
	}
}

// TestRekeyAfterListing: an object that changed after it was listed gets the
// second HEAD, and keeps the client's bytes.
func TestRekeyAfterListing(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.upstream.detail = true
	g.put("/bucket/k", pattern(1000, 1), s3.HeaderSSE, s3.AWSKMS).want(t, 200, "")
	g.kes.CreateKey("second")
	e := g.engine()
	rewrite := e.Objects.Rewrite
	e.Objects.Rewrite = func(ctx context.Context, bucket string, listed *s3.Entry, kind jobs.Kind, choose jobs.Choose, unconditional bool, pace func(io.Reader) io.Reader) (int64, error) {
		if listed.Sealed == nil {
			t.Error("listed without metadata")
		}
		g.put("/bucket/k", pattern(1000, 2), s3.HeaderSSE, s3.AWSKMS).want(t, 200, "")
		g.upstream.forget()
		return rewrite(ctx, bucket, listed, kind, choose, unconditional, pace)
	}
	j, err := e.Create(t.Context(), &jobs.Job{Kind: jobs.Rekey, Bucket: testBucket, Settings: jobs.Settings{Key: "second"}})
	if err == nil {
		j, err = e.Run(t.Context(), j.ID, jobs.Waiting, nil)
	}
	if err != nil || counted(j)[jobs.ResultRekeyed] != 1 {
		t.Fatalf("%v %+v", err, j)
	}
	heads := 0
	for _, r := range g.upstream.requests("/bucket/k") {
		if r.Method == http.MethodHead {
			heads++
		}
	}
	if heads != 2 {
		t.Errorf("%d HEADs, want 2", heads)
	}
	wantObject(t, g, "/bucket/k", pattern(1000, 2), 5)
	if key := g.head("/bucket/k").header.Get(s3.HeaderSSEKeyID); !strings.HasSuffix(key, "second") {
		t.Errorf("under %s", key)
	}
}

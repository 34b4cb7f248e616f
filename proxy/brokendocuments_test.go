package proxy

import (
	"errors"
	"net/http"
	"net/url"
	"testing"

	"ssegw/proxy/probe"
	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

// TestBrokenDocuments: a document that is broken, or another one than was asked
// for, does not mean that an object has no tags and no grants.
func TestBrokenDocuments(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{"", "what?", "<html></html>", "<Tagging><TagSet>", "<AccessControlPolicy><Owner>", "<Error><Code>InternalError</Code></Error>"} {
		g := newGateway(t)
		g.upstream.on(http.MethodGet, "/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if q := r.URL.Query(); !q.Has("tagging") && !q.Has("acl") {
				next.ServeHTTP(w, r)
				return
			}
			_, _ = w.Write([]byte(doc))
		})
		g.put("/bucket/k", []byte("data")).want(t, 200, "")
		own := g.Upstream.Own()
		if tags, err := own.Tags(t.Context(), testBucket, "k", url.Values{}); !errors.Is(err, s3.ErrDocument) {
			t.Errorf("%q: tags %v, %v", doc, tags, err)
		}
		if err := upstream.KeepGrants(t.Context(), own, testBucket, "k", http.Header{}); !errors.Is(err, upstream.ErrUnavailable) {
			t.Errorf("%q: grants: %v", doc, err)
		}
		acls := probe.ACLs{Prober: probe.Prober{Client: own, Bucket: testStateBucket}}
		if acls.None(t.Context()) {
			t.Errorf("%q: the store counts as one without ACLs", doc)
		}
	}
}

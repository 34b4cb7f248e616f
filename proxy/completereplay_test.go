package proxy

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
)

// TestCompleteReplayed: the recorded answer of a Complete is given only to
// clients that the store would let complete the upload.
func TestCompleteReplayed(t *testing.T) {
	t.Parallel()
	denied := func(r *http.Request) bool {
		h := r.Header.Get("Authorization")
		return h == "" || strings.Contains(h, "Credential="+otherUpstreamKey+"/")
	}
	for _, sealed := range []bool{true, false} {
		for _, guards := range []bool{true, false} {
			own := mapped("own")
			g := newGateway(t, withCredentials(map[string]*Credential{"own": own})).withSmallParts()
			g.Upstream.Learn(func(can *upstream.Capabilities) { can.Put.Missing = guards })
			pairs := []string{s3.HeaderSSE, s3.AES256}
			if !sealed {
				pairs = nil
			}
			u := g.begin("/bucket/k", pairs...)
			part := g.do(u.request(http.MethodPut, 1, pattern(2000, 1)))
			part.want(t, 200, "")
			u.listed = []testPart{{number: 1, etag: part.header.Get("ETag")}}
			first := u.completeWith(u.listed)
			first.want(t, 200, "")
			eventually(t, "the records of an upload to go", func() bool { return slices.Equal(u.records(), []string{state.DoneRecord}) })
			repeat := func(as *Credential, anonymous bool) clientAnswer {
				c := u.completeRequest(u.listed)
				c.as, c.anonymous = as, anonymous
				return g.do(c)
			}
			wantAgain := func(who string, r clientAnswer) {
				t.Helper()
				if r.status != 200 || string(r.body) != string(first.body) {
					t.Errorf("%s, sealed %t, guards %t: %d %s", who, sealed, guards, r.status, r.body)
				}
			}
			wantAgain("the gateway's own credential", repeat(nil, false))
			wantAgain("a credential with one at the store", repeat(own, false))
			repeat(nil, true).want(t, 403, "AccessDenied")

			// One that may write, but not list parts.
			g.upstream.on(http.MethodGet, "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if denied(r) {
					memFail(w, 403, "AccessDenied", "no reading")
					return
				}
				next.ServeHTTP(w, r)
			})
			wantAgain("one that may only write", repeat(own, false))
			// One that may list parts, but not write.
			g.upstream.unhook()
			refuse := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if denied(r) {
					memFail(w, 403, "AccessDenied", "no writing")
					return
				}
				next.ServeHTTP(w, r)
			}
			g.upstream.on(http.MethodPut, "/bucket/k", refuse)
			g.upstream.on(http.MethodPost, "/bucket/k", refuse)
			g.upstream.makePublic(testBucket)
			repeat(own, false).want(t, 403, "AccessDenied")
			repeat(nil, true).want(t, 403, "AccessDenied")
			g.upstream.unhook()
			wantAgain("anyone, in a public bucket", repeat(nil, true))
			if o := g.upstream.object(testBucket, "k"); isSealed(o) != sealed || len(o.body) < 2000 {
				t.Error("the question changed the object")
			}
			if n := len(g.upstream.openUploads()); n != 0 {
				t.Errorf("%d uploads left", n)
			}
		}
	}
}

// TestCompletePlainAgain: the object of an upload in plaintext can exist
// without a recorded answer, because a gateway was killed. A repeated Complete
// finds it, for clients that may complete the upload.
func TestCompletePlainAgain(t *testing.T) {
	t.Parallel()
	own := mapped("own")
	g := newGateway(t, withCredentials(map[string]*Credential{"own": own})).withSmallParts()
	u := g.begin("/bucket/k")
	for i := range 2 {
		part := u.try(i+1, pattern(2000, uint64(i)))
		part.want(t, 200, "")
		u.listed = append(u.listed, testPart{number: i + 1, etag: part.header.Get("ETag")})
	}
	g.upstream.on(http.MethodPut, "/"+testStateBucket, answerWith(500, "InternalError"))
	first := u.completeWith(u.listed)
	first.want(t, 200, "")
	g.upstream.unhook()
	g.upstream.on(http.MethodPut, "/bucket/k", answerWith(403, "AccessDenied"))
	c := u.completeRequest(u.listed)
	c.as = own
	g.do(c).want(t, 403, "AccessDenied")
	g.upstream.unhook()
	u.completeWith(u.listed[:1]).want(t, 404, "NoSuchUpload")
	again := u.completeWith(u.listed)
	again.want(t, 200, "")
	if etag := tagIn(again.body); etag == "" || etag != tagIn(first.body) {
		t.Errorf("%s, first %s", again.body, first.body)
	}
	eventually(t, "the records of the upload to go", func() bool { return slices.Equal(u.records(), []string{state.DoneRecord}) })
}

// tagIn returns the ETag in a document.
func tagIn(doc []byte) string {
	_, rest, _ := strings.Cut(string(doc), "<ETag>")
	etag, _, _ := strings.Cut(rest, "</ETag>")
	return etag
}

package proxy

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"ssegw/proxy/s3"
)

// TestPartAccess: a client that may not write to an upload at the store may not
// do so at the gateway, even with a small part, and learns nothing by trying.
func TestPartAccess(t *testing.T) {
	t.Parallel()
	own := mapped("own")
	g := newGateway(t, withCredentials(map[string]*Credential{"own": own})).withSmallParts()
	source := pattern(3000, 3)
	g.put("/bucket/src", source, s3.HeaderSSE, s3.AES256).want(t, 200, "")
	u := g.begin("/bucket/k", s3.HeaderSSE, s3.AES256)
	readOnly := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.Header.Get("Authorization"), "Credential="+otherUpstreamKey+"/") {
			answerWith(403, "AccessDenied")(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
	before := len(g.records())
	for size, body := range map[string][]byte{"small": pattern(100, 1), "empty": nil, "large": pattern(2000, 1)} {
		anonymous, other := u.request(http.MethodPut, 1, body), u.request(http.MethodPut, 1, body)
		anonymous.anonymous, other.as = true, own
		if r := g.do(anonymous); r.status != 403 || r.code != "AccessDenied" {
			t.Errorf("%s, anonymous: %d %s", size, r.status, r.code)
		}
		g.upstream.on(http.MethodPut, "/bucket/k", readOnly)
		if r := g.do(other); r.status != 403 || r.code != "AccessDenied" {
			t.Errorf("%s, read-only: %d %s", size, r.status, r.code)
		}
		g.upstream.unhook()
	}
	part := u.request(http.MethodPut, 1, nil, "X-Amz-Copy-Source", "bucket/src", "X-Amz-Copy-Source-Range", "bytes=0-99")
	part.as = own
	g.upstream.on(http.MethodPut, "/bucket/k", readOnly)
	g.do(part).want(t, 403, "AccessDenied")
	g.upstream.unhook()
	if after := len(g.records()); after != before || len(g.upstream.uploadParts(u.id)) != 0 {
		t.Errorf("%d records, %d before", after, before)
	}

	// A client that may write can. The gateway's probe is not visible.
	u.part(1, pattern(2000, 1))
	small := u.request(http.MethodPut, 2, pattern(100, 2))
	small.as = own
	r := g.do(small)
	r.want(t, 200, "")
	u.listed = append(u.listed, testPart{number: 2, etag: r.header.Get("ETag")})
	if l := listPartsOf(t, u); len(l.Part) != 2 {
		t.Errorf("%d parts", len(l.Part))
	}
	u.complete()
	wantObject(t, g, "/bucket/k", append(pattern(2000, 1), pattern(100, 2)...), 3)
}

// TestUploadOwner: the expected bucket owner reaches the store, also in the
// gateway's own requests.
func TestUploadOwner(t *testing.T) {
	t.Parallel()
	g := newGateway(t).withSmallParts()
	g.put("/bucket/src", pattern(3000, 3), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	u := g.begin("/bucket/k", s3.HeaderSSE, s3.AES256)
	g.upstream.on("", "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		owner := r.Header.Get(s3.HeaderExpectedOwner)
		if owner != "" && owner != "me" || owner != "" && r.Header.Get(s3.HeaderRequestPayer) != "requester" {
			answerWith(403, "AccessDenied")(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
	source := []string{"X-Amz-Copy-Source", "bucket/src", "X-Amz-Copy-Source-Range"}
	for owner, status := range map[string]int{"me": 200, "you": 403} {
		pairs := []string{s3.HeaderExpectedOwner, owner, s3.HeaderRequestPayer, "requester"}
		for name, r := range map[string]clientRequest{
			"UploadPart":            u.request(http.MethodPut, 1, pattern(2000, 1), pairs...),
			"UploadPart, small":     u.request(http.MethodPut, 2, pattern(100, 1), pairs...),
			"UploadPartCopy":        u.request(http.MethodPut, 3, nil, slices.Concat(pairs, source, []string{"bytes=0-1999"})...),
			"UploadPartCopy, small": u.request(http.MethodPut, 4, nil, slices.Concat(pairs, source, []string{"bytes=0-99"})...),
			"ListParts":             u.request(http.MethodGet, 0, nil, pairs...),
		} {
			if a := g.do(r); a.status != status {
				t.Errorf("%s, owner %s: %d %s", name, owner, a.status, a.code)
			}
		}
	}
}

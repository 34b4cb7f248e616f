package proxy

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
)

// TestDeleteBucketSparesTheNextRule: if a bucket is deleted, created again and
// given a rule while its DeleteBucket is in progress, the new rule stays, even
// if it equals the old one.
func TestDeleteBucketSparesTheNextRule(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	other := newGateway(t, withUpstream(g.upstream), withKES(g.kes))
	g.upstream.makeBucket("again")
	doc := encryptionDoc(s3.AWSKMS, "")
	g.setEncryption("again", doc).want(t, 200, "")
	g.upstream.on(http.MethodDelete, "/again", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(w, r)
		g.upstream.makeBucket("again")
		other.setEncryption("again", doc).want(t, 200, "")
	})
	g.delete("/again").want(t, 204, "")
	g.upstream.unhook()
	for _, gateway := range []*testGateway{g, other} {
		gateway.encryption("again").want(t, 200, "")
	}
	g.put("/again/k", []byte("data")).want(t, 200, "")
	if !isSealed(g.upstream.object("again", "k")) {
		t.Error("stored in the clear")
	}
}

// TestDeleteBucketKnowsTheLatestRule: the rule removed with its bucket is the
// stored one, not one that a replica remembers.
func TestDeleteBucketKnowsTheLatestRule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, onClock())
		other := newGateway(t, withUpstream(g.upstream), withKES(g.kes))
		g.upstream.makeBucket("again")
		g.setEncryption("again", encryptionDoc(s3.AES256, "")).want(t, 200, "")
		other.setEncryption("again", encryptionDoc(s3.AWSKMS, "")).want(t, 200, "")
		g.delete("/again").want(t, 204, "")
		g.upstream.makeBucket("again")
		for _, gateway := range []*testGateway{g, other} {
			eventually(t, "the rule to be gone", func() bool { return gateway.encryption("again").status == 404 })
		}
	})
}

// TestEncryptionIsForThoseWhoSeeTheBucket: GetBucketEncryption fails if the
// store does not show the bucket to the client.
func TestEncryptionIsForThoseWhoSeeTheBucket(t *testing.T) {
	t.Parallel()
	own := mapped("own")
	g := newGateway(t, withCredentials(map[string]*Credential{"own": own}), withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	get := clientRequest{method: http.MethodGet, path: "/bucket", query: encryptionQuery, as: own}
	g.do(get).want(t, 200, "")
	g.upstream.on(http.MethodHead, "/bucket", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.Header.Get("Authorization"), "Credential="+otherUpstreamKey+"/") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
	g.do(get).want(t, 403, "AccessDenied")
	g.encryption(testBucket).want(t, 200, "")
}

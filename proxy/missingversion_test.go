package proxy

import (
	"net/http"
	"net/url"
	"testing"

	"ssegw/proxy/s3"
)

// TestMissingVersion: every way to read names a version that is not there, also
// those that begin with a HEAD.
func TestMissingVersion(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, pairs := range [][]string{nil, {"Range", "bytes=0-9"}, {"Range", "bytes=-9"}, {"Range", "bytes=0-9", "If-Range", `"x"`}} {
		read := func(query url.Values) clientAnswer {
			return g.do(clientRequest{method: http.MethodGet, path: "/bucket/k", query: query, header: headers(pairs...)})
		}
		read(url.Values{"versionId": {"gone"}}).want(t, 404, "NoSuchVersion")
		read(nil).want(t, 404, "NoSuchKey")
	}
}

// TestMissingAttributes: a store without GetObjectAttributes refuses it, but
// the client learns that the object is not there.
func TestMissingAttributes(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.upstream.ways = g.upstream.likeS3
	r := g.do(clientRequest{
		method: http.MethodGet, path: "/bucket/k", query: url.Values{"attributes": {""}}, header: headers(s3.HeaderObjectAttributes, "ETag"),
	})
	r.want(t, 404, "NoSuchKey")
}

package proxy

import (
	"net/http"
	"testing"

	"ssegw/proxy/s3"
)

// TestCopySourcePlus: a + in a copy source means the object that exists, with a
// space or with a plus, and never the wrong one.
func TestCopySourcePlus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		there   []string // objects; each has its key for a body
		source  string
		want    string // the object that is copied
		code    string
		version bool
	}{
		{"a space", []string{"a b"}, "bucket/a+b", "a b", "", false},
		{"a space, with a slash", []string{"a b"}, "/bucket/a+b", "a b", "", false},
		{"a space, all escaped", []string{"dir/a b"}, "bucket%2Fdir%2Fa+b", "dir/a b", "", false},
		{"a plus", []string{"a+b"}, "bucket/a+b", "a+b", "", false},
		{"both", []string{"a b", "a+b"}, "bucket/a+b", "", "InvalidArgument", false},
		{"neither", nil, "bucket/a+b", "", "NoSuchKey", false},
		{"escaped plus", []string{"a b", "a+b"}, "bucket/a%2Bb", "a+b", "", false},
		{"escaped space", []string{"a b", "a+b"}, "bucket/a%20b", "a b", "", false},
		{"escaped plus, and only a space there", []string{"a b"}, "bucket/a%2Bb", "", "NoSuchKey", false},
		{"several", []string{"a b c"}, "bucket/a+b+c", "a b c", "", false},
		{"with an escaped one", []string{"a b+c"}, "bucket/a+b%2Bc", "a b+c", "", false},
		{"a version of a space", []string{"a b"}, "bucket/a+b?versionId=v1", "a b", "", true},
		{"a version of a plus", []string{"a+b"}, "bucket/a+b?versionId=v1", "a+b", "", true},
		{"versions of both", []string{"a b", "a+b"}, "bucket/a+b?versionId=v1", "", "InvalidArgument", true},
	} {
		for kind, sse := range map[string][]string{"plain": nil, "sealed": {s3.HeaderSSE, s3.AES256}} {
			t.Run(c.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				g := newGateway(t).withSmallParts()
				for _, key := range c.there {
					g.put("/bucket/"+key, []byte(key), sse...).want(t, 200, "")
					if c.version {
						g.upstream.keepVersion(testBucket, key, "v1")
						g.upstream.store(testBucket, key, nil)
					}
				}
				u := g.begin("/bucket/parts", sse...)
				object, part := g.copy(c.source, "/bucket/dst"), u.try(1, nil, "X-Amz-Copy-Source", c.source)
				if c.code != "" {
					if object.code != c.code || part.code != c.code {
						t.Errorf("%d %s, %d %s", object.status, object.code, part.status, part.code)
					}
					if g.upstream.object(testBucket, "dst") != nil || len(g.upstream.uploadParts(u.id)) > 0 {
						t.Error("something was copied")
					}
					return
				}
				object.want(t, 200, "")
				part.want(t, 200, "")
				wantObject(t, g, "/bucket/dst", []byte(c.want), 0)
				l := listPartsOf(t, u)
				if len(l.Part) != 1 || l.Part[0].Size != int64(len(c.want)) {
					t.Errorf("%+v", l)
				}
			})
		}
	}
}

// TestCopySourcePlusHidden: an object that the client may not see counts as
// missing. A store that is not available does not.
func TestCopySourcePlusHidden(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, key := range []string{"a b", "a+b"} {
		g.put("/bucket/"+key, []byte(key)).want(t, 200, "")
	}
	g.upstream.on(http.MethodHead, "/bucket/a+b", answerWith(403, ""))
	g.copy("bucket/a+b", "/bucket/dst").want(t, 200, "")
	wantObject(t, g, "/bucket/dst", []byte("a b"), 0)
	g.upstream.on(http.MethodHead, "/bucket/a+b", answerWith(500, ""))
	if r := g.copy("bucket/a+b", "/bucket/none"); r.status < 500 {
		t.Errorf("%d %s", r.status, r.code)
	}
	wantStored(t, g, "none", nil)
}

package proxy

import (
	"testing"

	"ssegw/kms/kmstest"
	"ssegw/proxy/s3"
)

// TestCopyKeepsTampering: under SSEGW_HEADER_DIGEST=warn a copy of altered
// content headers stays unauthentic.
func TestCopyKeepsTampering(t *testing.T) {
	t.Parallel()
	sse := []string{s3.HeaderSSE, s3.AES256}
	for name, c := range map[string]struct {
		copy  func(g *testGateway) clientAnswer
		key   string
		clean bool // the copy has other metadata
	}{
		"copy": {func(g *testGateway) clientAnswer { return g.copy("bucket/k", "/bucket/dst", sse...) }, "dst", false},
		"copy of other bytes": {func(g *testGateway) clientAnswer {
			return g.copy("bucket/k", "/bucket/dst", append([]string{s3.HeaderAlgorithm, "SHA256"}, sse...)...)
		}, "dst", false},
		"copy, large": {func(g *testGateway) clientAnswer {
			return g.withSmallParts().withLargeCopies().copy("bucket/k", "/bucket/dst", sse...)
		}, "dst", false},
		"copy onto itself":       {func(g *testGateway) clientAnswer { return g.copy("bucket/k", "/bucket/k", s3.HeaderSSE, s3.AWSKMS) }, "k", false},
		"UpdateObjectEncryption": {func(g *testGateway) clientAnswer { return g.updateEncryption("/bucket/k", kmstest.DefaultKey) }, "k", false},
		"other metadata": {func(g *testGateway) clientAnswer {
			return g.copy("bucket/k", "/bucket/dst", append([]string{s3.HeaderMetadataDirective, "REPLACE", "X-Amz-Meta-B", "2"}, sse...)...)
		}, "dst", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lenient := newGateway(t, withConfig(func(c *Config) { c.WarnHeaderDigest = true }))
			strict := newGateway(t, withUpstream(lenient.upstream), withKES(lenient.kes))
			lenient.put("/bucket/k", pattern(150_000, 1), append([]string{"X-Amz-Meta-A", "1"}, sse...)...).want(t, 200, "")
			lenient.upstream.edit(testBucket, "k", func(o *memObject) { o.header.Set("X-Amz-Meta-A", "evil") })
			r := c.copy(lenient)
			if r.status == 200 {
				lenient.get("/bucket/"+c.key).want(t, 200, "")
			} else {
				r.want(t, 500, notAuthentic)
			}
			switch r := strict.get("/bucket/" + c.key); {
			case c.clean:
				r.want(t, 200, "")
			case r.status == 200:
				t.Errorf("the copy of changed headers is authentic: %v", r.header)
			}
		})
	}
}

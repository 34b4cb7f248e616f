package proxy

import (
	"net/http"
	"testing"

	"ssegw/proxy/s3"
)

// TestCopyOfEmptyNeedsKey: the copy of an empty object takes the right key,
// like any other. Its metadata is as secret as its body.
func TestCopyOfEmptyNeedsKey(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withTLS())
	g.put("/bucket/k", nil, append(customerHeaders(1), "X-Amz-Meta-A", "secret")...).want(t, 200, "")
	u := g.begin("/bucket/parts", s3.HeaderSSE, s3.AES256)
	for _, key := range []byte{1, 2} {
		status, code := 200, ""
		if key == 2 {
			status, code = 403, "AccessDenied"
		}
		h := customerHeaders(key)
		source := []string{
			s3.HeaderCopySource, "bucket/k",
			s3.HeaderCopySourceSSECAlgorithm, s3.AES256, s3.HeaderCopySourceSSECKey, h[3], s3.HeaderCopySourceSSECKeyMD5, h[5],
		}
		g.do(u.request(http.MethodPut, 1, nil, source...)).want(t, status, code)
		g.put("/bucket/copy", nil, append(source, s3.HeaderAlgorithm, "SHA256")...).want(t, status, code)
		g.put("/bucket/copy", nil, source...).want(t, status, code)
	}
}

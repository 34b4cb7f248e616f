package proxy

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"ssegw/kms"
	"ssegw/proxy/s3"
)

// TestWithoutKES checks the table "Without KES" of docs/ARCHITECTURE.md: the
// status of each operation while no KES answers, after each data key was opened
// ("cached"), and without a cache of opened data keys ("not cached").
func TestWithoutKES(t *testing.T) {
	t.Parallel()
	ssec := customerHeaders(9)
	for _, tt := range []struct {
		scheme            string
		sse, read         []string
		write             int // of PutObject, CreateMultipartUpload, and the new data key of a copy
		cached, notCached int // of what opens a data key
		update            int // of UpdateObjectEncryption, to SSE-KMS
	}{
		{"SSE-S3", []string{s3.HeaderSSE, s3.AES256}, nil, 200, 200, 503, 503},
		{"SSE-KMS with a bucket key", []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEBucketKey, "true"}, nil, 200, 200, 503, 503},
		{"SSE-KMS", []string{s3.HeaderSSE, s3.AWSKMS}, nil, 503, 200, 503, 503},
		{"SSE-C", ssec, ssec, 200, 200, 200, 400},
		{"plaintext", nil, nil, 200, 200, 200, 400},
	} {
		for name, open := range map[string]struct {
			ttl  time.Duration
			open int
		}{
			"cached":     {time.Minute, tt.cached},
			"not cached": {0, tt.notCached},
		} {
			t.Run(tt.scheme+", "+name, func(t *testing.T) {
				t.Parallel()
				g := newGateway(t, withTLS(), withKMS(func(c *kms.Config) { c.CacheTTL = open.ttl })).withSmallParts()
				body := pattern(smallestPart, 1)
				g.put("/bucket/k", body, tt.sse...).want(t, 200, "")
				g.get("/bucket/k", tt.read...).want(t, 200, "")
				u := g.begin("/bucket/u", tt.sse...)
				u.read = tt.read
				first := u.try(1, body)
				first.want(t, 200, "")
				u.listed = []testPart{{number: 1, etag: first.header.Get("ETag")}}
				into := g.begin("/bucket/into", tt.sse...)
				into.read = tt.read
				into.try(1, body).want(t, 200, "")

				g.kes.Stop()
				is := func(what string, got clientAnswer, want int) {
					t.Helper()
					if got.status != want {
						t.Errorf("%s: %d %s, want %d", what, got.status, got.body, want)
					}
				}
				is("PutObject", g.put("/bucket/new", body, tt.sse...), tt.write)
				is("CreateMultipartUpload", g.do(clientRequest{
					method: http.MethodPost, path: "/bucket/begun", query: url.Values{"uploads": {""}}, header: headers(tt.sse...),
				}), tt.write)
				is("UploadPart", into.try(2, body), open.open)
				is("UploadPartCopy", into.try(3, nil, append(ofSource(tt.read), "X-Amz-Copy-Source", "bucket/k")...), open.open)
				is("CopyObject", g.copy("bucket/k", "/bucket/copy", append(ofSource(tt.read), tt.sse...)...), max(tt.write, open.open))
				is("UpdateObjectEncryption", g.updateEncryption("/bucket/k", "arn:aws:kms:my-key"), tt.update)
				is("GetObject", g.get("/bucket/k", tt.read...), open.open)
				is("HeadObject", g.head("/bucket/k", tt.read...), 200)
				if tt.sse != nil { // of plaintext it is forwarded, to a store that lacks it here
					_, attributes := g.attributes("/bucket/k", "ObjectSize", tt.read...)
					is("GetObjectAttributes", attributes, 200)
				}
				is("CompleteMultipartUpload", u.completeWith(u.listed, tt.read...), 200)
				into.read = nil
				is("AbortMultipartUpload", into.g.do(into.request(http.MethodDelete, 0, nil)), 204)
				if got := g.list("bucket", ""); len(got) == 0 {
					t.Error("an empty listing")
				}
				is("DeleteObject", g.delete("/bucket/k"), 204)
				is("PutBucketEncryption with AES256", g.setEncryption("bucket", encryptionDoc(s3.AES256, "")), 200)
				is("PutBucketEncryption with aws:kms", g.setEncryption("bucket", encryptionDoc(s3.AWSKMS, "my-key")), 503)
				is("GetBucketEncryption", g.encryption("bucket"), 200)
				is("DeleteBucketEncryption", g.clearEncryption("bucket"), 204)
			})
		}
	}
}

package proxy

import (
	"net/http"
	"strings"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// TestPartHasItsOwnChecksum: a part keeps the checksum that it came with, in
// every kind of upload. SDKs send one with each part by default, and list it in
// the Complete.
func TestPartHasItsOwnChecksum(t *testing.T) {
	t.Parallel()
	bodies := [][]byte{pattern(2000, 1), pattern(30, 2)}
	for a := sealer.ChecksumCRC32; a <= sealer.ChecksumXXHASH128; a++ {
		t.Run(a.String(), func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
			u := g.begin("/bucket/k")
			element := func(body []byte) string {
				return "<Checksum" + a.String() + ">" + sumText(a.String(), body) + "</Checksum" + a.String() + ">"
			}
			for i, body := range bodies {
				c := u.request(http.MethodPut, i+1, body)
				if i == 0 {
					c.header.Set("X-Amz-Checksum-"+a.String(), sumText(a.String(), body))
				} else {
					c.mode, c.algorithm = modeTrailer, a.String()
				}
				r := g.do(c)
				r.want(t, 200, "")
				if r.header.Get("X-Amz-Checksum-"+a.String()) != sumText(a.String(), body) {
					t.Errorf("answered %v", r.header)
				}
				u.listed = append(u.listed, testPart{i + 1, r.header.Get("ETag"), element(body)})
			}
			shown := string(g.do(u.request(http.MethodGet, 0, nil)).body)
			for _, body := range bodies {
				if !strings.Contains(shown, element(body)) {
					t.Errorf("ListParts has no %s: %s", element(body), shown)
				}
			}
			for _, wrong := range []string{element(bodies[1]), "<ChecksumCRC32C>" + sumText("CRC32C", nil) + "</ChecksumCRC32C>"} {
				bad := u.listed[0]
				bad.more = wrong
				u.completeWith([]testPart{bad, u.listed[1]}).want(t, 400, "InvalidPart")
			}
			u.completeWith(u.listed).want(t, 200, "")
			whole := append(append([]byte{}, bodies[0]...), bodies[1]...)
			h := g.head("/bucket/k", "X-Amz-Checksum-Mode", "ENABLED").header
			if h.Get("X-Amz-Checksum-Crc64nvme") != sumText("CRC64NVME", whole) {
				t.Errorf("%v", h)
			}
			wantObject(t, g, "/bucket/k", whole, 2)
		})
	}
}

// TestPartChecksumComputed: the checksum that the gateway computes for the
// object is not shown with a part, whether that has no checksum, was copied, or
// has one of another algorithm.
func TestPartChecksumComputed(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
	body := pattern(2000, 1)
	g.put("/bucket/src", body).want(t, 200, "")
	u := g.begin("/bucket/k")
	u.part(1, body)
	u.part(2, body, "X-Amz-Checksum-Crc32", sumText("CRC32", body))
	copied := g.do(u.request(http.MethodPut, 3, nil, "X-Amz-Copy-Source", "bucket/src"))
	copied.want(t, 200, "")
	shown := string(g.do(u.request(http.MethodGet, 0, nil)).body)
	if strings.Contains(string(copied.body)+shown, "CRC64NVME") || !strings.Contains(shown, "<ChecksumCRC32>") {
		t.Errorf("%s\n%s", copied.body, shown)
	}
}

// TestPartChecksumLongTag: if the store's ETag is long, a long checksum of the
// client does not fit into the record's name. The part is stored anyway.
func TestPartChecksumLongTag(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
	body, long := pattern(2000, 1), strings.Repeat("f", 64)
	g.upstream.on(http.MethodPut, "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(w, r)
		g.upstream.mu.Lock()
		defer g.upstream.mu.Unlock()
		g.upstream.uploads[r.URL.Query().Get("uploadId")].parts[atoi(r.URL.Query().Get("partNumber"))].etag = long
		w.Header().Set("ETag", `"`+long+`"`)
	})
	u := g.begin("/bucket/k")
	u.part(1, body, "X-Amz-Checksum-Sha512", sumText("SHA512", body))
	u.completeWith(u.listed).want(t, 200, "")
	wantObject(t, g, "/bucket/k", body, 2)
}

package proxy

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
)

// attributesOf is the answer of GetObjectAttributes.
type attributesOf struct {
	XMLName      xml.Name
	ETag         string
	StorageClass string
	ObjectSize   int64
	Checksum     struct{ ChecksumCRC32, ChecksumType string }
	ObjectParts  *struct {
		PartsCount           int
		NextPartNumberMarker int
		IsTruncated          bool
		Part                 []struct {
			PartNumber    int
			Size          int64
			ChecksumCRC32 string
		}
	}
}

func (g *testGateway) attributes(path, asked string, pairs ...string) (a attributesOf, r clientAnswer) {
	g.t.Helper()
	r = g.do(clientRequest{
		method: http.MethodGet, path: path, query: url.Values{"attributes": {""}},
		header: headers(append([]string{"X-Amz-Object-Attributes", asked}, pairs...)...),
	})
	if r.status == 200 {
		if err := xml.Unmarshal(r.body, &a); err != nil || strings.Contains(string(r.body), `xmlns=""`) {
			g.t.Fatalf("%v: %s", err, r.body)
		}
	}
	return a, r
}

const allAttributes = "ETag,Checksum,ObjectParts,StorageClass,ObjectSize"

// TestAttributes: plaintext sizes of objects and parts, in all schemes.
func TestAttributes(t *testing.T) {
	t.Parallel()
	parts := [][]byte{pattern(70_000, 1), pattern(2000, 2), pattern(5, 3)}
	whole := slices.Concat(parts...)
	for _, scheme := range testSchemes() {
		t.Run(scheme.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withTLS()).withSmallParts()
			u := g.begin("/bucket/k", append([]string{"X-Amz-Checksum-Algorithm", "CRC32", "X-Amz-Checksum-Type", s3.FullObject}, scheme.write...)...)
			u.read = scheme.read
			for i, p := range parts {
				u.part(i*10+1, p, "X-Amz-Checksum-Crc32", sumText("CRC32", p))
			}
			etag := u.complete(scheme.read...)
			calls := kmsCalls(g)
			a, r := g.attributes("/bucket/k", allAttributes, scheme.read...)
			r.want(t, 200, "")
			if a.ETag != strings.Trim(etag, `"`) || a.ObjectSize != int64(len(whole)) || a.StorageClass != "STANDARD" ||
				a.Checksum.ChecksumCRC32 != sumText("CRC32", whole) || a.Checksum.ChecksumType != s3.FullObject || a.XMLName.Space == "" {
				t.Errorf("%s", r.body)
			}
			var got, want []string
			for _, p := range a.ObjectParts.Part {
				got = append(got, fmt.Sprint(p.PartNumber, p.Size, p.ChecksumCRC32))
			}
			for i, p := range parts {
				want = append(want, fmt.Sprint(i*10+1, int64(len(p)), sumText("CRC32", p)))
			}
			if diff := cmp.Diff(want, got); diff != "" || a.ObjectParts.PartsCount != 3 || a.ObjectParts.IsTruncated {
				t.Errorf("%s\n%s", diff, r.body)
			}
			a, _ = g.attributes("/bucket/k", "ObjectParts", append([]string{"X-Amz-Max-Parts", "1", "X-Amz-Part-Number-Marker", "1"}, scheme.read...)...)
			if p := a.ObjectParts; len(p.Part) != 1 || p.Part[0].PartNumber != 11 || !p.IsTruncated || p.NextPartNumberMarker != 11 || p.PartsCount != 3 || a.ETag != "" {
				t.Errorf("%+v", a)
			}
			if scheme.name != "SSE-C" && kmsCalls(g) != calls {
				t.Error("the KMS was asked")
			}
			g.put("/bucket/one", []byte("data"), scheme.write...).want(t, 200, "")
			if a, _ := g.attributes("/bucket/one", allAttributes, scheme.read...); a.ObjectSize != 4 || a.ObjectParts != nil {
				t.Errorf("%+v", a)
			}
			if scheme.name == "SSE-C" {
				_, r := g.attributes("/bucket/k", "ETag")
				r.want(t, 400, "InvalidRequest")
				_, r = g.attributes("/bucket/k", "ETag", customerHeaders('d')...)
				r.want(t, 403, "AccessDenied")
			}
		})
	}
}

// TestAttributesRefused: unknown attributes, none, and objects that were
// changed.
func TestAttributesRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	g.put("/bucket/k", []byte("data")).want(t, 200, "")
	for asked, code := range map[string]string{"": "InvalidRequest", "ETag,Color": "InvalidArgument", ",": "InvalidRequest"} {
		if _, r := g.attributes("/bucket/k", asked); r.status != 400 || r.code != code {
			t.Errorf("%q: %d %s", asked, r.status, r.code)
		}
	}
	if _, r := g.attributes("/bucket/k", "ETag", "X-Amz-Max-Parts", "x"); r.status != 200 {
		t.Errorf("%d: parts were not asked for", r.status)
	}
	if _, r := g.attributes("/bucket/none", "ETag"); r.status != 404 {
		t.Errorf("%d", r.status)
	}
	g.upstream.edit(testBucket, "k", func(o *memObject) { o.body = append(o.body, 0) })
	_, r := g.attributes("/bucket/k", "ObjectSize")
	r.want(t, 500, notAuthentic)
}

package proxy

import (
	"net/http"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
)

// TestListedChecksums compares the checksums that a Complete lists with those
// uploaded.
func TestListedChecksums(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
	body := pattern(2000, 1)
	crc32, crc64, sha256 := sumText("CRC32", body), sumText("CRC64NVME", body), sumText("SHA256", body)
	element := func(name, value string) string { return "<Checksum" + name + ">" + value + "</Checksum" + name + ">" }
	other := sumText("CRC32", nil)
	for _, c := range []struct {
		name   string
		create []string
		listed string
		code   string
	}{
		{"none of a composite", []string{"CRC32", s3.Composite}, "", "InvalidRequest"},
		{"an empty one of a composite", []string{"CRC32", s3.Composite}, element("CRC32", ""), "InvalidRequest"},
		{"none of a whole", []string{"CRC32", s3.FullObject}, "", ""},
		{"the right one", []string{"CRC32", s3.Composite}, element("CRC32", crc32), ""},
		{"a wrong one", []string{"CRC32", s3.Composite}, element("CRC32", other), "InvalidPart"},
		{"two", []string{"CRC32", s3.Composite}, element("CRC32", crc32) + element("SHA256", sha256), "InvalidArgument"},
		{"no base64", []string{"CRC32", s3.Composite}, element("CRC32", "invalid!"), "InvalidArgument"},
		{"too long", []string{"CRC32", s3.Composite}, element("CRC32", crc64), "InvalidArgument"},
		{"of another algorithm", []string{"CRC32", s3.FullObject}, element("SHA256", sha256), "BadDigest"},
		{"of no algorithm", []string{"CRC32", s3.FullObject}, element("ROT13", "x"), ""},
		{"unannounced", nil, element("CRC32", crc32), "InvalidPart"},
		{"default", nil, element("CRC64NVME", crc64), ""},
		{"default, wrong", nil, element("CRC64NVME", sumText("CRC64NVME", nil)), "InvalidPart"},
		{"nothing", nil, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var create, sum []string
			if c.create != nil {
				create = []string{s3.HeaderAlgorithm, c.create[0], s3.HeaderChecksumType, c.create[1]}
				sum = []string{"X-Amz-Checksum-Crc32", crc32}
			}
			u := g.begin("/bucket/k", create...)
			p := u.part(1, body, sum...)
			p.more = c.listed
			status := 400
			if c.code == "" {
				status = 200
			}
			u.completeWith([]testPart{p}).want(t, status, c.code)
		})
	}
}

// TestListedFields: an entry needs a number.
func TestListedFields(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256})).withSmallParts()
	u := g.begin("/bucket/k")
	p := u.part(1, pattern(2000, 1))
	for doc, code := range map[string]string{
		"<Part><ETag>" + p.etag + "</ETag></Part>":                            "MalformedXML",
		"<Part><PartNumber>1</PartNumber></Part>":                             "MalformedXML",
		"<Part><PartNumber>0</PartNumber><ETag>" + p.etag + "</ETag></Part>":  "InvalidArgument",
		"<Part><PartNumber>-1</PartNumber><ETag>" + p.etag + "</ETag></Part>": "InvalidArgument",
	} {
		r := u.request(http.MethodPost, 0, []byte("<CompleteMultipartUpload>"+doc+"</CompleteMultipartUpload>"))
		g.do(r).want(t, 400, code)
	}
}

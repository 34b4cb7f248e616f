package proxy

import (
	"net/http"
	"strings"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// TestListedChecksums: what a Complete lists for a part, against what was uploaded.
func TestListedChecksums(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, Rule{Algorithm: s3.AES256})).withSmallParts()
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
		{"none of a composite", []string{"CRC32", composite}, "", "InvalidRequest"},
		{"an empty one of a composite", []string{"CRC32", composite}, element("CRC32", ""), "InvalidRequest"},
		{"none of a whole", []string{"CRC32", fullObject}, "", ""},
		{"the right one", []string{"CRC32", composite}, element("CRC32", crc32), ""},
		{"a wrong one", []string{"CRC32", composite}, element("CRC32", other), "InvalidPart"},
		{"two", []string{"CRC32", composite}, element("CRC32", crc32) + element("SHA256", sha256), "InvalidArgument"},
		{"no base64", []string{"CRC32", composite}, element("CRC32", "invalid!"), "InvalidArgument"},
		{"too long", []string{"CRC32", composite}, element("CRC32", crc64), "InvalidArgument"},
		{"of another algorithm", []string{"CRC32", fullObject}, element("SHA256", sha256), "BadDigest"},
		{"of no algorithm", []string{"CRC32", fullObject}, element("ROT13", "x"), ""},
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

// TestListedFields: an entry without a number is no document of a Complete.
func TestListedFields(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, Rule{Algorithm: s3.AES256})).withSmallParts()
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

// TestClaims: headers of a Complete that cannot be right are refused before its
// parts are looked at.
func TestClaims(t *testing.T) {
	t.Parallel()
	valid := sumText("CRC32", []byte("x"))
	for _, c := range []struct {
		pairs []string
		want  claims
		text  string // of the refusal
	}{
		{nil, claims{size: -1}, ""},
		{[]string{s3.HeaderMPObjectSize, "7", s3.HeaderChecksumType, "composite"}, claims{size: 7, sumType: composite}, ""},
		{[]string{"X-Amz-Checksum-Crc32", valid}, claims{size: -1, algorithm: sealer.ChecksumCRC32, sum: valid}, ""},
		{[]string{"X-Amz-Checksum-Crc32", valid + "-3"}, claims{size: -1, algorithm: sealer.ChecksumCRC32, sum: valid + "-3"}, ""},
		{[]string{"X-Amz-Checksum-Crc32", valid, "X-Amz-Checksum-Sha1", valid}, claims{}, "single x-amz-checksum-"},
		{[]string{"X-Amz-Checksum-Crc32", ""}, claims{}, "x-amz-checksum-crc32"},
		{[]string{"X-Amz-Checksum-Crc32", "invalid"}, claims{}, "x-amz-checksum-crc32"},
		{[]string{"X-Amz-Checksum-Sha1", valid}, claims{}, "x-amz-checksum-sha1"},
		{[]string{"X-Amz-Checksum-Crc32", valid + "-x"}, claims{}, "x-amz-checksum-crc32"},
		{[]string{"X-Amz-Checksum-Crc32", valid + "-1-2"}, claims{}, "x-amz-checksum-crc32"},
		{[]string{"X-Amz-Checksum-Crc32", valid + "--3"}, claims{}, "x-amz-checksum-crc32"},
		{[]string{s3.HeaderChecksumType, "HALF_OBJECT"}, claims{}, "x-amz-checksum-type"},
		{[]string{s3.HeaderMPObjectSize, "many"}, claims{}, "x-amz-mp-object-size"},
		{[]string{s3.HeaderMPObjectSize, "-1"}, claims{}, "less than zero"},
	} {
		got, err := readClaims(headers(c.pairs...))
		if refused := c.text != ""; refused != (err != nil) || refused && !strings.Contains(err.Error(), c.text) || !refused && got != c.want {
			t.Errorf("%q: %+v, %v", c.pairs, got, err)
		}
	}
}

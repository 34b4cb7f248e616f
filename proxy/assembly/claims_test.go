package assembly

import (
	"net/http"
	"strings"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/sealer"
)

// TestClaims reads headers of a Complete. Values that no object can have are
// refused.
func TestClaims(t *testing.T) {
	t.Parallel()
	valid := sum64("CRC32", []byte("x"))
	for _, c := range []struct {
		pairs []string
		want  Claims
		text  string // in the error; "": no error
	}{
		{nil, Claims{size: -1}, ""},
		{[]string{s3.HeaderMPObjectSize, "7", s3.HeaderChecksumType, "composite"}, Claims{size: 7, sumType: s3.Composite}, ""},
		{[]string{"X-Amz-Checksum-Crc32", valid}, Claims{size: -1, algorithm: sealer.ChecksumCRC32, sum: valid}, ""},
		{[]string{"X-Amz-Checksum-Crc32", valid + "-3"}, Claims{size: -1, algorithm: sealer.ChecksumCRC32, sum: valid + "-3"}, ""},
		{[]string{"X-Amz-Checksum-Crc32", valid, "X-Amz-Checksum-Sha1", valid}, Claims{}, "single x-amz-checksum-"},
		{[]string{"X-Amz-Checksum-Crc32", ""}, Claims{}, "x-amz-checksum-crc32"},
		{[]string{"X-Amz-Checksum-Crc32", "invalid"}, Claims{}, "x-amz-checksum-crc32"},
		{[]string{"X-Amz-Checksum-Sha1", valid}, Claims{}, "x-amz-checksum-sha1"},
		{[]string{"X-Amz-Checksum-Crc32", valid + "-x"}, Claims{}, "x-amz-checksum-crc32"},
		{[]string{"X-Amz-Checksum-Crc32", valid + "-1-2"}, Claims{}, "x-amz-checksum-crc32"},
		{[]string{"X-Amz-Checksum-Crc32", valid + "--3"}, Claims{}, "x-amz-checksum-crc32"},
		{[]string{s3.HeaderChecksumType, "HALF_OBJECT"}, Claims{}, "x-amz-checksum-type"},
		{[]string{s3.HeaderMPObjectSize, "many"}, Claims{}, "x-amz-mp-object-size"},
		{[]string{s3.HeaderMPObjectSize, "-1"}, Claims{}, "less than zero"},
	} {
		got, err := ReadClaims(claimHeaders(c.pairs...))
		if refused := c.text != ""; refused != (err != nil) || refused && !strings.Contains(err.Error(), c.text) || !refused && got != c.want {
			t.Errorf("%q: %+v, %v", c.pairs, got, err)
		}
	}
}

// claimHeaders builds a header from pairs of names and values.
func claimHeaders(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// sum64 returns the checksum of b in base64.
func sum64(algorithm string, b []byte) string {
	h, _ := sigv4.NewHash(algorithm)
	h.Write(b)
	return s3.ChecksumText(h.Sum(nil))
}

package sigv4

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Examples of Amazon's documentation: "Signature Calculations for the
// Authorization Header", "Transferring Payload in Multiple Chunks", "...
// Including Trailing Headers" and "Authenticating Requests: Using Query
// Parameters".

const vectorDate = "20130524T000000Z"

func vectorVerifier() *Verifier { return verifierAt(time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)) }

func vectorRequest(method, path, query, sum, signed, signature string, headers ...string) *Request {
	values, _ := url.ParseQuery(query)
	r := &Request{Method: method, Path: path, Query: values, Header: http.Header{}, Host: "examplebucket.s3.amazonaws.com"}
	r.Header.Set(headerContentSHA256, sum)
	r.Header.Set(headerDate, vectorDate)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+testKey+"/20130524/us-east-1/s3/aws4_request,SignedHeaders="+
		signed+",Signature="+signature)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func TestDocumentedRequests(t *testing.T) {
	t.Parallel()
	tests := map[string]*Request{
		"get object": vectorRequest("GET", "/test.txt", "", hexSHA256(""), "host;range;x-amz-content-sha256;x-amz-date",
			"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41", "Range", "bytes=0-9"),
		"put object": vectorRequest("PUT", "/test$file.text", "", hexSHA256("Welcome to Amazon S3."),
			"date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
			"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
			"Date", "Fri, 24 May 2013 00:00:00 GMT", "X-Amz-Storage-Class", "REDUCED_REDUNDANCY"),
		"get lifecycle": vectorRequest("GET", "/", "lifecycle", hexSHA256(""), "host;x-amz-content-sha256;x-amz-date",
			"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
		"list objects": vectorRequest("GET", "/", "max-keys=2&prefix=J", hexSHA256(""), "host;x-amz-content-sha256;x-amz-date",
			"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
	}
	for name, r := range tests {
		t.Run(name, func(t *testing.T) {
			auth, err := vectorVerifier().Verify(r)
			if err != nil {
				t.Fatal(err)
			}
			if auth.AccessKey() != testKey || auth.Anonymous() || auth.Presigned() {
				t.Errorf("auth = %v", auth)
			}
			r.Host = "other." + r.Host
			if _, err := vectorVerifier().Verify(r); code(err) != CodeSignatureDoesNotMatch {
				t.Errorf("other host: %v", err)
			}
		})
	}
}

func TestDocumentedPresigned(t *testing.T) {
	t.Parallel()
	query, err := url.ParseQuery("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + testKey +
		"%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&" +
		"X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")
	if err != nil {
		t.Fatal(err)
	}
	r := &Request{Method: "GET", Path: "/test.txt", Query: query, Header: http.Header{}, Host: "examplebucket.s3.amazonaws.com"}
	auth, err := vectorVerifier().Verify(r)
	if err != nil || !auth.Presigned() || auth.AccessKey() != testKey {
		t.Fatalf("auth = %v, %v", auth, err)
	}
}

func TestDocumentedChunks(t *testing.T) {
	t.Parallel()
	first, second := strings.Repeat("a", 65536), strings.Repeat("a", 1024)
	signed := "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" + first + "\r\n" +
		"400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" + second + "\r\n" +
		"0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
	r := vectorRequest("PUT", "/examplebucket/chunkObject.txt", "", modeSigned,
		"content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
		"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
		"X-Amz-Storage-Class", "REDUCED_REDUNDANCY", "Content-Encoding", "aws-chunked", "X-Amz-Decoded-Content-Length", "66560")
	r.Host, r.ContentLength = "s3.amazonaws.com", int64(len(signed))
	auth, err := vectorVerifier().Verify(r)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // an Auth can start more than one body
		body, err := auth.Body(strings.NewReader(signed))
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(body); err != nil || string(data) != first+second {
			t.Fatalf("read %d bytes, %v", len(data), err)
		}
	}
}

func TestDocumentedTrailer(t *testing.T) {
	t.Parallel()
	first, second := strings.Repeat("a", 65536), strings.Repeat("a", 1024)
	signed := "10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n" + first + "\r\n" +
		"400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n" + second + "\r\n" +
		"0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n" +
		"x-amz-checksum-crc32c:sOO8/Q==\n" +
		"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
	r := vectorRequest("PUT", "/examplebucket/chunkObject.txt", "", modeSignedTrailer,
		"content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
		"106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
		"X-Amz-Storage-Class", "REDUCED_REDUNDANCY", "Content-Encoding", "aws-chunked", "X-Amz-Decoded-Content-Length", "66560",
		"X-Amz-Trailer", "x-amz-checksum-crc32c")
	r.Host, r.ContentLength = "s3.amazonaws.com", int64(len(signed))
	auth, err := vectorVerifier().Verify(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := auth.Body(strings.NewReader(signed))
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(body); err != nil || string(data) != first+second {
		t.Fatalf("read %d bytes, %v", len(data), err)
	}
	if sums := body.Checksums(); len(sums) != 1 || sums[0].Algorithm != "CRC32C" {
		t.Errorf("checksums = %v", sums)
	}
}

package sigv4

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

const hello = "hello, world"

func TestPlainBody(t *testing.T) {
	t.Parallel()
	md5 := func(s string) string { return digest(t, "MD5", s) }
	tests := []struct {
		name    string
		payload string
		headers []string
		raw     string
		length  int64
		want    string
	}{
		{"unsigned", unsignedPayload, nil, hello, 12, ""},
		{"unsigned, unknown length", unsignedPayload, nil, hello, -1, ""},
		{"unsigned, empty", unsignedPayload, nil, "", 0, ""},
		{"hash", hexSHA256(hello), nil, hello, 12, ""},
		{"hash, unknown length", hexSHA256(hello), nil, hello, -1, ""},
		{"hash in upper case", strings.ToUpper(hexSHA256(hello)), nil, hello, 12, ""},
		{"hash of nothing, chunked", hexSHA256(""), nil, "", -1, ""},
		{"hash and MD5", hexSHA256(hello), []string{"Content-MD5", md5(hello)}, hello, 12, ""},
		{"wrong hash", hexSHA256("other"), nil, hello, 12, CodeContentSHA256Mismatch},
		{"wrong hash, unknown length", hexSHA256("other"), nil, hello, -1, CodeContentSHA256Mismatch},
		{"wrong hash, empty", hexSHA256("other"), nil, "", 0, CodeContentSHA256Mismatch},
		{"wrong MD5", unsignedPayload, []string{"Content-MD5", md5("other")}, hello, 12, CodeBadDigest},
		{"wrong MD5, unknown length", unsignedPayload, []string{"Content-MD5", md5("other")}, hello, -1, CodeBadDigest},
		{"short", unsignedPayload, nil, hello, 13, CodeIncompleteBody},
		{"long", unsignedPayload, nil, hello, 11, CodeIncompleteBody},
		{"bytes after an empty body", unsignedPayload, nil, hello, 0, CodeIncompleteBody},
		{"decoded length agrees", unsignedPayload, []string{headerDecodedLength, "12"}, hello, 12, ""},
		{"decoded length instead of length", unsignedPayload, []string{headerDecodedLength, "12"}, hello, -1, ""},
		{"short of decoded length", unsignedPayload, []string{headerDecodedLength, "13"}, hello, -1, CodeIncompleteBody},
		{"longer than decoded length", unsignedPayload, []string{headerDecodedLength, "11"}, hello, -1, CodeIncompleteBody},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := put(t, tt.payload, "", tt.headers...)
			r.ContentLength = tt.length
			data, body, err := readBody(t, r, tt.raw)
			if code(err) != tt.want {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if err == nil && (data != tt.raw || body.Framed() || body.TrailerAlgorithm() != "") {
				t.Errorf("data %q, framed %v, trailer %q", data, body.Framed(), body.TrailerAlgorithm())
			}
			if err != nil && tt.length >= 0 && int64(len(data)) >= tt.length && tt.length > 0 {
				t.Errorf("all %d declared bytes were handed out before the failure", len(data))
			}
		})
	}
}

func TestDeclarationRefusals(t *testing.T) {
	t.Parallel()
	crc := digest(t, "CRC32", hello)
	tests := []struct {
		name    string
		payload string
		headers []string
		want    string
	}{
		{"MD5 not base64", unsignedPayload, []string{"Content-MD5", "!"}, CodeInvalidDigest},
		{"MD5 of 15 bytes", unsignedPayload, []string{"Content-MD5", base64.StdEncoding.EncodeToString(make([]byte, 15))}, CodeInvalidDigest},
		{"MD5 empty", unsignedPayload, []string{"Content-MD5", ""}, CodeInvalidDigest},
		{"two MD5", unsignedPayload, []string{"Content-MD5", digest(t, "MD5", ""), "Content-MD5", digest(t, "MD5", "")}, CodeInvalidDigest},
		{"checksum not base64", unsignedPayload, []string{"X-Amz-Checksum-Crc32", "?"}, CodeInvalidRequest},
		{"checksum of another length", unsignedPayload, []string{"X-Amz-Checksum-Sha1", crc}, CodeInvalidRequest},
		{"checksum empty", unsignedPayload, []string{"X-Amz-Checksum-Crc32", ""}, CodeInvalidRequest},
		{"checksum with stray bits", unsignedPayload, []string{"X-Amz-Checksum-Crc32", "AAAAAB=="}, CodeInvalidRequest},
		{"unknown checksum", unsignedPayload, []string{"X-Amz-Checksum-Crc16", crc}, CodeInvalidRequest},
		{"two checksums", unsignedPayload, []string{"X-Amz-Checksum-Crc32", crc, "X-Amz-Checksum-Crc32c", crc}, CodeInvalidRequest},
		{"one checksum with two values", unsignedPayload, []string{"X-Amz-Checksum-Crc32", crc, "X-Amz-Checksum-Crc32", "AAAAAA=="}, CodeInvalidArgument},
		{"checksum and trailer", modeUnsignedTrailer, []string{headerDecodedLength, "1", "X-Amz-Checksum-Crc32", crc, headerTrailer, "x-amz-checksum-crc32"}, CodeInvalidRequest},
		{"SDK algorithm without checksum", unsignedPayload, []string{headerSDKChecksum, "CRC32"}, CodeInvalidRequest},
		{"SDK algorithm unknown", unsignedPayload, []string{headerSDKChecksum, "CRC16", "X-Amz-Checksum-Crc32", crc}, CodeInvalidRequest},
		{"SDK algorithm of another checksum", unsignedPayload, []string{headerSDKChecksum, "CRC32C", "X-Amz-Checksum-Crc32", crc}, CodeInvalidRequest},
		{"SDK algorithm of another trailer", modeUnsignedTrailer, []string{headerDecodedLength, "1", headerSDKChecksum, "CRC32C", headerTrailer, "x-amz-checksum-crc32"}, CodeInvalidRequest},
		{"trailer without trailer mode", unsignedPayload, []string{headerTrailer, "x-amz-checksum-crc32"}, CodeInvalidRequest},
		{"trailer with signed chunks only", modeSigned, []string{headerDecodedLength, "1", headerTrailer, "x-amz-checksum-crc32"}, CodeInvalidRequest},
		{"signed trailer not announced", modeSignedTrailer, []string{headerDecodedLength, "0"}, CodeIncompleteBody},
		{"trailer of another kind", modeUnsignedTrailer, []string{headerDecodedLength, "1", headerTrailer, "x-amz-meta-a"}, CodeInvalidRequest},
		{"several trailers", modeUnsignedTrailer, []string{headerDecodedLength, "1", headerTrailer, "x-amz-checksum-crc32,x-amz-checksum-sha1"}, CodeInvalidRequest},
		{"several trailer headers", modeUnsignedTrailer, []string{headerDecodedLength, "1", headerTrailer, "x-amz-checksum-crc32", headerTrailer, "x-amz-checksum-sha1"}, CodeInvalidArgument},
		{"no decoded length", modeSigned, nil, CodeMissingContentLength},
		{"decoded length -1", modeSigned, []string{headerDecodedLength, "-1"}, CodeMissingContentLength},
		{"decoded length overflows", modeSigned, []string{headerDecodedLength, "9223372036854775808"}, CodeMissingContentLength},
		{"decoded length empty", modeSigned, []string{headerDecodedLength, ""}, CodeMissingContentLength},
		{"two decoded lengths", modeSigned, []string{headerDecodedLength, "1", headerDecodedLength, "2"}, CodeInvalidArgument},
		{"decoded length of a plain body differs", unsignedPayload, []string{headerDecodedLength, "1"}, CodeIncompleteBody},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, err := readBody(t, put(t, tt.payload, "", tt.headers...), ""); code(err) != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// TestHashes compares the hashes with published check values.
func TestHashes(t *testing.T) {
	t.Parallel()
	tests := []struct{ algorithm, data, want string }{
		{"CRC32", "123456789", "cbf43926"},
		{"CRC32C", "123456789", "e3069283"},
		{"CRC64NVME", "123456789", "ae8b14860a799888"},
		{"MD5", "123456789", "25f9e794323b453885f5181f1b624d0b"},
		{"SHA1", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
		{"SHA256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"SHA512", "abc", "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a" +
			"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
		{"XXHASH64", "", "ef46db3751d8e999"},
		{"XXHASH3", "", "2d06800538d394c2"},
		{"XXHASH128", "", "99aa06d3014798d86001c324468d497f"},
	}
	for _, tt := range tests {
		h, ok := NewHash(tt.algorithm)
		if !ok {
			t.Fatalf("no algorithm %s", tt.algorithm)
		}
		io.WriteString(h, tt.data)
		if got := hex.EncodeToString(h.Sum(nil)); got != tt.want {
			t.Errorf("%s of %q = %s, want %s", tt.algorithm, tt.data, got, tt.want)
		}
	}
	if len(tests) != len(hashes) {
		t.Errorf("%d algorithms tested, %d known", len(tests), len(hashes))
	}
	if _, ok := NewHash("crc32"); ok {
		t.Error("NewHash accepts lower case")
	}
	if got := HeaderName("XXHASH128"); got != "x-amz-checksum-xxhash128" {
		t.Errorf("HeaderName = %s", got)
	}
}

func TestHeaderChecksums(t *testing.T) {
	t.Parallel()
	for algorithm := range hashes {
		t.Run(algorithm, func(t *testing.T) {
			for _, sent := range []string{hello, "other"} {
				r := put(t, unsignedPayload, hello, HeaderName(algorithm), digest(t, algorithm, sent),
					headerSDKChecksum, strings.ToLower(algorithm), "X-Amz-Checksum-Type", "FULL_OBJECT", "X-Amz-Checksum-Algorithm", algorithm)
				data, body, err := readBody(t, r, hello)
				value, _ := base64.StdEncoding.DecodeString(digest(t, algorithm, sent))
				want := []Checksum{{Algorithm: algorithm, Value: value}}
				if diff := cmp.Diff(want, body.Declared()); diff != "" {
					t.Errorf("declared: %s", diff)
				}
				if sent == hello {
					if err != nil || data != hello {
						t.Fatalf("read %q, %v", data, err)
					}
					if diff := cmp.Diff(want, body.Checksums()); diff != "" {
						t.Errorf("checksums: %s", diff)
					}
				} else if code(err) != CodeBadDigest || data != "" || body.Checksums() != nil {
					t.Errorf("read %q, %v, %v; want BadDigest", data, body.Checksums(), err)
				}
			}
		})
	}
}

func TestCompleteUploadChecksumIsOfTheObject(t *testing.T) {
	t.Parallel()
	req := newTestRequest(t, http.MethodPost, "/b/k?uploadId=u", hello, "X-Amz-Checksum-Crc32", "AAAAAA==-2", "X-Amz-Checksum-Type", "COMPOSITE")
	signHeader(t, req, hexSHA256(hello))
	data, body, err := readBody(t, received(t, req), hello)
	if err != nil || data != hello || len(body.Declared()) != 0 {
		t.Errorf("read %q, %v", data, err)
	}
	if _, _, err := readBody(t, received(t, req), "HELLO, world"); code(err) != CodeContentSHA256Mismatch {
		t.Errorf("the body itself is still verified: %v", err)
	}
}

func TestPresignedChecksums(t *testing.T) {
	t.Parallel()
	presigned := func(query string, headers ...string) *Request {
		req := newTestRequest(t, http.MethodPut, "/b/k?"+query, "", headers...)
		r := received(t, presign(t, req, testTime, "60"))
		r.ContentLength = int64(len(hello))
		return r
	}
	escape := url.QueryEscape
	empty, right, wrong := escape(digest(t, "CRC32", "")), escape(digest(t, "CRC32", hello)), escape(digest(t, "CRC32", "other"))
	tests := []struct {
		name, query string
		want        string
	}{
		{"none", "", ""},
		{"moved to the query", "x-amz-checksum-crc32=" + right, ""},
		{"wrong, moved to the query", "X-Amz-Checksum-Crc32=" + wrong, CodeBadDigest},
		{"of nothing, by an SDK that had no body", "x-amz-sdk-checksum-algorithm=CRC32&x-amz-checksum-crc32=" + empty, ""},
		{"of nothing, asked for", "x-amz-checksum-crc32=" + empty, CodeBadDigest},
		{"wrong, by an SDK", "x-amz-sdk-checksum-algorithm=CRC32&x-amz-checksum-crc32=" + wrong, CodeBadDigest},
		{"algorithm alone", "x-amz-sdk-checksum-algorithm=CRC32", ""},
		{"payload hash", "X-Amz-Content-Sha256=" + unsignedPayload, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, err := readBody(t, presigned(tt.query), hello); code(err) != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	t.Run("header differs from query", func(t *testing.T) {
		r := presigned("x-amz-checksum-crc32=" + right)
		auth, err := testVerifier().Verify(r)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Checksum-Crc32", digest(t, "CRC32", "other"))
		if _, err := auth.Body(nil); code(err) != CodeInvalidArgument {
			t.Errorf("got %v", err)
		}
	})
}

func TestBodyReadSizes(t *testing.T) {
	t.Parallel()
	readers := map[string]func(io.Reader) io.Reader{
		"one byte": iotest.OneByteReader, "half": iotest.HalfReader, "data with error": iotest.DataErrReader,
	}
	content := strings.Repeat("0123456789abcdef", 5000)
	plain := put(t, hexSHA256(content), "")
	plain.ContentLength = int64(len(content))
	signed, c := framed(t, modeSignedTrailer, len(content), headerTrailer, "x-amz-checksum-crc32")
	raws := map[*Request]string{
		plain:  content,
		signed: c.data(content[:8192], content[8192:8193], content[8193:]).trailer("x-amz-checksum-crc32", digest(t, "CRC32", content)),
	}
	for r, raw := range raws {
		for name, wrap := range readers {
			auth, err := testVerifier().Verify(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := auth.Body(wrap(strings.NewReader(raw)))
			if err != nil {
				t.Fatal(err)
			}
			if body.Size() != int64(len(content)) {
				t.Errorf("size %d", body.Size())
			}
			if err := iotest.TestReader(body, []byte(content)); err != nil {
				t.Errorf("%s, framed %v: %v", name, body.Framed(), err)
			}
		}
	}
}

func TestTransportErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection reset")
	tests := []struct {
		name string
		raw  io.Reader
		want string
		is   error
	}{
		{"unexpected EOF", io.MultiReader(strings.NewReader("x"), iotest.ErrReader(io.ErrUnexpectedEOF)), CodeIncompleteBody, io.ErrUnexpectedEOF},
		{"reset", iotest.ErrReader(broken), CodeIncompleteBody, broken},
		{"timeout", iotest.ErrReader(os.ErrDeadlineExceeded), CodeRequestTimeout, os.ErrDeadlineExceeded},
		{"too large", http.MaxBytesReader(nil, io.NopCloser(strings.NewReader("xx")), 1), CodeEntityTooLarge, nil},
		{"reader that makes no progress", stuckReader{}, CodeIncompleteBody, io.ErrNoProgress},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := put(t, unsignedPayload, "")
			r.ContentLength = 100
			auth, err := testVerifier().Verify(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := auth.Body(tt.raw)
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.ReadAll(body)
			if code(err) != tt.want || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if _, again := body.Read(make([]byte, 1)); again != err {
				t.Errorf("the error does not stay: %v", again)
			}
		})
	}
}

type stuckReader struct{}

func (stuckReader) Read([]byte) (int, error) { return 0, nil }

// TestLastBytesAreWithheld checks that a consumer that copies exactly the
// declared length, as an HTTP client does, does not get all of it before the
// end is verified.
func TestLastBytesAreWithheld(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("x", 100_000)
	r := put(t, hexSHA256(content+"!"), "")
	r.ContentLength = int64(len(content))
	auth, err := testVerifier().Verify(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := auth.Body(strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := io.CopyN(&out, body, int64(len(content))); code(err) != CodeContentSHA256Mismatch {
		t.Fatalf("copied %d bytes, %v", out.Len(), err)
	}
}

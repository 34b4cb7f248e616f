package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"ssegw/e2e/stack"
)

// A refusal is an upload with one thing wrong, and the S3 errors that may
// answer it. If several things are wrong, the size decides which is found
// first.
type refusal struct {
	name   string
	change func(u *upload)
	codes  []string
}

// header adds a header to an upload.
func header(name, value string) func(u *upload) {
	return func(u *upload) { u.header = http.Header{name: {value}} }
}

// chunkEdit changes one chunk (-1: the final one) after it was signed.
func chunkEdit(f framing, number int, edit func(data, head, end *[]byte)) func(u *upload) {
	return func(u *upload) {
		u.framing = f
		u.chunk = func(i int, data, head, end *[]byte) {
			if i == number || number < 0 && len(*data) == 0 {
				edit(data, head, end)
			}
		}
	}
}

func flipData(data, _, _ *[]byte) { (*data)[len(*data)-1] ^= 1 }

// flipDigit changes the last hexadecimal digit of a chunk's head.
func flipDigit(_, head, _ *[]byte) {
	digit := &(*head)[len(*head)-3]
	*digit = map[bool]byte{true: '1', false: '0'}[*digit == '0']
}

var (
	wrongMD5    = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 16))
	wrongSHA256 = fmt.Sprintf("%x", sha256.Sum256([]byte("another body")))
	wrongCRC    = crcOf([]byte("another body"))
)

// with returns a change that sets the framing first.
func with(f framing, change func(u *upload)) func(u *upload) {
	return func(u *upload) {
		u.framing = f
		change(u)
	}
}

var refusals = []refusal{
	{"unknown-access-key", func(u *upload) { u.accessKey = "nobody" }, []string{"InvalidAccessKeyId"}},
	{"wrong-secret", func(u *upload) { u.secret = "wrong" }, []string{"SignatureDoesNotMatch"}},
	{"wrong-secret-of-chunks", with(signedChunks, func(u *upload) { u.secret = "wrong" }), []string{"SignatureDoesNotMatch"}},
	{"wrong-secret-with-trailer", with(trailer, func(u *upload) { u.secret = "wrong" }), []string{"SignatureDoesNotMatch"}},
	{"wrong-secret-after-100-continue", func(u *upload) {
		u.secret, u.header = "wrong", http.Header{"Expect": {"100-continue"}}
	}, []string{"SignatureDoesNotMatch"}},
	{"hash", header("X-Amz-Content-Sha256", wrongSHA256), []string{"XAmzContentSHA256Mismatch"}},
	{"malformed-hash", header("X-Amz-Content-Sha256", "abc"), []string{"InvalidArgument"}},
	{"md5", header("Content-Md5", wrongMD5), []string{"BadDigest"}},
	{"malformed-md5", header("Content-Md5", "AAAA"), []string{"InvalidDigest"}},
	{"md5-of-chunks", with(signedChunks, header("Content-Md5", wrongMD5)), []string{"BadDigest"}},
	{"crc32", header("X-Amz-Checksum-Crc32", wrongCRC), []string{"BadDigest"}},
	{"crc32c", header("X-Amz-Checksum-Crc32c", wrongCRC), []string{"BadDigest"}},
	{"crc64nvme", header("X-Amz-Checksum-Crc64nvme", base64.StdEncoding.EncodeToString(make([]byte, 8))), []string{"BadDigest"}},
	{"sha256", header("X-Amz-Checksum-Sha256", base64.StdEncoding.EncodeToString(make([]byte, 32))), []string{"BadDigest"}},
	{"sha512", header("X-Amz-Checksum-Sha512", base64.StdEncoding.EncodeToString(make([]byte, 64))), []string{"BadDigest"}},
	{"malformed-crc32", header("X-Amz-Checksum-Crc32", "AA=="), []string{"InvalidRequest"}},
	{"unknown-checksum", header("X-Amz-Checksum-Crc99", wrongCRC), []string{"InvalidRequest"}},
	{"first-chunk", chunkEdit(signedChunks, 0, flipData), []string{"SignatureDoesNotMatch"}},
	{"first-chunk-signature", chunkEdit(signedChunks, 0, flipDigit), []string{"SignatureDoesNotMatch"}},
	{"final-chunk-signature", chunkEdit(signedChunks, -1, flipDigit), []string{"SignatureDoesNotMatch"}},
	{"final-chunk-signature-before-trailer", chunkEdit(signedTrailer, -1, flipDigit), []string{"SignatureDoesNotMatch"}},
	{"chunk-size", chunkEdit(trailer, 0, func(_, head, _ *[]byte) { (*head)[0] = 'g' }), []string{"IncompleteBody"}},
	{"chunk-without-end", chunkEdit(trailer, 0, func(_, _, end *[]byte) { copy(*end, "xx") }), []string{"IncompleteBody"}},
	{"no-final-chunk", with(signedChunks, func(u *upload) { u.noFinal = true }), []string{"IncompleteBody"}},
	{"no-final-chunk-before-trailer", with(trailer, func(u *upload) { u.noFinal = true }), []string{"IncompleteBody"}},
	{"trailer-checksum", with(trailer, func(u *upload) { u.trailerValue = wrongCRC }), []string{"BadDigest"}},
	{"signed-trailer-checksum", with(signedTrailer, func(u *upload) { u.trailerValue = wrongCRC }), []string{"BadDigest"}},
	{"malformed-trailer-checksum", with(trailer, func(u *upload) { u.trailerValue = "AA==" }), []string{"InvalidRequest"}},
	{"no-trailer", with(trailer, func(u *upload) { u.trailerValue = "-" }), []string{"MalformedTrailerError"}},
	{"trailer-signature", with(signedTrailer, func(u *upload) { u.trailerSignature = strings.Repeat("0", 64) }), []string{"SignatureDoesNotMatch"}},
	{"no-trailer-signature", chunkEdit(signedTrailer, -1, func(_, _, end *[]byte) {
		*end = bytes.Replace(*end, []byte("x-amz-trailer-signature"), []byte("x-amz-trailer-signaturf"), 1)
	}), []string{"IncompleteBody"}},
	{"decoded-length-small", with(signedChunks, header("X-Amz-Decoded-Content-Length", "5")), []string{"IncompleteBody"}},
	{"decoded-length-large", with(signedChunks, header("X-Amz-Decoded-Content-Length", "5000000")), []string{"IncompleteBody"}},
	{"decoded-length-small-with-trailer", with(trailer, header("X-Amz-Decoded-Content-Length", "5")), []string{"IncompleteBody"}},
	{"decoded-length-large-with-trailer", with(trailer, header("X-Amz-Decoded-Content-Length", "5000000")), []string{"IncompleteBody"}},
	{"decoded-length-of-a-plain-body", header("X-Amz-Decoded-Content-Length", "5"), []string{"IncompleteBody"}},
}

// lastChunk returns a refusal of the chunk before the final one, whose number
// depends on the size.
func lastChunk(size int) refusal {
	return refusal{"last-chunk", chunkEdit(signedChunks, (size-1)/rawChunk, flipData), []string{"SignatureDoesNotMatch"}}
}

// TestRefusedUploads sends bodies with a wrong signature, hash, checksum,
// chunk, trailer or length. Each is refused with its error and changes nothing
// in a sealed or a plain bucket. It covers bodies that are read whole first,
// and bodies that stream.
func TestRefusedUploads(t *testing.T) {
	t.Parallel()
	old := bytesOf(t, content{seed: 110, size: 500})
	bodies := [][]byte{bytesOf(t, content{seed: 111, size: 3000}), bytesOf(t, content{seed: 112, size: 3*mib + 5})}
	onStores(t, func(t *testing.T, r *rig) {
		g := r.faultGateway(t, "", nil)
		var cases []broken
		codes := make(map[string][]string)
		for _, bucket := range []string{sealedBucket, plainBucket} {
			for _, body := range bodies {
				for _, refused := range append([]refusal{lastChunk(len(body))}, refusals...) {
					for _, before := range [][]byte{nil, old} {
						b := broken{old: before, upload: upload{bucket: bucket, framing: unsigned, body: body}}
						refused.change(&b.upload)
						b.upload.key = fmt.Sprintf("%s/%d/%v", refused.name, len(body), before != nil)
						b.name = bucket + "/" + b.upload.key
						codes[b.name] = refused.codes
						cases = append(cases, b)
					}
				}
			}
		}
		putOld(t, g, cases)
		each(t, cases, func(b broken) error { return wantRefused(t, g, b, codes[b.name]) })
		r.settle(t, g)
		wantStates(t, sdkOf(t, g), cases)
		wantNoStrays(t, r.direct(t), cases)
		wantFramingsTaken(t, g, bodies)
	})
}

// wantRefused sends an upload that must be refused.
func wantRefused(t *testing.T, g *stack.Gateway, b broken, codes []string) error {
	head, body := b.upload.encode(t, g)
	a, err := send(g, head, body)
	if err != nil {
		return err
	}
	if a.status < 400 || a.status >= 500 || !slices.Contains(codes, a.code) {
		return fmt.Errorf("answered %d %s, want %q", a.status, a.code, codes)
	}
	return nil
}

// wantFramingsTaken checks that correct uploads of every framing are stored, so
// that the others are refused only for what is wrong with them.
func wantFramingsTaken(t *testing.T, g *stack.Gateway, bodies [][]byte) {
	t.Helper()
	var cases []broken
	for _, bucket := range []string{sealedBucket, plainBucket} {
		for _, f := range framings {
			for _, body := range bodies {
				key := fmt.Sprintf("right/%s/%d", f, len(body))
				cases = append(cases, broken{name: bucket + "/" + key, complete: true,
					upload: upload{bucket: bucket, key: key, framing: f, body: body}})
			}
		}
	}
	client := sdkOf(t, g)
	each(t, cases, func(b broken) error {
		head, body := b.upload.encode(t, g)
		if a, err := send(g, head, body); err != nil || a.status != http.StatusOK {
			return fmt.Errorf("answered %d %s, %w", a.status, a.code, err)
		}
		if state, err := stateOf(t, client, b); state != stateNew {
			return fmt.Errorf("%s: %w", state, err)
		}
		return nil
	})
}

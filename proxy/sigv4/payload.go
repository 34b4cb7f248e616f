package sigv4

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"

	"ssegw/proxy/field"
)

// payloadMode is how a body is framed and signed.
type payloadMode int

const (
	payloadPlain           payloadMode = iota // plain bytes, unsigned
	payloadHash                               // plain bytes, SHA-256 signed
	payloadSigned                             // aws-chunked, every chunk signed
	payloadSignedTrailer                      // aws-chunked, every chunk and the trailer signed
	payloadUnsignedTrailer                    // aws-chunked with a trailer, nothing signed
)

func (m payloadMode) framed() bool  { return m >= payloadSigned }
func (m payloadMode) signed() bool  { return m == payloadSigned || m == payloadSignedTrailer }
func (m payloadMode) trailer() bool { return m == payloadSignedTrailer || m == payloadUnsignedTrailer }

const unsignedPayload = "UNSIGNED-PAYLOAD"

var payloadModes = map[string]payloadMode{
	"":                                   payloadPlain,
	unsignedPayload:                      payloadPlain,
	"STREAMING-AWS4-HMAC-SHA256-PAYLOAD": payloadSigned,
	"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": payloadSignedTrailer,
	"STREAMING-UNSIGNED-PAYLOAD-TRAILER":         payloadUnsignedTrailer,
}

// payload is a parsed x-amz-content-sha256 value.
type payload struct {
	mode      payloadMode
	canonical string // last line of the canonical request
	sum       []byte // SHA-256, only for payloadHash
}

// parsePayload parses x-amz-content-sha256. "" means UNSIGNED-PAYLOAD.
func parsePayload(value string) (payload, error) {
	if mode, ok := payloadModes[value]; ok {
		if value == "" {
			value = unsignedPayload
		}
		return payload{mode: mode, canonical: value}, nil
	}
	if strings.HasPrefix(value, "STREAMING-"+algorithmV4A) {
		return payload{}, newError(CodeNotImplemented, "Payloads signed with "+algorithmV4A+" are not supported.")
	}
	sum, err := hex.DecodeString(value)
	if err != nil || len(sum) != sha256.Size {
		return payload{}, errArgument(headerContentSHA256, value, "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, "+
			"STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, "+
			"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD, "+
			"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER or a valid sha256 value.")
	}
	return payload{mode: payloadHash, canonical: value, sum: sum}, nil
}

// declaration is what the headers declare about a body.
type declaration struct {
	size     int64 // decoded bytes; -1 if unknown
	md5      []byte
	checksum *Checksum
	trailer  string // algorithm of the announced trailer; "" for none
}

// declare returns the declaration of a verified request.
func (a *Auth) declare() (d declaration, err error) {
	if d.size, err = a.declaredSize(); err != nil {
		return d, err
	}
	if d.md5, err = contentMD5(a.view.request); err != nil {
		return d, err
	}
	if d.trailer, err = a.announcedTrailer(); err != nil {
		return d, err
	}
	if a.view.completesUpload() {
		return d, nil // its checksum headers describe the object, not the body
	}
	if d.checksum, err = a.view.checksum(); err != nil {
		return d, err
	}
	if d.checksum != nil && d.trailer != "" {
		return d, errSeveralChecksums()
	}
	return d, a.view.checkSDKAlgorithm(d)
}

// declaredSize returns the number of decoded bytes:
// x-amz-decoded-content-length, which framed bodies must have, or else
// Content-Length.
func (a *Auth) declaredSize() (int64, error) {
	value, given, err := a.view.value(headerDecodedLength)
	if err != nil {
		return 0, err
	}
	length := a.view.request.ContentLength
	if !given {
		if a.payload.mode.framed() {
			return 0, newError(CodeMissingContentLength, "You must provide the Content-Length HTTP header.")
		}
		return max(length, -1), nil
	}
	size, err := strconv.ParseUint(value, 10, 63)
	if err != nil {
		return 0, newError(CodeMissingContentLength, "You must provide the Content-Length HTTP header.")
	}
	if !a.payload.mode.framed() && length >= 0 && int64(size) != length {
		return 0, errBodyLength()
	}
	return int64(size), nil
}

// announcedTrailer returns the algorithm announced by x-amz-trailer. There must
// be exactly one, and only in a payload mode with a trailer.
func (a *Auth) announcedTrailer() (string, error) {
	name, given, err := a.view.value(headerTrailer)
	if err != nil {
		return "", err
	}
	mode := a.payload.mode
	switch {
	case !given:
		return "", nil // an unannounced trailer is then malformed
	case !mode.trailer():
		return "", newError(CodeInvalidRequest,
			"The x-amz-trailer header needs an x-amz-content-sha256 value that ends in -TRAILER.")
	}
	algorithm, ok := checksumAlgorithm(strings.ToLower(strings.TrimSpace(name)))
	if !ok {
		return "", newError(CodeInvalidRequest, "The value specified in the x-amz-trailer header is not supported")
	}
	return algorithm, nil
}

func contentMD5(r *Request) ([]byte, error) {
	values := r.Header.Values("Content-MD5")
	if len(values) == 0 {
		values = r.moved("content-md5")
	}
	if len(values) == 0 {
		return nil, nil
	}
	// Like Amazon S3, ignore the unused bits after the digest.
	digest, err := base64.StdEncoding.DecodeString(values[0])
	if err != nil || len(digest) != md5.Size || len(values) > 1 {
		return nil, errInvalidMD5(values[0])
	}
	return digest, nil
}

func errInvalidMD5(value string) *Error {
	return newError(CodeInvalidDigest, "The Content-Md5 you specified is not valid.", Detail{"Content-MD5", value})
}

// completesUpload reports whether the request is a CompleteMultipartUpload.
func (w *view) completesUpload() bool {
	return w.request.Method == http.MethodPost && w.request.Query.Has("uploadId")
}

// checksum returns the only x-amz-checksum value of headers and query, or nil.
func (w *view) checksum() (*Checksum, error) {
	var sum *Checksum
	names := w.checksumNames()
	if len(names) > 1 {
		return nil, errSeveralChecksums()
	}
	for name := range names {
		algorithm, known := checksumAlgorithm(name)
		if !known {
			return nil, newError(CodeInvalidRequest, "The algorithm type you specified in x-amz-checksum- header is invalid.")
		}
		value, _, err := w.value(name)
		if err != nil {
			return nil, err
		}
		digest, ok := DecodeChecksum(algorithm, value)
		if !ok {
			return nil, newError(CodeInvalidRequest, "Value for "+name+" header is invalid.")
		}
		if w.presignedWithoutBody(name, algorithm, digest) {
			continue
		}
		sum = &Checksum{Algorithm: algorithm, Value: digest}
	}
	return sum, nil
}

// presignedWithoutBody reports whether a checksum only shows that an SDK
// presigned an upload before it had the body. SDKs then compute their default
// checksum over nothing and move it to the query. Amazon S3 does not compare it
// with the body.
func (w *view) presignedWithoutBody(name, algorithm string, digest []byte) bool {
	h, _ := NewHash(algorithm)
	return w.has(headerSDKChecksum) && len(w.request.Header.Values(name)) == 0 && bytes.Equal(digest, h.Sum(nil))
}

// checksumNames returns the lower-case names of all x-amz-checksum-* values
// that hold digests.
func (w *view) checksumNames() map[string]bool {
	names := map[string]bool{}
	add := func(name string) {
		switch name = field.Lower(name); name {
		case checksumPrefix + "type", checksumPrefix + "algorithm", checksumPrefix + "mode":
		default:
			if strings.HasPrefix(name, checksumPrefix) {
				names[name] = true
			}
		}
	}
	for name := range w.request.Header {
		add(name)
	}
	for name := range w.amz {
		add(name)
	}
	return names
}

// checkSDKAlgorithm compares x-amz-sdk-checksum-algorithm with the checksum
// that was sent. In a query it may be left over from presigning: the client
// that uses the URL need not send a checksum.
func (w *view) checkSDKAlgorithm(d declaration) error {
	value, given, err := w.value(headerSDKChecksum)
	if err != nil || !given {
		return err
	}
	want := strings.ToUpper(value)
	if _, known := hashes[want]; !known {
		return newError(CodeInvalidRequest, "Checksum algorithm provided is unsupported. Please try again with any of the "+
			"valid types: [CRC32, CRC32C, CRC64NVME, MD5, SHA1, SHA256, SHA512, XXHASH128, XXHASH3, XXHASH64]")
	}
	sent := d.trailer
	if d.checksum != nil {
		sent = d.checksum.Algorithm
	}
	switch {
	case sent == want, sent == "" && w.has(headerSDKChecksum):
		return nil
	case sent == "":
		return newError(CodeInvalidRequest, "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* "+
			"or x-amz-trailer headers were found.")
	}
	return newError(CodeInvalidRequest, "Value for x-amz-sdk-checksum-algorithm header is invalid.")
}

func errSeveralChecksums() *Error {
	return newError(CodeInvalidRequest,
		"Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
}

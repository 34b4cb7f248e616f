package sigv4

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxEmptyReads limits how often in a row the raw body may return neither bytes
// nor an error.
const maxEmptyReads = 100

// Body decodes and verifies a request body while it is read. It is not safe for
// concurrent use.
type Body struct {
	src      io.Reader // decoded bytes; io.EOF once the framing has ended correctly
	frames   *frames   // src, if framed
	size     int64     // -1 if unknown
	read     int64
	limits   limits
	hashes   map[string]hash.Hash // by algorithm
	checks   []check
	declared []Checksum
	trailer  string
	verified []Checksum
	err      error // returned by all later calls
}

// check is a digest to compare at the end.
type check struct {
	algorithm string
	want      []byte
	refusal   func(computed []byte) *Error
}

// limits is the content-length-range of a POST policy, in bytes.
type limits struct {
	min, max int64
}

// Body wraps the raw request body with the decoding and verification that the
// request's headers declare. raw may be nil for an empty body. Body does not
// read from raw yet. The error is an *Error if declarations are malformed or
// contradict each other.
//
// The x-amz-checksum headers of CompleteMultipartUpload describe the object.
// They are not compared with the body.
func (a *Auth) Body(raw io.Reader) (*Body, error) {
	d, err := a.declare()
	if err != nil {
		return nil, err
	}
	b := newBody(raw, d.size)
	if a.payload.mode == payloadHash {
		b.expect(algorithmSHA256, a.payload.sum, func(computed []byte) *Error {
			return newError(CodeContentSHA256Mismatch,
				"The provided 'x-amz-content-sha256' header does not match what was computed.",
				Detail{"ClientComputedContentSHA256", a.payload.canonical},
				Detail{"S3ComputedContentSHA256", hex.EncodeToString(computed)})
		})
	}
	if d.md5 != nil {
		b.expectMD5(d.md5)
	}
	if d.checksum != nil {
		b.expectChecksum(*d.checksum)
	}
	if a.payload.mode.framed() {
		b.frame(a, d)
	}
	return b, nil
}

func newBody(raw io.Reader, size int64) *Body {
	if raw == nil {
		raw = strings.NewReader("")
	}
	return &Body{src: raw, size: size, limits: limits{max: -1}, hashes: map[string]hash.Hash{}}
}

// frame inserts the aws-chunked decoder between the raw body and b.
func (b *Body) frame(a *Auth, d declaration) {
	b.frames = newFrames(b.src, d.size)
	b.src = b.frames
	if a.payload.mode.signed() {
		b.frames.signer = a.chunks.start()
	}
	if a.payload.mode.trailer() {
		b.trailer = d.trailer
		b.frames.readsTrailer = true
		if d.trailer != "" {
			b.frames.trailerName = HeaderName(d.trailer)
			b.hash(d.trailer)
		}
	}
}

// hash starts the hash of a known algorithm unless it has been started.
func (b *Body) hash(algorithm string) {
	if b.hashes[algorithm] == nil {
		b.hashes[algorithm], _ = NewHash(algorithm)
	}
}

func (b *Body) expect(algorithm string, want []byte, refusal func(computed []byte) *Error) {
	b.hash(algorithm)
	b.checks = append(b.checks, check{algorithm, want, refusal})
}

func (b *Body) expectMD5(want []byte) {
	b.expect(algorithmMD5, want, func(computed []byte) *Error {
		return newError(CodeBadDigest, "The Content-MD5 you specified did not match what we received.",
			Detail{"CalculatedDigest", base64.StdEncoding.EncodeToString(computed)},
			Detail{"ExpectedDigest", hex.EncodeToString(want)})
	})
}

func (b *Body) expectChecksum(sum Checksum) {
	b.expect(sum.Algorithm, sum.Value, func([]byte) *Error { return errChecksum(sum.Algorithm) })
	b.declared = append(b.declared, sum)
}

func errChecksum(algorithm string) *Error {
	return newError(CodeBadDigest, "The "+algorithm+" you specified did not match the calculated checksum.")
}

// Size returns the number of decoded bytes. It is -1 if that is unknown, as for
// a plain body in HTTP chunks or the file of a form.
func (b *Body) Size() int64 { return b.size }

// Framed reports whether the raw body is aws-chunked.
func (b *Body) Framed() bool { return b.frames != nil }

// TrailerAlgorithm returns the algorithm of the announced trailing checksum, or
// "".
func (b *Body) TrailerAlgorithm() string { return b.trailer }

// Declared returns the x-amz-checksum values that are known before the body is
// read. They are only verified at io.EOF.
func (b *Body) Declared() []Checksum { return slices.Clone(b.declared) }

// Checksums returns all verified x-amz-checksum values, from headers and
// trailer. It returns nil before io.EOF.
func (b *Body) Checksums() []Checksum { return slices.Clone(b.verified) }

// Read reads decoded bytes. Large reads go from the raw body straight into p.
// Read returns io.EOF only after it has verified everything that was declared.
// If the size is known, it withholds the last bytes until then, too: they are
// never returned if verification fails. Errors other than io.EOF are *Error,
// and all later calls return the same error.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.next(p)
	if err != nil {
		b.err = err
		return 0, err
	}
	return n, nil
}

func (b *Body) next(p []byte) (int, error) {
	if b.read == b.size {
		return 0, b.finish()
	}
	if b.size >= 0 {
		p = p[:min(int64(len(p)), b.size-b.read)]
	}
	n, err := readSome(b.src, p)
	for _, h := range b.hashes {
		h.Write(p[:n])
	}
	b.read += int64(n)
	if b.limits.max >= 0 && b.read > b.limits.max {
		return 0, errOverLimit(b.read, b.limits.max)
	}
	switch {
	case err == io.EOF && b.size >= 0 && b.read < b.size:
		return 0, errBodyLength()
	case err == io.EOF:
		if err := b.verify(); err != io.EOF || n == 0 {
			return 0, err
		}
		b.err = io.EOF
		return n, nil
	case err != nil:
		return 0, readError(err)
	case b.read == b.size:
		if err := b.finish(); err != io.EOF {
			return 0, err
		}
		b.err = io.EOF
	}
	return n, nil
}

// finish expects the end of a body whose declared size has been read, and
// verifies the body.
func (b *Body) finish() error {
	var more [1]byte
	switch n, err := readSome(b.src, more[:]); {
	case n > 0:
		return errBodyLength()
	case err != io.EOF:
		return readError(err)
	}
	return b.verify()
}

// verify compares all digests and returns io.EOF if they match.
func (b *Body) verify() error {
	if b.read < b.limits.min {
		return errUnderLimit(b.read, b.limits.min)
	}
	for _, c := range b.checks {
		if computed := b.hashes[c.algorithm].Sum(nil); !hmac.Equal(computed, c.want) {
			return c.refusal(computed)
		}
	}
	sums := slices.Clone(b.declared)
	if b.trailer != "" {
		want, ok := DecodeChecksum(b.trailer, b.frames.trailerValue)
		if !ok {
			return newError(CodeInvalidRequest, "Value for "+b.frames.trailerName+" trailing header is invalid.")
		}
		if !hmac.Equal(b.hashes[b.trailer].Sum(nil), want) {
			return errChecksum(b.trailer)
		}
		sums = append(sums, Checksum{Algorithm: b.trailer, Value: want})
	}
	b.verified = sums
	return io.EOF
}

// readSome reads at least one byte into p, which must not be empty, or returns
// an error.
func readSome(r io.Reader, p []byte) (int, error) {
	for range maxEmptyReads {
		if n, err := r.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// readError converts an error of the raw body to an *Error.
func readError(err error) error {
	var own *Error
	var network net.Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &tooLarge):
		return errTooLarge()
	case errors.As(err, &network) && network.Timeout():
		return &Error{Code: CodeRequestTimeout, Message: "Your socket connection to the server was not read from or " +
			"written to within the timeout period.", cause: err}
	}
	return errTruncated(err)
}

func errTooLarge() *Error {
	return newError(CodeEntityTooLarge, "Your proposed upload exceeds the maximum allowed size")
}

// errOverLimit reports that size bytes have arrived so far and the policy
// allows most.
func errOverLimit(size, most int64) *Error {
	return newError(CodeEntityTooLarge, "Your proposed upload exceeds the maximum allowed object size.",
		sizeDetail("ProposedSize", size), sizeDetail("MaxSizeAllowed", most))
}

func errUnderLimit(size, least int64) *Error {
	return newError(CodeEntityTooSmall, "Your proposed upload is smaller than the minimum allowed size",
		sizeDetail("ProposedSize", size), sizeDetail("MinSizeAllowed", least))
}

func sizeDetail(name string, size int64) Detail { return Detail{name, strconv.FormatInt(size, 10)} }

// Package payload has the plaintext bodies of objects while they are written:
// they are verified, summed and sent to the store.
//
// Invariants:
//
//   - A body ends with io.EOF only after everything about it was verified: its
//     size, its signature and its checksums.
//   - The first failure of a body is kept. The client gets that failure, not
//     the store's answer ([Send]).
//   - A write succeeds only after the store has read the whole body.
//
// docs/ARCHITECTURE.md is the map.
package payload

import (
	"bytes"
	"hash"
	"io"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/sealer"
)

// Plaintext is the body of an object that is being written. It comes from a
// client or from the source of a copy. Read returns io.EOF only after the whole
// body was verified.
type Plaintext interface {
	io.Reader
	Size() int64                 // bytes
	Declared() []sigv4.Checksum  // known before the body is read
	TrailerAlgorithm() string    // of the checksum that is known only at the end, or ""
	Checksums() []sigv4.Checksum // all, after io.EOF
	Failure() error              // the first error of Read, except io.EOF
}

// ReadSmall reads a whole body and returns it after it was verified. A body of
// more than limit bytes is the S3 error MaxMessageLengthExceeded.
func ReadSmall(b Plaintext, limit int64) ([]byte, error) {
	if b.Size() > limit {
		return nil, s3.ErrorByCode("MaxMessageLengthExceeded")
	}
	var buf bytes.Buffer
	if b.Size() > 0 {
		buf.Grow(int(b.Size()) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(b, limit+1))
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, s3.ErrorByCode("MaxMessageLengthExceeded")
	}
	return buf.Bytes(), nil
}

// WithDefault returns a body that has a checksum: the one it has already, or
// one of [sealer.DefaultAlgorithm] that is computed while the body is read.
func WithDefault(body Plaintext) Plaintext {
	if Announced(body).Algorithm != 0 {
		return body
	}
	return WithChecksum(body, sealer.DefaultAlgorithm)
}

// Announced returns which checksum of the whole body there will be. Its
// algorithm is 0 if there is none.
func Announced(body Plaintext) sealer.Announcement {
	name := body.TrailerAlgorithm()
	if sums := body.Declared(); name == "" && len(sums) > 0 {
		name = sums[0].Algorithm
	}
	a, _ := sealer.ParseAlgorithm(name)
	return sealer.Announcement{Algorithm: a}
}

// WithChecksum returns a body that has a checksum of algorithm a: the one it
// has already, or one that is computed while the body is read.
func WithChecksum(body Plaintext, a sealer.Algorithm) Plaintext {
	if Announced(body).Algorithm == a {
		return body
	}
	h, _ := sigv4.NewHash(a.String())
	return &summed{body, a.String(), h}
}

// IsComputed reports whether body has a checksum that [WithChecksum] computes.
func IsComputed(body Plaintext) bool {
	_, computed := body.(*summed)
	return computed
}

// summed computes a checksum of a body while it is read.
type summed struct {
	Plaintext
	algorithm string
	sum       hash.Hash
}

func (b *summed) Read(p []byte) (int, error) {
	n, err := b.Plaintext.Read(p)
	b.sum.Write(p[:n])
	return n, err
}

// TrailerAlgorithm returns the algorithm of the computed checksum, which is
// known only at the end.
func (b *summed) TrailerAlgorithm() string { return b.algorithm }

// Checksums returns the checksums of the body and then the computed one.
func (b *summed) Checksums() []sigv4.Checksum {
	return append(b.Plaintext.Checksums(), sigv4.Checksum{Algorithm: b.algorithm, Value: b.sum.Sum(nil)})
}

// Stored returns verified checksums in the form in which they are stored. It
// leaves out algorithms that the format does not have.
func Stored(sums []sigv4.Checksum) []sealer.Checksum {
	var out []sealer.Checksum
	for _, s := range sums {
		if a, ok := sealer.ParseAlgorithm(s.Algorithm); ok {
			out = append(out, sealer.Checksum{Algorithm: a, Digest: s.Value})
		}
	}
	return out
}

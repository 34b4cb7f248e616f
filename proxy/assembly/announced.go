package assembly

import (
	"strings"

	"ssegw/proxy/payload"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// ErrAlgorithm is the S3 error for a checksum algorithm that S3 does not have.
var ErrAlgorithm = s3.ErrInvalidRequest.Msg("Checksum algorithm provided is unsupported. Please try again with any of the valid types: " +
	"[CRC32, CRC32C, CRC64NVME, MD5, SHA1, SHA256, SHA512, XXHASH128, XXHASH3, XXHASH64]")

// CheckAnnounced checks the checksum that a Create announces, and sets u.Type
// if the client left it out: to the default of Amazon S3 for the algorithm.
func CheckAnnounced(u *state.Upload) error {
	if u.Type != "" && u.Type != s3.FullObject && u.Type != s3.Composite {
		return s3.ErrInvalidRequest.Msg("Value for x-amz-checksum-type header is invalid.")
	}
	if u.Algorithm == "" {
		if u.Type != "" {
			return s3.ErrInvalidRequest.Msg("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
		}
		return nil
	}
	a, ok := sealer.ParseAlgorithm(u.Algorithm)
	if !ok {
		return ErrAlgorithm
	}
	_, combines := payload.Combinable[a]
	switch {
	case u.Type == "" && a == sealer.ChecksumCRC64NVME:
		u.Type = s3.FullObject
	case u.Type == "":
		u.Type = s3.Composite
	case u.Type == s3.FullObject && !combines, u.Type == s3.Composite && a == sealer.ChecksumCRC64NVME:
		return s3.ErrInvalidRequest.Msg("The %s checksum type cannot be used with the %s checksum algorithm.", u.Type, strings.ToLower(a.String()))
	}
	return nil
}

// CheckPart returns an S3 error, as Amazon S3 does, for a part that lacks what
// the object's checksum is made of: if its checksum has another algorithm, or
// if it has none and the object's is composite.
func CheckPart(u *state.Upload, body payload.Plaintext) error {
	if u.Algorithm == "" {
		return nil
	}
	want, sent := u.Announced(), payload.Announced(body)
	if sent.Algorithm == want.Algorithm || sent.Algorithm == 0 && !want.Composite {
		return nil
	}
	name := "null"
	if sent.Algorithm != 0 {
		name = sent.Algorithm.String()
	}
	return s3.ErrInvalidRequest.Msg("Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s", want.Algorithm, name)
}

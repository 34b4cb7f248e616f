package sse

import (
	"crypto/md5" //nolint:gosec // SSE-C identifies its keys by MD5
	"crypto/subtle"
	"encoding/base64"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// Customer reads the three headers of SSE-C. It returns nil if none was sent.
func (r Request) Customer() (*Sealing, error) {
	algorithm, hasAlgorithm := s3.FirstValue(r.Header, s3.HeaderSSECAlgorithm)
	encoded, hasKey := s3.FirstValue(r.Header, s3.HeaderSSECKey)
	sum, hasSum := s3.FirstValue(r.Header, s3.HeaderSSECKeyMD5)
	if !hasAlgorithm && !hasKey && !hasSum {
		return nil, nil
	}
	if !r.Secure {
		return nil, s3.ErrInvalidRequest.Msg("Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.")
	}
	switch {
	case !hasAlgorithm:
		return nil, s3.ErrInvalidArgument.Msg("Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption algorithm.")
	case algorithm != s3.AES256:
		return nil, s3.ErrorByCode("InvalidEncryptionAlgorithmError")
	case !hasKey:
		return nil, s3.ErrInvalidArgument.Msg("Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret key.")
	case !hasSum:
		return nil, s3.ErrInvalidArgument.Msg("Requests specifying Server Side Encryption with Customer provided keys must provide the client calculated MD5 of the secret key.")
	}
	s := &Sealing{Scheme: sealer.SSEC, keyMD5: sum}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(key) != len(s.customer) {
		return nil, s3.ErrInvalidArgument.Msg("The secret key was invalid for the specified algorithm.")
	}
	copy(s.customer[:], key)
	clear(key)
	digest := md5.Sum(s.customer[:]) //nolint:gosec // see the import
	if subtle.ConstantTimeCompare([]byte(base64.StdEncoding.EncodeToString(digest[:])), []byte(sum)) != 1 {
		return nil, s3.ErrInvalidArgument.Msg("The calculated MD5 hash of the key did not match the hash that was provided.")
	}
	return s, nil
}

// Stored returns how the stored object of h is sealed, with the client's key if
// the scheme needs one. SSE-C headers must be sent for SSE-C objects, and for
// no others.
func (r Request) Stored(h sealer.KeyHint) (*Sealing, error) {
	customer, err := r.Customer()
	if err != nil {
		return nil, err
	}
	switch {
	case h.Scheme == sealer.SSEC && customer == nil:
		return nil, s3.ErrInvalidRequest.Msg("The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.")
	case h.Scheme == sealer.SSEC:
		return customer, nil
	case customer != nil:
		return nil, s3.ErrInvalidRequest.Msg("The encryption parameters are not applicable to this object.")
	case h.Scheme == sealer.SSEKMS && !r.Known:
		return nil, s3.ErrAccessDenied
	}
	return Of(h), nil
}

// Refusals of encryption headers that do not fit an upload. The texts are
// Amazon S3's.
var (
	errUploadNotEncrypted = s3.ErrInvalidRequest.Msg("The multipart upload initiate did not request encryption. Please resend the request without sending encryption parameters.")
	errUploadOtherKey     = s3.ErrInvalidRequest.Msg("The provided encryption parameters did not match the ones used originally.")

	// ErrUploadEncrypted refuses a request that lacks the customer's key of an
	// upload.
	ErrUploadEncrypted = s3.ErrInvalidRequest.Msg("The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.")
)

// Upload returns how an upload is sealed, with the customer's key if the
// request has one. h is the header of the upload's object, nil for an upload in
// plaintext, for which Upload returns nil. A key that is sent must be that of
// Create.
func (r Request) Upload(h *sealer.Parsed) (*Sealing, error) {
	customer, err := r.Customer()
	switch {
	case err != nil:
		return nil, err
	case h == nil && customer != nil:
		return nil, errUploadNotEncrypted
	case h == nil:
		return nil, nil
	case customer == nil && h.Scheme == sealer.SSEKMS && !r.Known:
		return nil, s3.ErrAccessDenied
	case customer == nil:
		return Of(h.KeyHint), nil
	case h.Scheme != sealer.SSEC:
		return nil, errUploadOtherKey
	}
	_, k, err := h.Open(r.Object, customer.customer)
	if err != nil {
		return nil, errUploadOtherKey.With(err)
	}
	k.Wipe()
	return customer, nil
}

// RepeatedUpload is Upload for a request that may repeat the encryption headers
// of Create. Headers that ask for another encryption are refused.
func (r Request) RepeatedUpload(h *sealer.Parsed) (*Sealing, error) {
	s, err := r.Upload(h)
	if err != nil {
		return nil, err
	}
	asked, err := r.asked()
	if err != nil {
		return nil, err
	}
	if err := r.chooseBucketKey(asked, false); err != nil {
		return nil, err
	}
	switch {
	case asked == nil:
	case h == nil:
		return nil, errUploadNotEncrypted
	case !asked.fits(h.KeyHint, r.Header):
		return nil, errUploadOtherKey
	}
	return s, nil
}

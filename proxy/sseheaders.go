package proxy

import (
	"bytes"
	"net/http"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// sseSet is a set of headers of server-side encryption.
type sseSet uint8

const (
	sseAsked    sseSet = 1 << iota // which encryption, under which key
	sseCustomer                    // the customer's key
	sseSource                      // the customer's key for a copy's source
)

// sseHeaderSets are all headers of server-side encryption.
var sseHeaderSets = map[string]sseSet{
	s3.HeaderSSE: sseAsked, s3.HeaderSSEKeyID: sseAsked, s3.HeaderSSEContext: sseAsked, s3.HeaderSSEBucketKey: sseAsked,
	s3.HeaderSSECAlgorithm: sseCustomer, s3.HeaderSSECKey: sseCustomer, s3.HeaderSSECKeyMD5: sseCustomer,
	s3.HeaderCopySourceSSECAlgorithm: sseSource, s3.HeaderCopySourceSSECKey: sseSource, s3.HeaderCopySourceSSECKeyMD5: sseSource,
}

// honouredSSE says which of them each operation honours. One that is not here
// honours none: a header that is ignored would leave in the clear what its sender
// takes for encrypted.
var honouredSSE = map[s3.Action]sseSet{
	s3.PutObject:             sseAsked | sseCustomer,
	s3.PostObject:            sseAsked | sseCustomer,
	s3.CreateMultipartUpload: sseAsked | sseCustomer,
	s3.CopyObject:            sseAsked | sseCustomer | sseSource,

	// They may repeat what Create asked for, as minio-go does.
	s3.UploadPart:              sseAsked | sseCustomer,
	s3.UploadPartCopy:          sseAsked | sseCustomer | sseSource,
	s3.CompleteMultipartUpload: sseAsked | sseCustomer,
	s3.ListParts:               sseCustomer,

	s3.GetObject:           sseCustomer,
	s3.HeadObject:          sseCustomer,
	s3.GetObjectAttributes: sseCustomer,
}

// checkSSE refuses the headers of server-side encryption that the operation does not honour.
func checkSSE(r s3.Route, h http.Header) error {
	if r.Class == s3.Refuse {
		return nil // it is refused anyway, for what it is
	}
	for name, set := range sseHeaderSets {
		if v, sent := single(h, name); sent && honouredSSE[r.Action]&set == 0 {
			return s3.ErrArgument(name, v, name+" header is not supported for this operation.")
		}
	}
	return nil
}

// Refusals of encryption headers that do not fit an upload. The texts are Amazon S3's.
var (
	errUploadNotEncrypted = s3.ErrInvalidRequest.Msg("The multipart upload initiate did not request encryption. Please resend the request without sending encryption parameters.")
	errUploadEncrypted    = s3.ErrInvalidRequest.Msg("The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.")
	errUploadOtherKey     = s3.ErrInvalidRequest.Msg("The provided encryption parameters did not match the ones used originally.")
)

// uploadSealing is how the upload is sealed, with the customer's key of the request, where
// there is one. A key that is sent has to be that of Create.
func (c *call) uploadSealing(u *upload) (*sealing, error) {
	customer, err := c.customerSealing(c.req.Header)
	switch {
	case err != nil:
		return nil, err
	case u.Plain && customer != nil:
		return nil, errUploadNotEncrypted
	case u.Plain:
		return nil, nil
	case customer == nil && u.header.Scheme == sealer.SSEKMS && c.auth.Anonymous():
		return nil, s3.ErrAccessDenied
	case customer == nil:
		return sealingOf(u.header), nil
	case u.header.Scheme != sealer.SSEC:
		return nil, errUploadOtherKey
	}
	k, err := u.header.Open(u.binding().Binding, customer.customer)
	if err != nil {
		return nil, errUploadOtherKey.With(err)
	}
	k.Wipe()
	return customer, nil
}

// repeatedSealing is uploadSealing for a request that may repeat the encryption headers of
// Create. Those that ask for another encryption are refused.
func (c *call) repeatedSealing(u *upload) (*sealing, error) {
	s, err := c.uploadSealing(u)
	if err != nil {
		return nil, err
	}
	asked, err := c.askedSealing()
	if err != nil {
		return nil, err
	}
	if err := c.chooseBucketKey(asked, false); err != nil {
		return nil, err
	}
	switch {
	case asked == nil:
	case u.Plain:
		return nil, errUploadNotEncrypted
	case !asked.fits(u.header, c.req.Header):
		return nil, errUploadOtherKey
	}
	return s, nil
}

// lacksKey reports whether the request lacks the customer's key of the upload.
func (s *sealing) lacksKey() bool { return s != nil && s.scheme == sealer.SSEC && s.keyMD5 == "" }

// checkCompleteSSE holds the encryption headers of a Complete against the upload. The
// customer's key is needed where parts have announced checksums, as on Amazon S3.
func (c *call) checkCompleteSSE(u *upload) error {
	s, err := c.repeatedSealing(u)
	if err == nil && s.lacksKey() && u.Algorithm != "" {
		err = errUploadEncrypted
	}
	return err
}

// fits reports whether the encryption that the request's headers ask for is that of a
// sealed header. What they leave out can be anything.
func (s *sealing) fits(h *sealer.Header, request http.Header) bool {
	_, named := single(request, s3.HeaderSSEKeyID)
	_, withContext := single(request, s3.HeaderSSEContext)
	return s.scheme == h.Scheme && (!named || s.keyName == h.KeyName) && (!withContext || bytes.Equal(s.encoded, h.Context))
}

package sse

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"ssegw/kms"
	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// Request is the part of a request that decides how its object is sealed.
type Request struct {
	Header     http.Header
	Object     sealer.Binding
	DefaultKey string // KES key for requests and rules that name none
	Secure     bool   // the client's connection is encrypted
	Known      bool   // the client has a credential; others may not choose SSE-KMS
}

// Default is how a bucket's objects are sealed if the request does not say.
type Default struct {
	Algorithm string // of the bucket's rule: s3.AES256, s3.AWSKMS, or "" for none
	KeyID     string // of the rule, as the client set it; "": the default key
	BucketKey bool   // SSE-KMS uses data keys of the bucket
	Blocked   []string
	Otherwise sealer.Scheme // for buckets without a rule; 0: not sealed
}

// ErrAlgorithm is returned for a rule whose algorithm this version does not
// know.
var ErrAlgorithm = errors.New("sse: the bucket's rule has an unknown algorithm")

// Choose decides how the object of a write is sealed: by the request's headers,
// otherwise by the bucket's rule, otherwise by the gateway's default. It
// returns nil if the object is stored in plaintext. This is the only place that
// decides that.
func (r Request) Choose(d Default) (*Sealing, error) { return r.ChooseCopy(d, nil) }

// ChooseCopy is Choose for a copy. source is the header of a sealed source, nil
// for a source in plaintext. The copy of a sealed object is sealed, too. If
// nothing else asks for encryption, the copy of an SSE-KMS object has the
// source's KES key, and any other is sealed with SSE-S3.
func (r Request) ChooseCopy(d Default, source *sealer.Header) (*Sealing, error) {
	s, err := r.choose(d)
	bucketKey := d.BucketKey
	switch {
	case s != nil || err != nil || source == nil:
	case source.Scheme == sealer.SSEKMS:
		s, err = r.KMS(source.KeyName, "")
		bucketKey = source.Shared
	default:
		s = r.S3()
	}
	if err == nil {
		err = r.chooseBucketKey(s, bucketKey)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// choose is Choose without the choice of a bucket key.
func (r Request) choose(d Default) (*Sealing, error) {
	s, err := r.asked()
	switch {
	case err != nil:
		return nil, err
	case s != nil && s.Scheme == sealer.SSEC && slices.Contains(d.Blocked, "SSE-C"):
		return nil, s3.ErrAccessDenied.Msg("The bucket does not accept SSE-C.")
	case s != nil:
		return s, nil
	case d.Algorithm != "" && d.Algorithm != s3.AES256 && d.Algorithm != s3.AWSKMS:
		return nil, fmt.Errorf("%w: %q", ErrAlgorithm, d.Algorithm)
	case d.Algorithm == s3.AWSKMS:
		return r.KMS(d.KeyID, "")
	case d.Algorithm == s3.AES256, d.Otherwise == sealer.SSES3:
		return r.S3(), nil
	case d.Otherwise == sealer.SSEKMS:
		return r.KMS("", "")
	}
	return nil, nil
}

// S3 returns SSE-S3, which always uses a data key of the bucket.
func (r Request) S3() *Sealing {
	return &Sealing{Scheme: sealer.SSES3, KeyName: r.DefaultKey, Shared: true}
}

// KMS returns SSE-KMS with a key ID as clients write it ("": the default key)
// and an encryption context in base64 ("": none).
func (r Request) KMS(keyID, encodedContext string) (*Sealing, error) {
	name, err := KeyName(keyID, r.DefaultKey)
	if err != nil {
		return nil, err
	}
	s := &Sealing{Scheme: sealer.SSEKMS, KeyName: name}
	if encodedContext != "" {
		if s.context, s.Context, err = kms.ParseContext(encodedContext); err != nil {
			return nil, err
		}
	}
	// Refuse a client's context that would replace the object's own entry.
	if _, err := kms.ObjectContext(r.Object.Bucket, r.Object.Key, s.context); err != nil {
		return nil, err
	}
	return s, nil
}

// KeyName returns the name of the KES key of a key ID, which may be an ARN. For
// "" it is the default key. The error is kms.ErrInvalidKeyName.
func KeyName(keyID, defaultKey string) (string, error) {
	if keyID == "" {
		return defaultKey, nil
	}
	name := strings.TrimPrefix(keyID, arnPrefix)
	if err := kms.ValidKeyName(name); err != nil {
		return "", err
	}
	return name, nil
}

// asked returns what the request's own headers ask for; nil if nothing.
func (r Request) asked() (*Sealing, error) {
	customer, err := r.Customer()
	if err != nil {
		return nil, err
	}
	algorithm, asked := s3.FirstValue(r.Header, s3.HeaderSSE)
	keyID, hasKey := s3.FirstValue(r.Header, s3.HeaderSSEKeyID)
	kmsContext, hasContext := s3.FirstValue(r.Header, s3.HeaderSSEContext)
	if customer != nil {
		if asked || hasKey || hasContext {
			return nil, errWithCustomerKey
		}
		return customer, nil
	}
	switch {
	case !asked && (hasKey || hasContext):
		return nil, s3.ErrInvalidArgument.Msg("The header %s is missing.", s3.HeaderSSE)
	case !asked:
		return nil, nil
	case algorithm == s3.AES256 && !hasKey && !hasContext:
		return r.S3(), nil
	case algorithm == s3.AWSKMS && !r.Known:
		return nil, s3.ErrAccessDenied.Msg("Anonymous requests cannot choose SSE-KMS.")
	case algorithm == s3.AWSKMS:
		return r.KMS(keyID, kmsContext)
	}
	return nil, s3.ErrInvalidArgument.Msg("The encryption method is not supported")
}

// chooseBucketKey decides whether SSE-KMS uses a data key of the bucket: by the
// request's header, otherwise by the bucket's rule. An object with a client's
// context never does: KES must see that context with each data key.
func (r Request) chooseBucketKey(s *Sealing, byRule bool) error {
	v, asked := s3.FirstValue(r.Header, s3.HeaderSSEBucketKey)
	on := byRule
	if asked {
		if on = strings.EqualFold(v, "true"); !on && !strings.EqualFold(v, "false") {
			return s3.ErrArgument(s3.HeaderSSEBucketKey, v, "The value must be true or false.")
		}
	}
	switch {
	case asked && on && s == nil:
		return s3.ErrInvalidArgument.Msg("The header %s is missing.", s3.HeaderSSE)
	case asked && s != nil && s.Scheme == sealer.SSEC:
		return errWithCustomerKey
	case s != nil && s.Scheme == sealer.SSEKMS:
		s.Shared = on && len(s.Context) == 0
	}
	return nil
}

var errWithCustomerKey = s3.ErrInvalidArgument.Msg("Server Side Encryption with Customer provided key is incompatible with the encryption method specified")

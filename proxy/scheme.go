package proxy

import (
	"context"
	"crypto/md5" //nolint:gosec // SSE-C names its keys by MD5
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"ssegw/kms"
	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// arnPrefix may stand before the name of a KES key in headers and rules, and
// always does in answers, as on MinIO.
const arnPrefix = "arn:aws:kms:"

// sealing says how an object is sealed, or was.
type sealing struct {
	scheme   sealer.Scheme
	keyName  string      // of the KES key; "" for SSE-C
	shared   bool        // the data key is one of the bucket's, for many objects
	context  kms.Context // the client's encryption context; SSE-KMS only
	encoded  []byte      // context as canonical JSON
	customer sealer.Key  // the client's key; SSE-C only
	keyMD5   string      // of the client's key, as sent
}

// Format prints the scheme and the key's name for every verb, never the customer's key.
func (s sealing) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, s.scheme.String()+" "+s.keyName)
}

// setHeaders tells a client how its object is sealed.
func (s *sealing) setHeaders(h http.Header) {
	switch s.scheme {
	case sealer.SSES3:
		h.Set(s3.HeaderSSE, s3.AES256)
	case sealer.SSEKMS:
		h.Set(s3.HeaderSSE, s3.AWSKMS)
		h.Set(s3.HeaderSSEKeyID, arnPrefix+s.keyName)
		if s.shared {
			h.Set(s3.HeaderSSEBucketKey, "true")
		}
		if len(s.encoded) > 0 {
			h.Set(s3.HeaderSSEContext, base64.StdEncoding.EncodeToString(s.encoded))
		}
	case sealer.SSEC:
		h.Set(s3.HeaderSSECAlgorithm, s3.AES256)
		h.Set(s3.HeaderSSECKeyMD5, s.keyMD5)
	}
}

// writeSealing is chosenSealing where the bucket takes objects sealed so.
func (c *call) writeSealing() (*sealing, error) {
	s, err := c.chosenSealing()
	if err != nil {
		return nil, err
	}
	return s, c.required(s)
}

// chosenSealing decides how the object of a write is sealed: by the request's
// headers, else by the bucket's rule, else by the gateway's default. nil says
// that it is stored as it is; this is the only place that decides so.
func (c *call) chosenSealing() (*sealing, error) {
	rule, ok, err := c.State.rule(c.ctx(), c.req.Bucket)
	if err != nil {
		return nil, err
	}
	s, err := c.askedSealing()
	if err != nil {
		return nil, err
	}
	switch {
	case s != nil && s.scheme == sealer.SSEC && ok && slices.Contains(rule.Blocked, "SSE-C"):
		return nil, s3.ErrAccessDenied.Msg("The bucket does not accept SSE-C.")
	case s != nil:
	case ok && rule.Algorithm != "" && rule.Algorithm != s3.AES256 && rule.Algorithm != s3.AWSKMS:
		return nil, fmt.Errorf("%w: unknown algorithm %q", errRules, rule.Algorithm)
	case ok && rule.Algorithm == s3.AWSKMS:
		s, err = c.kmsSealing(rule.KeyID, "")
	case ok && rule.Algorithm == s3.AES256, c.AutoEncryption == sealer.SSES3:
		s = c.s3Sealing()
	case c.AutoEncryption == sealer.SSEKMS:
		s, err = c.kmsSealing("", "")
	}
	if err != nil {
		return nil, err
	}
	return s, c.chooseBucketKey(s, rule.BucketKey)
}

// chooseBucketKey decides whether SSE-KMS uses a data key of the bucket: by the
// request's header, else by the bucket's rule. A context of the client's is for
// KES to see with each object, so that it takes a data key of the object's own.
func (c *call) chooseBucketKey(s *sealing, byRule bool) error {
	v, asked := single(c.req.Header, s3.HeaderSSEBucketKey)
	on := byRule
	if asked {
		if on = strings.EqualFold(v, "true"); !on && !strings.EqualFold(v, "false") {
			return s3.ErrArgument(s3.HeaderSSEBucketKey, v, "The value must be true or false.")
		}
	}
	switch {
	case asked && on && s == nil:
		return s3.ErrInvalidArgument.Msg("The header %s is missing.", s3.HeaderSSE)
	case asked && s != nil && s.scheme == sealer.SSEC:
		return errWithCustomerKey
	case s != nil && s.scheme == sealer.SSEKMS:
		s.shared = on && len(s.encoded) == 0
	}
	return nil
}

var errWithCustomerKey = s3.ErrInvalidArgument.Msg("Server Side Encryption with Customer provided key is incompatible with the encryption method specified")

// s3Sealing is SSE-S3, which always uses a data key of the bucket.
func (c *call) s3Sealing() *sealing {
	return &sealing{scheme: sealer.SSES3, keyName: c.KMS.DefaultKey(), shared: true}
}

// askedSealing is what the request's own headers ask for; nil if nothing.
func (c *call) askedSealing() (*sealing, error) {
	h := c.req.Header
	customer, err := c.customerSealing(h)
	if err != nil {
		return nil, err
	}
	algorithm, asked := single(h, s3.HeaderSSE)
	keyID, hasKey := single(h, s3.HeaderSSEKeyID)
	kmsContext, hasContext := single(h, s3.HeaderSSEContext)
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
		return c.s3Sealing(), nil
	case algorithm == s3.AWSKMS && c.credential == nil:
		return nil, s3.ErrAccessDenied.Msg("Anonymous requests cannot choose SSE-KMS.")
	case algorithm == s3.AWSKMS:
		return c.kmsSealing(keyID, kmsContext)
	}
	return nil, s3.ErrInvalidArgument.Msg("The encryption method is not supported")
}

// single returns a header's value and whether it was sent.
func single(h http.Header, name string) (string, bool) {
	v := h.Values(name)
	if len(v) == 0 {
		return "", false
	}
	return v[0], true
}

// kmsSealing is SSE-KMS under a key ID as clients write it ("": the default
// key) and an encryption context in base64 ("": none).
func (c *call) kmsSealing(keyID, encoded string) (*sealing, error) {
	name, err := c.keyName(keyID)
	if err != nil {
		return nil, err
	}
	s := &sealing{scheme: sealer.SSEKMS, keyName: name}
	if encoded != "" {
		if s.context, s.encoded, err = kms.ParseContext(encoded); err != nil {
			return nil, err
		}
	}
	// Refuses a client's context that would take the place of the object's own entry.
	if _, err := kms.ObjectContext(c.req.Bucket, c.req.Key, s.context); err != nil {
		return nil, err
	}
	return s, nil
}

// keyName is the KES key that a key ID names.
func (c *call) keyName(keyID string) (string, error) {
	if keyID == "" {
		return c.KMS.DefaultKey(), nil
	}
	name := strings.TrimPrefix(keyID, arnPrefix)
	if err := kms.ValidKeyName(name); err != nil {
		return "", err
	}
	return name, nil
}

// customerSealing reads the three headers of SSE-C; nil if none was sent.
func (c *reader) customerSealing(h http.Header) (*sealing, error) {
	algorithm, hasAlgorithm := single(h, s3.HeaderSSECAlgorithm)
	encoded, hasKey := single(h, s3.HeaderSSECKey)
	sum, hasSum := single(h, s3.HeaderSSECKeyMD5)
	if !hasAlgorithm && !hasKey && !hasSum {
		return nil, nil
	}
	if !c.secure() {
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
	s := &sealing{scheme: sealer.SSEC, keyMD5: sum}
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

func (c *reader) kmsContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.ctx(), c.times.kms)
}

// newKey gets the data key of a new object.
func (c *call) newKey(s *sealing) (plain sealer.Key, sealed []byte, err error) {
	if s.scheme == sealer.SSEC {
		return s.customer, nil, nil
	}
	dataKey, use, err := c.generate(s)
	c.audit(use, s.keyName, err)
	if err != nil {
		return plain, nil, err
	}
	return sealer.Key(dataKey.Plaintext), dataKey.Sealed, nil
}

// generate gets a data key from the KMS, and says what kind it is of.
func (c *call) generate(s *sealing) (key kms.DataKey, use keyUse, err error) {
	use = useGenerate
	if s.shared {
		use = useShared
	}
	if err := c.checkKMSKey(s.keyName); err != nil {
		return key, use, err
	}
	ctx, cancel := c.kmsContext()
	defer cancel()
	if s.shared {
		key, err = c.KMS.GenerateShared(ctx, s.keyName, kms.BucketContext(c.req.Bucket))
		return key, use, err
	}
	kctx, err := kms.ObjectContext(c.req.Bucket, c.req.Key, s.context)
	if err == nil {
		key, err = c.KMS.Generate(ctx, s.keyName, kctx)
	}
	return key, use, err
}

// storedSealing is how a stored object was sealed, with the client's key where
// the scheme asks for one: SSE-C headers must be sent for SSE-C objects, and
// for no others.
func (c *reader) storedSealing(h *sealer.Header) (*sealing, error) {
	customer, err := c.customerSealing(c.req.Header)
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
	case h.Scheme == sealer.SSEKMS && c.auth.Anonymous():
		return nil, s3.ErrAccessDenied
	}
	return sealingOf(h), nil
}

// sealingOf is how the object of a header was sealed, but for a client's key.
func sealingOf(h *sealer.Header) *sealing {
	return &sealing{scheme: h.Scheme, keyName: h.KeyName, shared: h.Shared, encoded: h.Context}
}

// openKey opens the object key behind a header.
func (c *reader) openKey(h *sealer.Header, s *sealing) (*sealer.ObjectKey, error) {
	binding := c.binding()
	if h.Scheme == sealer.SSEC {
		return h.Open(binding, s.customer)
	}
	dataKey, use, err := c.unseal(h)
	c.audit(use, h.KeyName, err)
	if err != nil {
		return nil, err
	}
	defer dataKey.Wipe()
	k, err := h.Open(binding, sealer.Key(dataKey))
	if err != nil {
		return nil, fmt.Errorf("%w: object key: %w", errIntegrity, err)
	}
	return k, nil
}

// unseal opens the data key of a header with the KMS, and says how.
func (c *reader) unseal(h *sealer.Header) (key kms.Secret, use keyUse, err error) {
	if err := c.checkKMSKey(h.KeyName); err != nil {
		return key, useUnseal, err
	}
	kctx, err := c.keyContext(h)
	if err != nil {
		return key, useUnseal, err
	}
	ctx, cancel := c.kmsContext()
	defer cancel()
	key, cached, err := c.KMS.UnsealCached(ctx, h.KeyName, h.SealedDataKey, kctx)
	if err != nil {
		return key, useUnseal, fmt.Errorf("%w: %w", errOpening, err)
	}
	if cached {
		return key, useCached, nil
	}
	return key, useUnseal, nil
}

// keyContext is the KMS context that a stored data key is bound to.
func (c *reader) keyContext(h *sealer.Header) (kms.Context, error) {
	if h.Shared {
		return kms.BucketContext(c.req.Bucket), nil
	}
	var client kms.Context
	if len(h.Context) > 0 {
		if err := json.Unmarshal(h.Context, &client); err != nil {
			return nil, fmt.Errorf("%w: encryption context: %w", errIntegrity, err)
		}
	}
	return kms.ObjectContext(c.req.Bucket, c.req.Key, client)
}

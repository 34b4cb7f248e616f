package sigv4

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Names of form fields, lower case.
const (
	fieldAlgorithm  = "x-amz-algorithm"
	fieldBucket     = "bucket"
	fieldCredential = "x-amz-credential"
	fieldFile       = "file"
	fieldIgnore     = "x-ignore-" // prefix
	fieldMD5        = "content-md5"
	fieldPolicy     = "policy"
	fieldSignature  = "x-amz-signature"
	fieldToken      = "x-amz-security-token"
)

// PolicyAuth is the outcome of a verified POST form.
type PolicyAuth struct {
	accessKey string
	limits    limits
	md5       []byte
	checksum  *Checksum
}

// AccessKey returns the verified access key, or "" for anonymous forms.
func (p *PolicyAuth) AccessKey() string { return p.accessKey }

// Anonymous reports whether the form had no credential.
func (p *PolicyAuth) Anonymous() bool { return p.accessKey == "" }

// Auth returns the form's credential as if it were that of a request without a
// body.
func (p *PolicyAuth) Auth() *Auth {
	return &Auth{view: &view{request: &Request{}, amz: map[string]string{}}, accessKey: p.accessKey}
}

// String shows only the access key.
func (p *PolicyAuth) String() string { return fmt.Sprintf("sigv4.PolicyAuth(%q)", p.accessKey) }

// LengthRange returns the smallest and the largest file that the policy allows,
// in bytes. max is -1 if there is no limit.
func (p *PolicyAuth) LengthRange() (min, max int64) { return p.limits.min, p.limits.max }

// Body wraps the form's file. It enforces the policy's content-length-range and
// verifies the Content-MD5 and x-amz-checksum fields. The size of the file is
// not known beforehand, so a failed verification is reported in place of
// io.EOF.
func (p *PolicyAuth) Body(file io.Reader) *Body {
	b := newBody(file, -1)
	b.limits = p.limits
	if p.md5 != nil {
		b.expectMD5(p.md5)
	}
	if p.checksum != nil {
		b.expectChecksum(*p.checksum)
	}
	return b
}

// VerifyPolicy authenticates a POST form that uploads to bucket, the addressed
// one. fields holds all form fields except the file, under lower-case names,
// with ${filename} in the key already replaced. The caller must have refused
// repeated names. The policy must cover the bucket and every field except
// x-amz-signature, policy, file and x-ignore-*. A form without policy,
// credential and signature is anonymous. Errors are *Error.
//
// Specification: "Creating a POST policy" and "Authenticating requests in
// browser-based uploads using POST" of the Amazon S3 documentation.
func (v *Verifier) VerifyPolicy(bucket string, fields map[string]string) (*PolicyAuth, error) {
	if named, given := fields[fieldBucket]; given && named != bucket {
		return nil, newError(CodeAccessDenied, "The bucket field does not name the bucket of the request.")
	}
	auth := &PolicyAuth{limits: limits{max: -1}}
	if err := auth.declare(fields); err != nil {
		return nil, err
	}
	present := func(names ...string) bool {
		for _, name := range names {
			if _, given := fields[name]; given {
				return true
			}
		}
		return false
	}
	switch {
	case present("awsaccesskeyid", "signature"):
		return nil, errNotV4()
	case present(fieldToken):
		return nil, newError(CodeInvalidToken, "The provided token is malformed or otherwise invalid.")
	case !present(fieldPolicy, fieldAlgorithm, fieldCredential, headerDate, fieldSignature):
		return auth, nil
	}
	c, err := v.formCredential(fields)
	if err != nil {
		return nil, err
	}
	if _, err := v.verifySignature(c, fields[fieldPolicy]); err != nil {
		return nil, formMismatch(err, c, fields[fieldPolicy])
	}
	if err := v.checkPolicy(auth, bucket, fields); err != nil {
		return nil, err
	}
	auth.accessKey = c.accessKey
	return auth, nil
}

// declare parses the digests that the form declares for its file.
func (p *PolicyAuth) declare(fields map[string]string) error {
	w := &view{request: &Request{}, amz: map[string]string{}}
	for name, value := range fields {
		if strings.HasPrefix(name, amzPrefix) {
			w.amz[name] = value
		}
	}
	var err error
	if p.checksum, err = w.checksum(); err != nil {
		return err
	}
	if value, given := fields[fieldMD5]; given {
		var ok bool
		if p.md5, ok = DecodeChecksum(algorithmMD5, value); !ok {
			return errInvalidMD5(value)
		}
	}
	return nil
}

// formCredential parses the credential of a form.
func (v *Verifier) formCredential(fields map[string]string) (*credential, error) {
	for _, name := range []string{fieldPolicy, fieldAlgorithm, fieldCredential, headerDate, fieldSignature} {
		if _, given := fields[name]; !given {
			return nil, errArgument(name, "", "Bucket POST must contain a field named '"+name+
				"'.  If it is specified, please check the order of the fields.")
		}
	}
	if a := fields[fieldAlgorithm]; a != algorithmV4 {
		return nil, errArgument(paramAlgorithm, a, "Only AWS4-HMAC-SHA256 is supported")
	}
	at := fields[headerDate]
	if _, err := time.Parse(timeFormat, at); err != nil {
		return nil, errArgument(paramDate, at, "X-Amz-Date must be formated via ISO8601 Long format")
	}
	accessKey, s, err := byPolicy.parseCredential(fields[fieldCredential])
	c := &credential{accessKey: accessKey, scope: s, time: at, signature: fields[fieldSignature]}
	if err == nil {
		err = byPolicy.check(c, v.cfg.Region, false)
	}
	var refused *Error
	if errors.As(err, &refused) {
		refused.Details = append(refused.Details, Detail{"ArgumentName", fieldCredential}, Detail{"ArgumentValue", fields[fieldCredential]})
	}
	return c, err
}

// formMismatch adds the signed text, the policy as sent, to the refusal of a
// signature.
func formMismatch(err error, c *credential, policy string) error {
	var refused *Error
	if errors.As(err, &refused) && refused.Code == CodeSignatureDoesNotMatch {
		refused.Details = []Detail{
			{"AWSAccessKeyId", c.accessKey}, {"StringToSign", policy}, {"SignatureProvided", c.signature},
			{"StringToSignBytes", fmt.Sprintf("% x", policy)},
		}
	}
	return err
}

// checkPolicy decodes the signed policy document and checks its expiration and
// conditions.
func (v *Verifier) checkPolicy(auth *PolicyAuth, bucket string, fields map[string]string) error {
	document, err := base64.StdEncoding.DecodeString(fields[fieldPolicy])
	if err != nil {
		return errPolicyDocument("invalid Base64 encoding.")
	}
	p, err := parsePolicy(document)
	if err != nil {
		return err
	}
	if !v.cfg.Now().Before(p.expiration) {
		return errPolicyFailed("Policy expired.")
	}
	values := map[string]string{}
	for name, value := range fields {
		switch {
		case name == fieldSignature, name == fieldPolicy, name == fieldFile, strings.HasPrefix(name, fieldIgnore):
		default:
			values[name] = value
		}
	}
	values[fieldBucket] = bucket
	auth.limits = p.limits
	return p.check(values)
}

func errPolicyDocument(detail string) *Error {
	return newError(CodeInvalidPolicyDocument, "Invalid Policy: "+detail)
}

func errPolicyFailed(detail string) *Error {
	return newError(CodeAccessDenied, "Invalid according to Policy: "+detail)
}

// Package sigv4 is the server side of AWS Signature Version 4 as Amazon S3 uses
// it. It verifies requests signed in the Authorization header, in the query
// string (presigned) and by a POST policy. It also decodes and verifies request
// bodies. Optionally it verifies presigned requests of Signature Version 2.
// [Signer] is the side of a client.
//
// Invariants:
//
//   - One view. Everything that is verified comes from [Request]. The caller
//     must route, authorize and forward the same values.
//   - Nothing unsigned has an effect. SignedHeaders must list the host and
//     every x-amz-* and x-minio-* header of a signed request, except headers
//     that the caller declares to have no effect. Every listed header must be
//     present.
//   - A body that fails verification never ends cleanly. [Body.Read] returns
//     io.EOF only after the chunk signatures, the SHA-256, Content-MD5, the
//     x-amz-checksum value, the trailer and the length were verified. If the
//     size is known beforehand, it also withholds the last bytes until then, so
//     that a consumer which stops at the declared length cannot miss a failure.
//   - Secrets do not print. Signatures and digests are compared in constant
//     time. An unknown access key costs as much work as a wrong signature.
//     Signing keys are derived once for a secret and a scope.
//   - Memory per body is constant: a 4 KiB buffer for framed bodies, none for
//     plain ones.
//
// Every error is an [*Error] whose Code is the S3 error code.
//
// Specifications: "Authenticating Requests (AWS Signature Version 4)" and
// "Checking object integrity" of the Amazon S3 documentation.
//
// docs/ARCHITECTURE.md is the map.
package sigv4

import (
	"crypto/hmac"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// AnyRegion as a region accepts credential scopes that name any region, or
// none.
const AnyRegion = "*"

// Config configures a [Verifier].
type Config struct {
	// Region is the region that credential scopes must name, or AnyRegion.
	Region string
	// Secret returns the secret key for an access key. It must be safe for
	// concurrent use.
	Secret func(accessKey string) (secret string, ok bool)
	// PresignedV2 also accepts requests presigned with Signature Version 2:
	// GET, HEAD, PUT and DELETE.
	PresignedV2 bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Verifier verifies requests. It is safe for concurrent use.
type Verifier struct {
	cfg  Config
	keys func(secret string, s scope) signingKey
}

// New returns a Verifier for cfg. It panics if cfg.Secret is nil, which is a
// programming error.
func New(cfg Config) *Verifier {
	if cfg.Secret == nil {
		panic("sigv4: Config.Secret is nil")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Verifier{cfg: cfg, keys: keyCache()}
}

// Request is the single parsed view of a client's request. Everything that is
// signed comes from it. It must not change between [Verifier.Verify] and
// [Auth.Body].
type Request struct {
	Method string
	// Path is the decoded path as the client addressed it. It begins with "/"
	// and in path style includes the bucket.
	Path string
	// Query holds all decoded parameters, including X-Amz-* ones. The caller
	// refuses duplicates. Duplicates of x-amz-* names, in any case, are refused
	// here as well.
	Query url.Values
	// Header holds the headers as received. For presigned requests it does not
	// contain values moved there from the query.
	Header http.Header
	// Moved holds the headers, other than x-amz-* ones, that a presigner moved
	// into the query. A header of the same name takes precedence. The caller
	// checks that the two agree if the header is signed as such, and otherwise
	// that they agree or that the header has no effect.
	Moved http.Header
	Host  string
	// NoEffect reports whether the caller ignores a header (name in lower
	// case), so that it need not be signed. Proxies such as CloudFront add
	// x-amz-cf-id to signed requests. A nil NoEffect always returns false.
	NoEffect func(name string) bool
	// RawPath is Path as sent, percent-encoded. "" means the encoding of
	// Version 4.
	RawPath string
	// HostBucket is the bucket that Host names in virtual-host style, or "".
	HostBucket string
	// ContentLength is the length of the raw body in bytes, or -1 if it is
	// chunked or unknown.
	ContentLength int64
	// TLS is true if the request came over TLS. Verification ignores it.
	TLS bool
	// AllowEmptyRegion also accepts an empty region in the credential scope,
	// which MinIO's admin clients use.
	AllowEmptyRegion bool
}

func (r *Request) hasNoEffect(name string) bool { return r.NoEffect != nil && r.NoEffect(name) }

// rawPath returns the percent-encoded path.
func (r *Request) rawPath() string {
	if r.RawPath != "" {
		return r.RawPath
	}
	return canonicalURI(r.Path)
}

// Auth is the outcome of a successful verification.
type Auth struct {
	view      *view
	accessKey string
	presigned bool
	payload   payload
	chunks    *chunkSigner // nil if there is no credential
}

// Trusted returns the Auth of something that the gateway does for itself, as
// the owner of accessKey. There is no request.
func Trusted(accessKey string) *Auth { return &Auth{accessKey: accessKey} }

// AccessKey returns the verified access key, or "" for anonymous requests.
func (a *Auth) AccessKey() string { return a.accessKey }

// Anonymous reports whether the request had no credential.
func (a *Auth) Anonymous() bool { return a.accessKey == "" }

// Presigned reports whether the request was authenticated by its query string.
func (a *Auth) Presigned() bool { return a.presigned }

// Framed reports whether the request declares an aws-chunked body.
func (a *Auth) Framed() bool { return a.payload.mode.framed() }

// String shows only the access key.
func (a *Auth) String() string { return fmt.Sprintf("sigv4.Auth(%q)", a.accessKey) }

// Verify authenticates r. Without a credential it returns an Auth that is
// Anonymous. A partial or malformed credential is always an error. Errors are
// *Error.
func (v *Verifier) Verify(r *Request) (*Auth, error) {
	w, err := newView(r)
	if err != nil {
		return nil, err
	}
	if w.has(paramToken) || len(r.Header.Values(paramToken)) > 0 {
		return nil, newError(CodeInvalidToken, "The provided token is malformed or otherwise invalid.")
	}
	authorization := r.Header.Values("Authorization")
	inQuery := w.queryAuth || w.queryV2
	switch {
	case len(authorization) > 1 || len(authorization) == 1 && inQuery:
		return nil, newError(CodeInvalidArgument, "Only one auth mechanism allowed; only the X-Amz-Algorithm query "+
			"parameter, Signature query string parameter or the Authorization header should be specified")
	case w.queryV2:
		return v.verifyQueryV2(w)
	case w.queryAuth:
		return v.verifyQuery(w)
	case len(authorization) == 1:
		return v.verifyHeader(w, authorization[0])
	}
	return verifyAnonymous(w)
}

// verifySignature checks that the credential's signature matches one of the
// strings to sign, and returns the signing key. It does the same work for
// unknown access keys.
func (v *Verifier) verifySignature(c *credential, stringsToSign ...string) (signingKey, error) {
	secret, known := v.cfg.Secret(c.accessKey)
	if !known || secret == "" {
		known, secret = false, dummySecret
	}
	key := v.keys(secret, c.scope)
	valid := false
	for _, s := range stringsToSign {
		if hmac.Equal([]byte(key.sign(s)), []byte(c.signature)) {
			valid = true
		}
	}
	switch {
	case !known:
		return nil, newError(CodeInvalidAccessKeyID, "The AWS Access Key Id you provided does not exist in our records.",
			Detail{"AWSAccessKeyId", c.accessKey})
	case !valid:
		return nil, errSignature()
	}
	return key, nil
}

// accept verifies the request's signature over its canonical form and returns
// the Auth.
func (v *Verifier) accept(w *view, c *credential, signed []string, p payload) (*Auth, error) {
	candidates, err := canonicalRequests(w.request, signed, p.canonical)
	if err != nil {
		return nil, err
	}
	for i, canonical := range candidates {
		candidates[i] = stringToSign(c, canonical)
	}
	key, err := v.verifySignature(c, candidates...)
	if err != nil {
		return nil, err
	}
	return &Auth{view: w, accessKey: c.accessKey, payload: p, chunks: newChunkSigner(key, c)}, nil
}

func verifyAnonymous(w *view) (*Auth, error) {
	value, _, err := w.value(headerContentSHA256)
	if err != nil {
		return nil, err
	}
	p, err := parsePayload(value)
	if err != nil {
		// Nothing signs this malformed digest, so it counts as a digest that no
		// body has.
		p = payload{mode: payloadHash, canonical: value}
	}
	if p.mode == payloadPlain && w.request.Header.Get(headerTrailer) != "" {
		// SDKs without credentials frame the body, but only their signer adds
		// x-amz-content-sha256.
		p.mode = payloadUnsignedTrailer
	}
	if p.mode.signed() {
		return nil, newError(CodeInvalidRequest, "Anonymous requests don't support this x-amz-content-sha256 value. "+
			"Please use UNSIGNED-PAYLOAD or STREAMING-UNSIGNED-PAYLOAD-TRAILER.")
	}
	return &Auth{view: w, payload: p}, nil
}

package sigv4

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the specification requires it, and HMAC does not depend on collision resistance
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Query parameters of a request presigned with Signature Version 2.
const (
	paramV2AccessKey = "AWSAccessKeyId"
	paramV2Expires   = "Expires"
	paramV2Signature = "Signature"
)

// signedV2 lists the query parameters that a signature covers, in addition to
// response-*: the union of those in the specification and in the SDKs.
var signedV2 = []string{
	"accelerate", "acl", "analytics", "cors", "defaultObjectAcl", "delete", "inventory", "lifecycle", "location", "logging",
	"metrics", "notification", "object-lock", "partNumber", "policy", "replication", "requestPayment", "restore", "select",
	"select-type", "storageClass", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website",
}

// listingV2 lists parameters that are accepted although no version 2 signature
// covers them. They only choose a page of a listing.
var listingV2 = []string{
	"continuation-token", "delimiter", "encoding-type", "fetch-owner", "key-marker", "list-type", "marker", "max-keys",
	"max-parts", "max-uploads", "part-number-marker", "prefix", "start-after", "upload-id-marker", "version-id-marker",
}

// methodsV2 lists the methods that may be presigned.
var methodsV2 = []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete}

// verifyQueryV2 authenticates a request presigned with Signature Version 2,
// which boto3 and aws-cli 1 make by default. The request is valid until
// Expires, in seconds since 1970, which may be at most a week ahead.
//
// Specification: "Signing and authenticating REST requests (AWS Signature
// Version 2)", section "Query string request authentication alternative".
func (v *Verifier) verifyQueryV2(w *view) (*Auth, error) {
	q := w.request.Query
	if !v.cfg.PresignedV2 || w.queryAuth || !slices.Contains(methodsV2, w.request.Method) {
		return nil, errNotV4()
	}
	accessKey, expires, signature := q.Get(paramV2AccessKey), q.Get(paramV2Expires), q.Get(paramV2Signature)
	if accessKey == "" || expires == "" || signature == "" {
		return nil, newError(CodeAccessDenied,
			"Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters")
	}
	if err := v.checkExpiresV2(expires); err != nil {
		return nil, err
	}
	if err := checkCoveredV2(w.request); err != nil {
		return nil, err
	}
	value, _, err := w.value(headerContentSHA256)
	if err != nil {
		return nil, err
	}
	p, err := parsePayload(value)
	if err != nil {
		return nil, err
	}
	if p.mode.signed() {
		return nil, errNotV4() // chunks need a signing key of Version 4
	}
	if err := v.checkSignatureV2(w, accessKey, expires, signature); err != nil {
		return nil, err
	}
	return &Auth{view: w, accessKey: accessKey, presigned: true, payload: p}, nil
}

// checkExpiresV2 checks that the request is still valid, and not for too long.
func (v *Verifier) checkExpiresV2(expires string) error {
	seconds, err := strconv.ParseInt(expires, 10, 64)
	if err != nil {
		return newError(CodeAccessDenied, "Invalid date (should be seconds since epoch): "+expires)
	}
	now := v.cfg.Now()
	switch end := time.Unix(seconds, 0); {
	case now.After(end):
		return newError(CodeAccessDenied, "Request has expired.",
			Detail{"Expires", end.UTC().Format(time.RFC3339)}, Detail{"ServerTime", now.UTC().Format(time.RFC3339)})
	case end.Sub(now) > maxExpires*time.Second+maxSkew:
		return newError(CodeAccessDenied, "Expires must be less than a week ahead")
	}
	return nil
}

// checkCoveredV2 refuses parameters and guarded headers that no version 2
// signature covers: any holder of the URL could have added them. The signature
// does cover x-amz-* headers.
func checkCoveredV2(r *Request) error {
	for name := range r.Header {
		lower := strings.ToLower(name)
		if isGuarded(lower) && !strings.HasPrefix(lower, amzPrefix) && !r.hasNoEffect(lower) {
			return errUnsignedHeaders([]string{lower})
		}
	}
	for name := range r.Query {
		lower := strings.ToLower(name)
		switch {
		case name == paramV2AccessKey, name == paramV2Expires, name == paramV2Signature:
		case strings.HasPrefix(lower, "x-"): // a header, which is signed, or without effect
		case len(r.Moved.Values(name)) > 0:
		case slices.Contains(signedV2, name), strings.HasPrefix(name, "response-"), slices.Contains(listingV2, name):
		default:
			return newError(CodeAccessDenied, "There were query parameters present in the request which were not signed",
				Detail{"ParametersNotSigned", name})
		}
	}
	return nil
}

// checkSignatureV2 verifies the signature. It does the same work for unknown
// access keys.
func (v *Verifier) checkSignatureV2(w *view, accessKey, expires, signature string) error {
	secret, known := v.cfg.Secret(accessKey)
	if !known || secret == "" {
		known, secret = false, dummySecret
	}
	valid := false
	// An empty value has two forms. A parsed query does not distinguish them.
	for _, equals := range [...]string{"", "="} {
		h := hmac.New(sha1.New, []byte(secret))
		h.Write([]byte(stringToSignV2(w, expires, equals)))
		if hmac.Equal([]byte(base64.StdEncoding.EncodeToString(h.Sum(nil))), []byte(signature)) {
			valid = true
		}
	}
	switch {
	case !known:
		return newError(CodeInvalidAccessKeyID, "The AWS Access Key Id you provided does not exist in our records.",
			Detail{"AWSAccessKeyId", accessKey})
	case !valid:
		return errSignature()
	}
	return nil
}

// stringToSignV2 returns the string to sign. equals follows the name of a
// sub-resource without a value.
func stringToSignV2(w *view, expires, equals string) string {
	r := w.request
	var b strings.Builder
	b.WriteString(r.Method + "\n" + w.header("content-md5") + "\n" + w.header("content-type") + "\n" + expires + "\n")
	names := map[string]bool{}
	for name := range r.Header {
		if lower := strings.ToLower(name); !r.hasNoEffect(lower) {
			names[lower] = true
		}
	}
	for name := range w.amz {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if strings.HasPrefix(name, amzPrefix) {
			b.WriteString(name + ":" + w.header(name) + "\n")
		}
	}
	if r.HostBucket != "" {
		b.WriteString("/" + r.HostBucket)
	}
	b.WriteString(r.rawPath())
	separator := byte('?')
	for _, name := range slices.Sorted(maps.Keys(r.Query)) {
		if !slices.Contains(signedV2, name) && !strings.HasPrefix(name, "response-") {
			continue
		}
		b.WriteByte(separator)
		separator = '&'
		b.WriteString(name)
		if value := r.Query.Get(name); value != "" {
			b.WriteString("=" + value)
		} else {
			b.WriteString(equals)
		}
	}
	return b.String()
}

package sigv4

import (
	"slices"
	"strconv"
	"time"
)

const maxExpires = 7 * 24 * 60 * 60 // seconds

// verifyQuery authenticates a presigned request. It is valid from X-Amz-Date,
// with maxSkew for a client whose clock is ahead, for X-Amz-Expires seconds.
func (v *Verifier) verifyQuery(w *view) (*Auth, error) {
	q := w.request.Query
	for _, name := range authParams {
		if name != paramToken && q.Get(name) == "" {
			return nil, newError(CodeAuthorizationQuery, "Query-string authentication version 4 requires the "+
				"X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires "+
				"parameters.")
		}
	}
	if q.Get(paramAlgorithm) != algorithmV4 {
		return nil, newError(CodeAuthorizationQuery, unsupportedAlgorithm(q.Get(paramAlgorithm)))
	}
	accessKey, s, err := byQuery.parseCredential(q.Get(paramCredential))
	if err != nil {
		return nil, err
	}
	c := &credential{accessKey: accessKey, scope: s, time: q.Get(paramDate), signature: q.Get(paramSignature)}
	at, err := time.Parse(timeFormat, c.time)
	if err != nil {
		return nil, newError(CodeAuthorizationQuery,
			`X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`)
	}
	if err := byQuery.check(c, v.cfg.Region, w.request.AllowEmptyRegion); err != nil {
		return nil, err
	}
	if err := v.checkValidity(at, q.Get(paramExpires)); err != nil {
		return nil, err
	}
	signed, ok := parseSignedHeaders(q.Get(paramSignedHeaders))
	if !ok {
		return nil, newError(CodeAuthorizationQuery, "X-Amz-SignedHeaders is mal-formed.")
	}
	if err := checkSigned(w.request, signed); err != nil {
		return nil, err
	}
	if dates := w.request.Header.Values(headerDate); slices.ContainsFunc(dates, func(d string) bool { return d != c.time }) {
		return nil, newError(CodeInvalidArgument, "The x-amz-date value was given more than once.")
	}
	value, _, err := w.value(headerContentSHA256)
	if err != nil {
		return nil, err
	}
	p, err := parsePayload(value)
	if err != nil {
		return nil, err
	}
	auth, err := v.accept(w, c, signed, p)
	if err != nil {
		return nil, err
	}
	auth.presigned = true
	return auth, nil
}

// unsupportedAlgorithm returns the refusal of an algorithm. It depends on
// whether Amazon has the algorithm.
func unsupportedAlgorithm(algorithm string) string {
	if algorithm == algorithmV4A {
		return `X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"`
	}
	return `X-Amz-Algorithm only supports "AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256"`
}

// checkValidity checks the validity of a request presigned at the given time
// for a number of seconds.
func (v *Verifier) checkValidity(at time.Time, expires string) error {
	seconds, err := strconv.ParseInt(expires, 10, 64)
	switch {
	case err != nil:
		return newError(CodeAuthorizationQuery, "X-Amz-Expires should be a number")
	case seconds < 0:
		return newError(CodeAuthorizationQuery, "X-Amz-Expires must be non-negative")
	case seconds > maxExpires:
		return newError(CodeAuthorizationQuery, "X-Amz-Expires must be less than a week (in seconds); that is, the "+
			"given X-Amz-Expires must be less than 604800 seconds")
	}
	now := v.cfg.Now()
	switch {
	case at.Sub(now) > maxSkew:
		return newError(CodeAccessDenied, "Request is not valid yet")
	case seconds == 0, now.After(at.Add(time.Duration(seconds) * time.Second)):
		return newError(CodeAccessDenied, "Request has expired.",
			Detail{paramExpires, expires},
			Detail{"Expires", at.Add(time.Duration(seconds) * time.Second).UTC().Format(time.RFC3339)},
			Detail{"ServerTime", now.UTC().Format(time.RFC3339)})
	}
	return nil
}

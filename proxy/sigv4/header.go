package sigv4

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"ssegw/proxy/field"
)

// verifyHeader authenticates a request by its Authorization header.
func (v *Verifier) verifyHeader(w *view, authorization string) (*Auth, error) {
	c, signed, err := parseAuthorization(authorization)
	if err != nil {
		return nil, err
	}
	at, err := requestTime(w.request)
	if err != nil {
		return nil, err
	}
	c.time = at.Format(timeFormat)
	if err := byHeader.check(c, v.cfg.Region, w.request.AllowEmptyRegion); err != nil {
		return nil, err
	}
	if skew := v.cfg.Now().Sub(at); skew > maxSkew || skew < -maxSkew {
		return nil, newError(CodeRequestTimeTooSkewed,
			"The difference between the request time and the current time is too large.",
			Detail{"RequestTime", c.time},
			Detail{"ServerTime", v.cfg.Now().UTC().Format(time.RFC3339)},
			Detail{"MaxAllowedSkewMilliseconds", strconv.FormatInt(maxSkew.Milliseconds(), 10)})
	}
	if err := checkSigned(w.request, signed); err != nil {
		return nil, err
	}
	if len(field.Values(w.request.Header, headerContentSHA256)) == 0 {
		return nil, newError(CodeInvalidRequest, "Missing required header for this request: x-amz-content-sha256")
	}
	value, _, err := w.value(headerContentSHA256)
	if err != nil {
		return nil, err
	}
	p, err := parsePayload(value)
	if err != nil {
		return nil, err
	}
	return v.accept(w, c, signed, p)
}

// parseAuthorization parses "AWS4-HMAC-SHA256 Credential=...,
// SignedHeaders=..., Signature=...". The components may be in any order, with
// or without spaces after the commas.
func parseAuthorization(value string) (*credential, []string, error) {
	algorithm, rest, found := strings.Cut(strings.TrimSpace(value), " ")
	switch {
	case algorithm == "AWS" || algorithm == algorithmV4A:
		return nil, nil, errNotV4()
	case algorithm == "" || !found:
		return nil, nil, errArgument("Authorization", value,
			"Authorization header is invalid -- one and only one ' ' (space) required.")
	case algorithm != algorithmV4:
		return nil, nil, errArgument("Authorization", algorithm, "Unsupported Authorization Type")
	}
	parts, err := authorizationParts(rest)
	if err != nil {
		return nil, nil, err
	}
	accessKey, s, err := byHeader.parseCredential(parts["Credential"])
	if err != nil {
		return nil, nil, err
	}
	signed, ok := parseSignedHeaders(parts["SignedHeaders"])
	if !ok {
		return nil, nil, byHeader.refuse("the SignedHeaders are mal-formed.")
	}
	return &credential{accessKey: accessKey, scope: s, signature: parts["Signature"]}, signed, nil
}

// authorizationParts splits the text after the algorithm. It must have exactly
// three components, each with a value.
func authorizationParts(text string) (map[string]string, error) {
	parts := make(map[string]string, 3)
	if strings.Count(text, ",") != 2 {
		return nil, byHeader.refuse("the authorization header requires three components: Credential, SignedHeaders, and " +
			"Signature.")
	}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		name, value, found := strings.Cut(part, "=")
		if _, twice := parts[name]; twice || !found || value == "" {
			return nil, byHeader.refuse(`the authorization component "` + part + `" is malformed.`)
		}
		parts[name] = value
	}
	for _, name := range [...]string{"Credential", "SignedHeaders", "Signature"} {
		if parts[name] == "" {
			return nil, byHeader.refuse("missing " + name + ".")
		}
	}
	return parts, nil
}

// requestTime returns the time at which a request with a signed header was
// made: x-amz-date, or else Date.
func requestTime(r *Request) (time.Time, error) {
	if values := field.Values(r.Header, headerDate); len(values) > 0 {
		if at, err := time.Parse(timeFormat, values[0]); err == nil && len(values) == 1 {
			return at, nil
		}
	} else if values := r.Header.Values("Date"); len(values) == 1 {
		if at, err := http.ParseTime(values[0]); err == nil {
			return at.UTC(), nil
		}
		if at, err := time.Parse(timeFormat, values[0]); err == nil {
			return at, nil
		}
	}
	return time.Time{}, newError(CodeAccessDenied, "AWS authentication requires a valid Date or x-amz-date header.")
}

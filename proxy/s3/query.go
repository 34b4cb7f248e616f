package s3

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"ssegw/proxy/field"
)

// maxParameters limits the query parameters of a request. No S3 operation has
// more than a dozen; presigners add up to eight, and the headers that they
// move.
const maxParameters = 64

// signatureKeys are the lower-cased query parameters of a signature.
var signatureKeys = []string{
	"x-amz-algorithm", "x-amz-content-sha256", "x-amz-credential", "x-amz-date", "x-amz-expires",
	"x-amz-region-set", "x-amz-security-token", "x-amz-signature", "x-amz-signedheaders",
}

// signatureV2Keys are the query parameters of a version 2 signature, in
// requests that have its access key.
var signatureV2Keys = []string{"AWSAccessKeyId", "Expires", "Signature"}

// movableContent are the lower-cased content headers that SDKs move into the
// query of a presigned request, even if they are not signed as headers.
var movableContent = []string{
	"cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires",
}

// movable are the other headers, except x-amz-* ones, that SDKs move there.
var movable = []string{
	"content-md5", "if-match", "if-modified-since", "if-none-match", "if-unmodified-since", "range",
}

// presigned returns a function that reports which parameters of the query are
// headers moved there by a presigner. Only presigned requests have any.
func (req *Request) presigned() (isMoved func(name string) bool) {
	version2 := req.SignedQuery.Has("AWSAccessKeyId")
	if !version2 && !req.SignedQuery.Has("X-Amz-Signature") {
		return func(string) bool { return false }
	}
	return func(name string) bool {
		lower := strings.ToLower(name)
		return slices.Contains(movableContent, lower) && (!version2 || name != "Expires") ||
			slices.Contains(movable, lower) || req.listsSigned(lower)
	}
}

// listsSigned reports whether X-Amz-SignedHeaders names the lower-cased header.
func (req *Request) listsSigned(lower string) bool {
	return slices.Contains(strings.Split(strings.ToLower(req.SignedQuery.Get("X-Amz-SignedHeaders")), ";"), lower)
}

// overrides reports whether the value of a moved header takes precedence over
// the header itself. The signer chose the moved value, while a browser adds
// some headers by itself, such as the type of a text. A version 2 signature
// covers the Content-Type that is sent and lists no headers.
func (req *Request) overrides(k string) bool {
	lower := field.Lower(k)
	return req.SignedQuery.Has("X-Amz-Signature") && slices.Contains(movableContent, lower) && !req.listsSigned(lower)
}

// parseQuery decodes the raw query into SignedQuery. It puts the operation's
// own parameters into Query and moved headers into Moved.
func (req *Request) parseQuery(raw string) error {
	if strings.Count(raw, "&") >= maxParameters {
		return ErrInvalidArgument.Msg("Too many query parameters.")
	}
	req.SignedQuery, req.Query, req.Moved = url.Values{}, url.Values{}, http.Header{}
	if raw == "" {
		return nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return ErrInvalidURI.With(err)
	}
	req.SignedQuery = values
	isMoved := req.presigned()
	for k, v := range values {
		lower := field.Lower(k)
		switch {
		case len(v) != 1:
			return ErrInvalidArgument.Msg("Duplicate query parameter.")
		case !utf8.ValidString(k) || !utf8.ValidString(v[0]):
			return ErrInvalidArgument.Msg("A query parameter is not valid UTF-8.")
		case values.Has("AWSAccessKeyId") && slices.Contains(signatureV2Keys, k):
		case strings.HasPrefix(lower, "x-"):
			// A signature, a moved header (see mergeHeaders), or a note for the
			// access log, such as the SDKs' x-id.
		case isMoved(k):
			if _, twice := req.Moved[http.CanonicalHeaderKey(k)]; twice {
				return ErrInvalidArgument.Msg("Duplicate query parameter.")
			}
			req.Moved.Set(k, v[0])
		default:
			req.Query[k] = v
		}
	}
	return nil
}

// movedHeaders returns the query parameters that are headers moved there by a
// presigner.
func (req *Request) movedHeaders() []string {
	var moved []string
	for k := range req.SignedQuery {
		lower := field.Lower(k)
		if strings.HasPrefix(lower, amzPrefix) && !slices.Contains(signatureKeys, lower) {
			moved = append(moved, k)
		}
	}
	slices.Sort(moved)
	return moved
}

// mergeHeaders sets Header to the headers of the request and those in the
// query. It keeps all headers, including those that a Connection header lists.
func (req *Request) mergeHeaders(r *http.Request) error {
	req.Header = r.Header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	for k, v := range req.Header {
		if len(v) < 2 {
			continue
		}
		lower := field.Lower(k)
		switch {
		case isJoined(lower):
			req.Header[k] = []string{strings.Join(v, ",")}
		case strings.HasPrefix(lower, amzPrefix), slices.Contains(singleHeaders, lower):
			return ErrInvalidArgument.Msg("The request has more than one %s header.", lower)
		}
	}
	for k := range req.Moved {
		if req.overrides(k) {
			req.Header.Del(k)
		}
		if err := req.moveHeader(k, req.Moved.Get(k)); err != nil {
			return err
		}
	}
	for _, k := range req.movedHeaders() {
		if err := req.moveHeader(k, req.SignedQuery.Get(k)); err != nil {
			return err
		}
	}
	return nil
}

// moveHeader adds a header from the query.
func (req *Request) moveHeader(k, v string) error {
	if !isHeaderName(k) || !isHeaderValue(v) {
		return ErrInvalidArgument.Msg("A query parameter is not a valid header.")
	}
	canonical := http.CanonicalHeaderKey(k)
	if have, ok := req.Header[canonical]; ok && (len(have) != 1 || have[0] != v) {
		return ErrInvalidArgument.Msg("The header %s and a query parameter contradict each other.", strings.ToLower(k))
	}
	req.Header[canonical] = []string{v}
	return nil
}

// checkValues refuses empty values that would change the meaning of a request
// on a store which treats an empty parameter as absent: DELETE ?uploadId= must
// not delete the object.
func checkValues(q url.Values) error {
	for k, v := range q {
		switch k {
		case "uploadId":
			if v[0] == "" {
				return ErrNoSuchUpload
			}
		case "versionId":
			if v[0] == "" {
				return ErrInvalidArgument.Msg("Version id cannot be the empty string")
			}
		case "partNumber", "id", "annotationName":
			if v[0] == "" {
				return ErrInvalidArgument.Msg("The parameter %s must not be empty.", k)
			}
		case "list-type":
			if v[0] != "2" {
				return ErrInvalidArgument.Msg("Invalid List Type specified in Request")
			}
		}
	}
	return nil
}

// isHeaderName reports whether s is a token of RFC 9110, section 5.6.2.
func isHeaderName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isAlphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// isHeaderValue reports whether s can be a field value of RFC 9110, section
// 5.5.
func isHeaderValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

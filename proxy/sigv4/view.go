package sigv4

import (
	"slices"
	"strings"

	"ssegw/proxy/field"
)

// Names of the headers that this package uses, lower case.
const (
	amzPrefix = "x-amz-"

	headerContentSHA256 = "x-amz-content-sha256"
	headerDate          = "x-amz-date"
	headerDecodedLength = "x-amz-decoded-content-length"
	headerSDKChecksum   = "x-amz-sdk-checksum-algorithm"
	headerTrailer       = "x-amz-trailer"
)

// Query parameters that carry a credential, as the specification writes them.
const (
	paramAlgorithm     = "X-Amz-Algorithm"
	paramCredential    = "X-Amz-Credential"
	paramDate          = "X-Amz-Date"
	paramExpires       = "X-Amz-Expires"
	paramSignature     = "X-Amz-Signature"
	paramSignedHeaders = "X-Amz-SignedHeaders"
	paramToken         = "X-Amz-Security-Token"
)

var authParams = []string{
	paramAlgorithm, paramCredential, paramDate, paramExpires, paramSignature, paramSignedHeaders, paramToken,
}

// view indexes the x-amz-* query parameters of a request. They count as
// headers, because presigners move headers there.
type view struct {
	request   *Request
	amz       map[string]string // from the query, by lower-case name
	queryAuth bool              // a parameter of a V4 credential is present, in any case
	queryV2   bool              // a parameter of a V2 credential is present
}

func newView(r *Request) (*view, error) {
	w := &view{request: r, amz: map[string]string{}}
	for name, values := range r.Query {
		if name == paramV2AccessKey || name == paramV2Signature {
			w.queryV2 = true
		}
		lower := field.Lower(name)
		if !strings.HasPrefix(lower, amzPrefix) {
			continue
		}
		if slices.ContainsFunc(authParams, func(p string) bool { return strings.EqualFold(p, name) }) {
			w.queryAuth = true
		}
		if _, twice := w.amz[lower]; twice || len(values) != 1 {
			return nil, newError(CodeInvalidArgument, "An x-amz- query parameter was given more than once.")
		}
		w.amz[lower] = values[0]
	}
	return w, nil
}

// has reports whether the query has the parameter, in any case.
func (w *view) has(name string) bool {
	_, ok := w.amz[field.Lower(name)]
	return ok
}

// header returns the canonical value of a header (name in lower case), which
// may be in the query. It returns "" if there is none.
func (w *view) header(name string) string {
	if value, ok := canonicalHeader(w.request, name, collapse); ok {
		return value
	}
	return ""
}

// value returns an x-amz-* value (name in lower case) from the headers or the
// query. If there are several values, they must agree.
func (w *view) value(name string) (value string, ok bool, err error) {
	values := field.Values(w.request.Header, name)
	if moved, ok := w.amz[name]; ok {
		values = append(slices.Clip(values), moved)
	}
	if len(values) == 0 {
		return "", false, nil
	}
	for _, other := range values[1:] {
		if other != values[0] {
			return "", false, newError(CodeInvalidArgument, "The "+name+" value was given more than once.")
		}
	}
	return values[0], true, nil
}

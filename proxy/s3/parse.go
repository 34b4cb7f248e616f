package s3

import (
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Request is the one parsed view of a client's request. Signature, authorization, rules, the binding of sealed
// objects and the upstream's URL are all made from it.
type Request struct {
	Route  Route
	Bucket string // "" at the service level
	Key    string // "" but at the object level
	// Path is the path as it was sent, percent-decoded once: with the bucket in path style, without it in
	// virtual-host style. Signatures are made over it.
	Path        string
	VirtualHost bool // the bucket was named by the Host header

	// Query has the parameters of the operation, decoded, one value each: those in Route.Query and Route.Optional and
	// no others. Signature parameters, values that count as headers and custom "x-" parameters are not in it.
	Query url.Values
	// SignedQuery has every parameter as it was sent, decoded.
	SignedQuery url.Values
	// Moved has the headers, other than x-amz-* ones, that a presigner moved into the query. They are in Header too.
	Moved http.Header
	// Header is a copy of the request's headers with the values that a presigner moved into the query. A content header
	// that the query has goes before one that was sent, unless the signature lists it.
	// Except for user metadata and lists, whose lines are joined with a comma, every x-amz-* header has one value.
	Header http.Header

	CopySource    *CopySource // set when Route.CopySource is, unless CopySourceErr is
	CopySourceErr error       // an *Error: what is wrong with a malformed copy source
}

// Parse finds out which operation r is. domains are the virtual-host domains: a Host "bucket.domain" names the bucket.
//
// The error is an *Error: a request that is not exactly one route of the table is refused with NotImplemented,
// MethodNotAllowed or InvalidArgument, a path that no store could keep as it is with InvalidURI. Operations of class
// Refuse and malformed copy sources are not errors here, so that they can be authenticated and counted under their names
// first.
func Parse(r *http.Request, domains []string) (*Request, error) {
	if err := checkHeaderSize(r.Header); err != nil {
		return nil, err
	}
	req := &Request{}
	level, err := req.parseTarget(r, domains)
	if err != nil {
		return nil, err
	}
	if err := req.parseQuery(r.URL.RawQuery); err != nil {
		return nil, err
	}
	if err := req.mergeHeaders(r); err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(req.Query))
	for k := range req.Query {
		keys = append(keys, k)
	}
	source, copySource := req.Header[http.CanonicalHeaderKey(HeaderCopySource)]
	req.Route, err = match(call{
		method: r.Method, level: level, path: req.Path, keys: keys,
		copySource: copySource, source: strings.Join(source, ","), form: isForm(r.Header.Get("Content-Type")),
	})
	if err != nil {
		return nil, err
	}
	if req.Route.Action == Preflight {
		req.Query = url.Values{}
	}
	if err := checkValues(req.Query); err != nil {
		return nil, err
	}
	if req.Route.CopySource {
		req.CopySource, req.CopySourceErr = ParseCopySource(req.Header.Get(HeaderCopySource))
	}
	return req, nil
}

// maxHeaderSection is Amazon S3's bound on the bytes of all header names and values.
const maxHeaderSection = 8 << 10

func checkHeaderSize(h http.Header) error {
	n := 0
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(v)
		}
	}
	if n > maxHeaderSection {
		return errHeaderSection.Detail("MaxSizeAllowed", strconv.Itoa(maxHeaderSection))
	}
	return nil
}

var errHeaderSection = mustError("RequestHeaderSectionTooLarge")

// parseTarget splits host and path into bucket and key.
func (req *Request) parseTarget(r *http.Request, domains []string) (Level, error) {
	// net/http decodes the path of the request line once into URL.Path, without cleaning it, and has refused bad
	// percent-encoding. RawPath is only a hint for encoding it again, and is not looked at.
	path := r.URL.Path
	if !strings.HasPrefix(path, "/") {
		return 0, ErrInvalidURI
	}
	req.Path = path
	rest := path[1:]
	req.Bucket, req.VirtualHost = BucketOfHost(r.Host, domains)
	switch {
	case req.VirtualHost:
		req.Key = rest
	case rest == "", r.Method == http.MethodPost && path == writeGetObjectResponsePath:
		return Service, nil
	default:
		req.Bucket, req.Key, _ = strings.Cut(rest, "/")
	}
	if err := CheckBucket(req.Bucket); err != nil {
		return 0, err
	}
	if req.Key == "" {
		return Bucket, nil
	}
	return Object, CheckKey(req.Key)
}

// BucketOfHost returns the bucket that a Host header names in virtual-host style.
func BucketOfHost(host string, domains []string) (bucket string, ok bool) {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	longest := 0
	for _, d := range domains {
		d = strings.Trim(strings.ToLower(d), ".")
		if b, found := strings.CutSuffix(host, "."+d); found && d != "" && len(d) > longest {
			bucket, ok, longest = b, true, len(d)
		}
		if host == d {
			return "", false // one domain can be a sub-domain of another
		}
	}
	return bucket, ok
}

// isForm reports whether a Content-Type is that of a browser's form upload.
func isForm(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return t == "multipart/form-data" && err == nil
}

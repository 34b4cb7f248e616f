package s3

import (
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Request is the single parsed view of a client's request. The signature,
// authorization, rules, the binding of sealed objects and the upstream's URL
// are all based on it.
type Request struct {
	Route  Route
	Bucket string // "" at the service level
	Key    string // "" except at the object level
	// Path is the path as sent, percent-decoded once. In path style it contains
	// the bucket, in virtual-host style it does not. Signatures cover it.
	Path        string
	VirtualHost bool // the Host header names the bucket

	// Query holds the operation's parameters, decoded, with one value each:
	// only those in Route.Query and Route.Optional. It leaves out signature
	// parameters, values that count as headers, and custom "x-" parameters.
	Query url.Values
	// SignedQuery holds every parameter as sent, decoded.
	SignedQuery url.Values
	// Moved holds the headers, other than x-amz-* ones, that a presigner moved
	// into the query. Header contains them too.
	Moved http.Header
	// Header is a copy of the request's headers, with the values that a
	// presigner moved into the query. A content header in the query overrides
	// one that was sent, unless the signature lists it. Every x-amz-* header
	// has one value, except user metadata and lists, whose lines are joined
	// with commas.
	Header http.Header

	CopySource    *CopySource // set when Route.CopySource is, unless CopySourceErr is
	CopySourceErr error       // an *Error: what is wrong with a malformed copy source
}

// Parse determines which operation r is. domains are the virtual-host domains:
// a Host of "bucket.domain" names the bucket.
//
// The error is an *Error. A request that does not match exactly one route is
// refused with NotImplemented, MethodNotAllowed or InvalidArgument. A path that
// some store could not keep as it is gets InvalidURI. Operations of class
// Refuse and malformed copy sources are not errors here, so that they can first
// be authenticated and counted under their names.
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

// maxHeaderSection is Amazon S3's limit for all header names and values, in
// bytes.
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
	// net/http has decoded the path of the request line once into URL.Path,
	// without cleaning it, and has refused bad percent-encoding. RawPath is
	// only a hint for re-encoding, so it is not used.
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

// BucketOfHost returns the bucket named by a Host header in virtual-host style.
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
			return "", false // one domain may be a sub-domain of another
		}
	}
	return bucket, ok
}

// isForm reports whether a Content-Type is that of a browser's form upload.
func isForm(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return t == "multipart/form-data" && err == nil
}

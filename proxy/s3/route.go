package s3

import (
	"slices"
	"strings"
)

// Action is the name of an S3 operation as Amazon's API reference spells it,
// such as "PutObject". It is the label of metrics, logs and audit records.
type Action string

// Class is what the gateway does with an operation.
type Class uint8

const (
	Seal    Class = iota // the body or the header of an object is sealed on its way upstream
	Unseal               // an object, or the facts in its header, is opened on its way to the client
	Rewrite              // forwarded, and the answer or the request is changed
	Own                  // answered by the gateway itself
	Forward              // forwarded as it is
	Refuse               // answered with NotImplemented after authentication
)

// String returns the lower-case name of the class.
func (c Class) String() string {
	return nameAt([]string{"seal", "unseal", "rewrite", "own", "forward", "refuse"}, int(c))
}

// Level is what an operation addresses.
type Level uint8

const (
	Service Level = iota // neither bucket nor key
	Bucket               // a bucket
	Object               // a bucket and a key
)

// String returns the lower-case name of the level.
func (l Level) String() string { return nameAt([]string{"service", "bucket", "object"}, int(l)) }

func nameAt(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return "invalid"
}

// Route is one row of the table of operations. Values are shared: do not change
// the slices.
type Route struct {
	Action     Action
	Class      Class
	Method     string   // HTTP method
	Level      Level    // what is addressed
	Query      []string // query keys that must be present; they identify the operation
	Optional   []string // additional query keys that the operation knows
	CopySource bool     // requires x-amz-copy-source
	Write      bool     // changes something upstream
	XMLBody    bool     // the body is a small document, read whole, of at most BodyLimit bytes
}

// Limits of documents in bodies, in bytes.
const (
	documentLimit     = 1 << 20
	longDocumentLimit = 4 << 20 // CompleteMultipartUpload with 10,000 parts and their SHA-512s, DeleteObjects with 1,000 long keys
)

// BodyLimit returns the size in bytes of the largest document that the
// operation accepts, or 0 if its body is not a document.
func (r Route) BodyLimit() int64 {
	switch {
	case !r.XMLBody:
		return 0
	case r.Action == CompleteMultipartUpload || r.Action == DeleteObjects:
		return longDocumentLimit
	default:
		return documentLimit
	}
}

// Routes returns the whole table: all operations of the S3 API, the form upload
// and the CORS preflight.
func Routes() []Route { return slices.Concat(serviceRoutes, bucketRoutes, objectRoutes) }

// routesOf returns the rows of one level.
func routesOf(l Level) []Route {
	switch l {
	case Service:
		return serviceRoutes
	case Bucket:
		return bucketRoutes
	default:
		return objectRoutes
	}
}

// call is the part of a request that determines its route.
type call struct {
	method     string
	level      Level
	path       string
	keys       []string // decoded query keys, sorted, without those that never select a route
	copySource bool
	source     string // the value of x-amz-copy-source
	form       bool   // the body is multipart/form-data
}

// match returns the route of c. If there is none, the error is the one that S3
// gives.
func match(c call) (Route, error) {
	best, found := Route{}, false
	methodKnown := false
	for _, r := range routesOf(c.level) {
		if r.Method != c.method {
			continue
		}
		methodKnown = true
		if !r.admits(c) || !containsAll(c.keys, r.Query) {
			continue
		}
		if !found || len(r.Query) > len(best.Query) || len(r.Query) == len(best.Query) && r.CopySource {
			best, found = r, true
		}
	}
	if !methodKnown {
		return Route{}, c.notAllowed()
	}
	unknown := c.unknownTo(best)
	switch {
	case c.method == "OPTIONS":
		// A preflight repeats the query of the request it asks about. None of
		// it has an effect.
		return best, nil
	case found && len(unknown) == 0:
		if c.copySource && !best.CopySource {
			return Route{}, errCopySource(c.source, "You can only specify a copy source header for copy requests.")
		}
		return best, nil
	default:
		return Route{}, c.refusal(best, unknown)
	}
}

// admits reports whether c fits r, apart from the query.
func (r Route) admits(c call) bool {
	switch r.Action {
	case WriteGetObjectResponse:
		return c.path == writeGetObjectResponsePath
	case PostObject:
		return c.form
	}
	return !r.CopySource || c.copySource
}

// unknownTo returns the keys of c that r does not know.
func (c call) unknownTo(r Route) []string {
	var unknown []string
	for _, k := range c.keys {
		if !slices.Contains(r.Query, k) && !slices.Contains(r.Optional, k) {
			unknown = append(unknown, k)
		}
	}
	return unknown
}

// refusal explains why c has no route. best is the nearest one.
func (c call) refusal(best Route, unknown []string) error {
	var sub []string // unknown keys that select a sub-resource of this level under any method
	for _, k := range unknown {
		if slices.ContainsFunc(routesOf(c.level), func(r Route) bool { return slices.Contains(r.Query, k) }) {
			sub = append(sub, k)
		}
	}
	has := func(key string) bool { return slices.Contains(c.keys, key) }
	switch {
	case c.copySource && c.method != "PUT":
		return errCopySource(c.source, "You can only specify a copy source header for copy requests.")
	case c.level == Object && c.method == "PUT" && has("partNumber") && !has("uploadId"):
		return ErrArgument("partNumber", "partNumber", "This operation does not accept partNumber without uploadId")
	case c.level == Object && c.method == "GET" && has("uploads"):
		return ErrInvalidRequest.Msg("Key is not expected for the GET method ?uploads subresource")
	case c.level == Object && c.method == "GET" && has("versions"):
		return ErrInvalidRequest.Msg("There is no such thing as the ?versions sub-resource for a key")
	case len(sub) > 0 && len(sub) == len(unknown) && len(best.Query) > 0:
		return ErrInvalidArgument.Msg("Conflicting query string parameters: %s.", strings.Join(slices.Concat(best.Query, sub), ", "))
	case len(sub) > 0 && len(sub) == len(unknown):
		return c.notAllowed()
	case len(unknown) > 0:
		return ErrNotImplemented.Msg("A query parameter you provided implies functionality that is not implemented.")
	case c.method == "POST" && c.level == Bucket:
		return ErrPreconditionFailed.Detail("Condition", "Bucket POST must be of the enclosure-type multipart/form-data")
	default:
		return c.notAllowed()
	}
}

// notAllowed returns MethodNotAllowed for the resource that c addresses.
func (c call) notAllowed() error {
	resource := strings.ToUpper(c.level.String())
	if c.level == Object && slices.Contains(c.keys, "uploadId") {
		resource = "UPLOAD"
	}
	return ErrMethodNotAllowed.Detail("Method", c.method).Detail("ResourceType", resource)
}

func containsAll(have, want []string) bool {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return false
		}
	}
	return true
}

package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssegw/proxy/field"
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
)

// Values of x-amz-content-sha256 (Signature Version 4 for Amazon S3): the
// digest of the empty body, and names for bodies that are not hashed as a
// whole.
const (
	emptySHA256     = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	unsignedPayload = "UNSIGNED-PAYLOAD"
	unsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	signedChunks    = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
)

// Bounds of requests to the store.
const (
	dialTimeout         = 2 * time.Second
	tlsHandshakeTimeout = 5 * time.Second
	idleTimeout         = 60 * time.Second // without a byte read or written
	answerTimeout       = 13 * time.Second // from the end of a request to the beginning of its answer
	copyFactor          = 15               // times the idle timeout, while the store copies or assembles parts
	longBody            = 16 << 20         // bytes; the store has the idle timeout to answer a longer one
	maxErrorDocument    = 64 << 10         // bytes of an error answer that are read
)

// ErrUnavailable is returned when the store gave no usable answer: it could not
// be reached, broke off, or refused the gateway's own credentials.
var ErrUnavailable = errors.New("upstream: store unavailable")

// Config describes the S3 store behind the gateway.
type Config struct {
	Endpoint    *url.URL                // scheme and host of the store, without a path
	Region      string                  // the region requests are signed for
	Credentials aws.CredentialsProvider // the gateway's credentials at the store
	TLS         *tls.Config             // nil: the system's roots
	Framing     Framing                 // how bodies are sent; FramingAuto: as Probe finds

	// IdleTimeout is how long a connection may pass no byte, and how long the
	// store has to answer a body over 16 MiB. Copies have 15 times as long; 0:
	// 60 s.
	IdleTimeout time.Duration

	// AnswerTimeout is how long the store has to answer any other request, from
	// its end; 0: 13 s. It is never longer than IdleTimeout.
	AnswerTimeout time.Duration

	// MaxConns bounds the connections to the store: those for ordinary
	// requests, those for copies and those for bodies over 16 MiB, each by
	// itself. Further requests wait; 0: no bound. One client request holds at
	// most two connections, so twice the client requests served at one time
	// never wait for one another.
	MaxConns int

	// Dial connects to the store; nil: TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Store sends signed requests to the S3 store. It is safe for concurrent use.
type Store struct {
	endpoint    *url.URL
	host        string // of the endpoint, as it is sent
	region      string
	credentials aws.CredentialsProvider
	ordinary    http.RoundTripper
	long        http.RoundTripper // for long bodies, which some stores only write once they have ended
	patient     http.RoundTripper // for slow requests such as copies
	signer      *sigv4.Signer
	framing     Framing                      // as configured
	found       atomic.Pointer[Capabilities] // nil: not probed
}

// New returns the store that cfg describes. It makes no request.
func New(cfg Config) *Store {
	idle := cmp.Or(cfg.IdleTimeout, idleTimeout)
	cfg.TLS = cmp.Or(cfg.TLS, &tls.Config{MinVersion: tls.VersionTLS12}).Clone()
	cfg.TLS.ServerName = cmp.Or(cfg.TLS.ServerName, cfg.Endpoint.Hostname())
	cfg.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(1) // further connections resume the session of the first
	s := &Store{
		endpoint:    cfg.Endpoint,
		host:        hostOf(cfg.Endpoint),
		region:      cfg.Region,
		credentials: cfg.Credentials,
		framing:     cfg.Framing,
		ordinary:    newTransport(cfg, idle, min(idle, cmp.Or(cfg.AnswerTimeout, answerTimeout))),
		long:        newTransport(cfg, idle, idle),
		patient:     newTransport(cfg, copyFactor*idle, copyFactor*idle),
		signer:      sigv4.NewSigner(cfg.Region),
	}
	return s
}

// hostOf returns the Host header for an endpoint, without a default port, which
// some clients leave out, and stores expect to be left out of the signature.
func hostOf(endpoint *url.URL) string {
	switch port := endpoint.Port(); endpoint.Scheme + ":" + port {
	case "http:80", "https:443":
		return strings.TrimSuffix(endpoint.Host, ":"+port)
	}
	return endpoint.Host
}

// Request is a request to the store. Its path is made from bucket and key
// alone, which are not escaped.
type Request struct {
	Method string
	Bucket string
	Key    string
	Query  url.Values
	Header http.Header
	Body   io.Reader // nil: no body
	Size   int64     // bytes of the body as sent
	Hash   string    // x-amz-content-sha256; "": that of the empty body
	Copies bool      // the store may copy or assemble gigabytes before it answers
	AsIs   bool      // the form of an If-Match is already that of the store
	Any    bool      // an answer whose status does not fit the request is no error
	begun  bool      // the body is read before anything is sent, see begin
	signed *chunkSigner
}

// Do sends o and returns the answer, also that of an error. The caller closes
// the answer's body. A failure of the store wraps [ErrUnavailable], also a
// status that o cannot have. Other errors are the cause of ctx, a panic of the
// body ([task.PanicError]) and an [s3.Error] for headers that cannot be signed.
func (c Client) Do(ctx context.Context, o Request) (*http.Response, error) {
	r, err := c.request(ctx, o)
	if err != nil {
		return nil, err
	}
	body, hasBody := r.Body.(*guardedBody)
	switch {
	case hasBody && o.Size <= wholeBody:
		err = body.whole(r)
	case hasBody && o.begun:
		err = body.begin()
	}
	var resp *http.Response
	if err == nil {
		resp, err = c.store.transport(&o).RoundTrip(r)
	}
	if err != nil {
		if hasBody && body.panicked.Load() != nil {
			return nil, body.panicked.Load()
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if !o.Any && !possible(r, resp.StatusCode) {
		_ = resp.Body.Close() // it was not read
		return nil, fmt.Errorf("%w: status %d does not fit the request", ErrUnavailable, resp.StatusCode)
	}
	return resp, nil
}

// transport returns the transport with the timeouts for o.
func (s *Store) transport(o *Request) http.RoundTripper {
	switch {
	case o.Copies:
		return s.patient
	case o.Size > longBody:
		return s.long
	}
	return s.ordinary
}

func (c Client) request(ctx context.Context, o Request) (*http.Request, error) {
	target := *c.store.endpoint
	escaped := s3.EscapePath(o.Bucket, o.Key)
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, fmt.Errorf("upstream: escaping the path: %w", err)
	}
	target.Path, target.RawPath = path, escaped
	target.RawQuery = EncodeQuery(o.Query)

	r := (&http.Request{
		Method: o.Method,
		URL:    &target,
		Host:   c.store.host,
		Header: o.Header,
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if v := field.Get(r.Header, s3.HeaderTagging); v != "" { // not all stores take a plus for a space
		r.Header.Set(s3.HeaderTagging, strings.ReplaceAll(v, "+", "%20"))
	}
	// Otherwise net/http asks for gzip and decompresses it, which changes the
	// length.
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("User-Agent", "ssegw")
	if v := r.Header.Get("If-Match"); v != "" && !o.AsIs && writes(o.Method) {
		r.Header.Set("If-Match", c.store.Capabilities().Put.Match.Of(v))
	}
	switch {
	case o.Body != nil && o.Size > 0:
		r.Body = &guardedBody{r: o.Body}
		r.ContentLength = o.Size
	case writes(o.Method):
		// These make net/http send Content-Length: 0 in a DELETE, too. Some
		// stores wait for a body otherwise.
		r.Body, r.TransferEncoding = http.NoBody, []string{"identity"}
	}
	if c.IsAnonymous() {
		c.as.origin.setHeaders(r.Header)
		return r, nil
	}
	hash := o.Hash
	if hash == "" {
		hash = emptySHA256
	}
	r.Header.Set("X-Amz-Content-Sha256", hash)
	creds, err := c.as.credentials.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: retrieving its credentials: %w", ErrUnavailable, err)
	}
	now := time.Now()
	more, err := c.store.sign(creds, r, hash, now)
	if err != nil {
		return nil, err
	}
	c.as.origin.setHeaders(r.Header) // not signed: a proxy before the store may append to them
	if o.signed != nil {
		o.signed.start(more, c.store.region, r.Header)
	}
	return r, nil
}

// writes reports whether requests of a method may change something.
func writes(method string) bool { return method != http.MethodGet && method != http.MethodHead }

// EncodeQuery encodes a query for both the URL and the signature: sorted by
// name, with %20 for a space.
func EncodeQuery(q url.Values) string {
	return strings.ReplaceAll(q.Encode(), "+", "%20")
}

// Framing returns how bodies with data are sent to the store.
func (s *Store) Framing() Framing {
	if s.framing != FramingAuto {
		return s.framing
	}
	return cmp.Or(s.Capabilities().Framing, FramingPlain)
}

// FramingOf returns how a body of size bytes is sent to the store.
func (s *Store) FramingOf(size int64) Framing {
	if size == 0 && s.Capabilities().PlainEmpty {
		return FramingPlain
	}
	return s.Framing()
}

// ConfiguredFraming returns the configured framing, which can be FramingAuto.
func (s *Store) ConfiguredFraming() Framing { return s.framing }

// Endpoint returns the URL of the store.
func (s *Store) Endpoint() string { return s.endpoint.String() }

// Region returns the region that requests are signed for.
func (s *Store) Region() string { return s.region }

// CheckCredentials returns an error if the gateway's own credentials cannot be
// retrieved.
func (s *Store) CheckCredentials(ctx context.Context) error {
	_, err := s.credentials.Retrieve(ctx)
	return err
}

package proxy

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
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"ssegw/proxy/s3"
)

// Payload hashes that are names instead of digests (Signature Version 4 for
// Amazon S3, "x-amz-content-sha256").
const (
	emptySHA256     = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	unsignedPayload = "UNSIGNED-PAYLOAD"
	unsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	signedChunks    = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
)

// Bounds towards the upstream.
const (
	dialTimeout         = 2 * time.Second
	tlsHandshakeTimeout = 5 * time.Second
	upstreamIdleTimeout = 60 * time.Second // without a byte read or written
	answerTimeout       = 13 * time.Second // from the end of a request to the beginning of its answer
	copyPatience        = 15               // times the idle time while the store copies or puts parts together
	longBody            = 16 << 20         // bytes; the store has the idle time to answer a longer one
	maxErrorDocument    = 64 << 10         // bytes of an upstream's error answer that are kept
)

// errUpstream says that the upstream gave no usable answer: it could not be
// reached, broke off, or refused the gateway's own credentials.
var errUpstream = errors.New("proxy: upstream unavailable")

// UpstreamConfig describes the S3 store behind the gateway.
type UpstreamConfig struct {
	Endpoint    *url.URL                // scheme and host of the store, without a path
	Region      string                  // the region requests are signed for
	Credentials aws.CredentialsProvider // the gateway's credentials at the store
	TLS         *tls.Config             // nil: the system's roots
	Framing     Framing                 // how bodies travel; FramingAuto probes
	IdleTimeout time.Duration           // the store may stand still this long, 15 times as long while it copies; 0: 60 s

	// AnswerTimeout is how long the store has to answer an ordinary request, one
	// that is no copy and has no long body; 0: 13 s, and never over IdleTimeout.
	AnswerTimeout time.Duration

	// MaxConns bounds the connections to the store of ordinary requests, and of
	// copies and long bodies, each; 0: no bound. Requests that need one more wait.
	// One request holds two at most, so that twice the requests served at one time
	// never wait for each other.
	MaxConns int

	dial func(ctx context.Context, network, address string) (net.Conn, error) // nil: TCP
}

// Upstream sends signed requests to the S3 store. It is safe for concurrent use.
type Upstream struct {
	endpoint    *url.URL
	region      string
	credentials aws.CredentialsProvider
	ordinary    http.RoundTripper
	long        http.RoundTripper // for long bodies, which the store stores when they have ended
	patient     http.RoundTripper // for slow requests such as copies
	signer      *v4.Signer
	framing     framingChoice
	altered     atomic.Pointer[alterations] // nil: not known
}

// NewUpstream returns the upstream that cfg describes. No request is made.
func NewUpstream(cfg UpstreamConfig) *Upstream {
	idle := cmp.Or(cfg.IdleTimeout, upstreamIdleTimeout)
	u := &Upstream{
		endpoint:    cfg.Endpoint,
		region:      cfg.Region,
		credentials: cfg.Credentials,
		ordinary:    newTransport(cfg, idle, min(idle, cmp.Or(cfg.AnswerTimeout, answerTimeout))),
		long:        newTransport(cfg, idle, idle),
		patient:     newTransport(cfg, copyPatience*idle, copyPatience*idle),
		signer: v4.NewSigner(func(o *v4.SignerOptions) {
			o.DisableURIPathEscaping = true
		}),
	}
	u.framing.configured = cfg.Framing
	return u
}

// outgoing is one request to the upstream. Bucket and key are the parsed ones;
// the path is made from them alone.
type outgoing struct {
	method string
	bucket string
	key    string
	query  url.Values
	header http.Header
	body   io.Reader // nil: no body
	size   int64     // bytes of body as sent
	hash   string    // payload hash; "" is that of the empty body
	as     caller    // whose signature it gets
	copies bool      // the store answers only after it has copied, or put together, what can be gigabytes
	signed *chunkSigner
}

// do sends o and returns the answer, whatever its status. The caller closes
// the answer's body. Errors wrap errUpstream, but for those of the context.
func (u *Upstream) do(ctx context.Context, o outgoing) (*http.Response, error) {
	r, err := u.request(ctx, o)
	if err != nil {
		return nil, err
	}
	resp, err := u.transport(&o).RoundTrip(r)
	if err != nil {
		if body, ok := r.Body.(*guardedBody); ok && body.panicked.Load() != nil {
			return nil, body.panicked.Load()
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %w", errUpstream, err)
	}
	if !possible(r, resp.StatusCode) {
		_ = resp.Body.Close() // it means nothing
		return nil, fmt.Errorf("%w: it answered %d, which nothing in the request asks for", errUpstream, resp.StatusCode)
	}
	return resp, nil
}

// transport returns the one with the patience that o needs.
func (u *Upstream) transport(o *outgoing) http.RoundTripper {
	switch {
	case o.copies:
		return u.patient
	case o.size > longBody:
		return u.long
	}
	return u.ordinary
}

func (u *Upstream) request(ctx context.Context, o outgoing) (*http.Request, error) {
	target := *u.endpoint
	escaped := s3.EscapePath(o.bucket, o.key)
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, fmt.Errorf("proxy: escaping the path: %w", err)
	}
	target.Path, target.RawPath = path, escaped
	target.RawQuery = encodeQuery(o.query)

	r := (&http.Request{
		Method: o.method,
		URL:    &target,
		Host:   target.Host,
		Header: o.header,
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if r.Header == nil {
		r.Header = http.Header{}
	}
	// Without this Go asks for gzip and unpacks it, which changes the body's length.
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("User-Agent", "ssegw")
	if o.body != nil && o.size > 0 {
		r.Body = &guardedBody{r: o.body}
		r.ContentLength = o.size
	}
	if o.as.anonymous {
		o.as.origin.tell(r.Header)
		return r, nil
	}
	hash := o.hash
	if hash == "" {
		hash = emptySHA256
	}
	r.Header.Set("X-Amz-Content-Sha256", hash)
	provider := u.credentials
	if o.as.credentials != nil {
		provider = o.as.credentials
	}
	creds, err := provider.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: retrieving the upstream credentials: %w", errUpstream, err)
	}
	now := time.Now()
	if err := u.sign(ctx, creds, r, hash, now); err != nil {
		return nil, err
	}
	o.as.origin.tell(r.Header) // not signed: a proxy in between may add to it
	if o.signed != nil {
		o.signed.start(creds.SecretAccessKey, u.region, now, r.Header.Get("Authorization"))
	}
	return r, nil
}

// encodeQuery encodes a query in the one way that signature and wire share.
func encodeQuery(q url.Values) string {
	return strings.ReplaceAll(q.Encode(), "+", "%20")
}

// expect sends o and returns the answer when its status is below 300; any
// other answer becomes an *upstreamError and its body is closed.
func (u *Upstream) expect(ctx context.Context, o outgoing) (*http.Response, error) {
	resp, err := u.do(ctx, o)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	return nil, readError(resp)
}

// get reads a small object whole, at most limit bytes, and returns its ETag.
func (u *Upstream) get(ctx context.Context, bucket, key string, limit int64) ([]byte, string, error) {
	resp, err := u.expect(ctx, outgoing{method: http.MethodGet, bucket: bucket, key: key})
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, "", fmt.Errorf("%w: reading %s: %w", errUpstream, key, err)
	}
	if int64(len(b)) > limit {
		return nil, "", fmt.Errorf("proxy: %s is over %d bytes", key, limit)
	}
	return b, resp.Header.Get("ETag"), nil
}

// Package proxy is the gateway: it takes S3 requests, verifies them, seals or
// opens the bodies of the operations that carry objects, and sends everything
// on to the upstream store.
//
// A request keeps its method, path, query and headers; only what encryption
// changes is replaced. No path stores plaintext because something failed: the
// scheme of a write is decided once, before its body is read, and every error
// after that refuses the request.
package proxy

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"ssegw/kms"
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/sealer"
)

// SealedOnly says when objects that are not sealed are refused on read.
type SealedOnly uint8

const (
	SealedOnlyAuto   SealedOnly = iota // in buckets that were empty when their rule was set
	SealedOnlyAlways                   // in every bucket whose objects are to be sealed
	SealedOnlyNever                    // nowhere
)

// Config holds what a Server needs. All fields are required but those with a
// stated zero value.
type Config struct {
	Upstream  *Upstream
	KMS       *kms.Client
	State     *State
	AccessKey string // of the root credential
	SecretKey string // of the root credential
	Region    string // that clients sign for, or sigv4.AnyRegion

	// Credentials finds more credentials. It is called concurrently; nil: there are none.
	Credentials func(accessKey string) (*Credential, bool)

	Domains          []string      // for virtual-host style; none: path style only
	AutoEncryption   sealer.Scheme // of buckets without a rule; 0: none
	SealedOnly       SealedOnly
	Require          []Requirement // of single buckets
	TLSTerminated    bool          // a terminator in front speaks TLS with the clients
	WarnHeaderDigest bool          // log instead of refuse when the store changed content headers

	// StrictHeaderDigest refuses objects whose content headers cannot be verified,
	// because the root that they were sealed under is unknown.
	StrictHeaderDigest bool

	MaxRequests    int            // served at a time, above which clients are told to slow down
	IdleTimeout    time.Duration  // a body may stand still this long; 0: 30 s
	KMSTimeout     time.Duration  // a request waits so long for the KMS; 0: 900 ms
	PresignedV2    bool           // take presigned requests of Signature Version 2
	ForwardClient  bool           // tell the store the client's address, program and referring page
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	Operator       http.Handler   // serves the paths below /minio/; nil: 404
	Audit          *Audit         // of the use of KES keys; nil: none
	Log            *zap.Logger
	Metrics        prometheus.Registerer
}

// Format prints no secret, whatever the verb.
func (c Config) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "proxy.Config{AccessKey: %q, Region: %q}", c.AccessKey, c.Region)
}

// Server is the gateway's S3 endpoint. It is safe for concurrent use.
type Server struct {
	Config
	root      *Credential
	verifier  *sigv4.Verifier
	places    places
	bodies    share // bytes of small bodies
	documents share // bytes of documents
	forms     share // bytes of the files of forms

	reserveTimeout time.Duration // for memory of these
	looks          share         // of requests to look at single entries
	metrics        *metrics
	facts          *factsCache
	trailers       *trailersCache
	pages          metadataPages
	uploads        *uploadsCache
	bounds         bounds
	patience       patience
	times          times
}

// New returns the server that cfg describes.
func New(cfg Config) *Server {
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = 30 * time.Second
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(kesMetrics{cfg.KMS})
	}
	s := &Server{
		Config:    cfg,
		root:      &Credential{AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey, root: true},
		places:    newPlaces(cfg.MaxRequests),
		bodies:    newShare(smallBodies, strangersBodies),
		documents: newShare(documents, strangersDocs),
		forms:     newShare(formFiles, strangersFiles),

		reserveTimeout: reserveTimeout,
		looks:          newShare(allLooks, strangersLooks),
		metrics:        newMetrics(cfg.Metrics),
		facts:          newFactsCache(),
		trailers:       newTrailersCache(),
		uploads:        newUploadsCache(),
		bounds:         storeBounds,
		patience:       completePatience,
		times:          serverTimes,
	}
	s.times.kms = cmp.Or(cfg.KMSTimeout, serverTimes.kms)
	s.verifier = sigv4.New(sigv4.Config{
		Region: cfg.Region, PresignedV2: cfg.PresignedV2,
		Secret: func(accessKey string) (string, bool) {
			credential, ok := s.credentialOf(accessKey)
			if !ok {
				return "", false
			}
			return credential.SecretKey, true
		},
	})
	return s
}

// call is one request on its way through the gateway, and its answer.
type call struct {
	reader
	w        *answer
	place    *place
	storeIDs []zap.Field // of the store's answer that failed the request
	held     func()      // gives back the memory of the request's document; nil: nothing to give back
}

// reader reads objects with the rights of a request. It holds no answer, so
// that many can look at objects for one request at the same time.
type reader struct {
	*Server
	in         *http.Request // as the client sent it; never changed
	req        *s3.Request   // what it means
	auth       *sigv4.Auth
	credential *Credential // nil: an anonymous client
	id         string      // of the answer's x-amz-request-id
	log        *zap.Logger
}

func (c *reader) ctx() context.Context { return c.in.Context() }

// at is the reader of another object, with the same rights. Of the request's
// headers only the given ones apply to it.
func (c *reader) at(ctx context.Context, o s3.CopySource, h http.Header) *reader {
	request := *c.req
	request.Bucket, request.Key, request.Header, request.Query = o.Bucket, o.Key, h, url.Values{}
	if o.VersionID != "" {
		request.Query.Set("versionId", o.VersionID)
	}
	other := *c
	other.req, other.in = &request, c.in.WithContext(ctx)
	return &other
}

// operatorPaths are served by Config.Operator. They shadow a bucket of the name
// "minio", as on MinIO.
var operatorPaths = []string{"/minio/health/", "/minio/admin/", "/minio/kms/", "/minio/v2/metrics/", "/minio/metrics/v3/"}

// isOperators reports whether a request is for an operator path. In virtual-host
// style the same path is an object's key.
func (s *Server) isOperators(r *http.Request) bool {
	if _, isVirtual := s3.BucketOfHost(r.Host, s.Domains); isVirtual {
		return false
	}
	return slices.ContainsFunc(operatorPaths, func(prefix string) bool { return strings.HasPrefix(r.URL.Path, prefix) })
}

// ServeHTTP is the one wrapper around every operation: request ID,
// authentication, errors, metrics and the access log live here.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := requestID()
	w.Header().Set("X-Amz-Request-Id", id)
	w.Header().Set("Server", "ssegw")
	if s.Operator != nil && s.isOperators(r) {
		s.Operator.ServeHTTP(w, r)
		return
	}
	c := &call{
		reader: reader{Server: s, in: r, id: id, log: s.Log.With(zap.String("request_id", id))},
		w:      &answer{ResponseWriter: w, idle: s.IdleTimeout, toPage: r.Header.Get("Origin") != ""},
	}
	// net/http does not take back the write deadline of the request before.
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Time{})
	if r.ContentLength != 0 {
		// Without it a body that nobody reads, of a request that is refused, holds up the
		// answer: net/http first waits for what is left of it.
		_ = control.SetReadDeadline(time.Now().Add(s.IdleTimeout))
	}
	start := time.Now()
	s.metrics.inFlight.Inc()
	defer c.finish(start)
	if err := c.serve(); err != nil {
		c.fail(err)
		c.linger()
	}
}

// serve parses, verifies and runs the request.
func (c *call) serve() (err error) {
	if c.in.ContentLength == 0 && strings.EqualFold(c.in.Header.Get("Expect"), "100-continue") {
		// net/http answers an empty body's Expect with the final status alone, which
		// botocore takes for the interim one and then misreads the next answer.
		c.w.ResponseWriter.WriteHeader(http.StatusContinue)
	}
	if c.req, err = s3.Parse(c.in, c.Domains); err != nil {
		return err
	}
	if err := c.authenticate(); err != nil {
		return err
	}
	if err := c.authorize(); err != nil {
		return err
	}
	if c.place, err = c.places.enter(c.credential == nil); err != nil {
		return err
	}
	defer c.place.leave()
	defer func() {
		if c.held != nil {
			c.held()
		}
	}()
	if err := c.checkBuckets(); err != nil {
		return err
	}
	if err := checkHeaders(c.req.Header, c.in.Method); err != nil {
		return err
	}
	if err := checkSSE(c.req.Route, c.req.Header); err != nil {
		return err
	}
	if err := c.State.Ready(); err != nil {
		return err
	}
	if c.req.CopySourceErr != nil {
		return c.refuseSource()
	}
	return handlerOf(c.req.Route)(c)
}

// authenticate verifies the request's signature. A browser's preflight has none
// of its own, though it repeats the query of the request it asks about.
func (c *call) authenticate() (err error) {
	r := &sigv4.Request{
		Method: c.in.Method, Path: c.req.Path, Query: c.req.SignedQuery, Header: c.in.Header,
		Host: c.in.Host, ContentLength: c.in.ContentLength, TLS: c.secure(),
		Moved: c.req.Moved, RawPath: c.in.URL.EscapedPath(),
	}
	if c.in.Method == http.MethodGet || c.in.Method == http.MethodHead {
		r.NoEffect = isUnknown
	}
	if c.req.VirtualHost {
		r.HostBucket = c.req.Bucket
	}
	if c.req.Route.Action == s3.Preflight {
		r.Query, r.Header = nil, nil
	}
	c.auth, err = c.verifier.Verify(r)
	return err
}

// secure reports whether the client's connection is encrypted.
func (c *reader) secure() bool { return c.in.TLS != nil || c.TLSTerminated }

// checkBuckets hides the state bucket, under every name a request can give it.
func (c *call) checkBuckets() error {
	if c.req.Bucket == c.State.Bucket() {
		if c.req.Route.Action == "CreateBucket" {
			return s3.ErrorByCode("BucketAlreadyExists")
		}
		return s3.ErrNoSuchBucket
	}
	if src := c.req.CopySource; src != nil && src.Bucket == c.State.Bucket() {
		return s3.ErrNoSuchBucket.Detail("BucketName", src.Bucket)
	}
	return nil
}

// fail answers with the S3 error that err stands for. After the first byte of
// an answer only a broken connection can still say that something failed.
func (c *call) fail(err error) {
	if c.w.status != 0 {
		c.log.Warn("answer aborted", zap.Error(err))
		panic(http.ErrAbortHandler)
	}
	e := c.answerTo(err)
	var p interface {
		error
		PanicStack() []byte
	}
	if errors.As(err, &p) {
		c.metrics.panics.Inc()
		c.log.Error("panic", zap.Error(p), zap.ByteString("stack", p.PanicStack()))
	}
	if e.Status >= 500 || errors.Is(err, errIntegrity) {
		c.log.Error("request failed", zap.String("code", e.Code), zap.Error(err))
	}
	s3.WriteError(c.w, c.in, e, c.id)
}

// answerTo is the S3 error that err stands for.
func (c *call) answerTo(err error) *s3.Error {
	var up *upstreamError
	isStores := errors.As(err, &up)
	if isStores {
		c.storeIDs = []zap.Field{
			zap.String("store_request_id", up.header.Get("X-Amz-Request-Id")), zap.String("store_host_id", up.header.Get("X-Amz-Id-2")),
		}
	}
	var own *s3.Error
	switch {
	case c.req == nil:
		return s3Error(err)
	case isStores && !errors.As(err, &own) && !errors.Is(err, errUpstream) && !errors.Is(err, errRules) && !errors.Is(err, errChanged):
		return c.documented(c.storeError(up))
	}
	return c.documented(s3Error(err))
}

// finish records the request, whatever became of it.
func (c *call) finish(start time.Time) {
	c.metrics.inFlight.Dec()
	p := recover()
	if c.in.ContentLength != 0 {
		// net/http sends a short answer only after it has read what is left of the body,
		// for which the client has until the read deadline.
		defer func() {
			_ = http.NewResponseController(c.w.ResponseWriter).SetWriteDeadline(time.Now().Add(2 * c.IdleTimeout))
		}()
	}
	if p != nil && p != http.ErrAbortHandler { //nolint:errorlint // the very value is meant
		c.metrics.panics.Inc()
		c.log.Error("panic", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
		if c.w.status == 0 {
			s3.WriteError(c.w, c.in, s3.ErrInternal, c.id)
			p = nil
		}
	}
	action, bucket, key := "Unknown", "", ""
	if c.req != nil {
		action, bucket, key = string(c.req.Route.Action), c.req.Bucket, c.req.Key
	}
	took := time.Since(start)
	c.metrics.observe(action, c.w.status, took)
	fields := []zap.Field{
		zap.String("action", action), zap.String("bucket", bucket), zap.String("key", key),
		zap.Int("status", c.w.status), zap.Int64("bytes_out", c.w.bytes), zap.Duration("took", took),
		zap.String("remote", c.in.RemoteAddr),
	}
	fields = append(fields, c.storeIDs...)
	if c.auth != nil {
		fields = append(fields, zap.String("access_key", c.auth.AccessKey()))
	}
	if p != nil {
		c.log.Info("request", append(fields, zap.Bool("aborted", true))...)
		panic(http.ErrAbortHandler)
	}
	c.log.Info("request", fields...)
}

func requestID() string {
	var b [8]byte
	rand.Read(b[:])
	return strings.ToUpper(hex.EncodeToString(b[:]))
}

package proxy

import (
	"errors"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/sse"
	"ssegw/proxy/state"
	"ssegw/proxy/task"
	"ssegw/proxy/upstream"
)

// ServeHTTP serves one request. Every operation gets its request ID, its error
// answer, its metrics and its access log here.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := s3.NewRequestID()
	w.Header().Set("X-Amz-Request-Id", id)
	w.Header().Set("Server", "ssegw")
	if s.Operator != nil && s.isOperators(r) {
		s.Operator.ServeHTTP(w, r)
		return
	}
	c := &call{
		gw: s, in: r, id: id, log: s.Log.WithLazy(zap.String("request_id", id)),
		w: &answer{ResponseWriter: w, idle: s.IdleTimeout, toPage: r.Header.Get("Origin") != ""},
	}
	// net/http keeps the write deadline of the connection's previous request.
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Time{})
	if r.ContentLength != 0 {
		// If a request is refused, net/http reads the rest of its body before
		// it sends the answer. Without a deadline that could take forever.
		_ = control.SetReadDeadline(time.Now().Add(s.IdleTimeout))
	}
	start := time.Now()
	s.metrics.inFlight.Inc()
	defer c.finish(start)
	if err := c.serve(); err != nil {
		c.fail(err)
		linger(c)
	}
}

// operatorPaths are served by Config.Operator. They hide a bucket named
// "minio", as on MinIO.
var operatorPaths = []string{"/minio/health/", "/minio/admin/", "/minio/kms/", "/minio/v2/metrics/", "/minio/metrics/v3/"}

// isOperators reports whether a request is for an operator path. In
// virtual-host style the same path is the key of an object.
func (s *Server) isOperators(r *http.Request) bool {
	if _, isVirtual := s3.BucketOfHost(r.Host, s.Domains); isVirtual {
		return false
	}
	return slices.ContainsFunc(operatorPaths, func(prefix string) bool { return strings.HasPrefix(r.URL.Path, prefix) })
}

// serve parses, authenticates and checks the request, then runs its handler.
func (c *call) serve() (err error) {
	if c.in.ContentLength == 0 && strings.EqualFold(c.in.Header.Get("Expect"), "100-continue") {
		// net/http sends no 100 Continue for an empty body, only the final
		// status. botocore takes that for the interim answer and misreads the
		// next one.
		c.w.ResponseWriter.WriteHeader(http.StatusContinue)
	}
	if c.gw.places.Full() { // most of an overload must cost little
		return task.ErrFull
	}
	if c.req, err = s3.Parse(c.in, c.gw.Domains); err != nil {
		return err
	}
	if err := c.authenticate(); err != nil {
		return err
	}
	if err := authorize(c); err != nil {
		return err
	}
	if c.place, err = c.gw.places.Enter(c.ctx(), c.credential == nil); err != nil {
		return err
	}
	defer c.place.Leave()
	defer func() {
		c.body.Stop()
		if c.freeDocument != nil {
			c.freeDocument()
		}
	}()
	if err := c.checkBuckets(); err != nil {
		return err
	}
	if err := checkHeaders(c.req.Header, c.in.Method); err != nil {
		return err
	}
	if err := sse.CheckHeaders(c.req.Route, c.req.Header); err != nil {
		return err
	}
	if err := c.gw.State.Ready(); err != nil {
		return err
	}
	if c.req.CopySourceErr != nil {
		return refuseSource(c)
	}
	return handlerOf(c.req.Route)(c)
}

// authenticate verifies the request's signature. A CORS preflight is not
// signed. Its URL may repeat the query of a presigned request, so the query is
// left out.
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
	c.auth, err = c.gw.verifier.Verify(r)
	return err
}

// checkBuckets hides the state bucket, both as the request's bucket and as the
// bucket of a copy source.
func (c *call) checkBuckets() error {
	if c.req.Bucket == c.gw.State.Bucket() {
		if c.req.Route.Action == s3.CreateBucket {
			return s3.ErrorByCode("BucketAlreadyExists")
		}
		return s3.ErrNoSuchBucket
	}
	if src := c.req.CopySource; src != nil && src.Bucket == c.gw.State.Bucket() {
		return s3.ErrNoSuchBucket.Detail("BucketName", src.Bucket)
	}
	return nil
}

// fail answers with the S3 error for err. Once the status is sent, only a
// broken connection can tell the client about a failure.
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
		c.gw.metrics.panics.Inc()
		c.log.Error("panic", zap.Error(p), zap.ByteString("stack", p.PanicStack()))
	}
	if e.Status >= 500 && !errors.Is(err, task.ErrFull) || errors.Is(err, object.ErrIntegrity) || errors.Is(err, state.ErrRecord) {
		c.log.Error("request failed", zap.String("code", e.Code), zap.Error(err))
	}
	s3.WriteError(c.w, c.in, e, c.id)
}

// answerTo returns the S3 error for err. If err came from the store, the access
// log gets the store's request IDs.
func (c *call) answerTo(err error) *s3.Error {
	if answer := upstream.AnswerOf(err); answer != nil {
		c.storeIDs = []zap.Field{
			zap.String("store_request_id", answer.Header.Get("X-Amz-Request-Id")), zap.String("store_host_id", answer.Header.Get("X-Amz-Id-2")),
		}
	}
	var own *s3.Error
	var refused *upstream.Error
	switch {
	case c.req == nil:
		return s3Error(err)
	case !errors.As(err, &own) && errors.As(err, &refused) && !errors.Is(err, upstream.ErrUnavailable):
		return documented(c, refused.S3(c.req.Key != ""))
	}
	return documented(c, s3Error(err))
}

// finish updates the metrics and writes the access log. A panic of the handler
// becomes an InternalError, or breaks the connection if the answer has begun.
func (c *call) finish(start time.Time) {
	c.gw.metrics.inFlight.Dec()
	p := recover()
	if c.in.ContentLength != 0 {
		// net/http sends a short answer only after it has read the rest of the
		// body. The client has until the read deadline to send that, so the
		// write deadline must be later.
		defer func() {
			_ = http.NewResponseController(c.w.ResponseWriter).SetWriteDeadline(time.Now().Add(2 * c.gw.IdleTimeout))
		}()
	}
	if p != nil && p != http.ErrAbortHandler { //nolint:errorlint // the very value is meant
		c.gw.metrics.panics.Inc()
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
	c.gw.metrics.observe(action, c.w.status, took, c.in.ContentLength, c.w.bytes)
	fields := []zap.Field{
		zap.String("request_id", c.id), zap.String("action", action), zap.String("bucket", bucket), zap.String("key", key),
		zap.Int("status", c.w.status), zap.Int64("bytes_out", c.w.bytes), zap.Duration("took", took),
		zap.String("remote", c.in.RemoteAddr),
	}
	fields = append(fields, c.storeIDs...)
	if c.auth != nil {
		fields = append(fields, zap.String("access_key", c.auth.AccessKey()))
	}
	if p != nil {
		c.gw.Log.Info("request", append(fields, zap.Bool("aborted", true))...)
		panic(http.ErrAbortHandler)
	}
	c.gw.Log.Info("request", fields...)
}

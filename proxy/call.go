package proxy

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"ssegw/kms"
	"ssegw/proxy/audit"
	"ssegw/proxy/object"
	"ssegw/proxy/payload"
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/sse"
	"ssegw/proxy/task"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// call is one request and its answer. Every handler takes it.
type call struct {
	gw           *Server
	own          bool          // the gateway's own: see Server.Rewrite
	in           *http.Request // as the client sent it; never changed
	req          *s3.Request   // in, parsed
	auth         *sigv4.Auth
	credential   *Credential // nil: the client is anonymous
	id           string      // x-amz-request-id of the answer
	log          *zap.Logger
	w            *answer
	place        *task.Place
	storeIDs     []zap.Field            // request IDs of the store's error, for the log
	body         *payload.RollingReader // of in; nil: not read
	freeDocument func()                 // releases the memory of the document; nil: none is held
	kesKeys      *sse.Keys              // by keys; nil: not needed yet
}

// ctx returns the request's context. It ends when the client disconnects.
func (c *call) ctx() context.Context { return c.in.Context() }

// secure reports whether the client's connection is encrypted.
func (c *call) secure() bool { return c.in.TLS != nil || c.gw.TLSTerminated }

// store returns the store with the client's rights.
func (c *call) store() upstream.Client {
	switch {
	case c.credential == nil:
		return c.gw.Upstream.Anonymous(c.origin())
	case c.credential.Upstream == nil:
		return c.gw.Upstream.OwnFor(c.origin())
	}
	return c.gw.Upstream.Signing(c.credential.Upstream, c.origin())
}

// checkKMSKey refuses KES keys that the client's credential does not allow. The
// error wraps kms.ErrNotAllowed.
func (c *call) checkKMSKey(name string) error {
	if c.credential == nil || c.credential.KMSKeys == nil || s3.MatchesAny(c.credential.KMSKeys, name) {
		return nil
	}
	return fmt.Errorf("%w: credential %q, key %q", kms.ErrNotAllowed, c.credential.AccessKey, name)
}

// audit records the use of a KES key for an object, also a failed one.
func (c *call) audit(use sse.Use, name sealer.Binding, kesKey string, err error) {
	if c.gw.Audit == nil {
		return
	}
	r := audit.Record{
		Time: time.Now().UTC(), RequestID: c.id, AccessKey: c.auth.AccessKey(), Action: string(c.req.Route.Action),
		Bucket: name.Bucket, Key: name.Key, KESKey: kesKey, Use: string(use), Result: "ok",
	}
	if err != nil {
		r.Result = s3Error(err).Code
	}
	c.gw.Audit.Record(&r)
}

// origin is what the store is told about the client. It is nil unless
// Config.ForwardClient is set.
func (c *call) origin() *upstream.Origin {
	if !c.gw.ForwardClient {
		return nil
	}
	return upstream.OriginOf(c.in, c.gw.TrustedProxies)
}

// access returns the client's access to stored objects.
func (c *call) access() *object.Access {
	return &object.Access{
		Store: c.store(), Roots: c.gw.State, Keys: c.keys(), DefaultKey: c.gw.KMS.DefaultKey(), Secure: c.secure(), Known: c.credential != nil,
		WarnHeaders: c.gw.WarnHeaderDigest, StrictHeaders: c.gw.StrictHeaderDigest,
		Caches: c.gw.caches, Integrity: c.gw.metrics.integrityFailed, Log: c.log,
	}
}

// object returns the reader of the request's own object.
func (c *call) object() *object.Reader {
	r := &object.Reader{Access: c.access(), Name: c.name(), Header: c.req.Header, Part: c.req.Query["partNumber"]}
	if v, ok := c.req.Query["versionId"]; ok {
		r.Version = url.Values{"versionId": v}
	}
	return r
}

// name returns bucket and key of the request's object.
func (c *call) name() sealer.Binding {
	return sealer.Binding{Bucket: c.req.Bucket, Key: c.req.Key}
}

// encryption returns the part of the request that decides how its object is
// sealed.
func (c *call) encryption() sse.Request {
	return sse.Request{
		Header: c.req.Header, Object: c.name(), DefaultKey: c.gw.KMS.DefaultKey(), Secure: c.secure(), Known: c.credential != nil,
	}
}

// keys returns the KES keys, limited to those that the client may use. Each use
// is audited.
func (c *call) keys() *sse.Keys {
	if c.kesKeys == nil {
		c.kesKeys = &sse.Keys{KMS: c.gw.KMS, Timeout: c.gw.times.kms, Allowed: c.checkKMSKey, Used: c.audit}
	}
	return c.kesKeys
}

package proxy

import (
	"context"
	"io"
	"net/http"

	"go.uber.org/zap"

	"ssegw/proxy/object"
	"ssegw/proxy/payload"
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/sse"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// Rewrite is a change of how one object is sealed, which is written in its
// place.
type Rewrite struct {
	Action s3.Action // for the audit file
	Object sealer.Binding

	// Choose returns how to seal the object, whose headers at the store are
	// stored. o is nil for an object in plaintext. An error ends the rewrite,
	// and is its result.
	Choose func(o *object.Object, stored http.Header) (*sse.Sealing, error)

	// Unconditional allows the rewrite at a store without conditional writes,
	// where it can replace a later write of a client's.
	Unconditional bool

	// Listed is the object's entry in a listing. Its metadata spares a HEAD;
	// nil: there is none.
	Listed *s3.Entry

	// Pace wraps the body, if it passes the gateway; nil: it is not slowed
	// down.
	Pace func(io.Reader) io.Reader
}

// Rewrite seals an object again, or for the first time, with the gateway's own
// rights at the store. It keeps content, metadata, tags, ACL, storage class and
// locks, replaces only the state of the object that it has read, and returns
// its plaintext size in bytes. The body of a sealed object does not pass the
// gateway. The error is object.ErrChanged if the object keeps changing, and the
// store's if it is gone.
func (s *Server) Rewrite(ctx context.Context, r *Rewrite) (size int64, err error) {
	if r.Object.Bucket == s.State.Bucket() {
		return 0, s3.ErrAccessDenied
	}
	c, err := s.ownCall(ctx, r.Action, r.Object)
	if err != nil {
		return 0, err
	}
	g := guard{must: !r.Unconditional}
	err = retryChanged(func() (err error) {
		size, err = rewriteOnce(c, r, &g)
		return err
	})
	return size, err
}

// ownCall returns a call that the gateway makes for itself, as the root
// credential.
func (s *Server) ownCall(ctx context.Context, action s3.Action, name sealer.Binding) (*call, error) {
	in, err := http.NewRequestWithContext(ctx, http.MethodPut, "/", http.NoBody)
	if err != nil {
		return nil, err
	}
	id := s3.NewRequestID()
	return &call{
		own: true, gw: s, in: in, auth: sigv4.Trusted(s.AccessKey), credential: s.root, id: id, log: s.Log.With(zap.String("request_id", id)),
		req: &s3.Request{Route: s3.Route{Action: action}, Bucket: name.Bucket, Key: name.Key, Header: http.Header{}},
	}, nil
}

// rewriteOnce reads the object's headers and rewrites that very object. If it
// has changed meanwhile, the error is object.ErrChanged.
func rewriteOnce(c *call, r *Rewrite, g *guard) (int64, error) {
	src, err := openSource(c, s3.CopySource{Bucket: c.req.Bucket, Key: c.req.Key})
	if err != nil {
		return 0, err
	}
	defer src.wipe()
	s, err := r.Choose(src.object, src.stored)
	if err != nil {
		return 0, err
	}
	if err := sse.Check(c.gw.Require, c.req.Bucket, s); err != nil {
		return 0, err
	}
	header, err := rewrittenHeader(c, src)
	if err != nil {
		return 0, err
	}
	if err := prepareHeader(c, s, header); err != nil {
		return 0, err
	}
	if err := destinationConditions(c, src, header, g); err != nil {
		return 0, err
	}
	src.listed = r.Listed
	if src.object == nil {
		return src.total, sealInPlace(c, src, s, header, r.Pace)
	}
	if err := reseal(c, src, s, header); err != nil {
		return 0, err
	}
	if src.total > maxPut && g.must && !src.can.Complete.Honoured() {
		return 0, errUnguarded
	}
	_, _, err = storeCopy(c, src, header)
	return src.object.Size, err
}

// rewrittenHeader returns the headers that a rewritten object keeps.
func rewrittenHeader(c *call, src *copySource) (http.Header, error) {
	header := copyHeader(c, src)
	upstream.KeepSettings(header, src.stored)
	if c.gw.acls.None(c.ctx()) {
		return header, nil
	}
	return header, upstream.KeepGrants(c.ctx(), c.store(), c.req.Bucket, c.req.Key, header)
}

// sealInPlace seals the body of an object in plaintext, which passes the
// gateway, and replaces the object. An object that was uploaded in parts keeps
// their limits, if its parts have one size.
func sealInPlace(c *call, src *copySource, s *sse.Sealing, header http.Header, pace func(io.Reader) io.Reader) error {
	partSize, err := src.PartSize(c.ctx(), src.stored, src.total)
	if err != nil {
		return err
	}
	if err := restateTags(c, src, header); err != nil {
		return err
	}
	sealed := sealer.SealedSize(src.total) + sealer.SingleTrailerSize
	switch fits := sealed <= c.gw.bounds.maxPut; {
	case fits && (!src.can.Complete.Honoured() || !src.can.UploadTags && header.Get(s3.HeaderTagging) != ""):
		partSize = 0 // a single PUT is guarded, and keeps tags
	case !fits && src.guard != nil && src.guard.must && !src.can.Complete.Honoured():
		return errUnguarded
	case sealer.SealedSize(partSize)+sealer.FooterSize > c.gw.bounds.maxPut:
		partSize = 0 // sealed, the parts would be too long
	}
	if src.total == 0 { // all empty objects have one ETag
		if err := src.confirm(c.ctx()); err != nil {
			return err
		}
	}
	plain, err := src.read(c.ctx(), 0, src.total)
	if err != nil {
		return err
	}
	defer func() { _ = plain.Close() }()
	body := &payload.Copied{R: plain, Length: src.total, Fail: src.BodyError}
	if pace != nil {
		body.R = pace(plain)
	}
	checked := payload.WithDefault(body.KeepStored(src.stored))
	if partSize > 0 || sealed > c.gw.bounds.maxPut {
		_, err = putParts(c, s, header, checked, partSize)
	} else {
		_, err = storeSealed(c, s, header, checked)
	}
	return src.guardError(err)
}

// OwnAccess returns the gateway's own access to stored objects.
func (s *Server) OwnAccess() *object.Access {
	c, err := s.ownCall(context.Background(), "", sealer.Binding{})
	if err != nil {
		panic(err) // the method and the URL are constants
	}
	return c.access()
}

// DefaultSealing returns how the objects of a bucket are sealed by default; nil
// if they are not.
func (s *Server) DefaultSealing(ctx context.Context, bucket string) (*sse.Sealing, error) {
	c, err := s.ownCall(ctx, "", sealer.Binding{Bucket: bucket})
	if err != nil {
		return nil, err
	}
	return writeSealing(c)
}

package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"ssegw/proxy/object"
	"ssegw/proxy/payload"
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/sse"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// putObject is PutObject.
func putObject(c *call) error {
	s, err := writeSealing(c)
	if err != nil {
		return err
	}
	body, err := openBody(c)
	if err != nil {
		return err
	}
	if body.Size() < 0 {
		return s3.ErrMissingContentLength
	}
	header := upstream.RequestHeader(c.req.Header)
	if err := c.object().StoreConditions(c.ctx(), header); err != nil {
		return err
	}
	if s == nil {
		return putPlain(c, header, body)
	}
	return putSealed(c, s, header, body)
}

// putPlain stores the body as it is, and answers.
func putPlain(c *call, header http.Header, body payload.Plaintext) error {
	upstream.PassHeaders(header, c.req.Header, "Content-Md5")
	answer, err := storePlain(c, c.req.Query, header, body)
	if err != nil {
		return err
	}
	upstream.CopyAnswer(c.w.Header(), answer, false)
	c.w.Header().Del("Content-Length")
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// storePlain stores a body as it is. It returns the headers of the store's
// answer.
func storePlain(c *call, query url.Values, header http.Header, body payload.Plaintext) (http.Header, error) {
	if body.Size() > maxPut {
		return nil, s3.ErrEntityTooLarge
	}
	if err := c.object().CheckIgnored(c.ctx(), header, c.gw.Upstream.Capabilities().Put); err != nil {
		return nil, err
	}
	o := upstream.Request{
		Method: http.MethodPut, Bucket: c.req.Bucket, Key: c.req.Key, Query: query, Header: header,
	}
	payload.FramePlain(&o, framing(c, body.Size()), body)
	return payload.Send(c.ctx(), c.store(), o, body)
}

// putSealed seals the body while it goes to the store, and answers.
func putSealed(c *call, s *sse.Sealing, header http.Header, body payload.Plaintext) error {
	body = payload.WithDefault(body)
	if err := askConsent(c); err != nil {
		return err
	}
	answer, err := storeSealed(c, s, header, body)
	if err != nil {
		return err
	}
	h := c.w.Header()
	upstream.CopyAnswer(h, answer, true)
	h.Del("Content-Length")
	h.Set("ETag", s3.ETagShown(answer.Get("ETag"), true))
	if h.Get(s3.HeaderObjectSize) != "" {
		h.Set(s3.HeaderObjectSize, strconv.FormatInt(body.Size(), 10))
	}
	s.SetHeaders(h)
	setChecksums(h, body.Checksums())
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// storeSealed seals a body into the request's object. It returns the headers of
// the store's answer.
func storeSealed(c *call, s *sse.Sealing, header http.Header, body payload.Plaintext) (http.Header, error) {
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", s3.DefaultContentType)
	}
	if err := checkBudget(c, s, header, body.Size()); err != nil {
		return nil, err
	}
	if size := body.Size(); sealer.SealedSize(size)+sealer.SingleTrailerSize > c.gw.bounds.maxPut {
		return putParts(c, s, header, body, 0)
	} else if size <= smallBody {
		free, err := c.reserve(c.gw.bodies, size)
		if err != nil {
			return nil, err
		}
		defer free()
	}
	src, known, err := sourceOf(body)
	if err != nil {
		return nil, err
	}
	if err := c.object().CheckIgnored(c.ctx(), header, c.gw.Upstream.Capabilities().Put); err != nil {
		return nil, err
	}
	sealed, err := seal(c, s, header, src, known, body)
	if err != nil {
		return nil, err
	}
	o := upstream.Request{Method: http.MethodPut, Bucket: c.req.Bucket, Key: c.req.Key, Header: header}
	o.Frame(sealed.body, sealed.size, framing(c, sealed.size), nil)
	answer, err := payload.Send(c.ctx(), c.store(), o, body)
	if err != nil {
		return nil, err
	}
	all := payload.Stored(body.Checksums())
	c.gw.caches.Remember(c.name(), answer.Get("ETag"), sealed.size, object.EntryOf(body.Size(), all))
	if sealed.header.Trailer {
		c.gw.caches.RememberTrailer(c.name(), answer, sealed.size, sealed.header, &sealer.Trailer{
			Size: body.Size(), Checksums: all, Stored: sealer.SingleTrailerSize,
		})
	}
	return answer, nil
}

// checkBudget refuses, before the body is read, what cannot be stored: a body
// above the limit of a single PUT, or more user metadata than fits in addition
// to the sealed header. size is in bytes.
func checkBudget(c *call, s *sse.Sealing, header http.Header, size int64) error {
	if size > maxPut {
		return s3.ErrEntityTooLarge
	}
	return prepareHeader(c, s, header)
}

// prepareHeader puts the headers of a sealed object into the form that the
// store keeps, and refuses those that the store would not keep.
func prepareHeader(c *call, s *sse.Sealing, header http.Header) error {
	return object.Prepare(c.gw.Upstream, c.req.Header, header, c.req.Key, sealer.EncodedSize(s.Scheme, s.KeyName, s.Context))
}

// sourceOf returns a reader of the plaintext, and the checksums that are known
// before the body is sealed. It reads and verifies a small body first.
func sourceOf(body payload.Plaintext) (io.Reader, []sigv4.Checksum, error) {
	if body.Size() > smallBody {
		return body, body.Declared(), nil
	}
	b, err := payload.ReadSmall(body, smallBody)
	if err != nil {
		return nil, nil, err
	}
	return bytes.NewReader(b), body.Checksums(), nil
}

// sealedBody is what the store gets in place of a plaintext body.
type sealedBody struct {
	header *sealer.Header
	body   io.Reader
	size   int64
}

// seal returns the sealed body, and adds the object's sealed header to the
// headers for the store.
func seal(c *call, s *sse.Sealing, header http.Header, src io.Reader, sums []sigv4.Checksum, body payload.Plaintext) (*sealedBody, error) {
	size := body.Size()
	p := sealer.SealParams{
		Size: size, Trailer: size > smallBody && body.TrailerAlgorithm() != "",
		Facts: sealer.Facts{Headers: sealer.NewContent(header, c.req.Key, size).Digest(), Checksums: payload.Stored(sums)},
	}
	if p.Trailer {
		p.Facts.Announced = payload.Announced(body)
	}
	h, k, err := newObject(c, s, header, p)
	if err != nil {
		return nil, err
	}
	sealed, err := k.SealBody(src, size)
	if err != nil {
		k.Wipe()
		return nil, fmt.Errorf("proxy: sealing: %w", err)
	}
	out := &sealedBody{header: h, body: sealed, size: sealer.SealedSize(size)}
	if !p.Trailer {
		k.Wipe()
	} else {
		out.body = io.MultiReader(sealed, &payload.Late{Make: func() ([]byte, error) {
			defer k.Wipe()
			return k.SealTrailer(payload.Stored(body.Checksums()), size)
		}})
		out.size += sealer.SingleTrailerSize
	}
	return out, nil
}

// newObject returns the sealed header and the object key of a new object,
// sealed as in s, and adds the sealed header to the headers for the store. p
// holds what is known of its body. The caller wipes the key.
func newObject(c *call, s *sse.Sealing, header http.Header, p sealer.SealParams) (*sealer.Header, *sealer.ObjectKey, error) {
	dataKey, sealedKey, err := c.keys().New(c.ctx(), c.name(), s)
	if err != nil {
		return nil, nil, err
	}
	defer dataKey.Wipe()
	p.Scheme, p.Binding, p.Root = s.Scheme, c.name(), c.gw.State.Root()
	p.DataKey, p.KeyName, p.SealedDataKey, p.Shared, p.Context = dataKey, s.KeyName, sealedKey, s.Shared, s.Context
	h, k, err := sealer.Seal(p)
	if err != nil {
		return nil, nil, fmt.Errorf("proxy: sealing: %w", err)
	}
	if err := object.SetHeader(c.gw.Upstream, header, h); err != nil {
		k.Wipe()
		return nil, nil, err
	}
	return h, k, nil
}

// framing returns how a body of size bytes travels to the store. Anonymous
// requests have no key to sign chunks with, and stores refuse unsigned chunks
// without a signature, so their bodies travel plain.
func framing(c *call, size int64) upstream.Framing {
	if c.auth.Anonymous() {
		return upstream.FramingPlain
	}
	return c.gw.Upstream.FramingOf(size)
}

// setChecksums adds the checksums of an upload to the headers of its answer.
func setChecksums(h http.Header, sums []sigv4.Checksum) {
	for _, s := range sums {
		h.Set(sigv4.HeaderName(s.Algorithm), s3.ChecksumText(s.Value))
		h.Set(s3.HeaderChecksumType, "FULL_OBJECT")
	}
}

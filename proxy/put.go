package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/sealer"
)

const (
	// smallBody is the size in bytes up to which a body is read and verified
	// whole before anything is sent. All its facts then fit the header.
	smallBody = 1 << 20

	// maxPut is Amazon S3's bound on the bytes of a single PUT: for clients on the
	// plaintext, for the gateway on what it sends.
	maxPut = 5 << 30
)

// putObject is PutObject.
func (c *call) putObject() error {
	s, err := c.writeSealing()
	if err != nil {
		return err
	}
	body, err := c.body()
	if err != nil {
		return err
	}
	if body.Size() < 0 {
		return s3.ErrMissingContentLength
	}
	header := upstreamHeader(c.req.Header)
	if err := c.translateConditions(header); err != nil {
		return err
	}
	if s == nil {
		return c.putPlain(header, body)
	}
	return c.putSealed(s, header, body)
}

// putSealed seals the body on its way upstream.
func (c *call) putSealed(s *sealing, header http.Header, body plaintext) error {
	body = withDefault(body)
	if err := c.consent(); err != nil {
		return err
	}
	answer, err := c.storeSealed(s, header, body)
	if err != nil {
		return err
	}
	h := c.w.Header()
	copyAnswer(h, answer, true)
	h.Del("Content-Length")
	h.Set("ETag", s3.ETagShown(answer.Get("ETag"), true))
	if h.Get(s3.HeaderObjectSize) != "" {
		h.Set(s3.HeaderObjectSize, strconv.FormatInt(body.Size(), 10))
	}
	s.setHeaders(h)
	setChecksums(h, body.Checksums())
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// storeSealed seals a body into the request's object and returns the upstream's answer.
func (c *call) storeSealed(s *sealing, header http.Header, body plaintext) (http.Header, error) {
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", defaultContentType)
	}
	if err := c.checkBudget(s, header, body.Size()); err != nil {
		return nil, err
	}
	if size := body.Size(); sealer.SealedSize(size)+sealer.SingleTrailerSize > c.bounds.maxPut {
		return c.putParts(s, header, body)
	} else if size <= smallBody {
		free, err := c.reserve(c.bodies, size)
		if err != nil {
			return nil, err
		}
		defer free()
	}
	src, known, err := sourceOf(body)
	if err != nil {
		return nil, err
	}
	sealed, err := c.seal(s, header, src, known, body)
	if err != nil {
		return nil, err
	}
	o := outgoing{method: http.MethodPut, bucket: c.req.Bucket, key: c.req.Key, header: header, as: c.caller()}
	c.Upstream.frame(&o, sealed.body, sealed.size, c.framing(), nil)
	resp, err := c.send(o, body)
	if err != nil {
		return nil, err
	}
	discard(resp)
	all := storedChecksums(body.Checksums())
	c.remember(resp.Header.Get("ETag"), sealed.size, entryFactsOf(body.Size(), all))
	if sealed.header.Trailer {
		c.trailers.add(trailerKey{c.factsKey(resp.Header, sealed.size), sealed.header.ObjectID}, &sealer.Trailer{
			Size: body.Size(), Checksums: all, Stored: sealer.SingleTrailerSize,
		})
	}
	return resp.Header, nil
}

// sourceOf returns the reader of the plaintext and the checksums that are known
// before it is sealed. A small body is read and verified here.
func sourceOf(body plaintext) (io.Reader, []sigv4.Checksum, error) {
	if body.Size() > smallBody {
		return body, body.Declared(), nil
	}
	b, err := readSmall(body, smallBody)
	if err != nil {
		return nil, nil, err
	}
	return bytes.NewReader(b), body.Checksums(), nil
}

// sealedBody is what goes upstream for a body.
type sealedBody struct {
	header *sealer.Header
	body   io.Reader
	size   int64
}

// seal adds the object's header to the upstream header and returns the sealed body.
func (c *call) seal(s *sealing, header http.Header, src io.Reader, sums []sigv4.Checksum, body plaintext) (*sealedBody, error) {
	size := body.Size()
	p := sealer.SealParams{
		Size: size, Trailer: size > smallBody && body.TrailerAlgorithm() != "",
		Facts: sealer.Facts{Headers: headersDigest(header, c.req.Key, size), Checksums: storedChecksums(sums)},
	}
	if p.Trailer {
		p.Facts.Announced = announced(body)
	}
	h, k, err := c.newObject(s, p)
	if err != nil {
		return nil, err
	}
	sealed, err := k.SealBody(src, size)
	if err != nil {
		return nil, fmt.Errorf("proxy: sealing: %w", err)
	}
	out := &sealedBody{header: h, body: sealed, size: sealer.SealedSize(size)}
	if !p.Trailer {
		k.Wipe()
	} else {
		out.body = io.MultiReader(sealed, &lateReader{make: func() ([]byte, error) {
			return k.SealTrailer(storedChecksums(body.Checksums()), size)
		}})
		out.size += sealer.SingleTrailerSize
	}
	header.Set(sealer.MetadataKey, h.Encode())
	return out, nil
}

// newObject makes the header and the object key of an object that is sealed as
// s says. p holds what is known of its body.
func (c *call) newObject(s *sealing, p sealer.SealParams) (*sealer.Header, *sealer.ObjectKey, error) {
	dataKey, sealedKey, err := c.newKey(s)
	if err != nil {
		return nil, nil, err
	}
	defer dataKey.Wipe()
	p.Scheme, p.Binding, p.Root = s.scheme, c.binding(), c.State.Root()
	p.DataKey, p.KeyName, p.SealedDataKey, p.Shared, p.Context = dataKey, s.keyName, sealedKey, s.shared, s.encoded
	h, k, err := sealer.Seal(p)
	if err != nil {
		return nil, nil, fmt.Errorf("proxy: sealing: %w", err)
	}
	return h, k, nil
}

func (c *reader) binding() sealer.Binding {
	return sealer.Binding{Bucket: c.req.Bucket, Key: c.req.Key}
}

// framing is how this request's body travels: an anonymous one has no key to
// sign chunks with, and stores refuse unsigned framing without a signature.
func (c *call) framing() Framing {
	if c.auth.Anonymous() {
		return FramingPlain
	}
	return c.Upstream.framing.get()
}

// checkBudget refuses, before the body is read, what cannot be stored: too much
// metadata beside the sealed header, or a body over the single PUT's limit.
func (c *call) checkBudget(s *sealing, header http.Header, size int64) error {
	if size > maxPut {
		return s3.ErrEntityTooLarge
	}
	return c.prepareHeader(s, header)
}

// prepareHeader makes the headers of a sealed object those that the store will keep. It
// refuses what the store would change, and more user metadata than fits beside
// the sealed header.
func (c *call) prepareHeader(s *sealing, header http.Header) error {
	if err := c.Upstream.storable(header, c.req.Key); err != nil {
		return err
	}
	if userMetadataSize(header)+len(sealer.MetadataKey)-len(metaPrefix)+sealedHeaderSize(s) > maxUserMetadata {
		return s3.ErrMetadataTooLarge.Detail("Size", strconv.Itoa(userMetadataSize(header)))
	}
	return nil
}

// sealedHeaderSize is an upper bound on the encoded header, in bytes, for a data
// key as KES makes them and the largest facts of a single PUT.
func sealedHeaderSize(s *sealing) int {
	const fixed, kesDataKey, facts = 4 + 16 + 32 + 8 + 1 + 2 + 2 + 32 + 48 + 8 + 16 + 2, 128, 32 + 1 + 2 + 64 + 32 + 2 + 16
	n := fixed + facts + len(s.keyName) + len(s.encoded)
	if s.scheme != sealer.SSEC {
		n += kesDataKey
	}
	return (n*4 + 2) / 3
}

// putPlain forwards the body as it is, in a bucket where nothing asks for more.
func (c *call) putPlain(header http.Header, body plaintext) error {
	passHeaders(header, c.req.Header, "Content-Md5")
	answer, err := c.storePlain(header, body)
	if err != nil {
		return err
	}
	copyAnswer(c.w.Header(), answer, false)
	c.w.Header().Del("Content-Length")
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// storePlain stores a body as it is. The upstream gets a checksum or signatures
// to hold against what arrives.
func (c *call) storePlain(header http.Header, body plaintext) (http.Header, error) {
	if body.Size() > maxPut {
		return nil, s3.ErrEntityTooLarge
	}
	o := outgoing{
		method: http.MethodPut, bucket: c.req.Bucket, key: c.req.Key, query: c.req.Query, header: header,
		as: c.caller(),
	}
	c.framePlain(&o, body)
	resp, err := c.send(o, body)
	if err != nil {
		return nil, err
	}
	discard(resp)
	return resp.Header, nil
}

// framePlain chooses the framing of a plaintext body so that the store keeps
// the checksums the client sent and no others.
func (c *call) framePlain(o *outgoing, body plaintext) {
	framing := c.framing()
	verifiable := o.header.Get("Content-Md5") != ""
	for _, sum := range body.Declared() {
		o.header.Set(sigv4.HeaderName(sum.Algorithm), checksumText(sum.Value))
		o.header.Set(s3.HeaderSDKChecksumAlgorithm, sum.Algorithm)
		verifiable = true
	}
	algorithm := body.TrailerAlgorithm()
	switch {
	case body.Size() == 0 && algorithm == "":
		o.body, o.size = nil, 0
		framing = FramingPlain
	case algorithm != "" && framing == FramingTrailer:
		passed := &passedChecksum{name: sigv4.HeaderName(algorithm), value: func() []byte { return body.Checksums()[0].Value }}
		if h, ok := sigv4.NewHash(algorithm); ok {
			passed.length = h.Size()
		}
		o.header.Set(s3.HeaderSDKChecksumAlgorithm, algorithm)
		c.Upstream.frame(o, body, body.Size(), FramingTrailer, passed)
		return
	case verifiable:
		framing = FramingPlain
	case framing == FramingTrailer:
		framing = FramingSigned
	}
	c.Upstream.frame(o, body, body.Size(), framing, nil)
}

// send sends a write. A body that failed its verification is what the client is
// told, whatever the upstream said about what arrived of it.
func (c *call) send(o outgoing, body plaintext) (*http.Response, error) {
	if o.size == 0 {
		// No byte will be asked of the body, so its end is read here.
		if err := expectEnd(body); err != nil {
			return nil, err
		}
	}
	sent := &sentBody{r: o.body}
	if o.body != nil {
		sent.left.Store(o.size)
		o.body = sent
	}
	resp, err := c.Upstream.expect(c.ctx(), o)
	if failed := body.failure(); failed != nil {
		if err == nil {
			discard(resp)
		}
		return nil, failed
	}
	if err == nil && sent.left.Load() > 0 {
		discard(resp)
		return nil, fmt.Errorf("%w: success before the whole body was sent", errUpstream)
	}
	return resp, err
}

// sentBody counts what the transport has taken of a body. The last bytes of a
// framed body exist only after it was verified, so none being left says that it
// was: a store that answers earlier has not stored it.
type sentBody struct {
	r    io.Reader
	left atomic.Int64
}

func (s *sentBody) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.left.Add(-int64(n))
	return n, err
}

// lateReader makes its bytes when they are first asked for.
type lateReader struct {
	make func() ([]byte, error)
	r    *bytes.Reader
}

func (l *lateReader) Read(p []byte) (int, error) {
	if l.r == nil {
		b, err := l.make()
		if err != nil {
			return 0, err
		}
		l.r = bytes.NewReader(b)
	}
	return l.r.Read(p)
}

// storedChecksums converts verified checksums to facts.
func storedChecksums(sums []sigv4.Checksum) []sealer.Checksum {
	var out []sealer.Checksum
	for _, s := range sums {
		if a, ok := sealer.ParseAlgorithm(s.Algorithm); ok {
			out = append(out, sealer.Checksum{Algorithm: a, Digest: s.Value})
		}
	}
	return out
}

// setChecksums shows a client the checksums of its upload.
func setChecksums(h http.Header, sums []sigv4.Checksum) {
	for _, s := range sums {
		h.Set(sigv4.HeaderName(s.Algorithm), checksumText(s.Value))
		h.Set(s3.HeaderChecksumType, "FULL_OBJECT")
	}
}

package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// sealedObject is what an upstream answer says of a sealed object, after it was
// found to be what a gateway stored.
type sealedObject struct {
	stored   http.Header // of the upstream's answer
	content  content     // what is kept beside the body; by look only
	header   *sealer.Header
	facts    *sealer.Facts
	sealing  *sealing          // by inspect only
	size     int64             // plaintext bytes
	parts    *sealer.PartTable // nil for a single PUT
	sums     []sealer.Checksum // of the trailer, where that has been read
	altered  bool              // the content headers are not those that were stored, or may not be
	warning  string            // for the client; of altered content headers
	factless bool              // the root is unknown: facts holds the trailer key alone
	key      *sealer.ObjectKey // opened to do without the facts; nil: not opened yet
	whole    bool              // all its bytes are at hand, its trailer too
}

// wipe overwrites the keys that o holds.
func (o *sealedObject) wipe() {
	o.facts.Wipe()
	if o.key != nil {
		o.key.Wipe()
	}
}

// integrity records that the upstream returned something else than what was
// stored, and returns the one error that all such failures become.
func (c *reader) integrity(reason string, err error) error {
	c.metrics.integrity.WithLabelValues(reason).Inc()
	return fmt.Errorf("%w: %s: %w", errIntegrity, reason, err)
}

var errMismatch = errors.New("differs from what was stored")

// inspect is look with what the client must bring along: its key, and
// conditions that hold.
func (c *reader) inspect(stored http.Header, total int64) (*sealedObject, error) {
	h, err := sealer.ParseHeader(stored.Get(sealer.MetadataKey))
	if err != nil {
		return nil, c.integrity("header", err)
	}
	s, err := c.storedSealing(h)
	if err != nil {
		return nil, err
	}
	if err := c.readConditions().check(shownTag(stored)); err != nil {
		return nil, c.refuseRead(err, stored)
	}
	return c.lookWith(stored, total, s)
}

// checkCustomerKey tries the client's key on an SSE-C object whose body is not
// read. Other schemes need no key for what the facts tell.
func (c *reader) checkCustomerKey(o *sealedObject) error {
	if o.header.Scheme != sealer.SSEC {
		return nil
	}
	k, err := c.keyOf(o)
	if err != nil {
		return err
	}
	k.Wipe()
	return nil
}

// keyOf is the object key of o. The caller wipes it.
func (c *reader) keyOf(o *sealedObject) (*sealer.ObjectKey, error) {
	if k := o.key; k != nil {
		o.key = nil
		return k, nil
	}
	k, err := c.openKey(o.header, o.sealing)
	if errors.Is(err, errIntegrity) {
		c.metrics.integrity.WithLabelValues("object key").Inc()
	}
	return k, err
}

// look authenticates what an answer says of a sealed object whose upstream
// length is total: its header, size, facts and content headers.
func (c *reader) look(stored http.Header, total int64) (*sealedObject, error) {
	return c.lookWith(stored, total, nil)
}

// lookWith is look. With s, which says how the object was sealed, it does without
// the facts where the root is unknown.
func (c *reader) lookWith(stored http.Header, total int64, s *sealing) (*sealedObject, error) {
	o, err := c.authentic(stored, total, nil, s)
	if err != nil {
		return nil, err
	}
	if o.factless {
		o.content = contentOf(stored, c.req.Key, o.header.Size, trimmedValue)
		return o, nil
	}
	var proven bool
	if o.content, proven = authenticContent(stored, c.req.Key, o.header.Size, o.facts.Headers); !proven {
		err := c.integrity("content headers", errMismatch)
		if !c.WarnHeaderDigest {
			return nil, err
		}
		c.log.Warn("the store changed content headers", zap.Error(err))
		o.altered, o.warning = true, "the object store changed content headers or user metadata"
	}
	return o, nil
}

// authentic is look without the content headers: of stored only the sealed
// header and the ETag count. No KMS is asked. A multipart object costs one more
// request, for its part table, unless that is in tail, the object's last bytes.
// With s, KMS and object key take the place of facts whose root is unknown.
func (c *reader) authentic(stored http.Header, total int64, tail []byte, s *sealing) (*sealedObject, error) {
	h, err := sealer.ParseHeader(stored.Get(sealer.MetadataKey))
	if err != nil {
		return nil, c.integrity("header", err)
	}
	o := &sealedObject{stored: stored, header: h, size: h.Size, sealing: s}
	root, err := c.State.rootOf(c.ctx(), h.RootID)
	if err == nil {
		o.facts, err = h.OpenFacts(c.binding(), root)
	}
	switch {
	case errors.Is(err, sealer.ErrUnknownRoot) && s != nil && !c.StrictHeaderDigest:
		err = c.withoutFacts(o)
	case err != nil:
		err = c.integrity("facts", err)
	}
	if err != nil {
		return nil, err
	}
	var trailer *sealer.Trailer
	if h.Multipart {
		if trailer, err = c.trailer(o, total, tail); err != nil {
			return nil, err
		}
		o.size, o.parts, o.sums = trailer.Size, trailer.Parts, trailer.Checksums
	}
	if total != h.StoredSize(trailer) {
		return nil, c.integrity("size", errMismatch)
	}
	return o, nil
}

// withoutFacts opens the object key of an object whose root is unknown. Size and
// part table are authentic under it too (docs/FORMAT.md, section 10); content
// headers are not, and checksums that only the facts had are lost.
func (c *reader) withoutFacts(o *sealedObject) error {
	k, err := c.keyOf(o)
	if err != nil {
		return err
	}
	o.key, o.facts, o.altered, o.factless = k, k.Facts(), true, true
	o.warning = "content headers and user metadata are not verified: they were sealed under the unknown root " + o.header.RootID.String()
	c.metrics.integrity.WithLabelValues("unknown root").Inc()
	c.log.Error(o.warning, zap.String("key", c.req.Key))
	return nil
}

// tailLength is how many of a multipart object's last bytes are asked for at first:
// enough for a part table with digests of 32 bytes where the ETag tells the number
// of parts, and elsewhere for one of a thousand parts without digests.
func tailLength(etag string, total int64) int64 {
	const perPart = 64 // bytes
	length := int64(64 << 10)
	if _, count, ok := strings.Cut(strings.Trim(etag, `"`), "-"); ok {
		if n, err := strconv.ParseUint(count, 10, 16); err == nil {
			length = 512 + perPart*int64(n)
		}
	}
	return min(total, length)
}

// trailer opens the trailer of an object of total bytes. It reads what of it is
// not in tail, the object's last bytes.
func (c *reader) trailer(o *sealedObject, total int64, tail []byte) (*sealer.Trailer, error) {
	k := trailerKey{c.factsKey(o.stored, total), o.header.ObjectID}
	if t, ok := c.trailers.get(k); ok {
		return t, nil
	}
	length := min(total, sealer.SingleTrailerSize)
	if o.header.Multipart {
		length = tailLength(o.stored.Get("ETag"), total)
	}
	for {
		if length > int64(len(tail)) {
			var err error
			if tail, err = c.tail(o, total, length); err != nil {
				return nil, err
			}
		}
		footer, err := sealer.ParseFooter(tail)
		if err != nil || footer.Size() > total {
			return nil, c.integrity("trailer", errors.Join(err, errMismatch))
		}
		if length = footer.Size(); length > int64(len(tail)) {
			continue
		}
		t, err := o.facts.OpenTrailer(o.header, tail[int64(len(tail))-length:])
		if err != nil {
			return nil, c.integrity("trailer", err)
		}
		c.trailers.add(k, t)
		return t, nil
	}
}

// tail reads the last bytes of the object that o describes.
func (c *reader) tail(o *sealedObject, total, length int64) ([]byte, error) {
	if length < sealer.FooterSize {
		return nil, c.integrity("trailer", errMismatch)
	}
	resp, err := c.fetch(lookup{span: fmt.Sprintf("bytes=%d-%d", total-length, total-1), guard: o.stored.Get("ETag")})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	tail := make([]byte, length)
	if _, err := io.ReadFull(resp.Body, tail); err != nil {
		return nil, fmt.Errorf("%w: reading a trailer: %w", errUpstream, err)
	}
	return tail, nil
}

// partCount is the number of parts, 0 for a single PUT.
func (o *sealedObject) partCount() int {
	if o.parts == nil {
		return 0
	}
	return len(o.parts.Parts)
}

// resolve places what is wanted in the plaintext and returns the answer's status.
func (o *sealedObject) resolve(want wanted) (offset, length int64, status int, err error) {
	switch {
	case want.part > 0:
		offset, length, err = o.part(want.part)
		status = http.StatusPartialContent
		if err == nil && length == 0 {
			status = http.StatusOK // an empty part has no Content-Range
		}
	case want.span != nil && want.span.Suffix() && want.span.Last() >= 0 && o.size == 0:
		// The last bytes of nothing are all of it, as on Amazon S3.
		return 0, 0, http.StatusOK, nil
	case want.span != nil:
		offset, length, err = want.span.Resolve(o.size)
		status = http.StatusPartialContent
	default:
		return 0, o.size, http.StatusOK, nil
	}
	if errors.Is(err, s3.ErrInvalidRange) {
		err = s3.ErrInvalidRange.Headers(http.Header{"Content-Range": {s3.ContentRange(0, 0, o.size)}}).Detail("ActualObjectSize", strconv.FormatInt(o.size, 10))
	}
	return offset, length, status, err
}

// part is where the client's part of a number is. A single PUT is its own part 1.
func (o *sealedObject) part(number int) (offset, length int64, err error) {
	if o.parts == nil {
		if number == 1 {
			return 0, o.size, nil
		}
		return 0, 0, o.errNoPart()
	}
	for _, p := range o.parts.Parts {
		if p.Number == number {
			return offset, p.Size, nil
		}
		offset += p.Size
	}
	return 0, 0, o.errNoPart()
}

func (o *sealedObject) errNoPart() error {
	return s3.ErrorByCode("InvalidPartNumber").Detail("ActualPartCount", strconv.Itoa(max(o.partCount(), 1)))
}

// extent is the range of sealed bytes, from begin up to but without end, that
// holds a plaintext range.
func (o *sealedObject) extent(offset, length int64) (begin, end int64, err error) {
	if o.parts == nil {
		e, err := sealer.Locate(o.size, offset, length)
		return e.Offset, e.Offset + e.Sealed, err
	}
	extents, err := o.parts.Locate(offset, length)
	if err != nil || len(extents) == 0 {
		return 0, 0, err
	}
	last := extents[len(extents)-1]
	return extents[0].Offset, last.Offset + last.Extent.Sealed, nil
}

// open returns the plaintext of a range, from a body whose first byte is the
// sealed object's byte first.
func (o *sealedObject) open(k *sealer.ObjectKey, body io.Reader, offset, length, first int64) (io.Reader, error) {
	begin, end, err := o.extent(offset, length)
	if err != nil {
		return nil, err
	}
	if begin != end {
		if begin < first {
			return nil, errMismatch
		}
		if _, err := io.CopyN(io.Discard, body, begin-first); err != nil {
			return nil, err
		}
	}
	if o.parts == nil {
		e, err := sealer.Locate(o.size, offset, length)
		if err != nil {
			return nil, err
		}
		return k.OpenBody(body, e)
	}
	extents, err := o.parts.Locate(offset, length)
	if err != nil {
		return nil, err
	}
	return k.OpenParts(body, extents), nil
}

// checksums are those of the object, or of one part (0: of the object). A
// trailer that has not been read yet costs one more request.
func (c *reader) checksums(o *sealedObject, part int) ([]sealer.Checksum, error) {
	if part > 0 && o.parts != nil {
		i := slices.IndexFunc(o.parts.Parts, func(p sealer.Part) bool { return p.Number == part })
		if i < 0 || o.parts.Algorithm == 0 {
			return nil, nil
		}
		return []sealer.Checksum{{Algorithm: o.parts.Algorithm, Digest: o.parts.Parts[i].Digest}}, nil
	}
	if o.header.Trailer && o.parts == nil && o.sums == nil {
		trailer, err := c.trailer(o, o.header.StoredSize(nil), nil)
		if err != nil {
			return nil, err
		}
		o.sums = trailer.Checksums
	}
	return append(slices.Clone(o.facts.Checksums), o.sums...), nil
}

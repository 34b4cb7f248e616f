package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"ssegw/proxy/s3"
	"ssegw/proxy/sse"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// Object is a sealed object whose header and size are proven to be what a
// gateway stored.
type Object struct {
	Stored   http.Header    // of the store's answer
	Header   *sealer.Header // proven by the facts or, without them, by the object key
	Facts    *sealer.Facts
	Size     int64             // plaintext bytes
	Parts    *sealer.PartTable // nil for a single PUT
	Content  sealer.Content    // content headers and user metadata; by Verify
	Sealing  *sse.Sealing      // by Inspect
	Altered  bool              // Content is not what was stored, or may not be
	Factless bool              // the root is unknown: Facts hold the trailer key alone
	Warning  string            // for the client, about Altered

	parsed *sealer.Parsed    // Header as the store returned it
	sums   []sealer.Checksum // of the trailer, if it was read
	key    *sealer.ObjectKey // opened to do without the facts; nil: not opened yet
}

// Wipe overwrites the keys that o holds.
func (o *Object) Wipe() {
	o.Facts.Wipe()
	if o.key != nil {
		o.key.Wipe()
	}
}

// Inspect verifies an object for the client, whose key and conditions must fit.
func (r *Reader) Inspect(ctx context.Context, stored http.Header, total int64) (*Object, error) {
	h, err := sealer.ParseHeader(stored)
	if err != nil {
		return nil, r.Tampered("header", err)
	}
	s, err := r.Encryption().Stored(h.KeyHint)
	if err != nil {
		return nil, err
	}
	if err := r.checkConditions(ctx, stored, h); err != nil {
		return nil, err
	}
	return r.verify(ctx, stored, total, h, s)
}

// Verify authenticates what an answer says of a sealed object of total stored
// bytes: its header, size, facts and content headers. s says how the object is
// sealed; with nil Verify fails if the root is unknown.
func (r *Reader) Verify(ctx context.Context, stored http.Header, total int64, s *sse.Sealing) (*Object, error) {
	h, err := sealer.ParseHeader(stored)
	if err != nil {
		return nil, r.Tampered("header", err)
	}
	return r.verify(ctx, stored, total, h, s)
}

// VerifyOwn is Verify for the gateway itself, which has no customer keys: an
// object under SSE-C is verified as far as that is possible without its key.
func (r *Reader) VerifyOwn(ctx context.Context, stored http.Header, total int64) (*Object, error) {
	h, err := sealer.ParseHeader(stored)
	if err != nil {
		return nil, r.Tampered("header", err)
	}
	return r.verify(ctx, stored, total, h, sse.Of(h.KeyHint))
}

func (r *Reader) verify(ctx context.Context, stored http.Header, total int64, h *sealer.Parsed, s *sse.Sealing) (*Object, error) {
	o, err := r.prove(ctx, stored, total, nil, h, s)
	if err != nil {
		return nil, err
	}
	if o.Factless {
		o.Content = sealer.NewContent(stored, r.Name.Key, o.Header.Size)
		return o, nil
	}
	if o.Content, err = sealer.OpenContent(stored, r.Name.Key, o.Header.Size, o.Facts.Headers); err != nil {
		err := r.Tampered("content headers", errMismatch)
		if !r.WarnHeaders {
			return nil, err
		}
		r.Log.Warn("the store changed content headers", zap.Error(err))
		o.Altered, o.Warning = true, "the object store changed content headers or user metadata"
	}
	return o, nil
}

// Prove is Verify without the content headers: of stored only the sealed header
// and the ETag count. A multipart object costs one more request, for its part
// table, unless that is in tail, the object's last bytes. If the root is
// unknown and s is not nil, KMS and object key replace the facts.
func (r *Reader) Prove(ctx context.Context, stored http.Header, total int64, tail []byte, s *sse.Sealing) (*Object, error) {
	h, err := sealer.ParseHeader(stored)
	if err != nil {
		return nil, r.Tampered("header", err)
	}
	return r.prove(ctx, stored, total, tail, h, s)
}

func (r *Reader) prove(ctx context.Context, stored http.Header, total int64, tail []byte, h *sealer.Parsed, s *sse.Sealing) (*Object, error) {
	o := &Object{Stored: stored, Sealing: s, parsed: h}
	var err error
	o.Header, o.Facts, err = r.facts(ctx, h)
	switch {
	case errors.Is(err, sealer.ErrUnknownRoot) && s != nil && !r.StrictHeaders:
		err = r.withoutFacts(ctx, o, err)
	case errors.Is(err, errRoots):
	case err != nil:
		err = r.Tampered("facts", err)
	}
	if err != nil {
		return nil, err
	}
	o.Size = o.Header.Size
	var trailer *sealer.Trailer
	if o.Header.Multipart {
		if trailer, err = r.Trailer(ctx, o, total, tail); err != nil {
			return nil, err
		}
		o.Size, o.Parts, o.sums = trailer.Size, trailer.Parts, trailer.Checksums
	}
	if total != o.Header.StoredSize(trailer) {
		return nil, r.Tampered("size", errMismatch)
	}
	return o, nil
}

// facts opens the facts of a header with the root that sealed them. They
// authenticate the header.
func (r *Reader) facts(ctx context.Context, h *sealer.Parsed) (*sealer.Header, *sealer.Facts, error) {
	root, err := r.Roots.RootOf(ctx, h.RootID)
	if errors.Is(err, sealer.ErrUnknownRoot) {
		return nil, nil, err
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errRoots, err)
	}
	return h.OpenFacts(r.Name, root)
}

// withoutFacts opens the object key of an object whose root is unknown. Size
// and part table are authentic under it too (docs/FORMAT.md, section 10).
// Content headers are not, and checksums that only the facts had are lost.
func (r *Reader) withoutFacts(ctx context.Context, o *Object, unknown error) error {
	h, k, err := r.openKey(ctx, o)
	if err != nil {
		return err
	}
	o.Header, o.key, o.Facts, o.Altered, o.Factless = h, k, k.Facts(), true, true
	o.Warning = "content headers and user metadata are not verified: they were sealed under the unknown root " + o.Header.RootID.String()
	r.Log.Error(o.Warning, zap.String("key", r.Name.Key), zap.Error(r.Tampered("unknown root", unknown)))
	return nil
}

// KeyOf returns the object key of o. The caller wipes it.
func (r *Reader) KeyOf(ctx context.Context, o *Object) (*sealer.ObjectKey, error) {
	if k := o.key; k != nil {
		o.key = nil
		return k, nil
	}
	_, k, err := r.openKey(ctx, o)
	return k, err
}

func (r *Reader) openKey(ctx context.Context, o *Object) (*sealer.Header, *sealer.ObjectKey, error) {
	h, k, err := r.Keys.Open(ctx, r.Name, o.parsed, o.Sealing)
	if errors.Is(err, sse.ErrObjectKey) {
		return nil, nil, r.Tampered("object key", err)
	}
	return h, k, err
}

// CheckCustomerKey tries the client's key on an SSE-C object whose body is not
// read. For other schemes the facts need no key.
func (r *Reader) CheckCustomerKey(ctx context.Context, o *Object) error {
	if o.Header.Scheme != sealer.SSEC {
		return nil
	}
	k, err := r.KeyOf(ctx, o)
	if err != nil {
		return err
	}
	k.Wipe()
	return nil
}

// tailLength is how many of a multipart object's last bytes are asked for at
// first. The number of parts comes from the ETag, if that tells it.
func tailLength(etag string, total int64) int64 {
	parts := -1
	if _, count, ok := strings.Cut(strings.Trim(etag, `"`), "-"); ok {
		if n, err := strconv.ParseUint(count, 10, 16); err == nil {
			parts = int(n)
		}
	}
	return min(total, sealer.TrailerGuess(parts))
}

// Trailer opens the trailer of an object of total stored bytes. It reads what
// of it is not in tail, the object's last bytes.
func (r *Reader) Trailer(ctx context.Context, o *Object, total int64, tail []byte) (*sealer.Trailer, error) {
	k := trailerKeyOf(r.Name, o.Stored, total, o.Header)
	if t, ok := r.Caches.trailers.GetIfPresent(k); ok {
		return t, nil
	}
	length := min(total, sealer.SingleTrailerSize)
	if o.Header.Multipart {
		length = tailLength(o.Stored.Get("ETag"), total)
	}
	for {
		if length > int64(len(tail)) {
			var err error
			if tail, err = r.tail(ctx, o, total, length); err != nil {
				return nil, err
			}
		}
		footer, err := sealer.ParseFooter(tail)
		if err != nil || footer.Size() > total {
			return nil, r.Tampered("trailer", errors.Join(err, errMismatch))
		}
		if length = footer.Size(); length > int64(len(tail)) {
			continue
		}
		t, err := o.Facts.OpenTrailer(o.Header, tail[int64(len(tail))-length:])
		if err != nil {
			return nil, r.Tampered("trailer", err)
		}
		r.Caches.trailers.Set(k, t)
		return t, nil
	}
}

// tail reads the last bytes of the object that o describes.
func (r *Reader) tail(ctx context.Context, o *Object, total, length int64) ([]byte, error) {
	if length < sealer.FooterSize {
		return nil, r.Tampered("trailer", errMismatch)
	}
	resp, err := r.Fetch(ctx, Request{Range: fmt.Sprintf("bytes=%d-%d", total-length, total-1), Guard: o.Stored.Get("ETag")})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	tail := make([]byte, length)
	if _, err := io.ReadFull(resp.Body, tail); err != nil {
		return nil, fmt.Errorf("%w: reading a trailer: %w", upstream.ErrUnavailable, err)
	}
	return tail, nil
}

// Checksums returns the checksums of the object, or of one part (0: of the
// object). A trailer that was not read yet costs one more request.
func (r *Reader) Checksums(ctx context.Context, o *Object, part int) ([]sealer.Checksum, error) {
	if part > 0 && o.Parts != nil {
		i := slices.IndexFunc(o.Parts.Parts, func(p sealer.Part) bool { return p.Number == part })
		if i < 0 || o.Parts.Algorithm == 0 {
			return nil, nil
		}
		return []sealer.Checksum{{Algorithm: o.Parts.Algorithm, Digest: o.Parts.Parts[i].Digest}}, nil
	}
	if o.Header.Trailer && o.Parts == nil && o.sums == nil {
		trailer, err := r.Trailer(ctx, o, o.Header.StoredSize(nil), nil)
		if err != nil {
			return nil, err
		}
		o.sums = trailer.Checksums
	}
	return append(slices.Clone(o.Facts.Checksums), o.sums...), nil
}

// ChecksumType is the type of a checksum as S3 names it.
func ChecksumType(s sealer.Checksum) string {
	if s.Composite {
		return s3.Composite
	}
	return s3.FullObject
}

// ChecksumValue is a checksum as clients see it. One over the checksums of n
// parts ends in their number.
func ChecksumValue(s sealer.Checksum, n int) string {
	if s.Composite {
		return fmt.Sprintf("%s-%d", s3.ChecksumText(s.Digest), n)
	}
	return s3.ChecksumText(s.Digest)
}

// PartSize returns the size in bytes of the parts in which an object in
// plaintext was uploaded, of total bytes and with the headers stored. It is 0
// for an object that was not uploaded in parts, and for parts that do not all
// have the same size, except the last.
func (r *Reader) PartSize(ctx context.Context, stored http.Header, total int64) (int64, error) {
	if !strings.Contains(stored.Get("ETag"), "-") {
		return 0, nil
	}
	first := *r
	first.Part = []string{"1"}
	head, err := first.Head(ctx, Request{Part: true, Guard: stored.Get("ETag")})
	if upstream.StatusOf(err)/100 == 4 {
		return 0, nil // the store has no part numbers in reads
	}
	if err != nil {
		return 0, err
	}
	return evenParts(stored.Get("ETag"), head.Size, total), nil
}

// evenParts returns the size of the parts of an object of total bytes that was
// uploaded in parts, whose first part has first bytes. The ETag tells how many
// there are. It returns 0 if the parts before the last cannot all have that
// size.
func evenParts(etag string, first, total int64) int64 {
	_, count, _ := strings.Cut(strings.Trim(etag, `"`), "-")
	n, err := strconv.ParseInt(count, 10, 16)
	if err != nil || n < 1 || n > sealer.MaxParts || first < 1 || (n-1)*first >= total || n*first < total {
		return 0
	}
	return first
}

// Announced returns which checksum the trailer of o has. If the facts are
// unknown it reads the trailer.
func (r *Reader) Announced(ctx context.Context, o *Object) (sealer.Announcement, error) {
	if !o.Factless || !o.Header.Trailer {
		return o.Facts.Announced, nil
	}
	sums, err := r.Checksums(ctx, o, 0)
	if err != nil || len(sums) == 0 {
		return sealer.Announcement{}, err
	}
	return sealer.Announcement{Algorithm: sums[0].Algorithm, Composite: sums[0].Composite}, nil
}

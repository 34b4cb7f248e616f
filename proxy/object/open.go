package object

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// Wanted is what a GET or HEAD asks for of an object.
type Wanted struct {
	Range   *s3.Range // nil: no range
	IfRange string    // the If-Range header: which object the range is for; "": any
	Part    int       // 0: no part number
}

// Whole reports whether all of the object is asked for.
func (w Wanted) Whole() bool { return w.Range == nil && w.Part == 0 }

// Of is what is wanted of the object of a store's answer: the range, or all of
// it if If-Range names another object. Validators are compared as in RFC 9110,
// section 13.1.5: tags strongly, dates exactly.
func (w Wanted) Of(stored http.Header) Wanted {
	if w.IfRange == "" {
		return w
	}
	same := w.IfRange == ShownTag(stored)
	if at, err := http.ParseTime(w.IfRange); err == nil {
		modified, err := http.ParseTime(stored.Get("Last-Modified"))
		same = err == nil && modified.Equal(at)
	}
	w.IfRange = ""
	if !same {
		w.Range = nil
	}
	return w
}

// Plain is the request for what is wanted of an object that is not sealed.
func (w Wanted) Plain(guard string) Request {
	req := Request{Guard: guard, Part: w.Part > 0}
	if w.Range != nil {
		req.Range = w.Range.String()
	}
	return req
}

// SealedRange is the Range header for the sealed bytes that hold a plaintext
// range of a single PUT whose size is not known.
func SealedRange(want *s3.Range) string {
	if want == nil {
		return ""
	}
	first, last := sealer.LocateUnknown(want.First(), want.Last())
	if want.Last() >= sealer.MaxSize || last < 0 {
		return fmt.Sprintf("bytes=%d-", first)
	}
	return fmt.Sprintf("bytes=%d-%d", first, last)
}

// Span is a range of an object's plaintext, and the range of its stored bytes
// that holds it.
type Span struct {
	Offset, Length int64 // plaintext bytes
	Begin, End     int64 // stored bytes, from Begin up to End-1; equal if there is nothing to read
	Status         int   // of the answer: 200 or 206

	extent  sealer.Extent       // of a single PUT
	extents []sealer.PartExtent // of an object with parts
}

// Empty reports whether there is nothing to read.
func (s Span) Empty() bool { return s.Begin == s.End }

// Range is the Range header for the stored bytes.
func (s Span) Range() string { return fmt.Sprintf("bytes=%d-%d", s.Begin, s.End-1) }

// Locate finds what is wanted in the object's plaintext and in the store.
func (o *Object) Locate(want Wanted) (Span, error) {
	offset, length, status, err := o.resolve(want)
	if err != nil {
		return Span{}, err
	}
	s, err := o.SpanOf(offset, length)
	s.Status = status
	return s, err
}

// SpanOf returns the span of a plaintext range.
func (o *Object) SpanOf(offset, length int64) (Span, error) {
	s := Span{Offset: offset, Length: length}
	var err error
	if o.Parts == nil {
		s.extent, err = sealer.Locate(o.Size, offset, length)
		s.Begin, s.End = s.extent.Offset, s.extent.Offset+s.extent.Sealed
	} else if s.extents, err = o.Parts.Locate(offset, length); len(s.extents) > 0 {
		last := s.extents[len(s.extents)-1]
		s.Begin, s.End = s.extents[0].Offset, last.Offset+last.Extent.Sealed
	}
	if err != nil {
		return s, fmt.Errorf("object: locating a range: %w", err)
	}
	return s, nil
}

// resolve finds what is wanted in the plaintext and returns the answer's
// status.
func (o *Object) resolve(want Wanted) (offset, length int64, status int, err error) {
	switch {
	case want.Part > 0:
		offset, length, err = o.part(want.Part)
		status = http.StatusPartialContent
		if err == nil && length == 0 {
			status = http.StatusOK // an empty part has no Content-Range
		}
	case want.Range != nil && want.Range.Suffix() && want.Range.Last() >= 0 && o.Size == 0:
		// The last bytes of nothing are all of it, as on Amazon S3.
		return 0, 0, http.StatusOK, nil
	case want.Range != nil:
		offset, length, err = want.Range.Resolve(o.Size)
		status = http.StatusPartialContent
	default:
		return 0, o.Size, http.StatusOK, nil
	}
	if errors.Is(err, s3.ErrInvalidRange) {
		err = s3.ErrInvalidRange.Headers(http.Header{"Content-Range": {s3.ContentRange(0, 0, o.Size)}}).Detail("ActualObjectSize", strconv.FormatInt(o.Size, 10))
	}
	return offset, length, status, err
}

// part finds the client's part of a number. A single PUT is its own part 1.
func (o *Object) part(number int) (offset, length int64, err error) {
	if o.Parts == nil {
		if number == 1 {
			return 0, o.Size, nil
		}
		return 0, 0, o.errNoPart()
	}
	for _, p := range o.Parts.Parts {
		if p.Number == number {
			return offset, p.Size, nil
		}
		offset += p.Size
	}
	return 0, 0, o.errNoPart()
}

func (o *Object) errNoPart() error {
	return s3.ErrorByCode("InvalidPartNumber").Detail("ActualPartCount", strconv.Itoa(max(o.PartCount(), 1)))
}

// PartCount is the number of parts, 0 for a single PUT.
func (o *Object) PartCount() int {
	if o.Parts == nil {
		return 0
	}
	return len(o.Parts.Parts)
}

// Open returns the plaintext of a span that SpanOf or Locate found. The first
// byte of body is the stored byte at offset first.
func (o *Object) Open(k *sealer.ObjectKey, body io.Reader, s Span, first int64) (io.Reader, error) {
	if !s.Empty() {
		if s.Begin < first {
			return nil, errMismatch
		}
		if _, err := io.CopyN(io.Discard, body, s.Begin-first); err != nil {
			return nil, err
		}
	}
	if o.Parts == nil {
		return k.OpenBody(body, s.extent)
	}
	return k.OpenParts(body, s.extents), nil
}

// OpenWhole is Open for all of the object, from its first stored byte to its
// last. A trailer is verified before the last bytes are given out.
func (o *Object) OpenWhole(k *sealer.ObjectKey, body io.Reader, s Span) (io.Reader, error) {
	plain, err := o.Open(k, body, s, 0)
	if err != nil || !o.Header.Trailer || o.Parts != nil {
		return plain, err
	}
	return &trailedReader{plain, body, o}, nil
}

// trailedReader is the plaintext of a whole single PUT that has a trailer. It
// verifies the trailer before it gives out the last bytes (docs/FORMAT.md,
// section 10).
type trailedReader struct {
	plain io.Reader
	rest  io.Reader // what follows the body, once plain has ended
	o     *Object
}

func (t *trailedReader) Read(p []byte) (int, error) {
	n, err := t.plain.Read(p)
	if err != io.EOF {
		return n, err
	}
	tail := make([]byte, sealer.SingleTrailerSize)
	if _, err := io.ReadFull(t.rest, tail); err != nil {
		return 0, fmt.Errorf("reading a trailer: %w", err)
	}
	if _, err := t.o.Facts.OpenTrailer(t.o.Header, tail); err != nil {
		return 0, err
	}
	return n, io.EOF
}

// BodyError tells a body that was changed from one that stopped coming.
func (r *Reader) BodyError(err error) error {
	if errors.Is(err, sealer.ErrNotAuthentic) || errors.Is(err, sealer.ErrMalformed) || errors.Is(err, errMismatch) {
		return r.Tampered("body", err)
	}
	return fmt.Errorf("%w: %w", upstream.ErrUnavailable, err)
}

// TotalSize returns the length of the whole stored object behind a GET's
// answer, in bytes, and the offset of the answer's first byte. -1 means not
// known.
func TotalSize(resp *http.Response) (total, first int64) {
	if resp.StatusCode != http.StatusPartialContent {
		return resp.ContentLength, 0
	}
	span, size, ok := strings.Cut(strings.TrimPrefix(resp.Header.Get("Content-Range"), "bytes "), "/")
	begin, _, ok2 := strings.Cut(span, "-")
	total, err := strconv.ParseInt(size, 10, 64)
	first, err2 := strconv.ParseInt(begin, 10, 64)
	if !ok || !ok2 || err != nil || err2 != nil {
		return -1, 0
	}
	return total, first
}

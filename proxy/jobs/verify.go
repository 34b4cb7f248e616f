package jobs

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"net/http"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// verify authenticates an object: its header, size, content headers and part
// table, and every byte of its body unless the job is about headers alone.
func (r *run) verify(ctx context.Context, e *s3.Entry) outcome {
	switch {
	case e.DeleteMarker:
		return outcome{}
	case !r.isSampled(e):
		return outcome{result: ResultFiltered}
	}
	size, err := r.verifyObject(ctx, r.reader(e))
	return r.unlessListed(ctx, r.job.Bucket, e, outcomeOf(ResultVerified, size, err))
}

// unlessListed returns a failure in the place of the outcome that an object is
// gone, if the store still lists the object.
func (r *run) unlessListed(ctx context.Context, bucket string, e *s3.Entry, o outcome) outcome {
	if o.result != ResultGone {
		return o
	}
	l := r.listing(e.VersionID != "")
	l.bucket = bucket
	listed, err := l.has(ctx, e)
	switch {
	case err != nil:
		return outcome{result: ResultFailed, err: err}
	case listed:
		return outcome{result: ResultFailed, err: errUnreadable}
	}
	return o
}

// isSampled reports whether an entry belongs to the sample. It depends only on
// job and entry, so that a job that changes hands has one sample.
func (r *run) isSampled(e *s3.Entry) bool {
	sample := r.job.Settings.Sample
	if sample == 0 {
		return true
	}
	h := fnv.New64a()
	for _, part := range [...]string{r.job.ID, e.Key, e.VersionID} {
		_, _ = io.WriteString(h, part+"\x00") // a hash never returns an error
	}
	return float64(mix(h.Sum64())) < sample*math.MaxUint64
}

// mix spreads the bits of a hash (the finaliser of MurmurHash3).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// verifyObject reads an object and authenticates it. It returns the plaintext
// size in bytes.
func (r *run) verifyObject(ctx context.Context, reader *object.Reader) (int64, error) {
	stored, total, body, err := r.fetch(ctx, reader)
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }()
	if !object.IsSealed(stored) {
		return total, &because{ResultPlaintext}
	}
	o, err := reader.Verify(ctx, stored, total, nil)
	if err != nil {
		return 0, err
	}
	defer o.Wipe()
	if o.Altered { // a gateway with SSEGW_HEADER_DIGEST=warn serves it
		return o.Size, reader.Tampered("content headers", errors.New(o.Warning))
	}
	if o.Header.Scheme == sealer.SSEC {
		return o.Size, &because{ResultCustomer}
	}
	if r.job.Settings.HeadersOnly {
		_, err := reader.Checksums(ctx, o, 0) // reads the trailer, if there is one
		return o.Size, err
	}
	return o.Size, r.verifyBody(ctx, reader, o, body)
}

// fetch asks for an object, with its body unless the job is about headers
// alone. The caller closes the body.
func (r *run) fetch(ctx context.Context, reader *object.Reader) (stored http.Header, total int64, body io.ReadCloser, err error) {
	if r.job.Settings.HeadersOnly {
		head, err := reader.Head(ctx, object.Request{})
		if err != nil {
			return nil, 0, nil, err
		}
		return head.Header, head.Size, http.NoBody, nil
	}
	resp, err := reader.Fetch(ctx, object.Request{})
	if err != nil {
		return nil, 0, nil, err
	}
	total, first := object.TotalSize(resp)
	if first != 0 {
		_ = resp.Body.Close()
		return nil, 0, nil, fmt.Errorf("%w: an answer with a range that was not asked for", upstream.ErrUnavailable)
	}
	return resp.Header, total, resp.Body, nil
}

// verifyBody reads the body of o to its end.
func (r *run) verifyBody(ctx context.Context, reader *object.Reader, o *object.Object, body io.Reader) error {
	k, err := reader.KeyOf(ctx, o)
	if err != nil {
		return err
	}
	defer k.Wipe()
	if o.Size == 0 && !o.Header.Trailer {
		return nil
	}
	span, err := o.SpanOf(0, o.Size)
	if err != nil {
		return err
	}
	plain, err := o.OpenWhole(k, r.pace.reader(ctx)(body), span)
	if err == nil {
		var n int64
		if n, err = io.Copy(io.Discard, plain); err == nil && n != o.Size {
			err = io.ErrUnexpectedEOF
		}
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return reader.BodyError(err)
}

package proxy

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"time"

	"ssegw/proxy/object"
	"ssegw/proxy/payload"
	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// A copy of a sealed object to itself is not left to the store's CopyObject.
// MinIO ignores If-Match there: it gives the new sealed header to the object
// that exists when the copy ends, even if that is another one. Instead such a
// copy is a new object, assembled from ranges of the old one, that replaces the
// old one only if it is still there (docs/UPSTREAMS.md).

// guard is the gateway's own condition on the object that a copy replaces.
type guard struct {
	refused http.Header // of the object for which the store last refused the condition
	missing bool        // the store does not implement the condition
	must    bool        // a copy without the condition is not wanted
}

// condition returns the If-Match for an object with these headers at the store.
// If the store has none (it answered so, or refused it although the object is
// unchanged), it is empty, or the error is errUnguarded.
func (g *guard) condition(stored http.Header) (string, error) {
	switch isVain := g.missing || g.refused != nil && object.Same(g.refused, stored); {
	case isVain && g.must:
		return "", errUnguarded
	case isVain:
		return "", nil
	}
	return stored.Get("ETag"), nil
}

// errUnguarded refuses to replace an object without a condition, because a
// client's write that comes in between would be lost.
var errUnguarded = errors.New("proxy: the store has no conditions on the write that the object needs; --unconditional rewrites it without")

// refuse records a status with which the store refused the condition. It
// reports whether the copy has to start over. After a 409 another write is in
// progress, and the condition stays.
func (g *guard) refuse(status int, stored http.Header) bool {
	switch status {
	case http.StatusPreconditionFailed:
		g.refused = stored
	case http.StatusNotImplemented:
		g.missing = true
	case http.StatusConflict:
	default:
		return false
	}
	return true
}

// isSelfCopy reports whether source and copy have the same name.
func isSelfCopy(c *call, src *copySource) bool {
	return src.from.Bucket == c.req.Bucket && src.from.Key == c.req.Key
}

// destinationConditions sets the conditions on the object that the copy
// replaces. They are the client's, unless the current object is copied to
// itself: then the client's conditions are checked here, and the store gets the
// guard's.
func destinationConditions(c *call, src *copySource, header http.Header, g *guard) error {
	if !isSelfCopy(c, src) || src.from.VersionID != "" {
		return c.object().StoreConditions(c.ctx(), header)
	}
	if object.ConditionsOf(header).Check(object.ShownTag(src.stored)) != nil {
		return s3.ErrPreconditionFailed
	}
	header.Del("If-None-Match")
	header.Del("If-Match")
	etag, err := g.condition(src.stored)
	if err != nil || etag == "" {
		return err
	}
	header.Set("If-Match", etag)
	src.guard = g
	return nil
}

// guardError returns object.ErrChanged if err refuses the guard's condition,
// which the client did not send. Other errors stay.
func (s *copySource) guardError(err error) error {
	if s.guard == nil || errors.Is(err, object.ErrChanged) {
		return err
	}
	foundHere := errors.Is(err, s3.ErrPreconditionFailed) || errors.Is(err, s3.ErrNoSuchKey) // by object.Reader.CheckIgnored
	if foundHere || s.guard.refuse(upstream.StatusOf(err), s.stored) {
		return fmt.Errorf("%w: %w", object.ErrChanged, upstream.Hide(err))
	}
	return err
}

// confirm returns object.ErrChanged unless a second HEAD finds the source as
// the first did. A store that reads an object's headers one by one, as
// versitygw does, can mix those of an object and of its successor in one
// answer. The copy would then have the header of one and the body of the other.
// Two equal answers in a row are not mixed: a sealed header never returns once
// it is replaced.
func (s *copySource) confirm(ctx context.Context) error {
	again, err := s.Head(ctx, object.Request{Guard: s.stored.Get("ETag")})
	if upstream.StatusOf(err) == http.StatusNotFound {
		return fmt.Errorf("%w: %w", object.ErrChanged, upstream.Hide(err))
	}
	if err != nil {
		return object.SourceChanged(err)
	}
	if again.Size != s.total || !object.Same(again.Header, s.stored) {
		return fmt.Errorf("%w: between two HEADs", object.ErrChanged)
	}
	return nil
}

// isGuarded reports whether the store checks the ETag of the source.
func (s *copySource) isGuarded() bool { return s.can.Copies.Source.Covers(s.stored.Get("ETag")) }

// setGuard makes the source's ETag a condition, if the store honours that.
func (s *copySource) setGuard(header http.Header) {
	if s.isGuarded() {
		header.Set(s3.HeaderCopySourceIfMatch, s.stored.Get("ETag"))
	}
}

// storeCopy makes a sealed copy of the source's sealed body. If the store would
// lose the tags of the copy, it is a PUT with tags, unless the body is too long
// for that.
func storeCopy(c *call, src *copySource, header http.Header) (http.Header, *upstream.CopyResult, error) {
	if !src.object.IsAsListed(src.listed, src.total) {
		if err := src.confirm(c.ctx()); err != nil {
			return nil, nil, err
		}
	}
	if !src.can.Copies.Tags {
		if err := restateTags(c, src, header); err != nil {
			return nil, nil, err
		}
		src.tagged = header.Get(s3.HeaderTagging) != "" && src.total <= maxPut
	}
	return copyStored(c, src, header)
}

// copyStored makes a sealed copy. It uses one CopyObject if the store checks
// the source and there are no conditions on the object that the copy replaces,
// because not all stores honour these in a CopyObject.
func copyStored(c *call, src *copySource, header http.Header) (answer http.Header, result *upstream.CopyResult, err error) {
	switch {
	case src.tagged && src.total > 0:
		answer, err = copyThrough(c, src, header)
	case !isSelfCopy(c, src) && !object.IsConditional(header) && src.isGuarded() && src.can.Copies.Replace && src.total <= c.gw.bounds.maxCopy:
		header.Set(s3.HeaderMetadataDirective, "REPLACE")
		return copyAtStore(c, src, nil, header)
	case src.total == 0:
		answer, err = copyEmpty(c, src, header)
	case object.IsConditional(header) && src.can.Put.Honoured() && !src.can.Complete.Honoured() && src.total <= maxPut:
		answer, err = copyThrough(c, src, header)
	default:
		answer, err = copyParts(c, src, header)
	}
	if err != nil {
		return nil, nil, src.guardError(err)
	}
	return answer, &upstream.CopyResult{
		XMLName: xml.Name{Local: "CopyObjectResult"}, ETag: answer.Get("ETag"), LastModified: s3.FormatTime(time.Now()),
	}, nil
}

// copyEmpty makes an empty copy with a PUT. Directories (keys that end in a
// slash) can only be created this way.
func copyEmpty(c *call, src *copySource, header http.Header) (http.Header, error) {
	if err := restateTags(c, src, header); err != nil {
		return nil, err
	}
	return storePlain(c, nil, header, &payload.Copied{R: bytes.NewReader(nil)})
}

// copyThrough sends the sealed body of the source through the gateway into a
// PUT, for stores that honour conditions, or keep tags, in no other write.
func copyThrough(c *call, src *copySource, header http.Header) (http.Header, error) {
	if err := restateTags(c, src, header); err != nil {
		return nil, err
	}
	resp, err := src.Fetch(c.ctx(), object.Request{Guard: src.stored.Get("ETag")})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if !object.Same(resp.Header, src.stored) {
		return nil, object.ErrChanged
	}
	return storePlain(c, nil, header, &payload.Copied{R: resp.Body, Length: src.total})
}

// copyParts has the store copy a sealed object, range by range, into an upload
// with the new header. It is for objects too large for one CopyObject, and for
// copies with conditions.
func copyParts(c *call, src *copySource, header http.Header) (http.Header, error) {
	if err := restateTags(c, src, header); err != nil {
		return nil, err
	}
	size := c.gw.bounds.copyRange
	if src.total <= c.gw.bounds.maxCopy {
		size = src.total // a single part
	}
	return storeParts(c, nil, header, sealer.Announcement{}, func(b *payload.Upload) error {
		for begin := int64(0); begin < src.total; begin += size {
			etag, err := copyRange(c, src, b.Name, len(b.Parts)+1, begin, min(begin+size, src.total)-1)
			if err != nil {
				return object.SourceChanged(err)
			}
			b.Add(etag)
		}
		if src.isGuarded() {
			return nil
		}
		return src.confirm(c.ctx()) // the store may have copied another object
	})
}

func copyRange(c *call, src *copySource, u upstream.UploadName, number int, first, last int64) (string, error) {
	h := http.Header{}
	h.Set(s3.HeaderCopySource, src.from.String())
	src.setGuard(h)
	if first > 0 || last < src.total-1 {
		h.Set(s3.HeaderCopySourceRange, fmt.Sprintf("bytes=%d-%d", first, last)) // Amazon S3 refuses ranges of small objects
	}
	_, result, err := c.store().Copy(c.ctx(), u.Bucket, u.Key, u.Query(number), h)
	if err != nil {
		return "", err
	}
	return result.ETag, nil
}

// restateTags adds the source's tags to the header, unless the copy has its
// own. A PUT does not keep them.
func restateTags(c *call, src *copySource, header http.Header) error {
	header.Del(s3.HeaderTaggingDirective)
	if header.Get(s3.HeaderTagging) != "" || isReplaced(c, s3.HeaderTaggingDirective) || src.stored.Get("X-Amz-Tagging-Count") == "" {
		return nil
	}
	tags, err := c.store().Tags(c.ctx(), src.Name.Bucket, src.Name.Key, src.VersionQuery())
	if err != nil {
		return err
	}
	header.Set(s3.HeaderTagging, upstream.EncodeQuery(tags))
	return nil
}

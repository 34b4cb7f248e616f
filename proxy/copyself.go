package proxy

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"time"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// A sealed object is not copied onto itself in place. MinIO then changes the headers
// of whatever object is there by the time it is done, with the sealed header
// of the one that was copied, and ignores If-Match. So such a copy is a new object, put
// together of ranges of the old one, and takes its place only if that is still there
// (docs/UPSTREAMS.md).

// guard is the gateway's own condition on an object that a copy takes the place of.
type guard struct {
	tried string // the ETag that the last try was made with
}

// of returns the condition for an object with the given ETag. It is empty if the store
// refused that very one before, though the object is unchanged: the store has
// no conditions for that request.
func (g *guard) of(etag string) string {
	if etag == g.tried {
		return ""
	}
	g.tried = etag
	return etag
}

// ontoItself reports whether the copy's source has the name of the copy.
func (c *call) ontoItself() bool {
	return c.req.CopySource.Bucket == c.req.Bucket && c.req.CopySource.Key == c.req.Key
}

// destinationConditions puts the conditions on what the copy takes the place of into the
// upstream header: the client's. Of a copy of the present object onto itself
// the client's are held against that object, and the store gets the guard's.
func (c *call) destinationConditions(src *copySource, header http.Header, g *guard) error {
	if !c.ontoItself() || c.req.CopySource.VersionID != "" {
		return c.translateConditions(header)
	}
	client := readConditions{tags(header.Get("If-Match")), tags(header.Get("If-None-Match"))}
	if client.check(shownTag(src.stored)) != nil {
		return s3.ErrPreconditionFailed
	}
	header.Del("If-None-Match")
	header.Del("If-Match")
	if etag := g.of(src.stored.Get("ETag")); etag != "" {
		header.Set("If-Match", etag)
		src.guarded = true
	}
	return nil
}

// settled tells the refusal of a condition of the gateway's own from one of the client's:
// the object changed, and the copy has to look at it again.
func (s *copySource) settled(err error) error {
	switch statusOf(err) {
	case http.StatusPreconditionFailed, http.StatusConflict, http.StatusNotImplemented:
		if s.guarded {
			return fmt.Errorf("%w: %w", errChanged, err)
		}
	}
	return err
}

// sourceChanged is the same for the condition on the source, which each copy at the store has.
func sourceChanged(err error) error {
	if statusOf(err) == http.StatusPreconditionFailed {
		return fmt.Errorf("%w: %w", errChanged, err)
	}
	return err
}

// isConditional reports whether a write has conditions on what it takes the place of.
func isConditional(header http.Header) bool {
	return header.Get("If-Match") != "" || header.Get("If-None-Match") != ""
}

// storeCopy has the store make a sealed copy: in one request where nothing depends on
// what it takes the place of, for not all stores have conditions for that.
func (c *call) storeCopy(src *copySource, header http.Header) (answer http.Header, result *copyResult, err error) {
	switch {
	case !c.ontoItself() && !isConditional(header) && src.total <= c.bounds.maxCopy:
		header.Set(s3.HeaderMetadataDirective, "REPLACE")
		return c.copyUpstream(src, header)
	case src.total == 0:
		answer, err = c.copyNothing(src, header)
	default:
		answer, err = c.copyParts(src, header)
	}
	if err != nil {
		return nil, nil, src.settled(err)
	}
	return answer, &copyResult{
		XMLName: xml.Name{Local: "CopyObjectResult"}, ETag: answer.Get("ETag"), LastModified: time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
	}, nil
}

// copyNothing makes a copy without a byte. Directories can only be written so.
func (c *call) copyNothing(src *copySource, header http.Header) (http.Header, error) {
	if err := c.restateTags(src, header); err != nil {
		return nil, err
	}
	return c.storePlain(header, &copiedBody{r: bytes.NewReader(nil)})
}

// restateTags puts the source's tags into the header, unless the copy has its own.
func (c *call) restateTags(src *copySource, header http.Header) error {
	header.Del(s3.HeaderTaggingDirective)
	if header.Get(s3.HeaderTagging) != "" {
		return nil
	}
	return c.copyTags(src, header)
}

// copyParts has the store copy a sealed object range by range into an upload that has
// the new header: one that is too large for one copy, or whose copy has conditions.
func (c *call) copyParts(src *copySource, header http.Header) (http.Header, error) {
	if err := c.restateTags(src, header); err != nil {
		return nil, err
	}
	size := c.bounds.copyRange
	if src.total <= c.bounds.maxCopy {
		size = src.total // in one
	}
	return c.storeParts(nil, header, sealer.Announcement{}, func(b *bodyUpload) error {
		for begin := int64(0); begin < src.total; begin += size {
			etag, err := c.copyRangeUpstream(src, b.upload, len(b.parts)+1, begin, min(begin+size, src.total)-1)
			if err != nil {
				return sourceChanged(err)
			}
			b.add(etag)
		}
		return nil
	})
}

func (c *call) copyRangeUpstream(src *copySource, u *upload, number int, first, last int64) (string, error) {
	h := http.Header{}
	h.Set(s3.HeaderCopySource, c.req.CopySource.String())
	h.Set(s3.HeaderCopySourceIfMatch, src.stored.Get("ETag"))
	if first > 0 || last < src.total-1 {
		h.Set(s3.HeaderCopySourceRange, fmt.Sprintf("bytes=%d-%d", first, last)) // Amazon S3 takes none of small objects
	}
	resp, err := c.Upstream.expect(c.ctx(), outgoing{
		method: http.MethodPut, bucket: u.Bucket, key: u.Key, header: h, as: c.caller(),
		query: u.query(number), copies: true,
	})
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	result, err := readCopyResult(resp)
	if err != nil {
		return "", err
	}
	return result.ETag, nil
}

package proxy

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
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
	refused http.Header // of the object for which the store said last that the condition does not hold
	missing bool        // the store has no conditions
}

// of returns the condition for an object that the store shows with these headers.
// It is empty where the store has no conditions for that request: it said so, or
// it refused the very one before, though the object is unchanged.
func (g *guard) of(stored http.Header) string {
	if g.missing || g.refused != nil && sameObject(g.refused, stored) {
		return ""
	}
	return stored.Get("ETag")
}

// refuse takes note of why the store refused a copy under the condition, and
// reports whether the copy has to look at the object again. A 409 says that
// another write is under way: the condition stays.
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

// sameObject reports whether two looks at an object saw the same one. Its ETag
// does not tell: a write of equal bytes has an equal one.
func sameObject(a, b http.Header) bool {
	identity := func(h http.Header) map[string][]string {
		kept := map[string][]string{}
		for name, values := range h {
			switch {
			case isStored(name), strings.EqualFold(name, "ETag"), strings.EqualFold(name, "Last-Modified"), strings.EqualFold(name, s3.HeaderVersionID):
				kept[name] = values
			}
		}
		return kept
	}
	return maps.EqualFunc(identity(a), identity(b), slices.Equal)
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
	if etag := g.of(src.stored); etag != "" {
		header.Set("If-Match", etag)
		src.guard = g
	}
	return nil
}

// settled tells the refusal of a condition of the gateway's own from one of the client's:
// the copy has to look at the object again.
func (s *copySource) settled(err error) error {
	if s.guard != nil && !errors.Is(err, errChanged) && s.guard.refuse(statusOf(err), s.stored) {
		return fmt.Errorf("%w: %w", errChanged, err)
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

package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

const (
	maxListing = 64 << 20 // bytes of one page
	maxEntries = 10_000   // of one page; S3 has 1,000 at most, some stores can be told to send more
)

// listObjects is ListObjects, ListObjectsV2 and ListObjectVersions: the
// upstream's page with sizes, ETags and checksums as clients know them. No KMS is asked.
func (c *call) listObjects() error {
	resp, err := c.forwarded()
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	listing, err := parseListing(resp.Body)
	if err != nil {
		return err
	}
	c.pages.learn(listing.Entries)
	facts, err := c.listedFacts(listing.Entries)
	if err != nil {
		return err
	}
	page := listing.Splice(func(i int) s3.Edit { return facts[i].edit(&listing.Entries[i]) })
	return c.sendDocument(resp, page)
}

// parseListing reads a page of the upstream's.
func parseListing(r io.Reader) (*s3.Listing, error) {
	doc, err := readListing(r)
	if err != nil {
		return nil, err
	}
	listing, err := s3.ParseListing(doc)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUpstream, err)
	}
	if len(listing.Entries) > maxEntries {
		return nil, fmt.Errorf("%w: a page of %d entries", errUpstream, len(listing.Entries))
	}
	return listing, nil
}

func readListing(r io.Reader) ([]byte, error) {
	doc, err := io.ReadAll(io.LimitReader(r, maxListing+1))
	if err != nil {
		return nil, fmt.Errorf("%w: reading a listing: %w", errUpstream, err)
	}
	if len(doc) > maxListing {
		return nil, fmt.Errorf("%w: a listing of over %d bytes", errUpstream, maxListing)
	}
	return doc, nil
}

// sendDocument answers with a rewritten document.
func (c *call) sendDocument(resp *http.Response, doc []byte) error {
	h := c.w.Header()
	copyAnswer(h, resp.Header, false)
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(doc)))
	c.w.WriteHeader(resp.StatusCode)
	_, err := c.w.Write(doc)
	return err
}

// edit makes an entry of a listing show f.
func (f entryFacts) edit(e *s3.Entry) s3.Edit {
	if f.size == notSealed || f.size == notSeen {
		return s3.Edit{}
	}
	tag := s3.ETagShown(e.ETag, true)
	edit := s3.Edit{ETag: &tag, Checksums: f.checksums()}
	if f.size >= 0 {
		edit.Size = &f.size
	}
	return edit
}

// listedFacts returns what the entries of a page are to show. What the cache
// does not know costs one more request for the page where the upstream sends
// metadata with it, and elsewhere one for each entry.
func (c *reader) listedFacts(entries []s3.Entry) ([]entryFacts, error) {
	facts := make([]entryFacts, len(entries))
	var unknown []int
	for i := range entries {
		if entries[i].DeleteMarker {
			facts[i].size = notSealed
		} else if f, ok := c.facts.get(c.entryKey(&entries[i])); ok {
			facts[i] = f
		} else {
			unknown = append(unknown, i)
		}
	}
	if len(unknown) == 0 {
		return facts, nil
	}
	detailed := c.metadataPage(len(unknown))
	g, ctx := newGroup(c.ctx(), listLooks)
	for _, i := range unknown {
		e := &entries[i]
		if d, ok := detailed[stateOf(e)]; ok {
			e = d
		}
		g.Go(func() error {
			return c.looking(ctx, func() (err error) {
				facts[i], err = c.lookAt(ctx, e)
				if err == nil && facts[i].size >= notSealed {
					c.facts.add(c.entryKey(e), facts[i])
				}
				return err
			})
		})
	}
	return facts, g.Wait()
}

func (c *reader) entryKey(e *s3.Entry) factsKey {
	return factsKeyOf(c.req.Bucket, e.Key, e.ETag, e.Size, e.LastModified)
}

// unseen are the answers of a store that does not let us look at an object, and will
// not the next time either: one that it encrypts itself with a key of the client's
// (400), one of an archive or that may not be read (403), one that has gone (404, or 405
// for a delete marker), and one that has been replaced by a shorter one (416).
var unseen = []int{
	http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
	http.StatusRequestedRangeNotSatisfiable,
}

// lookAt learns what an entry is to show. One that may not be looked at, or
// has gone, is shown as the upstream has it. Whatever else fails, so that
// the next page may show another size, fails the page.
func (c *reader) lookAt(ctx context.Context, e *s3.Entry) (entryFacts, error) {
	version := e.VersionID
	if version == "null" && e.IsLatest {
		version = "" // stores without versions list this one, and some do not know it by that name
	}
	at := c.at(ctx, s3.CopySource{Bucket: c.req.Bucket, Key: e.Key, VersionID: version}, http.Header{})
	o, err := at.listed(e)
	var refused *upstreamError
	switch {
	case errors.As(err, &refused) && !errors.Is(err, errUpstream) && slices.Contains(unseen, refused.status):
		return entryFacts{size: notSeen}, nil
	case errors.Is(err, errIntegrity):
		return entryFacts{size: unknownFacts}, nil
	case err != nil:
		return entryFacts{}, err
	case o == nil:
		return entryFacts{size: notSealed}, nil
	}
	defer o.wipe()
	return o.entryFacts(), nil
}

// listed authenticates the object of an entry, from the metadata in the entry
// where that has any. It returns nil for an object that is not sealed.
func (c *reader) listed(e *s3.Entry) (*sealedObject, error) {
	stored, total, tail := http.Header{}, e.Size, []byte(nil)
	if c.pages.tells(e) {
		stored.Set("ETag", s3.ETagShown(e.ETag, false))
		stored.Set(sealer.MetadataKey, e.Sealed)
	} else {
		var err error
		if stored, total, tail, err = c.peek(e); err != nil {
			return nil, err
		}
	}
	if stored.Get(sealer.MetadataKey) == "" {
		return nil, nil
	}
	if total != e.Size {
		return nil, fmt.Errorf("%w: another object than the one listed", errIntegrity)
	}
	return c.authentic(stored, total, tail, nil)
}

// peek is a HEAD of the object of an entry. Where its ETag looks like that of
// a multipart object it is a GET of the object's last bytes instead, which may
// hold the part table.
func (c *reader) peek(e *s3.Entry) (stored http.Header, total int64, tail []byte, err error) {
	c.metrics.listHeads.Inc()
	if !strings.Contains(e.ETag, "-") || e.Size == 0 {
		head, err := c.head(lookup{})
		if err != nil {
			return nil, 0, nil, err
		}
		return head.header, head.size, nil, nil
	}
	length := tailLength(e.ETag, e.Size)
	resp, err := c.fetch(lookup{span: fmt.Sprintf("bytes=%d-%d", e.Size-length, e.Size-1)})
	if err != nil {
		return nil, 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	total, first := totalSize(resp)
	if total == e.Size && first == total-length {
		if tail, err = io.ReadAll(io.LimitReader(resp.Body, length)); err != nil {
			return nil, 0, nil, fmt.Errorf("%w: reading the end of an object: %w", errUpstream, err)
		}
	}
	return resp.Header, total, tail, nil
}

// listBuckets is ListBuckets without the state bucket.
func (c *call) listBuckets() error {
	resp, err := c.forwarded()
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	doc, err := readListing(resp.Body)
	if err != nil {
		return err
	}
	page, err := s3.ParseBuckets(doc)
	if err != nil {
		return fmt.Errorf("%w: %w", errUpstream, err)
	}
	if !page.Has(c.State.Bucket()) {
		return c.sendDocument(resp, doc)
	}
	var next *s3.BucketPage
	if page.Token() != "" {
		if next, err = c.oneMoreBucket(page.Token()); err != nil {
			return err
		}
	}
	return c.sendDocument(resp, page.Without(c.State.Bucket(), next))
}

// oneMoreBucket fetches the bucket that takes the state bucket's place on a page.
func (c *call) oneMoreBucket(token string) (*s3.BucketPage, error) {
	query := maps.Clone(c.req.Query)
	query.Set("continuation-token", token)
	query.Set("max-buckets", "1")
	resp, err := c.Upstream.expect(c.ctx(), outgoing{method: http.MethodGet, query: query, as: c.caller()})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	doc, err := readListing(resp.Body)
	if err != nil {
		return nil, err
	}
	page, err := s3.ParseBuckets(doc)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUpstream, err)
	}
	return page, nil
}

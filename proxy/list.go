package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

const (
	maxListing   = 64 << 20 // bytes of one page
	listHeads    = 16       // HEADs under way for one page
	notSealed    = -1       // size of an object that is not sealed
	unknownFacts = -2       // size of a sealed object whose facts do not open
	notSeen      = -3       // size of an object that the store does not let us look at
)

// listObjects is ListObjects, ListObjectsV2 and ListObjectVersions: the
// upstream's page with sizes and ETags as clients know them. No KMS is asked.
func (c *call) listObjects() error {
	resp, err := c.forwarded()
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	doc, err := readListing(resp.Body)
	if err != nil {
		return err
	}
	listing, err := s3.ParseListing(doc)
	if err != nil {
		return fmt.Errorf("%w: %w", errUpstream, err)
	}
	sizes, err := c.sizes(listing.Entries)
	if err != nil {
		return err
	}
	page := listing.Splice(func(i int) s3.Edit {
		if sizes[i] == notSealed || sizes[i] == notSeen {
			return s3.Edit{}
		}
		tag := s3.ETagShown(listing.Entries[i].ETag, true)
		edit := s3.Edit{ETag: &tag, Checksums: &s3.Checksums{}}
		if sizes[i] >= 0 {
			edit.Size = &sizes[i]
		}
		return edit
	})
	return c.sendDocument(resp, page)
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
	h.Set("Content-Length", strconv.Itoa(len(doc)))
	c.w.WriteHeader(resp.StatusCode)
	_, err := c.w.Write(doc)
	return err
}

// sizes returns the plaintext size of each entry, or one of the words for none.
// What the cache does not know costs a HEAD.
func (c *call) sizes(entries []s3.Entry) ([]int64, error) {
	sizes := make([]int64, len(entries))
	g, ctx := errgroup.WithContext(c.ctx())
	g.SetLimit(listHeads)
	for i, e := range entries {
		if e.DeleteMarker {
			sizes[i] = notSealed
			continue
		}
		k := factsKey{c.req.Bucket, e.Key, e.VersionID, strings.Trim(e.ETag, `"`), e.Size}
		if size, ok := c.facts.get(k); ok {
			sizes[i] = size
			continue
		}
		g.Go(func() (err error) {
			sizes[i], err = c.sizeOf(ctx, e)
			if err == nil && sizes[i] >= notSealed {
				c.facts.add(k, sizes[i])
			}
			return err
		})
	}
	return sizes, g.Wait()
}

// sizeOf asks the upstream for one entry. An entry that may not be looked at, or
// has gone, is shown as the upstream has it. Only an upstream that fails, where
// the next page may show another size, fails the page.
func (c *call) sizeOf(ctx context.Context, e s3.Entry) (int64, error) {
	c.metrics.listHeads.Inc()
	at := c.at(ctx, s3.CopySource{Bucket: c.req.Bucket, Key: e.Key, VersionID: e.VersionID}, http.Header{})
	head, err := at.head(lookup{})
	var o *sealedObject
	if err == nil {
		if head.header.Get(sealer.MetadataKey) == "" {
			return notSealed, nil
		}
		o, err = at.look(head.header, head.size)
	}
	var refused *upstreamError
	switch {
	case errors.As(err, &refused) && !errors.Is(err, errUpstream) && refused.status < 500:
		return notSeen, nil
	case errors.Is(err, errIntegrity), err == nil && head.size != e.Size:
		return unknownFacts, nil
	case err != nil:
		return 0, err
	}
	o.facts.Wipe()
	return o.size, nil
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
	resp, err := c.Upstream.expect(c.ctx(), outgoing{method: http.MethodGet, query: query, anonymous: c.auth.Anonymous()})
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

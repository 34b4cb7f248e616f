package proxy

import (
	"context"
	"fmt"
	"maps"
	"net/http"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/task"
	"ssegw/proxy/upstream"
)

// listObjects is ListObjects, ListObjectsV2 and ListObjectVersions. It returns
// the store's page with plaintext sizes, ETags and checksums. It needs no KMS
// unless a root is unknown.
func listObjects(c *call) error {
	resp, listing, err := fetchPage(c)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	facts, err := listedFacts(c, listing.Entries, c.gw.pages.Learn(listing.Entries) || listing.Detailed)
	if err != nil {
		return err
	}
	page := listing.Splice(func(i int) s3.Edit { return facts[i].Edit(&listing.Entries[i]) })
	return sendRewritten(c, resp, page)
}

// listedFacts returns what each entry of a page shows. Entries that are not
// cached cost one more request for the page if the store sends metadata in
// listings, and otherwise one request each. If told is true, the page was
// requested with metadata, and is not requested again.
func listedFacts(c *call, entries []s3.Entry, told bool) ([]object.Entry, error) {
	facts := make([]object.Entry, len(entries))
	var unknown []int
	for i := range entries {
		if entries[i].DeleteMarker {
			facts[i] = object.Plaintext
		} else if f, ok := c.gw.caches.Listed(c.req.Bucket, &entries[i]); ok {
			facts[i] = f
		} else {
			unknown = append(unknown, i)
		}
	}
	c.gw.pages.Listed(c.req.Bucket, c.req.Query, len(unknown) < 2)
	var detailed object.Details
	if !told {
		detailed = fetchMetadataPage(c, len(unknown))
	}
	access := c.access()
	return facts, task.Each(c.ctx(), pageLookups, len(unknown), func(ctx context.Context, i int) error {
		e := detailed.Of(&entries[unknown[i]])
		return c.withLookup(ctx, func() (err error) {
			facts[unknown[i]], err = access.Of(c.req.Bucket, e).List(ctx, e, c.gw.pages.Tells(e), c.gw.metrics.listHeads.Inc)
			return err
		})
	})
}

// sendRewritten answers with a document that the gateway has rewritten.
func sendRewritten(c *call, resp *http.Response, doc []byte) error {
	upstream.CopyAnswer(c.w.Header(), resp.Header, false)
	return c.w.sendDocument(resp.StatusCode, doc)
}

// listBuckets is ListBuckets. It leaves out the state bucket.
func listBuckets(c *call) error {
	resp, err := sendOn(c, outgoing(c))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	doc, err := upstream.ReadDocument(resp.Body)
	if err != nil {
		return err
	}
	page, err := s3.ParseBuckets(doc)
	if err != nil {
		return fmt.Errorf("%w: %w", upstream.ErrUnavailable, err)
	}
	if !page.Has(c.gw.State.Bucket()) {
		return sendRewritten(c, resp, doc)
	}
	var next *s3.BucketPage
	if page.Token() != "" {
		if next, err = oneMoreBucket(c, page.Token()); err != nil {
			return err
		}
	}
	return sendRewritten(c, resp, page.Without(c.gw.State.Bucket(), next))
}

// oneMoreBucket fetches the next bucket, to fill up a page that lacks the state
// bucket.
func oneMoreBucket(c *call, token string) (*s3.BucketPage, error) {
	query := maps.Clone(c.req.Query)
	query.Set("continuation-token", token)
	query.Set("max-buckets", "1")
	resp, err := c.store().Send(c.ctx(), upstream.Request{Method: http.MethodGet, Query: query})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	doc, err := upstream.ReadDocument(resp.Body)
	if err != nil {
		return nil, err
	}
	page, err := s3.ParseBuckets(doc)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", upstream.ErrUnavailable, err)
	}
	return page, nil
}

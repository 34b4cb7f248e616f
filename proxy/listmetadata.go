package proxy

import (
	"errors"
	"net/http"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

// fetchMetadataPage requests the page again with metadata, and returns its
// entries. It returns nil if only one entry is unknown, because looking that up
// also costs one request, and if the store sends no metadata. A failure does
// not fail the listing: the entries are then looked up one by one.
func fetchMetadataPage(c *call, unknown int) map[entryState]*s3.Entry {
	if unknown < 2 || c.req.Query.Get("metadata") == "true" || !c.gw.pages.WorthAsking() {
		return nil
	}
	listing, err := fetchMetadata(c)
	switch {
	case err == nil && c.gw.pages.Learn(listing.Entries):
	case !c.store().IsGateway(): // others may see metadata that this client may not
	case err == nil, errors.Is(err, s3.ErrDocument), upstream.StatusOf(err)/100 == 4:
		c.gw.pages.SentNone()
	}
	if err != nil {
		return nil
	}
	detailed := make(map[entryState]*s3.Entry, len(listing.Entries))
	for i := range listing.Entries {
		e := &listing.Entries[i]
		detailed[listedState(e)] = e
	}
	return detailed
}

func fetchMetadata(c *call) (*s3.Listing, error) {
	resp, err := c.store().Send(c.ctx(), upstream.Request{
		Method: http.MethodGet, Bucket: c.req.Bucket, Query: upstream.MetadataQuery(c.req.Query), Header: upstream.RequestHeader(c.req.Header),
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return upstream.ParseListing(resp.Body)
}

// MinIO's ListObjectsV2 and ListObjectVersions include metadata if asked with
// metadata=true, for objects that the caller may read. Other stores ignore or
// refuse the parameter.

// entryState identifies one state of an object in listings.
type entryState struct {
	key, version, etag string
	size               int64
}

func listedState(e *s3.Entry) entryState { return entryState{e.Key, e.VersionID, e.ETag, e.Size} }

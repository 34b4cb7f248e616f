package proxy

import (
	"errors"
	"net/http"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

// fetchPage requests the page that the client asks for. A page that the caches
// will not know is requested with metadata, which the client does not see. If
// the store refuses that, it is requested as the client did.
func fetchPage(c *call) (*http.Response, *s3.Listing, error) {
	if c.store().IsGateway() && c.gw.pages.First(c.req.Bucket, c.req.Query) {
		resp, page, err := readDetailed(c)
		if err == nil {
			page.HideMetadata()
		}
		if !refusesMetadata(err) {
			return resp, page, err
		}
	}
	return readPage(c, outgoing(c))
}

// readDetailed is readPage for the client's page with metadata.
func readDetailed(c *call) (*http.Response, *s3.Listing, error) {
	o := outgoing(c)
	o.Query = upstream.MetadataQuery(o.Query)
	return readPage(c, o)
}

// refusesMetadata reports whether err may mean that the store does not list
// metadata.
func refusesMetadata(err error) bool {
	return errors.Is(err, s3.ErrDocument) || upstream.StatusOf(err)/100 == 4
}

// readPage returns a page. The caller closes the answer, whose body is read.
func readPage(c *call, o upstream.Request) (*http.Response, *s3.Listing, error) {
	resp, err := sendOn(c, o)
	if err != nil {
		return nil, nil, err
	}
	page, err := upstream.ParseListing(resp.Body)
	if err != nil {
		_ = resp.Body.Close()
		return nil, nil, err
	}
	return resp, page, nil
}

// fetchMetadataPage requests the page again with metadata, and returns its
// entries. It returns nil if only one entry is unknown, because looking that up
// also costs one request, and if the store sends no metadata. A failure does
// not fail the listing: the entries are then looked up one by one.
func fetchMetadataPage(c *call, unknown int) object.Details {
	if unknown < 2 || c.req.Query.Get("metadata") == "true" || !c.gw.pages.WorthAsking() {
		return nil
	}
	resp, listing, err := readDetailed(c)
	if err == nil {
		_ = resp.Body.Close()
	}
	switch {
	case err == nil && c.gw.pages.Learn(listing.Entries):
	case !c.store().IsGateway(): // others may see metadata that this client may not
	case err == nil, refusesMetadata(err):
		c.gw.pages.SentNone()
	}
	if err != nil {
		return nil
	}
	return object.DetailsOf(listing)
}

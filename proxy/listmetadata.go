package proxy

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"ssegw/proxy/s3"
)

// MinIO lists objects with their metadata when it is asked with metadata=true:
// ListObjectsV2 and ListObjectVersions, of objects that the caller may read.
// Other stores ignore the parameter, or refuse it.

// metadataRetry is how long an upstream that sent no metadata is not asked again.
const metadataRetry = 10 * time.Minute

// metadataPages is what is known of the upstream's pages with metadata.
type metadataPages struct {
	sealed atomic.Bool  // one had the header of a sealed object
	retry  atomic.Int64 // Unix time before which none is asked for, unless there was one
}

func (m *metadataPages) worthAsking() bool {
	return m.sealed.Load() || time.Now().Unix() >= m.retry.Load()
}

// learn reports whether entries have metadata.
func (m *metadataPages) learn(entries []s3.Entry) (some bool) {
	for i := range entries {
		some = some || entries[i].HasMetadata
		if entries[i].Sealed != "" {
			m.sealed.Store(true)
			break
		}
	}
	return some
}

// tells reports whether the metadata in e says whether the object is sealed. That
// the header is not in it says so only where the upstream is known to show it.
func (m *metadataPages) tells(e *s3.Entry) bool {
	return e.Sealed != "" || e.HasMetadata && m.sealed.Load()
}

// entryState tells the states of objects in listings apart.
type entryState struct {
	key, version, etag string
	size               int64
}

func stateOf(e *s3.Entry) entryState { return entryState{e.Key, e.VersionID, e.ETag, e.Size} }

// metadataPage asks for the request's page again with metadata, and returns its
// entries. There are none for a page of which one entry is
// unknown, which costs one request anyway, and where the upstream sends no
// metadata. No failure here is one of the listing: entries can still be looked
// at one by one.
func (c *reader) metadataPage(unknown int) map[entryState]*s3.Entry {
	if unknown < 2 || c.req.Query.Get("metadata") == "true" || !c.pages.worthAsking() {
		return nil
	}
	listing, err := c.fetchMetadata()
	switch {
	case err == nil && c.pages.learn(listing.Entries):
	case !c.caller().isGateway(): // what they may not see is no sign of what others may
	case err == nil, errors.Is(err, s3.ErrDocument), statusOf(err)/100 == 4:
		c.pages.retry.Store(time.Now().Add(metadataRetry).Unix())
	}
	if err != nil {
		return nil
	}
	detailed := make(map[entryState]*s3.Entry, len(listing.Entries))
	for i := range listing.Entries {
		e := &listing.Entries[i]
		detailed[stateOf(e)] = e
	}
	return detailed
}

func (c *reader) fetchMetadata() (*s3.Listing, error) {
	resp, err := c.Upstream.expect(c.ctx(), outgoing{
		method: http.MethodGet, bucket: c.req.Bucket, query: metadataQuery(c.req.Query), header: upstreamHeader(c.req.Header),
		as: c.caller(),
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return parseListing(resp.Body)
}

// metadataQuery is a listing's query with metadata asked for. There is no such
// page of ListObjects: the one of ListObjectsV2 that starts at the same place
// takes its place.
func metadataQuery(query url.Values) url.Values {
	q := maps.Clone(query)
	q.Set("metadata", "true")
	if !q.Has("list-type") && !q.Has("versions") {
		q.Set("list-type", "2")
		if marker, ok := q["marker"]; ok {
			q["start-after"] = marker
			delete(q, "marker")
		}
	}
	return q
}

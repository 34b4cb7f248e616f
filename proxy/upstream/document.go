package upstream

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"

	"ssegw/proxy/s3"
)

const (
	maxStoreDocument = 64 << 20 // bytes of one document from the store, such as a page
	maxTags          = 64 << 10 // bytes of the tags of an object; S3 has at most 10
	maxEntries       = 10_000   // of one page; S3 sends at most 1,000, some stores can be configured to send more
)

// ReadDocument reads a whole document of the store, at most 64 MiB. Its errors
// wrap [ErrUnavailable].
func ReadDocument(r io.Reader) ([]byte, error) {
	doc, err := io.ReadAll(io.LimitReader(r, maxStoreDocument+1))
	if err != nil {
		return nil, fmt.Errorf("%w: reading a document: %w", ErrUnavailable, err)
	}
	if len(doc) > maxStoreDocument {
		return nil, fmt.Errorf("%w: a document of over %d bytes", ErrUnavailable, maxStoreDocument)
	}
	return doc, nil
}

// ParseListing reads a page of a listing, at most 10,000 entries. Its errors
// wrap [ErrUnavailable].
func ParseListing(r io.Reader) (*s3.Listing, error) {
	doc, err := ReadDocument(r)
	if err != nil {
		return nil, err
	}
	listing, err := s3.ParseListing(doc)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if len(listing.Entries) > maxEntries {
		return nil, fmt.Errorf("%w: a page of %d entries", ErrUnavailable, len(listing.Entries))
	}
	return listing, nil
}

// MetadataQuery returns a listing's query with metadata=true. ListObjects has
// no metadata, so its query becomes that of the ListObjectsV2 page that starts
// at the same key.
func MetadataQuery(query url.Values) url.Values {
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

// Discard closes an answer whose body is not needed. It first reads a body of
// up to 4 KiB, so that the connection can be reused.
func Discard(resp *http.Response) {
	if resp.ContentLength > 0 && resp.ContentLength <= 4<<10 {
		var rest [4 << 10]byte
		for {
			if _, err := resp.Body.Read(rest[:]); err != nil {
				break
			}
		}
	}
	_ = resp.Body.Close() // the body was not needed
}

package object

import (
	"hash/maphash"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"ssegw/proxy/s3"
)

// metadataRetry is the time between requests for metadata to a store that sent
// none.
const metadataRetry = 10 * time.Minute

// MetadataPages is what is known of the store's pages with metadata. MinIO's
// ListObjectsV2 and ListObjectVersions send them when they are asked with
// metadata=true, for objects that the caller may read. Other stores ignore or
// refuse the parameter.
type MetadataPages struct {
	sealed atomic.Bool  // one had the header of a sealed object
	retry  atomic.Int64 // Unix time before which none is asked for, unless there was one
	listed *otter.Cache[uint64, struct{}]
	seed   maphash.Seed
}

// listedPages bounds how many pages are remembered as listed before. It is more
// than the caches have full pages.
const listedPages = 1000

// NewMetadataPages returns what is known before the first page.
func NewMetadataPages() *MetadataPages {
	return &MetadataPages{listed: otter.Must(&otter.Options[uint64, struct{}]{MaximumSize: listedPages}), seed: maphash.MakeSeed()}
}

// page names a page of a bucket.
func (m *MetadataPages) page(bucket string, query url.Values) uint64 {
	return maphash.String(m.seed, bucket+"?"+query.Encode())
}

// First reports whether a page should be asked for with metadata at once,
// instead of a second time if the caches do not know it: the store is known to
// send sealed headers, and the page was not listed before. ListObjects sends no
// metadata.
func (m *MetadataPages) First(bucket string, query url.Values) bool {
	if !m.sealed.Load() || query.Get("metadata") == "true" || query.Get("list-type") != "2" && !query.Has("versions") {
		return false
	}
	_, listed := m.listed.GetIfPresent(m.page(bucket, query))
	return !listed
}

// Listed records that the caches will know a page. known is whether they knew
// it. A page that was listed before, and that they did not know any more, is
// forgotten: it may have changed again by the next time.
func (m *MetadataPages) Listed(bucket string, query url.Values, known bool) {
	page := m.page(bucket, query)
	if _, before := m.listed.GetIfPresent(page); before && !known {
		m.listed.Invalidate(page)
	} else {
		m.listed.Set(page, struct{}{})
	}
}

// WorthAsking reports whether the store may send metadata.
func (m *MetadataPages) WorthAsking() bool {
	return m.sealed.Load() || time.Now().Unix() >= m.retry.Load()
}

// Learn reports whether entries have metadata.
func (m *MetadataPages) Learn(entries []s3.Entry) (some bool) {
	for i := range entries {
		some = some || entries[i].HasMetadata
		if entries[i].Sealed != nil {
			m.sealed.Store(true)
			break
		}
	}
	return some
}

// Tells reports whether the metadata in e decides if the object is sealed.
// Metadata without the sealed header decides only if the store is known to list
// that header.
func (m *MetadataPages) Tells(e *s3.Entry) bool {
	return e.Sealed != nil || e.HasMetadata && m.sealed.Load()
}

// SentNone records a page without metadata, although it was requested.
func (m *MetadataPages) SentNone() { m.retry.Store(time.Now().Add(metadataRetry).Unix()) }

// AskAgain forgets that the store sent no metadata.
func (m *MetadataPages) AskAgain() { m.retry.Store(0) }

// Details are the entries of a page with metadata.
type Details map[entryState]*s3.Entry

// entryState identifies one state of an object in listings.
type entryState struct {
	key, version, etag string
	size               int64
}

func listedState(e *s3.Entry) entryState { return entryState{e.Key, e.VersionID, e.ETag, e.Size} }

// DetailsOf returns the details that a page has.
func DetailsOf(page *s3.Listing) Details {
	d := make(Details, len(page.Entries))
	for i := range page.Entries {
		d[listedState(&page.Entries[i])] = &page.Entries[i]
	}
	return d
}

// Of returns the entry of the same state as e, or e if there is none.
func (d Details) Of(e *s3.Entry) *s3.Entry {
	if len(d) == 0 {
		return e
	}
	if detailed, ok := d[listedState(e)]; ok {
		return detailed
	}
	return e
}

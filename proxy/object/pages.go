package object

import (
	"sync/atomic"
	"time"

	"ssegw/proxy/s3"
)

// metadataRetry is the time between requests for metadata to a store that sent
// none.
const metadataRetry = 10 * time.Minute

// MetadataPages is what is known of the store's pages with metadata. MinIO
// sends them when it is asked with metadata=true, for objects that the caller
// may read.
type MetadataPages struct {
	sealed atomic.Bool  // one had the header of a sealed object
	retry  atomic.Int64 // Unix time before which none is asked for, unless there was one
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

package state

import (
	"github.com/maypok86/otter/v2"

	"ssegw/proxy/s3"
)

// cachedUploads is the capacity of a ListedCache in bytes.
const cachedUploads = 8 << 20

// Listed holds what listings show for an upload.
type Listed struct {
	ID        string        // as clients know it
	Checksums *s3.Checksums // announced at Create; nil: show the store's
}

// Listed returns what listings show for u.
func (u *Upload) Listed() Listed {
	l := Listed{ID: u.ID}
	if !u.Plain {
		l.Checksums = &s3.Checksums{Type: u.Type}
		if u.Algorithm != "" {
			l.Checksums.Algorithms = []string{u.Algorithm}
		}
	}
	return l
}

// ListedCache remembers what listings show for uploads. It is safe for
// concurrent use.
type ListedCache struct{ uploads *otter.Cache[string, Listed] }

// NewListedCache returns an empty cache.
func NewListedCache() *ListedCache {
	return &ListedCache{otter.Must(&otter.Options[string, Listed]{
		MaximumWeight: cachedUploads,
		Weigher: func(prefix string, l Listed) uint32 {
			const entry = 300 // with the checksums
			return uint32(entry + len(prefix) + len(l.ID))
		},
	})}
}

// Add remembers what listings show for u.
func (c *ListedCache) Add(u *Upload) { c.uploads.Set(u.Prefix(), u.Listed()) }

// Get returns what listings show for u, if it is cached. It uses only the
// bucket, the key and the store's part of the ID.
func (c *ListedCache) Get(u *Upload) (Listed, bool) { return c.uploads.GetIfPresent(u.Prefix()) }

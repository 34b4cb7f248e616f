package jobs

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

// pageSize is how many entries a page has. A job goes on after its last whole
// page.
const pageSize = 500

// listing lists the objects of a job.
type listing struct {
	store    upstream.Client
	pages    *object.MetadataPages // what is known of pages with metadata
	bucket   string
	prefix   string
	versions bool // and their older versions and delete markers
}

// listing returns the listing of the job's scope.
func (r *run) listing(versions bool) listing {
	return listing{r.Upstream.Own(), &r.pages, r.job.Bucket, r.job.Prefix, versions}
}

// next returns the page of the entries after at.
func (l *listing) next(ctx context.Context, at Position) (*s3.Listing, error) {
	query := url.Values{"prefix": {l.prefix}, "max-keys": {strconv.Itoa(pageSize)}}
	switch {
	case l.versions:
		query.Set("versions", "")
		if at.Key != "" {
			query.Set("key-marker", at.Key)
			query.Set("version-id-marker", at.Version)
		}
		if at.Version == "" {
			query.Del("version-id-marker")
		}
	default:
		query.Set("list-type", "2")
		if at.Key != "" {
			query.Set("start-after", at.Key)
		}
	}
	if l.pages.WorthAsking() {
		page, err := l.page(ctx, upstream.MetadataQuery(query))
		if err == nil {
			if !l.pages.Learn(page.Entries) && len(page.Entries) > 0 {
				l.pages.SentNone()
			}
			return page, l.check(page, at)
		}
		if upstream.StatusOf(err)/100 != 4 {
			return nil, err
		}
	}
	page, err := l.page(ctx, query)
	if err != nil {
		return nil, err
	}
	return page, l.check(page, at)
}

func (l *listing) page(ctx context.Context, query url.Values) (*s3.Listing, error) {
	resp, err := l.store.Send(ctx, upstream.Request{Method: http.MethodGet, Bucket: l.bucket, Query: query})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return upstream.ParseListing(resp.Body)
}

// check refuses a page that could make a job go round in circles, or end before
// it has seen everything. Stores order keys by their bytes.
func (l *listing) check(page *s3.Listing, at Position) error {
	if page.IsTruncated && len(page.Entries) == 0 {
		return fmt.Errorf("%w: the listing of %s after %q has an empty page, and more after it", upstream.ErrUnavailable, l.bucket, at.Key)
	}
	for i := range page.Entries {
		e := &page.Entries[i]
		if e.Key < at.Key || e.Key == at.Key && (!l.versions || e.VersionID == at.Version) {
			return fmt.Errorf("%w: the listing of %s after %q has %q", upstream.ErrUnavailable, l.bucket, at.Key, e.Key)
		}
		at = Position{Key: e.Key, Version: e.VersionID}
	}
	return nil
}

// has reports whether the store still lists an entry.
func (l listing) has(ctx context.Context, e *s3.Entry) (bool, error) {
	l.prefix = e.Key
	page, err := l.next(ctx, Position{})
	if err != nil {
		return false, err
	}
	for i := range page.Entries {
		if now := &page.Entries[i]; now.Key == e.Key && now.VersionID == e.VersionID && !now.DeleteMarker {
			return true, nil
		}
	}
	return false, nil
}

// hasVersions reports whether the bucket may have older versions.
func hasVersions(ctx context.Context, store upstream.Client, bucket string) (bool, error) {
	resp, err := store.Send(ctx, upstream.Request{Method: http.MethodGet, Bucket: bucket, Query: url.Values{"versioning": {""}}})
	if upstream.LacksSubresource(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	doc, err := upstream.ReadDocument(resp.Body)
	if err != nil {
		return false, err
	}
	var config struct {
		Status string `xml:"Status"` // Enabled, Suspended, or absent if versions were never kept
	}
	if err := xml.Unmarshal(doc, &config); err != nil {
		return false, fmt.Errorf("%w: versioning of %s: %w", upstream.ErrUnavailable, bucket, err)
	}
	return config.Status != "", nil
}

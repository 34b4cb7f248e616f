package proxy

import (
	"context"
	"errors"
	"fmt"

	"github.com/maypok86/otter/v2"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"ssegw/proxy/s3"
)

// cachedUploads bounds the cache of what listings show of uploads.
const cachedUploads = 10_000

// uploadsCache remembers what listings show of uploads, without their headers.
type uploadsCache struct{ uploads *otter.Cache[string, upload] }

func newUploadsCache() *uploadsCache {
	return &uploadsCache{otter.Must(&otter.Options[string, upload]{MaximumSize: cachedUploads})}
}

func (c *uploadsCache) add(u *upload) {
	c.uploads.Set(u.prefix(), upload{ID: u.ID, Plain: u.Plain, Algorithm: u.Algorithm, Type: u.Type})
}

func (c *uploadsCache) get(u *upload) (upload, bool) { return c.uploads.GetIfPresent(u.prefix()) }

// listMultipartUploads is ListMultipartUploads: the upstream's page with the upload
// IDs that clients have, and the checksums that they announced.
func (c *call) listMultipartUploads() error {
	marker := c.req.Query.Get("upload-id-marker")
	if marker != "" {
		c.req.Query.Set("upload-id-marker", storeID(marker))
	}
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
	uploads, err := c.recordedUploads(listing.Entries)
	if err != nil {
		return err
	}
	next := listing.NextUploadID // of an entry, or of an upload below a common prefix, whose key nobody says
	for i, e := range listing.Entries {
		if e.UploadID == listing.NextUploadID {
			next = uploads[i].ID
		}
	}
	page := listing.Splice(func(i int) s3.Edit {
		u := &uploads[i]
		edit := s3.Edit{UploadID: &u.ID}
		if u.Algorithm != "" && !u.Plain {
			edit.Checksums = &s3.Checksums{Algorithms: []string{u.Algorithm}, Type: u.Type}
		}
		return edit
	})
	for name, id := range map[string]string{"UploadIdMarker": marker, "NextUploadIdMarker": next} {
		if id == "" {
			continue
		}
		if page, err = s3.ReplaceText(page, "ListMultipartUploadsResult", name, id); err != nil {
			return fmt.Errorf("%w: %w", errUpstream, err)
		}
	}
	return c.sendDocument(resp, page)
}

// recordedUploads returns what is recorded of each upload; of one without a record,
// the store's ID.
func (c *call) recordedUploads(entries []s3.Entry) ([]upload, error) {
	uploads := make([]upload, len(entries))
	g, ctx := errgroup.WithContext(c.ctx())
	g.SetLimit(listHeads)
	for i, e := range entries {
		listed := &upload{Bucket: c.req.Bucket, Key: e.Key, ID: e.UploadID}
		if u, ok := c.uploads.get(listed); ok {
			uploads[i] = u
			continue
		}
		g.Go(func() error {
			u, err := c.recordedUpload(ctx, listed)
			if err == nil {
				uploads[i] = *u
			}
			return err
		})
	}
	return uploads, g.Wait()
}

// recordedUpload looks for the record of an upload that the store lists. A record
// that does not open fails no page: the upload takes no request.
func (c *call) recordedUpload(ctx context.Context, listed *upload) (*upload, error) {
	u, err := c.State.recordedUpload(ctx, listed.Bucket, listed.Key, listed.ID)
	switch {
	case err == nil:
		c.uploads.add(u)
		return u, nil
	case errors.Is(err, errIntegrity):
		c.log.Warn("upload listed without a usable record", zap.String("key", listed.Key), zap.Error(err))
		return listed, nil
	case errors.Is(err, s3.ErrNoSuchUpload):
		return listed, nil
	}
	return nil, err
}

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

// cachedUploads bounds the cache of upload IDs.
const cachedUploads = 10_000

// uploadsCache remembers the IDs that clients have for uploads, which listings show.
type uploadsCache struct{ ids *otter.Cache[string, string] }

func newUploadsCache() *uploadsCache {
	return &uploadsCache{otter.Must(&otter.Options[string, string]{MaximumSize: cachedUploads})}
}

func (u *uploadsCache) add(up *upload) { u.ids.Set(up.prefix(), up.ID) }
func (u *uploadsCache) get(up *upload) (string, bool) {
	return u.ids.GetIfPresent(up.prefix())
}

// listMultipartUploads is ListMultipartUploads: the upstream's page with the upload
// IDs that clients have.
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
	ids, err := c.uploadIDs(listing.Entries)
	if err != nil {
		return err
	}
	next := listing.NextUploadID // of an entry, or of an upload below a common prefix, whose key nobody says
	for i, e := range listing.Entries {
		if e.UploadID == listing.NextUploadID {
			next = ids[i]
		}
	}
	page := listing.Splice(func(i int) s3.Edit { return s3.Edit{UploadID: &ids[i]} })
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

// uploadIDs returns the ID that clients have for each upload: that of its record,
// or the store's where there is none.
func (c *call) uploadIDs(entries []s3.Entry) ([]string, error) {
	ids := make([]string, len(entries))
	g, ctx := errgroup.WithContext(c.ctx())
	g.SetLimit(listHeads)
	for i, e := range entries {
		u := &upload{Bucket: c.req.Bucket, Key: e.Key, ID: e.UploadID}
		if id, ok := c.uploads.get(u); ok {
			ids[i] = id
			continue
		}
		g.Go(func() (err error) {
			ids[i], err = c.uploadID(ctx, u)
			return err
		})
	}
	return ids, g.Wait()
}

// uploadID looks for the record of an upload that the store lists. A record that
// does not open fails no page: the upload takes no request.
func (c *call) uploadID(ctx context.Context, listed *upload) (string, error) {
	u, err := c.State.recordedUpload(ctx, listed.Bucket, listed.Key, listed.ID)
	switch {
	case err == nil:
		c.uploads.add(u)
		return u.ID, nil
	case errors.Is(err, errIntegrity):
		c.log.Warn("upload listed without a usable record", zap.String("key", listed.Key), zap.Error(err))
		return listed.ID, nil
	case errors.Is(err, s3.ErrNoSuchUpload):
		return listed.ID, nil
	}
	return "", err
}

package proxy

import (
	"context"
	"errors"
	"fmt"

	"github.com/maypok86/otter/v2"
	"go.uber.org/zap"
	"ssegw/proxy/s3"
)

// cachedUploads bounds the cache of what listings show of uploads.
const cachedUploads = 10_000

// shownUpload is what a listing shows of an upload: the ID that clients have for it,
// and the checksum that its Create announced.
type shownUpload struct {
	id        string
	checksums *s3.Checksums // nil: the store's own
}

func (u *upload) shown() shownUpload {
	s := shownUpload{id: u.ID}
	if !u.Plain {
		s.checksums = &s3.Checksums{Type: u.Type}
		if u.Algorithm != "" {
			s.checksums.Algorithms = []string{u.Algorithm}
		}
	}
	return s
}

// uploadsCache remembers what listings show of uploads.
type uploadsCache struct {
	uploads *otter.Cache[string, shownUpload]
}

func newUploadsCache() *uploadsCache {
	return &uploadsCache{otter.Must(&otter.Options[string, shownUpload]{MaximumSize: cachedUploads})}
}

func (u *uploadsCache) add(up *upload) { u.uploads.Set(up.prefix(), up.shown()) }
func (u *uploadsCache) get(up *upload) (shownUpload, bool) {
	return u.uploads.GetIfPresent(up.prefix())
}

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
	listing, err := parseListing(resp.Body)
	if err != nil {
		return err
	}
	shown, err := c.shownUploads(listing.Entries)
	if err != nil {
		return err
	}
	next := listing.NextUploadID // of an entry, or of an upload below a common prefix, whose key nobody says
	for i, e := range listing.Entries {
		if e.UploadID == listing.NextUploadID {
			next = shown[i].id
		}
	}
	page := listing.Splice(func(i int) s3.Edit { return s3.Edit{UploadID: &shown[i].id, Checksums: shown[i].checksums} })
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

// shownUploads returns what to show of each upload: what its record says, or the
// store where there is none.
func (c *reader) shownUploads(entries []s3.Entry) ([]shownUpload, error) {
	shown := make([]shownUpload, len(entries))
	g, ctx := newGroup(c.ctx(), listLooks)
	for i, e := range entries {
		u := &upload{Bucket: c.req.Bucket, Key: e.Key, ID: e.UploadID}
		if s, ok := c.uploads.get(u); ok {
			shown[i] = s
			continue
		}
		g.Go(func() error {
			return c.looking(ctx, func() (err error) {
				shown[i], err = c.shownUpload(ctx, u)
				return err
			})
		})
	}
	return shown, g.Wait()
}

// shownUpload looks for the record of an upload that the store lists. A record that
// does not open fails no page: the upload takes no request.
func (c *reader) shownUpload(ctx context.Context, listed *upload) (shownUpload, error) {
	u, err := c.State.recordedUpload(ctx, listed.Bucket, listed.Key, listed.ID)
	switch {
	case err == nil:
		c.uploads.add(u)
		return u.shown(), nil
	case errors.Is(err, errIntegrity):
		c.log.Warn("upload listed without a usable record", zap.String("key", listed.Key), zap.Error(err))
		return shownUpload{id: listed.ID}, nil
	case errors.Is(err, s3.ErrNoSuchUpload):
		return shownUpload{id: listed.ID}, nil
	}
	return shownUpload{}, err
}

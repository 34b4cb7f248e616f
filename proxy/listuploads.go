package proxy

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/proxy/task"
	"ssegw/proxy/upstream"
)

// listMultipartUploads is ListMultipartUploads. It returns the store's page
// with the clients' upload IDs and the announced checksums.
func listMultipartUploads(c *call) error {
	marker := c.req.Query.Get("upload-id-marker")
	o := outgoing(c)
	if marker != "" {
		o.Query.Set("upload-id-marker", state.StoreID(marker))
	}
	resp, err := sendOn(c, o)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	listing, err := upstream.ParseListing(resp.Body)
	if err != nil {
		return err
	}
	shown, err := shownUploads(c, listing.Entries)
	if err != nil {
		return err
	}
	next := listing.NextUploadID // an entry's, or that of an upload below a common prefix, whose key is unknown
	for i, e := range listing.Entries {
		if e.UploadID == listing.NextUploadID {
			next = shown[i].ID
		}
	}
	page := listing.Splice(func(i int) s3.Edit { return s3.Edit{UploadID: &shown[i].ID, Checksums: shown[i].Checksums} })
	for name, id := range map[string]string{"UploadIdMarker": marker, "NextUploadIdMarker": next} {
		if id == "" {
			continue
		}
		if page, err = s3.ReplaceText(page, "ListMultipartUploadsResult", name, id); err != nil {
			return fmt.Errorf("%w: %w", upstream.ErrUnavailable, err)
		}
	}
	return sendRewritten(c, resp, page)
}

// shownUploads returns what each entry of the page shows: what its record
// tells, or what the store tells if there is none.
func shownUploads(c *call, entries []s3.Entry) ([]state.Listed, error) {
	shown := make([]state.Listed, len(entries))
	return shown, task.Each(c.ctx(), pageLookups, len(entries), func(ctx context.Context, i int) error {
		u := &state.Upload{Bucket: c.req.Bucket, Key: entries[i].Key, ID: entries[i].UploadID}
		if s, ok := c.gw.uploads.Get(u); ok {
			shown[i] = s
			return nil
		}
		return c.withLookup(ctx, func() (err error) {
			shown[i], err = recordOf(c, ctx, u)
			return err
		})
	})
}

// recordOf looks up the record of an upload that the store lists. A record that
// does not open does not fail the page, because the upload accepts no requests
// anyway.
func recordOf(c *call, ctx context.Context, listed *state.Upload) (state.Listed, error) {
	u, err := c.gw.State.RecordedUpload(ctx, listed.Bucket, listed.Key, listed.ID)
	switch {
	case err == nil:
		c.gw.uploads.Add(u)
		return u.Listed(), nil
	case errors.Is(err, state.ErrRecord):
		c.log.Warn("upload listed without a usable record", zap.String("key", listed.Key), zap.Error(err))
		return state.Listed{ID: listed.ID}, nil
	case errors.Is(err, s3.ErrNoSuchUpload):
		return state.Listed{ID: listed.ID}, nil
	}
	return state.Listed{}, err
}

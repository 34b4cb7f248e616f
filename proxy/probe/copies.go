package probe

import (
	"context"
	"net/http"
	"net/url"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

// Copies finds out how the store copies objects.
func (c Prober) Copies(ctx context.Context) error {
	found := upstream.Copies{Tags: true}
	err := c.With(ctx, "", func(from string) error {
		return c.With(ctx, "", func(to string) error {
			p := copyProbe{c, from, to}
			tagged, err := p.begin(ctx)
			if err != nil {
				return err
			}
			found.Replace, err = p.copies(ctx, "")
			if err == nil && !found.Replace && tagged { // the right to copy tags may be missing
				tagged = false
				if _, err = p.Put(ctx, p.Bucket, p.from, []byte("probe"), http.Header{}); err == nil {
					found.Replace, err = p.copies(ctx, "")
				}
			}
			if err != nil || !found.Replace {
				return unlessRefused(err)
			}
			if tagged {
				if found.Tags, err = p.hasTags(ctx, p.to); err != nil {
					return err
				}
			}
			found.Source, err = p.sourceGuard(ctx)
			return err
		})
	})
	if err = unlessOdd(err); err != nil {
		return err
	}
	c.Store().Learn(func(all *upstream.Capabilities) { all.Copies = found })
	return nil
}

// copyProbe copies a probe.
type copyProbe struct {
	Prober
	from, to string
}

// probeTags are the tags of probes, in the form of x-amz-tagging.
const probeTags = "probe=tag"

// begin stores the source, with a tag if the store has tags.
func (p copyProbe) begin(ctx context.Context) (tagged bool, err error) {
	h := http.Header{}
	h.Set(s3.HeaderTagging, probeTags)
	if _, err = p.Put(ctx, p.Bucket, p.from, []byte("probe"), h); err == nil {
		return true, nil
	}
	if err := unlessRefused(err); err != nil {
		return false, err
	}
	_, err = p.Put(ctx, p.Bucket, p.from, []byte("probe"), http.Header{})
	return false, unlessRefused(err)
}

// copies reports whether the store copies the source with other metadata, under
// a condition on the source's ETag unless match is "".
func (p copyProbe) copies(ctx context.Context, match string) (bool, error) {
	h := http.Header{}
	h.Set(probeMeta, upstream.RandomTag())
	h.Set(s3.HeaderMetadataDirective, "REPLACE")
	h.Set(s3.HeaderCopySource, (&s3.CopySource{Bucket: p.Bucket, Key: p.from}).String())
	if match != "" {
		h.Set(s3.HeaderCopySourceIfMatch, match)
	}
	if _, _, err := p.Copy(ctx, p.Bucket, p.to, nil, h); err != nil {
		return false, unlessRefused(err)
	}
	stored, err := p.Head(ctx, p.Bucket, p.to)
	if err != nil {
		return false, unlessRefused(err)
	}
	return stored.Get(probeMeta) == h.Get(probeMeta), nil
}

// sourceGuard finds out for which sources the condition holds. Afterwards the
// source has another body.
func (p copyProbe) sourceGuard(ctx context.Context) (upstream.SourceGuard, error) {
	honoured := func() (bool, error) {
		stored, err := p.Head(ctx, p.Bucket, p.from)
		if err != nil {
			return false, unlessRefused(err)
		}
		if taken, err := p.copies(ctx, AnotherTag); err != nil || taken {
			return false, err
		}
		return p.copies(ctx, stored.Get("ETag"))
	}
	if ok, err := honoured(); err != nil || !ok {
		return upstream.GuardNone, err
	}
	up, parts, err := p.upload(ctx, p.from, http.Header{})
	if err != nil {
		return upstream.GuardSingle, unlessRefused(err)
	}
	if _, _, err = p.CompleteUpload(ctx, up, parts, http.Header{}); err != nil {
		p.dropUpload(ctx, up)
		return upstream.GuardSingle, unlessRefused(err)
	}
	if ok, err := honoured(); err != nil || !ok {
		return upstream.GuardSingle, err
	}
	return upstream.GuardAll, nil
}

// hasTags reports whether a probe has the probes' tags.
func (c Prober) hasTags(ctx context.Context, name string) (bool, error) {
	tags, err := c.Tags(ctx, c.Bucket, name, url.Values{})
	if err != nil {
		return false, unlessRefused(err)
	}
	return tags.Encode() == probeTags, nil
}

// UploadTags finds out whether the store keeps the tags of a
// CreateMultipartUpload. A store that refuses them, or on which no tags can be
// set later, counts as one that keeps them: the gateway could do nothing else.
func (c Prober) UploadTags(ctx context.Context) error {
	kept := false
	err := c.With(ctx, "", func(name string) (err error) {
		kept, err = c.keepsUploadTags(ctx, name)
		return err
	})
	if err = unlessOdd(err); err != nil {
		return err
	}
	c.Store().Learn(func(found *upstream.Capabilities) { found.UploadTags = kept })
	return nil
}

// keepsUploadTags tries it with the object name.
func (c Prober) keepsUploadTags(ctx context.Context, name string) (bool, error) {
	h := http.Header{}
	h.Set(s3.HeaderTagging, probeTags)
	up, parts, err := c.upload(ctx, name, h)
	if err != nil {
		err = unlessRefused(err)
		return err == nil, err
	}
	if _, _, err = c.CompleteUpload(ctx, up, parts, http.Header{}); err != nil {
		c.dropUpload(ctx, up)
		err = unlessRefused(err)
		return err == nil, err
	}
	// An answer that makes no sense shows, too, that the tags are lost.
	if kept, err := c.hasTags(ctx, name); kept || unlessOdd(err) != nil {
		return kept, err
	}
	if err := c.SetTags(ctx, c.Bucket, name, "", probeTags); err != nil {
		err = unlessRefused(err)
		return err == nil, err
	}
	set, err := c.hasTags(ctx, name)
	return !set, err
}

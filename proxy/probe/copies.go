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
				if found.Tags, err = p.keepsTags(ctx); err != nil {
					return err
				}
			}
			found.Source, err = p.sourceGuard(ctx)
			return err
		})
	})
	if err = c.unlessOdd(ctx, err); err != nil {
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
	up, parts, err := p.upload(ctx, p.from)
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

// keepsTags reports whether the copy has the tags of the source.
func (p copyProbe) keepsTags(ctx context.Context) (bool, error) {
	tags, err := p.Tags(ctx, p.Bucket, p.to, url.Values{})
	if err != nil {
		return false, unlessRefused(err)
	}
	return tags.Encode() == probeTags, nil
}

package probe

import (
	"context"
	"net/http"

	"ssegw/proxy/upstream"
)

// AnotherTag is an ETag that no probe has: it is the one of an empty object.
const AnotherTag = `"d41d8cd98f00b204e9800998ecf8427e"`

// Conditions finds out which conditions of writes and deletes the store
// honours.
func (c Prober) Conditions(ctx context.Context) error {
	var put, remove, complete upstream.Conditions
	err := c.With(ctx, "", func(name string) (err error) {
		if put, err = c.putConditions(ctx, name); err == nil {
			remove, err = c.deleteConditions(ctx, name, put.Match)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = c.With(ctx, "", func(name string) (err error) {
		complete, err = c.completeConditions(ctx, name)
		return err
	})
	if err = unlessOdd(err); err != nil {
		return err
	}
	if complete.Match != upstream.TagNone {
		complete.Match = max(put.Match, upstream.TagQuoted)
	}
	c.Store().Learn(func(found *upstream.Capabilities) { found.Put, found.Complete, found.Delete = put, complete, remove })
	return nil
}

// putConditions tries a PutObject under each condition. name names no object;
// afterwards it does.
func (c Prober) putConditions(ctx context.Context, name string) (found upstream.Conditions, err error) {
	body := byte('0')
	try := func(header, value string) (taken, lost bool, err error) {
		body++ // another ETag each time
		h := http.Header{}
		if header != "" {
			h.Set(header, value)
		}
		o := upstream.Request{Method: http.MethodPut, Bucket: c.Bucket, Key: name, Header: h, AsIs: true}
		o.SetDocument([]byte{body}) // with the checksum that a bucket with locks requires
		_, err = c.Exec(ctx, o)
		lost = upstream.LostRace(err) || upstream.StatusOf(err) == http.StatusNotFound
		return err == nil, lost, unlessRefused(err)
	}
	_, lost, err := try("If-Match", AnotherTag)
	if err != nil {
		return found, err
	}
	found.Missing = lost
	taken, _, err := try("", "")
	if err != nil {
		return found, err
	}
	if !taken {
		return found, nil // it refuses all writes, which the other probes report
	}
	if _, found.Create, err = try("If-None-Match", "*"); err != nil {
		return found, err
	}
	for _, form := range [...]upstream.TagForm{upstream.TagQuoted, upstream.TagBare} {
		ok, err := c.matches(ctx, name, form, try)
		if err != nil {
			return found, err
		}
		if ok {
			found.Match = form
			break
		}
	}
	return found, nil
}

// matches reports whether the store honours If-Match with ETags in a form: it
// refuses another ETag than the object's, and takes the object's.
func (c Prober) matches(ctx context.Context, name string, form upstream.TagForm, try func(header, value string) (taken, lost bool, err error)) (bool, error) {
	if _, lost, err := try("If-Match", form.Of(AnotherTag)); err != nil || !lost {
		return false, err
	}
	h, err := c.Head(ctx, c.Bucket, name)
	if err != nil {
		return false, err
	}
	taken, _, err := try("If-Match", form.Of(h.Get("ETag")))
	return taken, err
}

// deleteConditions tries to delete the object name under the ETag of another
// one. form is that of an If-Match in a PutObject.
func (c Prober) deleteConditions(ctx context.Context, name string, form upstream.TagForm) (found upstream.Conditions, err error) {
	h := http.Header{"If-Match": {form.Of(AnotherTag)}}
	_, err = c.Exec(ctx, upstream.Request{Method: http.MethodDelete, Bucket: c.Bucket, Key: name, Header: h, AsIs: true})
	if upstream.LostRace(err) {
		found = upstream.Conditions{Match: max(form, upstream.TagQuoted), Missing: true}
	}
	return found, unlessRefused(err)
}

// completeConditions tries a CompleteMultipartUpload under each condition. name
// names no object; afterwards it may.
func (c Prober) completeConditions(ctx context.Context, name string) (found upstream.Conditions, err error) {
	up, parts, err := c.upload(ctx, name, http.Header{})
	if err != nil {
		return found, unlessRefused(err)
	}
	defer func() { c.dropUpload(ctx, up) }()
	try := func(header, value string) (lost bool, err error) {
		_, _, err = c.CompleteUpload(ctx, up, parts, http.Header{header: {value}})
		return upstream.LostRace(err) || upstream.StatusOf(err) == http.StatusNotFound, unlessRefused(err)
	}
	if found.Missing, err = try("If-Match", AnotherTag); err != nil {
		return found, err
	}
	if _, err = c.Put(ctx, c.Bucket, name, []byte("probe"), http.Header{}); err == nil && !found.Missing {
		c.dropUpload(ctx, up) // it may be complete
		up, parts, err = c.upload(ctx, name, http.Header{})
	}
	if err != nil {
		return found, unlessRefused(err)
	}
	// A Complete that ignores its condition ends the upload.
	if found.Create, err = try("If-None-Match", "*"); err != nil || !found.Create {
		return found, err
	}
	if lost, err := try("If-Match", AnotherTag); err != nil || !lost {
		return found, err
	}
	stored, err := c.Head(ctx, c.Bucket, name)
	if err != nil {
		return found, unlessRefused(err)
	}
	if _, _, err = c.CompleteUpload(ctx, up, parts, http.Header{"If-Match": {stored.Get("ETag")}}); err == nil {
		found.Match, up.ID = upstream.TagQuoted, "" // there is nothing to drop
	}
	return found, unlessRefused(err)
}

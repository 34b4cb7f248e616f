package proxy

import (
	"net/http"
	"slices"
	"strconv"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/task"
)

// deleteObject is DeleteObject. Conditions on size and time are translated or
// checked here. ETags alone are translated by forward.
func deleteObject(c *call) error {
	if v := c.req.Header.Get(headerIfMatchTime); v != "" {
		if err := c.object().CheckTime(c.ctx(), v); err != nil {
			return err
		}
	}
	v, tags := c.req.Header.Get(headerIfMatchSize), object.EntityTags(c.req.Header.Get("If-Match"))
	var size *int64
	if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 {
		size = &n
	} else if v != "" {
		return s3.ErrArgument("x-amz-if-match-size", v, "The size is malformed.")
	} else if !slices.Equal(tags, []string{"*"}) { // which some stores take for an ETag
		return forward(c)
	}
	r := c.access().At(s3.CopySource{Bucket: c.req.Bucket, Key: c.req.Key, VersionID: c.req.Query.Get("versionId")}, http.Header{})
	etag, stored, err := r.DeleteCondition(c.ctx(), tags, size)
	if err != nil {
		return err
	}
	o := outgoing(c)
	o.Header.Set("If-Match", etag)
	if size != nil {
		o.Header.Set(headerIfMatchSize, strconv.FormatInt(stored, 10))
	}
	return forwardAs(c, o, refuseStateBucket)
}

// Conditions of DeleteObject, in addition to If-Match.
const (
	headerIfMatchSize = "X-Amz-If-Match-Size"
	headerIfMatchTime = "X-Amz-If-Match-Last-Modified-Time"
)

// deleteObjects is DeleteObjects. Its document has keys, which can be any text,
// so it may contain the name of the state bucket.
func deleteObjects(c *call) error { return forwardAs(c, outgoing(c), translateDelete) }

// maxDeletes is how many objects one DeleteObjects may name.
const maxDeletes = 1000

// translateDelete is the edit of DeleteObjects: it translates the conditions in
// the document. Each object with a condition to translate costs a HEAD. Errors
// in a document without conditions are left to the store.
func translateDelete(c *call, doc []byte) (translated []byte, changed bool, err error) {
	list, err := s3.ParseDelete(doc)
	conditions, changed := object.DeleteConditions(doc)
	switch {
	case err == nil && len(list.Entries) > maxDeletes, err != nil && changed:
		return nil, false, s3.ErrMalformedXML.With(err)
	}
	if err := c.gw.subresources.CheckDeletes(c.ctx(), c.store(), conditions); err != nil {
		return nil, false, err
	}
	if !changed {
		return doc, false, nil
	}
	edits := make([]s3.Edit, len(list.Entries))
	access := c.access()
	g, ctx := task.NewGroup(c.ctx(), pageLookups)
	for i, e := range list.Entries {
		var size *int64
		if e.HasSize() {
			size = &e.Size
		}
		wanted := object.EntityTags(e.ETag)
		if size == nil && (len(wanted) != 1 || !object.HasSuffix(wanted[0])) {
			continue
		}
		g.Go(func() error {
			return c.withLookup(ctx, func() error {
				r := access.At(s3.CopySource{Bucket: c.req.Bucket, Key: e.Key, VersionID: e.VersionID}, http.Header{})
				etag, stored, err := r.DeleteCondition(ctx, wanted, size)
				edits[i].ETag = &etag
				if size != nil {
					edits[i].Size = &stored
				}
				return err
			})
		})
	}
	if err := g.Wait(); err != nil {
		return nil, false, err
	}
	return list.Splice(func(i int) s3.Edit { return edits[i] }), true, nil
}

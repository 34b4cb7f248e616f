package proxy

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/task"
	"ssegw/proxy/upstream"
)

// deleteObject is DeleteObject. A size condition is translated here. ETags
// alone are translated by forward.
func deleteObject(c *call) error {
	size, err := strconv.ParseInt(c.req.Header.Get(headerIfMatchSize), 10, 64)
	if err != nil {
		return forward(c) // none, or the store tells what is wrong with it
	}
	r := c.access().At(s3.CopySource{Bucket: c.req.Bucket, Key: c.req.Key, VersionID: c.req.Query.Get("versionId")}, http.Header{})
	etag, stored, err := storeCondition(c.ctx(), r, object.EntityTags(c.req.Header.Get("If-Match")), &size)
	if err != nil {
		return err
	}
	o := outgoing(c)
	o.Header.Set("If-Match", etag)
	o.Header.Set(headerIfMatchSize, strconv.FormatInt(stored, 10))
	return forwardAs(c, o, refuseStateBucket)
}

// Clients write conditions of a delete with plaintext sizes and shown ETags.
// The gateway replaces them with the size and the ETag at the store if they
// hold, and otherwise with an ETag that no object has. The store then evaluates
// them, so an object that changes in between is not deleted.

// headerIfMatchSize is the size condition of DeleteObject.
const headerIfMatchSize = "X-Amz-If-Match-Size"

// storeCondition translates conditions on the reader's object: the ETag is one
// of tags, unless there are none, and the plaintext size is *size, unless it is
// nil. It returns ETag and size for the store to check: those of the object if
// the conditions hold, otherwise an ETag that no object has.
func storeCondition(ctx context.Context, r *object.Reader, tags []string, size *int64) (etag string, stored int64, err error) {
	none := `"` + upstream.RandomTag() + `"`
	head, err := r.Head(ctx, object.Request{})
	if upstream.StatusOf(err) == http.StatusNotFound {
		return none, 0, nil
	}
	if err != nil {
		return "", 0, err
	}
	seen := head.Size
	if size != nil && head.Sealed() {
		o, err := r.Verify(ctx, head.Header, head.Size, nil)
		if errors.Is(err, object.ErrIntegrity) {
			return none, 0, nil // no size to rely on
		}
		if err != nil {
			return "", 0, err
		}
		o.Wipe()
		seen = o.Size
	}
	if (object.Conditions{Match: tags}).Check(object.ShownTag(head.Header)) != nil || size != nil && *size != seen {
		return none, head.Size, nil
	}
	return head.Header.Get("ETag"), head.Size, nil
}

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
	switch changed = hasConditions(doc); {
	case err == nil && len(list.Entries) > maxDeletes, err != nil && changed:
		return nil, false, s3.ErrMalformedXML.With(err)
	case !changed:
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
				etag, stored, err := storeCondition(ctx, r, wanted, size)
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

// hasConditions reports whether the document of a DeleteObjects has conditions
// that must be translated: sizes, and ETags that may be those of sealed
// objects.
func hasConditions(doc []byte) bool {
	for _, m := range deleteCondition.FindAllSubmatch(doc, -1) {
		tag := strings.Trim(strings.ReplaceAll(string(m[2]), "&quot;", `"`), `" `)
		if string(m[1]) == "Size" || tag == "" || object.HasSuffix(tag) {
			return true
		}
	}
	return false
}

// deleteCondition finds the conditions in the document of a DeleteObjects.
var deleteCondition = regexp.MustCompile(`<(?:\w+:)?(ETag|Size)\b[^>]*>([^<]*)`)

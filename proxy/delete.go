package proxy

import (
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// Conditions of a delete are about what clients see: plaintext sizes and shown
// ETags. The store is told the size and the ETag that the object has there, or an
// ETag that no object has: it evaluates them, so an object that changes in between is
// not deleted.

// headerIfMatchSize is the condition on the size of a DeleteObject.
const headerIfMatchSize = "X-Amz-If-Match-Size"

// deleteObject is DeleteObject. Only its condition on the size needs a look here:
// forward translates ETags.
func (c *call) deleteObject() error {
	size, err := strconv.ParseInt(c.req.Header.Get(headerIfMatchSize), 10, 64)
	if err != nil {
		return c.forward() // there is none, or the store says what is wrong with it
	}
	h := c.req.Header
	at := c.at(c.ctx(), s3.CopySource{Bucket: c.req.Bucket, Key: c.req.Key, VersionID: c.req.Query.Get("versionId")}, http.Header{})
	etag, stored, err := at.demand(tags(h.Get("If-Match")), &size)
	if err != nil {
		return err
	}
	h.Set("If-Match", etag)
	h.Set(headerIfMatchSize, strconv.FormatInt(stored, 10))
	return c.forward()
}

// deleteCondition finds the conditions in the document of a DeleteObjects.
var deleteCondition = regexp.MustCompile(`<(?:\w+:)?(ETag|Size)\b[^>]*>([^<]*)`)

// hasConditions reports whether the document of a DeleteObjects has conditions that
// mean another thing upstream than to the client: sizes, and entity tags that can be
// those of sealed objects.
func hasConditions(doc []byte) bool {
	for _, m := range deleteCondition.FindAllSubmatch(doc, -1) {
		tag := strings.Trim(strings.ReplaceAll(string(m[2]), "&quot;", `"`), `" `)
		if string(m[1]) == "Size" || tag == "" || hasSuffix(tag) {
			return true
		}
	}
	return false
}

// maxDeletes is how many objects a DeleteObjects may name.
const maxDeletes = 1000

// translateDelete returns the document of a DeleteObjects with its conditions as
// they are upstream, and whether they are others. Each object that has one of those
// in question costs a HEAD. What is wrong with a document without conditions is for
// the store to say.
func (c *reader) translateDelete(doc []byte) (translated []byte, changed bool, err error) {
	list, err := s3.ParseDelete(doc)
	switch changed = hasConditions(doc); {
	case err == nil && len(list.Entries) > maxDeletes, err != nil && changed:
		return nil, false, s3.ErrMalformedXML.With(err)
	case !changed:
		return doc, false, nil
	}
	edits := make([]s3.Edit, len(list.Entries))
	g, ctx := newGroup(c.ctx(), listLooks)
	for i, e := range list.Entries {
		var size *int64
		if e.HasSize() {
			size = &e.Size
		}
		wanted := tags(e.ETag)
		if size == nil && (len(wanted) != 1 || !hasSuffix(wanted[0])) {
			continue
		}
		g.Go(func() error {
			return c.looking(ctx, func() error {
				at := c.at(ctx, s3.CopySource{Bucket: c.req.Bucket, Key: e.Key, VersionID: e.VersionID}, http.Header{})
				etag, stored, err := at.demand(wanted, size)
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

// demand turns conditions on the request's object into the store's: that it has one
// of the tags, if there are any, and that size. The ETag returned is that of the
// object looked at, if the conditions hold for it, otherwise one that no object has.
func (c *reader) demand(tags []string, size *int64) (etag string, stored int64, err error) {
	none := `"` + randomTag() + `"`
	head, err := c.head(lookup{})
	if statusOf(err) == http.StatusNotFound {
		return none, 0, nil
	}
	if err != nil {
		return "", 0, err
	}
	seen := head.size
	if size != nil && head.header.Get(sealer.MetadataKey) != "" {
		o, err := c.look(head.header, head.size)
		if errors.Is(err, errIntegrity) {
			return none, 0, nil // it has no size that can be relied on
		}
		if err != nil {
			return "", 0, err
		}
		o.wipe()
		seen = o.size
	}
	if (readConditions{match: tags}).check(shownTag(head.header)) != nil || size != nil && *size != seen {
		return none, head.size, nil
	}
	return head.header.Get("ETag"), head.size, nil
}

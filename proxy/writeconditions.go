package proxy

import (
	"net/http"
	"slices"
	"strings"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

// translateConditions replaces the ETags in the conditions of a write with
// those at the store, which then evaluates the conditions atomically. If the
// object changes in between, it has another ETag and the condition fails.
func translateConditions(c *call, header http.Header) error {
	for _, name := range [...]string{"If-Match", "If-None-Match"} {
		value := header.Get(name)
		list := object.EntityTags(value)
		if value == "" || slices.Equal(list, []string{"*"}) || !slices.ContainsFunc(list, object.HasSuffix) {
			continue
		}
		answer, err := c.store().Exec(c.ctx(), upstream.Request{
			Method: http.MethodHead, Bucket: c.req.Bucket, Key: c.req.Key, Query: c.object().VersionQuery(),
		})
		if upstream.StatusOf(err) == http.StatusNotFound {
			continue // no tag matches a missing object
		}
		if err != nil {
			return err
		}
		stored := strings.Trim(answer.Get("ETag"), `"`)
		shown := strings.Trim(s3.ETagShown(stored, object.IsSealed(answer)), `"`)
		for i, t := range list {
			if t == shown {
				list[i] = stored
			}
		}
		header.Set(name, `"`+strings.Join(list, `", "`)+`"`)
	}
	return nil
}

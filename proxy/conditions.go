package proxy

import (
	"net/http"
	"slices"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// A sealed object's ETag is shown with "-1" appended when the upstream's has no
// hyphen (s3.ETagShown). Conditions travel the other way: a shown "X-1" may be
// the upstream's "X" or a true one-part "X-1".

// tags splits the value of If-Match or If-None-Match into its entity tags,
// without quotes.
func tags(value string) []string {
	var out []string
	for t := range strings.SplitSeq(value, ",") {
		t = strings.TrimPrefix(strings.TrimSpace(t), "W/")
		if t = strings.Trim(t, `"`); t != "" {
			out = append(out, t)
		}
	}
	return out
}

// withoutSuffix returns the tag that an upstream may have for a shown "X-1".
func withoutSuffix(tag string) (string, bool) {
	base, ok := strings.CutSuffix(tag, "-1")
	return base, ok && base != "" && !strings.Contains(base, "-")
}

// translateConditions rewrites the entity tags in the conditions of a write to
// what the object has upstream, so that the upstream evaluates them atomically.
// An object that changes in between has another tag and fails them.
func (c *call) translateConditions(header http.Header) error {
	for _, name := range [...]string{"If-Match", "If-None-Match"} {
		value := header.Get(name)
		list := tags(value)
		if value == "" || slices.Equal(list, []string{"*"}) || !slices.ContainsFunc(list, hasSuffix) {
			continue
		}
		resp, err := c.Upstream.expect(c.ctx(), outgoing{
			method: http.MethodHead, bucket: c.req.Bucket, key: c.req.Key, query: c.versionQuery(), as: c.caller(),
		})
		if statusOf(err) == http.StatusNotFound {
			continue // no tag matches what is not there
		}
		if err != nil {
			return err
		}
		discard(resp)
		stored := strings.Trim(resp.Header.Get("ETag"), `"`)
		shown := strings.Trim(s3.ETagShown(stored, resp.Header.Get(sealer.MetadataKey) != ""), `"`)
		for i, t := range list {
			if t == shown {
				list[i] = stored
			}
		}
		header.Set(name, `"`+strings.Join(list, `", "`)+`"`)
	}
	return nil
}

func hasSuffix(tag string) bool {
	_, ok := withoutSuffix(tag)
	return ok
}

// readConditions are the ETag conditions of a GET or HEAD. They are sent in the
// likelier form and checked again against the answer itself.
type readConditions struct {
	match     []string // shown tags of If-Match; nil: no condition
	noneMatch []string // shown tags of If-None-Match
}

func (c *reader) readConditions() readConditions {
	return readConditions{tags(c.req.Header.Get("If-Match")), tags(c.req.Header.Get("If-None-Match"))}
}

// set puts the conditions into an upstream header, a shown "X-1" as "X". A
// list, which stores do not understand, is left to check, and with it the date
// condition that it takes precedence over (RFC 9110, section 13.2.2).
func (r readConditions) set(h http.Header, literal bool) {
	for _, p := range [...]struct {
		name, date string
		tags       []string
	}{{"If-Match", "If-Unmodified-Since", r.match}, {"If-None-Match", "If-Modified-Since", r.noneMatch}} {
		switch len(p.tags) {
		case 0:
			h.Del(p.name)
		case 1:
			tag := p.tags[0]
			if base, ok := withoutSuffix(tag); ok && !literal {
				tag = base
			}
			if tag != "*" {
				tag = `"` + tag + `"`
			}
			h.Set(p.name, tag)
		default:
			h.Del(p.name)
			h.Del(p.date)
		}
	}
}

// ambiguous reports whether set sent a tag in another form than the shown one.
func (r readConditions) ambiguous() bool {
	return len(r.match) == 1 && hasSuffix(r.match[0])
}

// check evaluates the conditions on the tag that the client is about to see.
func (r readConditions) check(shown string) error {
	tag := strings.Trim(shown, `"`)
	holds := func(list []string) bool { return slices.Contains(list, "*") || slices.Contains(list, tag) }
	if len(r.match) > 0 && !holds(r.match) {
		return s3.ErrPreconditionFailed
	}
	if len(r.noneMatch) > 0 && holds(r.noneMatch) {
		return s3.ErrNotModified
	}
	return nil
}

package object

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// A sealed object's ETag is shown with "-1" appended if the store's has no
// hyphen (s3.ETagShown). Conditions travel the other way: a shown "X-1" may be
// the store's "X" or a real "X-1", of an object with one part.

// EntityTags splits the value of If-Match or If-None-Match into its entity
// tags, without quotes. The tag "" is that of no object.
func EntityTags(value string) []string {
	var out []string
	for t := range strings.SplitSeq(value, ",") {
		t = strings.TrimPrefix(strings.TrimSpace(t), "W/")
		if t != "" {
			out = append(out, strings.Trim(t, `"`))
		}
	}
	return out
}

// withoutSuffix returns the tag that a store may have for a shown "X-1".
func withoutSuffix(tag string) (string, bool) {
	base, ok := strings.CutSuffix(tag, "-1")
	return base, ok && base != "" && !strings.Contains(base, "-")
}

// HasSuffix reports whether a tag may be the shown form of another one.
func HasSuffix(tag string) bool {
	_, ok := withoutSuffix(tag)
	return ok
}

// Conditions are the ETag conditions of a GET or HEAD. They are sent to the
// store in the likelier form, and checked again against its answer.
type Conditions struct {
	Match     []string // shown tags of If-Match; nil: no condition
	NoneMatch []string // shown tags of If-None-Match; nil: no condition
}

// IsConditional reports whether a write has conditions on the object that it
// replaces.
func IsConditional(header http.Header) bool {
	return header.Get("If-Match") != "" || header.Get("If-None-Match") != ""
}

// ConditionsOf reads the conditions in a request's headers.
func ConditionsOf(h http.Header) Conditions {
	return Conditions{EntityTags(h.Get("If-Match")), EntityTags(h.Get("If-None-Match"))}
}

// set writes the conditions into a header for the store, a shown "X-1" as "X"
// unless literal. Stores do not understand lists, and not all of them the "*"
// of an If-Match: these are left to Check, and with them the date condition
// that they take precedence over (RFC 9110, section 13.2.2).
func (c Conditions) set(h http.Header, literal bool) {
	for _, p := range [...]struct {
		name, date string
		tags       []string
	}{{"If-Match", "If-Unmodified-Since", c.Match}, {"If-None-Match", "If-Modified-Since", c.NoneMatch}} {
		switch {
		case len(p.tags) == 0:
			h.Del(p.name)
		case len(p.tags) == 1 && (p.name != "If-Match" || p.tags[0] != "*"):
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
func (c Conditions) ambiguous() bool { return len(c.Match) == 1 && HasSuffix(c.Match[0]) }

// Check evaluates the conditions on the tag that the client is about to see.
// The errors are s3.ErrPreconditionFailed and s3.ErrNotModified.
func (c Conditions) Check(shown string) error {
	tag := strings.Trim(shown, `"`)
	holds := func(list []string) bool { return slices.Contains(list, "*") || slices.Contains(list, tag) }
	if len(c.Match) > 0 && !holds(c.Match) {
		return s3.ErrPreconditionFailed
	}
	if len(c.NoneMatch) > 0 && holds(c.NoneMatch) {
		return s3.ErrNotModified
	}
	return nil
}

// conditionFailed is the answer to a condition that the store found not to hold
// (RFC 9110, sections 15.4.5 and 15.5.13): its 304 or 412 with the headers of
// the object as clients know it. They take another request.
func (r *Reader) conditionFailed(ctx context.Context, err error) error {
	var up *upstream.Error
	if !errors.As(err, &up) {
		return err
	}
	h := http.Header{}
	list := ConditionsOf(r.Header).NoneMatch
	head, unknown := r.Head(ctx, Request{Guard: up.Header.Get("ETag"), Bare: true})
	switch {
	case unknown == nil:
		parsed, _ := sealer.ParseHeader(head.Header)
		h = r.validators(ctx, head.Header, parsed, up.Status)
	case up.Status == http.StatusNotModified && len(list) == 1 && list[0] != "*":
		h.Set("ETag", `"`+list[0]+`"`)
	}
	return up.S3(r.Name.Key != "").Headers(h).With(err)
}

// CheckConditions evaluates the client's conditions on an object that is not
// sealed. The error has the headers that its answer needs.
func (r *Reader) CheckConditions(ctx context.Context, stored http.Header) error {
	return r.checkConditions(ctx, stored, nil)
}

// checkConditions is CheckConditions for any object. parsed is its sealed
// header, nil for an object without one.
func (r *Reader) checkConditions(ctx context.Context, stored http.Header, parsed *sealer.Parsed) error {
	err := ConditionsOf(r.Header).Check(ShownTag(stored))
	var own *s3.Error
	if errors.As(err, &own) {
		return own.Headers(r.validators(ctx, stored, parsed, own.Status))
	}
	return err
}

// validators are the headers that tell which object an answer is about. A cache
// takes over the headers of a 304, so they include those about caching. parsed
// is the sealed header of the object, nil if it has none or cannot be read.
func (r *Reader) validators(ctx context.Context, stored http.Header, parsed *sealer.Parsed, status int) http.Header {
	h := http.Header{}
	upstream.PassHeaders(h, stored, "Last-Modified", "Vary", s3.HeaderVersionID)
	if tag := ShownTag(stored); tag != "" {
		h.Set("ETag", tag)
	}
	if status != http.StatusNotModified {
		return h
	}
	kept := http.Header{}
	if !IsSealed(stored) {
		upstream.CopyObject(kept, stored)
	} else if parsed != nil {
		if content, err := r.content(ctx, stored, parsed); err == nil {
			SetContent(kept, content)
		}
	}
	upstream.PassHeaders(h, kept, "Cache-Control", "Expires", "Content-Location")
	return h
}

// content authenticates the content of a sealed object. Unlike Verify it reads
// no trailer, and counts no failure.
func (r *Reader) content(ctx context.Context, stored http.Header, parsed *sealer.Parsed) (sealer.Content, error) {
	h, facts, err := r.facts(ctx, parsed)
	if err != nil {
		return nil, err
	}
	defer facts.Wipe()
	return sealer.OpenContent(stored, r.Name.Key, h.Size, facts.Headers)
}

// StoreConditions replaces the ETags in the conditions of a write with those at
// the store, which then evaluates the conditions atomically. If the object
// changes in between, it has another ETag and the condition fails. The "*" of
// an If-Match becomes the ETag of the object, because some stores take it for
// one.
func (r *Reader) StoreConditions(ctx context.Context, header http.Header) error {
	for _, name := range [...]string{"If-Match", "If-None-Match"} {
		value := header.Get(name)
		list := EntityTags(value)
		if name == "If-Match" && value != "" && strings.Join(list, "") == "" {
			return s3.ErrPreconditionFailed // "" is the ETag of no object, and some stores ignore it
		}
		anyTag := func(t string) bool { return t == "*" && name == "If-Match" }
		if !slices.ContainsFunc(list, HasSuffix) && !slices.ContainsFunc(list, anyTag) {
			continue
		}
		answer, err := r.current(ctx)
		if upstream.StatusOf(err) == http.StatusNotFound {
			continue // no tag matches a missing object
		}
		if err != nil {
			return err
		}
		stored := strings.Trim(answer.Get("ETag"), `"`)
		shown := strings.Trim(ShownTag(answer), `"`)
		for i, t := range list {
			if t == shown || anyTag(t) {
				list[i] = stored
			}
		}
		header.Set(name, `"`+strings.Join(list, `", "`)+`"`)
	}
	return nil
}

// CheckIgnored evaluates the conditions of a write that the store would ignore.
// StoreConditions has rewritten them in header, where they stay, because the
// store may refuse them. A write that comes between this check and the
// request's own is not noticed. The errors are those of Amazon S3:
// s3.ErrPreconditionFailed, and s3.ErrNoSuchKey for an If-Match without an
// object.
func (r *Reader) CheckIgnored(ctx context.Context, header http.Header, can upstream.Conditions) error {
	c := ignoredBy(header, can)
	mustExist := header.Get("If-Match") != "" && (!can.Missing || len(c.Match) > 0)
	if !mustExist && len(c.NoneMatch) == 0 {
		return nil
	}
	answer, err := r.current(ctx)
	switch {
	case upstream.StatusOf(err) == http.StatusNotFound && mustExist:
		return s3.ErrNoSuchKey.With(upstream.Hide(err))
	case upstream.StatusOf(err) == http.StatusNotFound:
		return nil
	case err == nil && c.Check(answer.Get("ETag")) != nil:
		return s3.ErrPreconditionFailed
	}
	return err
}

// DropIgnored removes from header the conditions that CheckIgnored evaluates,
// for a store that would refuse the write because of them.
func DropIgnored(header http.Header, can upstream.Conditions) {
	c := ignoredBy(header, can)
	if len(c.Match) > 0 {
		header.Del("If-Match")
	}
	if len(c.NoneMatch) > 0 {
		header.Del("If-None-Match")
	}
}

// ignoredBy returns the conditions of a write that a store does not honour.
func ignoredBy(header http.Header, can upstream.Conditions) Conditions {
	c := ConditionsOf(header)
	if can.Match != upstream.TagNone {
		c.Match = nil
	}
	if can.Create && slices.Equal(c.NoneMatch, []string{"*"}) {
		c.NoneMatch = nil
	}
	return c
}

// current returns the headers of the object that a write would replace.
func (r *Reader) current(ctx context.Context) (http.Header, error) {
	return r.Store.Exec(ctx, upstream.Request{
		Method: http.MethodHead, Bucket: r.Name.Bucket, Key: r.Name.Key, Query: r.VersionQuery(),
	})
}

// Clients write conditions of a delete with plaintext sizes and shown ETags.
// The gateway replaces them with the size and the ETag at the store if they
// hold, and otherwise with an ETag that no object has. The store then evaluates
// them, so an object that changes in between is not deleted.

// DeleteCondition translates conditions on the reader's object: the ETag is one
// of tags, unless there are none, and the plaintext size is *size, unless it is
// nil. It returns ETag and size for the store to check: those of the object if
// the conditions hold, otherwise an ETag that no object has.
func (r *Reader) DeleteCondition(ctx context.Context, tags []string, size *int64) (etag string, stored int64, err error) {
	none := `"` + upstream.RandomTag() + `"`
	head, err := r.Head(ctx, Request{})
	if upstream.StatusOf(err) == http.StatusNotFound {
		return none, 0, nil
	}
	if err != nil {
		return "", 0, err
	}
	seen := head.Size
	if size != nil && head.Sealed() {
		o, err := r.Verify(ctx, head.Header, head.Size, nil)
		if errors.Is(err, ErrIntegrity) {
			return none, 0, nil // no size to rely on
		}
		if err != nil {
			return "", 0, err
		}
		o.Wipe()
		seen = o.Size
	}
	if (Conditions{Match: tags}).Check(ShownTag(head.Header)) != nil || size != nil && *size != seen {
		return none, head.Size, nil
	}
	return head.Header.Get("ETag"), head.Size, nil
}

// CheckTime evaluates the condition of a delete on the time of the object,
// which few stores know. The error is s3.ErrPreconditionFailed. A condition on
// an object that does not exist holds, as on Amazon S3, and a value that is not
// a time is left to the store.
func (r *Reader) CheckTime(ctx context.Context, value string) error {
	want, err := http.ParseTime(value)
	if err != nil {
		want, err = time.Parse(time.RFC3339, value)
	}
	if err != nil {
		return s3.ErrArgument("x-amz-if-match-last-modified-time", value, "The time is malformed.")
	}
	want = want.Truncate(time.Second)
	answer, err := r.current(ctx)
	if upstream.StatusOf(err) == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if is, err := http.ParseTime(answer.Get("Last-Modified")); err != nil || !is.Equal(want) {
		return s3.ErrPreconditionFailed
	}
	return nil
}

// DeleteConditions returns the names of the conditions in the document of a
// DeleteObjects, and whether some must be translated: sizes, and ETags that may
// be those of sealed objects.
func DeleteConditions(doc []byte) (names map[string]bool, translate bool) {
	names = map[string]bool{}
	for _, m := range deleteCondition.FindAllSubmatch(doc, -1) {
		name, tag := string(m[1]), strings.Trim(strings.ReplaceAll(string(m[2]), "&quot;", `"`), `" `)
		names[name] = true
		translate = translate || name == "Size" || name == "ETag" && (tag == "" || HasSuffix(tag))
	}
	return names, translate
}

// deleteCondition finds the conditions in the document of a DeleteObjects.
var deleteCondition = regexp.MustCompile(`<(?:\w+:)?(ETag|Size|LastModifiedTime)\b[^>]*>([^<]*)`)

package proxy

import (
	"errors"
	"net/http"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// What a read is answered whose conditions do not hold (RFC 9110, sections 15.4.5
// and 15.5.13).

// conditionFailed is the answer to a condition that the store found not to hold:
// its 304 or 412, with the headers of the object as clients know it, which another
// look gives.
func (c *reader) conditionFailed(err error) error {
	var up *upstreamError
	if !errors.As(err, &up) {
		return err
	}
	h := http.Header{}
	list := c.readConditions().noneMatch
	head, looked := c.head(lookup{guard: up.header.Get("ETag"), bare: true})
	switch {
	case looked == nil:
		h = c.validators(head.header, up.status)
	case up.status == http.StatusNotModified && len(list) == 1 && list[0] != "*":
		h.Set("ETag", `"`+list[0]+`"`)
	}
	return c.storeError(up).Headers(h).With(err)
}

// refuseRead answers a condition that the gateway found not to hold.
func (c *reader) refuseRead(err error, stored http.Header) error {
	var own *s3.Error
	if errors.As(err, &own) {
		return own.Headers(c.validators(stored, own.Status))
	}
	return err
}

// validators are the headers of an object that tell which one it is. A cache takes
// over those of a 304, so they include what is about caching.
func (c *reader) validators(stored http.Header, status int) http.Header {
	h := http.Header{}
	passHeaders(h, stored, "Last-Modified", "Vary", s3.HeaderVersionID)
	if tag := shownTag(stored); tag != "" {
		h.Set("ETag", tag)
	}
	if status != http.StatusNotModified {
		return h
	}
	kept := http.Header{}
	if stored.Get(sealer.MetadataKey) == "" {
		copyObject(kept, stored)
	} else {
		c.authenticHeaders(stored).set(kept)
	}
	passHeaders(h, kept, "Cache-Control", "Expires", "Content-Location")
	return h
}

// authenticHeaders is the content of a sealed object, or none if it is not what
// was sealed. Unlike look it reads no trailer.
func (c *reader) authenticHeaders(stored http.Header) content {
	h, err := sealer.ParseHeader(stored.Get(sealer.MetadataKey))
	if err != nil {
		return nil
	}
	root, err := c.State.rootOf(c.ctx(), h.RootID)
	if err != nil {
		return nil
	}
	facts, err := h.OpenFacts(c.binding(), root)
	if err != nil {
		return nil
	}
	defer facts.Wipe()
	found, proven := authenticContent(stored, c.req.Key, h.Size, facts.Headers)
	if !proven {
		return nil
	}
	return found
}

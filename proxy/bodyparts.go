package proxy

import (
	"cmp"
	"io"
	"net/http"

	"ssegw/proxy/object"
	"ssegw/proxy/payload"
	"ssegw/proxy/s3"
	"ssegw/proxy/sse"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// storeParts stores an object in parts, which send adds with
// payload.Upload.Send or payload.Upload.Add. The object is sealed unless s is
// nil, and sum announces its checksum. The conditions in header, already
// translated for the store, apply to the Complete. storeParts returns the
// headers of the store's answer, with the object's ETag.
//
// If send fails, the upload is aborted. A body that fails its verification,
// even at its end, never becomes an object.
func storeParts(c *call, s *sse.Sealing, header http.Header, sum sealer.Announcement, send func(*payload.Upload) error) (http.Header, error) {
	b := &payload.Upload{Store: c.store(), Framing: framing(c, 1), Under: uploadHeader(c)}
	if s != nil {
		var err error
		if b.Header, b.Key, err = newMultipart(c, s, header, sum); err != nil {
			return nil, err
		}
		defer b.Key.Wipe()
	}
	upstream.PassHeaders(b.Under, header, "If-Match", "If-None-Match")
	header = header.Clone()
	header.Del("If-Match")
	header.Del("If-None-Match")
	tags, err := c.gw.subresources.TakeTags(c.ctx(), c.store(), header)
	if err != nil {
		return nil, err
	}
	created, err := b.Store.BeginUpload(c.ctx(), c.req.Bucket, c.req.Key, header)
	if err != nil {
		return nil, err
	}
	b.Name = created.UploadName
	err = send(b)
	var answer http.Header
	if err == nil {
		err = holdConditions(c, b.Under)
	}
	if err == nil {
		answer, err = b.Complete(c.ctx())
	}
	if err != nil {
		abandonUpload(c, b.Name)
		return nil, err
	}
	if b.Header != nil {
		c.gw.caches.Remember(c.name(), answer.Get("ETag"), b.Stored, object.EntryOf(b.Table.Size(), b.Sums))
	}
	return answer, b.Store.TagUpload(c.ctx(), c.req.Bucket, c.req.Key, answer.Get(s3.HeaderVersionID), tags, false)
}

// putParts seals a body in parts of partSize plaintext bytes; 0: as large as
// the gateway makes them. It is for bodies that are too long for one PUT when
// they are sealed.
func putParts(c *call, s *sse.Sealing, header http.Header, body payload.Plaintext, partSize int64) (http.Header, error) {
	partSize = cmp.Or(partSize, c.gw.bounds.putPart)
	return storeParts(c, s, header, payload.Announced(body), func(b *payload.Upload) error {
		for left := body.Size(); left > 0; {
			p := &payload.Copied{R: body, Length: min(left, partSize)}
			if left -= p.Length; left > 0 {
				p.R = io.LimitReader(body, p.Length) // the last part reads to the verified end of the body
			} else if p.Length < c.gw.bounds.minPart {
				return b.SendEnd(c.ctx(), body, p.Length)
			}
			if err := b.Send(c.ctx(), p, false, nil); err != nil {
				return err
			}
		}
		return b.Send(c.ctx(), &payload.Copied{R: http.NoBody}, true, body.Checksums())
	})
}

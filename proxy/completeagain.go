package proxy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// done is what is kept of a Complete, so that it can be given again.
type done struct {
	ID     string            `json:"id"`    // of the upload
	Parts  string            `json:"parts"` // digest of the request's document
	Answer []byte            `json:"answer"`
	Header map[string]string `json:"header,omitempty"`
}

// flat is the first value of each header.
func flat(h http.Header) map[string]string {
	out := map[string]string{}
	for name := range h {
		if v := h.Get(name); v != "" {
			out[name] = v
		}
	}
	return out
}

// finishComplete answers a Complete that succeeded, and keeps the answer for a client
// that asks again.
func (c *call) finishComplete(u *upload, d *done) error {
	// The object is there: what fails from here on leaves records to the sweep, and
	// must not fail the request. Either all that a retry needs is left, or the answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx()), c.times.forget)
	defer cancel()
	kept := c.State.saveDone(ctx, u, d)
	if kept == nil {
		kept = c.State.forgetUpload(ctx, u)
	}
	given := c.give(d)
	if kept == nil {
		kept = c.State.forgetParts(ctx, u)
	}
	if kept != nil {
		c.log.Warn("upload records left behind", zap.Error(kept))
	}
	return given
}

// saveDone records the answer of a Complete.
func (s *State) saveDone(ctx context.Context, u *upload, d *done) error {
	d.ID = u.ID
	plain, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("proxy: encoding the answer of a Complete: %w", err)
	}
	return s.save(ctx, u.prefix()+doneRecord, plain)
}

// give answers at once, whatever the gateway has left to do.
func (c *call) give(d *done) error {
	h := c.w.Header()
	for name, value := range d.Header {
		h.Set(name, value)
	}
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(d.Answer)))
	if _, err := c.w.Write(d.Answer); err != nil {
		return err
	}
	return http.NewResponseController(c.w.ResponseWriter).Flush()
}

// giveAgain gives a kept answer to a client that the store would have let complete. It has no
// upload any more to ask about, so it is asked about a write of the object, which
// takes the same right. The gateway's own credential needs no question.
func (c *call) giveAgain(d *done) error {
	if !c.caller().isGateway() {
		if err := c.mayWrite(); err != nil {
			return err
		}
	}
	return c.give(d)
}

// patience is how a Complete waits for an equal one that has completed the upload
// upstream, and has not recorded its answer yet.
type patience struct {
	tries int
	pause time.Duration
}

var completePatience = patience{tries: 20, pause: 100 * time.Millisecond}

// doneBefore returns the answer of an equal Complete, or NoSuchUpload. Where the upload is
// gone upstream, but recorded, one may be about to record its answer: it does so
// before it removes the upload's record.
func (c *call) doneBefore(request []byte, gone bool) (*done, error) {
	u := &upload{Bucket: c.req.Bucket, Key: c.req.Key, ID: c.req.Query.Get("uploadId")}
	for range c.patience.tries {
		_, recorded := c.State.findUpload(c.ctx(), u.Bucket, u.Key, u.ID)
		d, err := c.State.findDone(c.ctx(), u, request)
		if !errors.Is(err, s3.ErrNoSuchUpload) || recorded != nil || !gone || !pause(c.ctx(), c.patience.pause) {
			return d, err
		}
	}
	return nil, s3.ErrNoSuchUpload
}

// findDone returns the kept answer to the request, or NoSuchUpload.
func (s *State) findDone(ctx context.Context, u *upload, request []byte) (*done, error) {
	plain, err := s.load(ctx, u.prefix()+doneRecord, maxUpload)
	if statusOf(err) == http.StatusNotFound {
		return nil, s3.ErrNoSuchUpload
	}
	if err != nil {
		return nil, err
	}
	d := &done{}
	if err := json.Unmarshal(plain, d); err != nil {
		return nil, fmt.Errorf("%w: record of a Complete: %w", errIntegrity, err)
	}
	if d.ID != u.ID || d.Parts != hexSHA256(request) {
		return nil, s3.ErrNoSuchUpload
	}
	return d, nil
}

// mayBeDone reports whether an equal Complete, before this one or at the same time,
// explains an error: the upload is gone, or records of it.
func mayBeDone(err error) bool {
	return errors.Is(err, s3.ErrNoSuchUpload) || errors.Is(err, s3.ErrInvalidPart) || errors.Is(err, errIntegrity) || isNoUpload(err)
}

// finishTries bounds how often a Complete sends its part table.
const finishTries = 4

// finishAgain is finishUpload, again where an equal Complete put its own part table in the
// place of this one's. That shows only at stores that give the same bytes two
// ETags: what both send is the same.
func (c *call) finishAgain(u *upload, chosen []*part, number int, tail []byte) (etag string, header http.Header, err error) {
	for range finishTries {
		etag, header, err = c.finishUpload(u, chosen, number, tail)
		if !isCode(err, s3.ErrInvalidPart) {
			break
		}
		if present, err := c.present(u, chosen); err != nil || !present {
			return "", nil, cmp.Or(err, error(s3.ErrInvalidPart.Detail("UploadId", u.ID)))
		}
	}
	return etag, header, err
}

// present reports whether the upstream has the attempts, those that are not staged.
func (c *call) present(u *upload, chosen []*part) (bool, error) {
	upstream, err := c.upstreamParts(u)
	return !slices.ContainsFunc(chosen, func(p *part) bool {
		return !p.Staged && strings.Trim(upstream[p.number].ETag, `"`) != p.ETag
	}), err
}

// completedBefore looks for the object of an upload that the upstream knows no
// longer: a gateway that was killed, or lost the upstream's answer, may have
// completed it. It is this upload's if its header and part table are.
func (c *call) completedBefore(u *upload, table *sealer.PartTable, gone error) (string, http.Header, error) {
	at := c.at(c.ctx(), s3.CopySource{Bucket: u.Bucket, Key: u.Key}, http.Header{})
	head, err := at.head(lookup{})
	if err != nil || head.header.Get(sealer.MetadataKey) != u.Header {
		return "", nil, gone
	}
	o, err := at.look(head.header, head.size)
	if err != nil {
		return "", nil, err
	}
	defer o.wipe()
	same := func(a, b sealer.Part) bool { return a.Number == b.Number && a.Size == b.Size && a.Nonce == b.Nonce }
	if o.parts == nil || !slices.EqualFunc(o.parts.Parts, table.Parts, same) {
		return "", nil, gone
	}
	return head.header.Get("ETag"), head.header, nil
}

package proxy

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/proxy/task"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// mayBeCompleted reports whether err could come from an equal Complete, earlier
// or concurrent: the upload or some of its records are gone.
func mayBeCompleted(err error) bool {
	return errors.Is(err, s3.ErrNoSuchUpload) || errors.Is(err, s3.ErrInvalidPart) || errors.Is(err, object.ErrIntegrity) || errors.Is(err, state.ErrRecord) || upstream.IsNoUpload(err)
}

// recordedAnswer returns the recorded answer of an equal Complete, or
// s3.ErrNoSuchUpload. gone means that the store no longer has the upload. If
// its record still exists, an equal Complete may be about to record its answer,
// which it does before it removes the record. recordedAnswer waits for that.
func recordedAnswer(c *call, request []byte, gone bool) (*state.Answer, error) {
	u := &state.Upload{Bucket: c.req.Bucket, Key: c.req.Key, ID: c.req.Query.Get("uploadId")}
	for range c.gw.patience.tries {
		_, recorded := c.gw.State.FindUpload(c.ctx(), u.Bucket, u.Key, u.ID)
		d, err := c.gw.State.FindAnswer(c.ctx(), u, request)
		if !errors.Is(err, s3.ErrNoSuchUpload) || recorded != nil || !gone || !task.Pause(c.ctx(), c.gw.patience.pause) {
			return d, err
		}
	}
	return nil, s3.ErrNoSuchUpload
}

// replayAnswer gives a recorded answer to a client that may complete the
// upload. The upload is gone, so the store is asked about a write of the
// object, which takes the same right. The gateway's own credential is not
// checked.
func replayAnswer(c *call, d *state.Answer) error {
	if err := mayComplete(c); err != nil {
		return err
	}
	return sendAnswer(c, d)
}

func mayComplete(c *call) error {
	if c.store().IsGateway() {
		return nil
	}
	return c.store().MayWrite(c.ctx(), c.req.Bucket, c.req.Key, upstream.ProbeHeader(c.req.Header), c.gw.times.abandon)
}

// sendAnswer sends the answer at once, before the gateway does anything else.
func sendAnswer(c *call, d *state.Answer) error {
	h := c.w.Header()
	for name, value := range d.Header {
		h.Set(name, value)
	}
	if err := c.w.sendDocument(http.StatusOK, d.Answer); err != nil {
		return err
	}
	return http.NewResponseController(c.w.ResponseWriter).Flush()
}

// finishComplete answers a Complete that succeeded, records the answer for
// clients that ask again, and removes the upload's records.
func finishComplete(c *call, u *state.Upload, d *state.Answer) error {
	// The object exists now. A failure from here on must not fail the request:
	// it leaves records for the sweep. Either the recorded answer or all that a
	// retry needs must remain, hence the order.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx()), c.gw.times.forget)
	defer cancel()
	kept := c.gw.State.SaveAnswer(ctx, u, d)
	if kept == nil {
		kept = c.gw.State.ForgetUpload(ctx, u)
	}
	given := sendAnswer(c, d)
	if kept == nil {
		kept = c.gw.State.ForgetParts(ctx, u)
	}
	if kept != nil {
		c.log.Warn("upload records left behind", zap.Error(kept))
	}
	return given
}

// finishTries is how often a Complete sends its part table, at most.
const finishTries = 4

// finishWithRetries calls finishUpload, and again if the store answers
// InvalidPart although it has all the parts. Then an equal Complete has
// replaced this one's part table. Both send the same bytes, so it happens only
// at stores that give equal bytes different ETags.
func finishWithRetries(c *call, u *state.Upload, chosen []*state.Part, number int, tail []byte) (etag string, header http.Header, err error) {
	for range finishTries {
		etag, header, err = finishUpload(c, u, chosen, number, tail)
		if !upstream.IsCode(err, s3.ErrInvalidPart) {
			break
		}
		if present, err := hasAttempts(c, u, chosen); err != nil || !present {
			return "", nil, cmp.Or(err, error(s3.ErrInvalidPart.Detail("UploadId", u.ID)))
		}
	}
	return etag, header, err
}

// hasAttempts reports whether the store has all attempts that are not staged.
func hasAttempts(c *call, u *state.Upload, chosen []*state.Part) (bool, error) {
	stored, err := c.store().ListParts(c.ctx(), u.AtStore(), uploadHeader(c))
	return !slices.ContainsFunc(chosen, func(p *state.Part) bool {
		return !p.Staged && !slices.ContainsFunc(stored[p.Number], func(e s3.Entry) bool { return strings.Trim(e.ETag, `"`) == p.ETag })
	}), err
}

// completedBefore looks for the object of an upload that the store no longer
// has. A gateway that was killed, or that lost the store's answer, may have
// completed it. The object is this upload's if it has the same header and part
// table. Otherwise the error is gone.
func completedBefore(c *call, u *state.Upload, table *sealer.PartTable, gone error) (string, http.Header, error) {
	r := c.access().At(s3.CopySource{Bucket: u.Bucket, Key: u.Key}, http.Header{})
	head, err := r.Head(c.ctx(), object.Request{})
	if err != nil || !sealer.HasHeader(head.Header, u.Encoded) {
		return "", nil, gone
	}
	o, err := r.Verify(c.ctx(), head.Header, head.Size, nil)
	if err != nil {
		return "", nil, err
	}
	defer o.Wipe()
	same := func(a, b sealer.Part) bool { return a.Number == b.Number && a.Size == b.Size && a.Nonce == b.Nonce }
	if o.Parts == nil || !slices.EqualFunc(o.Parts.Parts, table.Parts, same) {
		return "", nil, gone
	}
	return head.Header.Get("ETag"), head.Header, nil
}

// plainBefore is completedBefore for an upload in plaintext without a recorded
// answer. It returns the document and the headers of the answer.
func plainBefore(c *call, u *state.Upload, doc []byte, gone error) ([]byte, http.Header, error) {
	if _, err := recordedAnswer(c, doc, true); !errors.Is(err, s3.ErrNoSuchUpload) || object.IsConditional(c.req.Header) {
		return nil, nil, gone // another upload of the same bytes must not look like one that met the conditions
	}
	head := c.store().CompletedBefore(c.ctx(), u.AtStore(), doc)
	if head == nil {
		return nil, nil, gone
	}
	shown := http.Header{}
	upstream.PassHeaders(shown, head, s3.HeaderVersionID)
	answer, err := s3.MarshalXML(completeAnswer{Bucket: u.Bucket, Key: u.Key, ETag: head.Get("ETag")})
	return answer, shown, cmp.Or(mayComplete(c), err)
}

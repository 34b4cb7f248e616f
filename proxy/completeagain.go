package proxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"go.uber.org/zap"

	"ssegw/proxy/s3"
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
	// The object is there: what fails from here on costs a retry its answer, or
	// leaves records to the sweep, and must not fail the request.
	d.ID = u.ID
	if plain, err := json.Marshal(d); err == nil {
		err = c.State.save(c.ctx(), u.prefix()+doneRecord, plain)
		if err == nil {
			err = c.State.forget(c.ctx(), u)
		}
		if err != nil {
			c.log.Warn("upload records left behind", zap.Error(err))
		}
	}
	return c.give(d)
}

func (c *call) give(d *done) error {
	h := c.w.Header()
	for name, value := range d.Header {
		h.Set(name, value)
	}
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(d.Answer)))
	_, err := c.w.Write(d.Answer)
	return err
}

// answerAgain gives the answer of a Complete that succeeded before, to the same
// request.
func (c *call) answerAgain(request []byte) error {
	u := &upload{Bucket: c.req.Bucket, Key: c.req.Key, ID: c.req.Query.Get("uploadId")}
	plain, err := c.State.load(c.ctx(), u.prefix()+doneRecord, maxUpload)
	if statusOf(err) == http.StatusNotFound {
		return s3.ErrNoSuchUpload
	}
	if err != nil {
		return err
	}
	var d done
	if err := json.Unmarshal(plain, &d); err != nil {
		return fmt.Errorf("%w: record of a Complete: %w", errIntegrity, err)
	}
	if d.ID != u.ID || d.Parts != hexSHA256(request) {
		return s3.ErrNoSuchUpload
	}
	return c.give(&d)
}

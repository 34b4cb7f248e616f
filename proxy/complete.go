package proxy

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"

	"ssegw/proxy/assembly"
	"ssegw/proxy/object"
	"ssegw/proxy/payload"
	"ssegw/proxy/s3"
	"ssegw/proxy/sse"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// completeMultipartUpload is CompleteMultipartUpload. If the upload is gone, an
// equal Complete may have succeeded before; its answer is then given again.
func completeMultipartUpload(c *call) error {
	doc, body, err := openDocument(c)
	if err != nil {
		return err
	}
	err = completeOnce(c, doc, body)
	if !mayBeCompleted(err) {
		return err
	}
	d, again := recordedAnswer(c, doc, upstream.IsNoUpload(err))
	switch {
	case again == nil:
		return replayAnswer(c, d)
	case errors.Is(again, s3.ErrNoSuchUpload):
		return err
	}
	return again
}

// completeOnce completes the upload: the part table goes up as the last part,
// then the store completes.
func completeOnce(c *call, doc []byte, body *payload.Client) error {
	u, err := uploadOf(c)
	if err != nil {
		return err
	}
	if err := checkCompleteSSE(c, u); err != nil {
		return err
	}
	if u.Plain {
		if err := allowPlainUpload(c); err != nil {
			return err
		}
		return completePlain(c, u, doc, body)
	}
	var request assembly.Request
	if err := xml.Unmarshal(doc, &request); err != nil || len(request.Parts) == 0 {
		return s3.ErrMalformedXML.With(err)
	}
	claimed, err := assembly.ReadClaims(c.req.Header)
	if err != nil {
		return err
	}
	recorded, err := c.gw.State.Parts(c.ctx(), u)
	if err != nil {
		return err
	}
	chosen, err := assembly.Choose(u, recorded, request.Parts, c.gw.bounds.minPart)
	if err != nil {
		return err
	}
	table, sum, err := assembly.Table(u, chosen)
	if errors.Is(err, sealer.ErrNotAuthentic) {
		return uploadFailed(c, err)
	}
	if err != nil {
		return err
	}
	if err := claimed.Check(u, table, sum); err != nil {
		return err
	}
	tail, err := sealTable(c, u, table, sum)
	if err != nil {
		return err
	}
	etag, header, err := finishWithRetries(c, u, chosen, assembly.FreeNumber(recorded, chosen[len(chosen)-1]), tail)
	again := upstream.IsNoUpload(err)
	if again {
		etag, header, err = completedBefore(c, u, table, err)
	}
	if err == nil { // if this fails, a repeated Complete finds the object and comes here
		err = c.store().TagUpload(c.ctx(), u.Bucket, u.Key, header.Get(s3.HeaderVersionID), u.Tags, again)
	}
	if err != nil {
		return err
	}
	c.gw.caches.Remember(c.name(), etag, table.SealedSize()+int64(len(tail)), object.EntryOf(table.Size(), []sealer.Checksum{sum}))
	return answerComplete(c, u, doc, etag, header, sum, len(chosen))
}

// checkCompleteSSE compares the encryption headers of a Complete with those of
// the upload. As on Amazon S3, a Complete needs the customer's key if the parts
// have announced checksums.
func checkCompleteSSE(c *call, u *state.Upload) error {
	s, err := c.encryption().RepeatedUpload(u.Header)
	if err == nil && s.LacksKey() && u.Algorithm != "" {
		err = sse.ErrUploadEncrypted
	}
	return err
}

// completePlain completes an upload in plaintext.
func completePlain(c *call, u *state.Upload, doc []byte, body *payload.Client) error {
	o := upstream.Request{
		Method: http.MethodPost, Bucket: u.Bucket, Key: u.Key, Query: c.req.Query, Header: upstream.RequestHeader(c.req.Header), Copies: true,
	}
	if err := completeConditions(c, o.Header); err != nil {
		return err
	}
	setDocument(&o, doc, body.Checksums())
	for name := range c.req.Header {
		// These describe the object, not the document.
		if lower := strings.ToLower(name); strings.HasPrefix(lower, s3.ChecksumPrefix) || lower == s3.HeaderMPObjectSize {
			upstream.PassHeaders(o.Header, c.req.Header, name)
		}
	}
	_, answer, headers, err := c.store().Complete(c.ctx(), o)
	if upstream.IsNoUpload(err) {
		answer, headers, err = plainBefore(c, u, doc, err)
	}
	if err != nil {
		return err
	}
	if answer, err = s3.ReplaceText(answer, "CompleteMultipartUploadResult", "Location", locationOf(c)); err != nil {
		return fmt.Errorf("%w: %w", upstream.ErrUnavailable, err)
	}
	shown := http.Header{}
	upstream.CopyAnswer(shown, headers, false)
	shown.Del("Content-Length")
	return finishComplete(c, u, &state.Answer{Parts: upstream.HexSHA256(doc), Answer: answer, Header: upstream.FirstValues(shown)})
}

// completeConditions rewrites the client's conditions on a Complete for the
// store.
func completeConditions(c *call, header http.Header) error {
	if err := c.object().StoreConditions(c.ctx(), header); err != nil {
		return err
	}
	return holdConditions(c, header)
}

// holdConditions checks those conditions on a Complete that the store ignores
// or refuses, and removes them.
func holdConditions(c *call, header http.Header) error {
	can := c.gw.Upstream.Capabilities().Complete
	defer object.DropIgnored(header, can)
	return c.object().CheckIgnored(c.ctx(), header, can)
}

// sealTable seals the part table under the trailer key. That key is in the
// header's facts, so this needs the root and no KES.
func sealTable(c *call, u *state.Upload, table *sealer.PartTable, sum sealer.Checksum) ([]byte, error) {
	root, err := c.gw.State.RootOf(c.ctx(), u.Header.RootID)
	if err != nil && !errors.Is(err, sealer.ErrUnknownRoot) {
		return nil, err
	}
	h, facts, err := u.Header.OpenFacts(c.name(), root)
	if err != nil {
		return nil, uploadFailed(c, err)
	}
	defer facts.Wipe()
	key, ok := facts.TrailerKey()
	if !ok || facts.Announced != u.Announced() {
		return nil, uploadFailed(c, sealer.ErrNotAuthentic)
	}
	defer key.Wipe()
	tail, err := h.SealPartTable(key, []sealer.Checksum{sum}, table)
	if err != nil {
		return nil, fmt.Errorf("proxy: sealing the part table: %w", err)
	}
	return tail, nil
}

// finishUpload sends the part table under a free part number and completes the
// upload at the store. It returns the object's ETag and the headers of the
// store's answer.
func finishUpload(c *call, u *state.Upload, chosen []*state.Part, number int, tail []byte) (string, http.Header, error) {
	last := chosen[len(chosen)-1]
	etag, err := uploadTail(c, u, last, number, tail)
	if err != nil {
		return "", nil, err
	}
	if last.Staged {
		chosen = chosen[:len(chosen)-1]
	}
	under := uploadHeader(c)
	upstream.PassHeaders(under, c.req.Header, "If-Match", "If-None-Match")
	if err := completeConditions(c, under); err != nil {
		return "", nil, err
	}
	parts := make([]upstream.SentPart, 0, len(chosen)+1)
	for _, p := range chosen {
		parts = append(parts, upstream.SentPart{Number: p.Number, Etag: p.ETag})
	}
	return c.store().CompleteUpload(c.ctx(), u.AtStore(), append(parts, upstream.SentPart{Number: number, Etag: etag}), under)
}

// uploadTail sends the last part of a sealed object: the part table, after the
// sealed bytes of the last part if that is staged. number is its part number at
// the store. uploadTail returns the part's ETag there.
func uploadTail(c *call, u *state.Upload, last *state.Part, number int, table []byte) (string, error) {
	o := upstream.Request{
		Method: http.MethodPut, Bucket: u.Bucket, Key: u.Key, Header: uploadHeader(c),
		Query: u.AtStore().Query(number),
	}
	src, size := io.Reader(bytes.NewReader(table)), int64(len(table))
	if last.Staged {
		staged, err := c.gw.State.Staged(c.ctx(), u, last)
		if err != nil {
			return "", err
		}
		defer func() { _ = staged.Close() }()
		length := sealer.SealedSize(last.Size)
		src, size = io.MultiReader(io.LimitReader(staged, length), src), length+size
	}
	o.Frame(src, size, framing(c, size), nil)
	answer, err := c.store().Exec(c.ctx(), o)
	if err != nil {
		return "", err
	}
	return strings.Trim(answer.Get("ETag"), `"`), nil
}

// answerComplete answers with a sealed object.
func answerComplete(c *call, u *state.Upload, request []byte, etag string, stored http.Header, sum sealer.Checksum, parts int) error {
	a := completeAnswer{
		Location: locationOf(c),
		Bucket:   u.Bucket, Key: u.Key, ETag: s3.ETagShown(etag, true),
		SumType: object.ChecksumType(sum),
		Sums:    []s3.ChecksumElement{s3.NewChecksumElement(sum.Algorithm.String(), object.ChecksumValue(sum, parts))},
	}
	doc, err := s3.MarshalXML(a)
	if err != nil {
		return err
	}
	d := state.Answer{Parts: upstream.HexSHA256(request), Answer: doc, Header: map[string]string{}}
	if v := stored.Get(s3.HeaderVersionID); v != "" {
		d.Header[s3.HeaderVersionID] = v
	}
	shown := http.Header{}
	sse.Of(u.Header.KeyHint).SetHeaders(shown)
	maps.Copy(d.Header, upstream.FirstValues(shown))
	return finishComplete(c, u, &d)
}

// completeAnswer is the document that answers CompleteMultipartUpload.
type completeAnswer struct {
	XMLName  xml.Name             `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUploadResult"`
	Location string               `xml:"Location"`
	Bucket   string               `xml:"Bucket"`
	Key      string               `xml:"Key"`
	ETag     string               `xml:"ETag"`
	Sums     []s3.ChecksumElement `xml:",any"`
	SumType  string               `xml:"ChecksumType,omitempty"`
}

// locationOf returns the URL of the request's object at the gateway.
func locationOf(c *call) string {
	scheme, path := "http", s3.EscapePath(c.req.Bucket, c.req.Key)
	if c.secure() {
		scheme = "https"
	}
	if c.req.VirtualHost {
		path = strings.TrimPrefix(path, "/"+c.req.Bucket)
	}
	return scheme + "://" + c.in.Host + path
}

// uploadFailed counts an upload whose records are not authentic. It returns the
// error for it, which wraps object.ErrIntegrity.
func uploadFailed(c *call, err error) error {
	return c.object().Tampered("upload", err)
}

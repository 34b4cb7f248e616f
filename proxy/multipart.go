package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"ssegw/proxy/assembly"
	"ssegw/proxy/payload"
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/sse"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// createMultipartUpload is CreateMultipartUpload. It chooses the scheme, the
// data key and the object key for all parts.
func createMultipartUpload(c *call) error {
	s, err := writeSealing(c)
	if err != nil {
		return err
	}
	header := upstream.RequestHeader(c.req.Header)
	u := &state.Upload{
		Bucket: c.req.Bucket, Key: c.req.Key, Started: time.Now().UTC(),
		Algorithm: strings.ToUpper(c.req.Header.Get(s3.HeaderAlgorithm)), Type: strings.ToUpper(c.req.Header.Get(s3.HeaderChecksumType)),
	}
	if err := assembly.CheckAnnounced(u); err != nil {
		return err
	}
	if s == nil {
		u.Plain = true
		upstream.PassHeaders(header, c.req.Header, s3.HeaderAlgorithm, s3.HeaderChecksumType)
	} else if err = askConsent(c); err != nil {
		return err
	} else if err = sealUpload(c, s, u, header); err != nil {
		return err
	}
	created, err := c.store().BeginUpload(c.ctx(), c.req.Bucket, c.req.Key, header)
	if err != nil {
		return err
	}
	u.ID = created.ID
	doc := created.Doc
	if s != nil {
		u.ID = state.SealedID(created.ID)
		if doc, err = s3.ReplaceText(doc, "InitiateMultipartUploadResult", "UploadId", u.ID); err != nil {
			err = fmt.Errorf("%w: %w", upstream.ErrUnavailable, err)
		}
	}
	if err == nil {
		err = c.gw.State.SaveUpload(c.ctx(), u)
	}
	if err != nil {
		abandonUpload(c, created.UploadName)
		return err
	}
	c.gw.uploads.Add(u)
	h := c.w.Header()
	upstream.CopyAnswer(h, created.Header, s != nil)
	if s != nil {
		s.SetHeaders(h)
	}
	if u.Algorithm != "" {
		h.Set(s3.HeaderAlgorithm, u.Algorithm)
		h.Set(s3.HeaderChecksumType, u.Type)
	}
	h.Set("Content-Length", strconv.Itoa(len(doc)))
	_, err = c.w.Write(doc)
	return err
}

// sealUpload makes the sealed header of a multipart object whose parts come in
// later requests, and adds it to the metadata for the store. The record of u
// keeps it, and the tags that the store would lose.
func sealUpload(c *call, s *sse.Sealing, u *state.Upload, header http.Header) (err error) {
	if u.Tags, err = c.gw.subresources.TakeTags(c.ctx(), c.store(), header); err != nil {
		return err
	}
	if err := prepareHeader(c, s, header); err != nil {
		return err
	}
	h, k, err := newMultipart(c, s, header, u.Announced())
	if err != nil {
		return err
	}
	k.Wipe()
	u.Encoded = h.Encode()
	return nil
}

// newMultipart makes the sealed header of a multipart object and adds it to the
// metadata for the store, which keeps them from the Create on. The caller wipes
// the object key.
func newMultipart(c *call, s *sse.Sealing, header http.Header, sum sealer.Announcement) (*sealer.Header, *sealer.ObjectKey, error) {
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", s3.DefaultContentType)
	}
	return newObject(c, s, header, sealer.SealParams{
		Multipart: true, Facts: sealer.Facts{Headers: sealer.NewContent(header, c.req.Key, -1).Digest(), Announced: sum},
	})
}

// abandonUpload aborts an upload that failed, also after the client has
// disconnected. It does so with the gateway's rights: a client that may write
// need not have the right to abort.
func abandonUpload(c *call, u upstream.UploadName) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx()), c.gw.times.abandon)
	defer cancel()
	_ = c.gw.Upstream.Own().AbortUpload(ctx, u) // an upload left over is not an object
}

// uploadPart is UploadPart. Every attempt has its own nonce, and so its own
// key.
func uploadPart(c *call) error {
	u, number, err := partOf(c)
	if err != nil {
		return err
	}
	body, err := openBody(c)
	if err != nil {
		return err
	}
	switch size := body.Size(); {
	case size < 0:
		return s3.ErrMissingContentLength
	case u.StoredSize(size) > maxPut:
		return s3.ErrEntityTooLarge
	}
	if err := assembly.CheckPart(u, body); err != nil {
		return err
	}
	if u.Plain {
		return putPlain(c, upstream.RequestHeader(c.req.Header), body)
	}
	summed := payload.WithChecksum(body, u.Announced().Algorithm)
	p, s, err := storePart(c, u, number, summed)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("ETag", p.Shown())
	s.SetHeaders(h)
	shown := summed.Checksums()
	if u.Algorithm == "" {
		shown = body.Checksums() // the default checksum is of the whole object only
	}
	for _, sum := range shown {
		h.Set(sigv4.HeaderName(sum.Algorithm), s3.ChecksumText(sum.Value))
	}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// partOf returns the recorded upload and the part number of a request. Part
// 10,000 of a sealed upload is reserved for the part table.
func partOf(c *call) (*state.Upload, int, error) {
	n, err := strconv.Atoi(c.req.Query.Get("partNumber"))
	if err != nil || n < 1 || n > upstream.MaxPartNumber {
		return nil, 0, errPartNumber(c.req.Query.Get("partNumber"), upstream.MaxPartNumber)
	}
	u, err := uploadOf(c)
	if err != nil {
		return nil, 0, err
	}
	if !u.Plain && n > sealer.MaxParts {
		return nil, 0, errPartNumber(c.req.Query.Get("partNumber"), sealer.MaxParts)
	}
	s, err := c.encryption().RepeatedUpload(u.Header)
	switch {
	case err != nil:
	case u.Plain:
		err = allowPlainUpload(c)
	case s.LacksKey():
		err = sse.ErrUploadEncrypted
	}
	return u, n, err
}

func errPartNumber(value string, most int) error {
	return s3.ErrArgument("partNumber", value, fmt.Sprintf("Part number must be an integer between 1 and %d, inclusive.", most))
}

// uploadOf returns the recorded upload that the request names. If there is no
// record, the error is the store's, which tells for example that the bucket
// does not exist.
func uploadOf(c *call) (*state.Upload, error) {
	u, err := c.gw.State.FindUpload(c.ctx(), c.req.Bucket, c.req.Key, c.req.Query.Get("uploadId"))
	if !errors.Is(err, s3.ErrNoSuchUpload) {
		return u, err
	}
	unknown := &state.Upload{Bucket: c.req.Bucket, Key: c.req.Key, ID: c.req.Query.Get("uploadId")}
	refused := c.store().FindUpload(c.ctx(), unknown.AtStore())
	if refused == nil {
		return nil, err
	}
	if upstream.HasDocument(refused) && !errors.Is(refused, upstream.ErrUnavailable) {
		refused = unrecorded{refused}
	}
	return nil, refused
}

// unrecorded is the store's error about an upload without a record. The client
// gets it, and errors.Is also finds s3.ErrNoSuchUpload.
type unrecorded struct{ error }

func (u unrecorded) Unwrap() error { return u.error }

func (u unrecorded) Is(target error) bool { return target == s3.ErrNoSuchUpload }

// allowPlainUpload refuses an upload in plaintext if its bucket has become
// sealed-only since the Create: its object could not be read.
func allowPlainUpload(c *call) error {
	only, err := sealedOnly(c, c.req.Bucket)
	if err == nil && only {
		err = s3.ErrAccessDenied.Msg("The multipart upload was initiated without encryption, and the bucket accepts sealed objects only.")
	}
	return err
}

// storePart seals a body as one attempt of a part, and records it. The body has
// a checksum of the upload's algorithm (payload.WithChecksum). Afterwards
// storePart removes the records of attempts made before this one, which
// replaced them at the store. Concurrent attempts stay.
func storePart(c *call, u *state.Upload, number int, body payload.Plaintext) (*state.Part, *sse.Sealing, error) {
	s, err := c.encryption().Upload(u.Header)
	if err != nil {
		return nil, nil, err
	}
	p := &state.Part{Number: number, PartRecord: sealer.PartRecord{
		Size: body.Size(), Nonce: sealer.NewPartNonce(), Staged: body.Size() < c.gw.bounds.minPart, Tagged: true,
		Sent: u.Algorithm == "" && !payload.IsComputed(body),
	}}
	if p.Staged || c.credential == nil {
		if err := mayWritePart(c, u); err != nil {
			return nil, nil, err
		}
	}
	_, k, err := c.keys().Open(c.ctx(), c.name(), u.Header, s)
	if err != nil {
		return nil, nil, err
	}
	defer k.Wipe()
	replaced, err := c.gw.State.Attempts(c.ctx(), u, number)
	if err != nil {
		return nil, nil, err
	}
	if err := sendPart(c, u, p, k, body); err != nil {
		return nil, nil, err
	}
	p.Checksums = payload.Stored(body.Checksums())
	if err := c.gw.State.SavePart(c.ctx(), u, p); err != nil {
		return nil, nil, err
	}
	if err := c.gw.State.ForgetAttempts(c.ctx(), u, replaced); err != nil {
		c.log.Warn("records of replaced attempts left behind", zap.Error(err))
	}
	return p, s, nil
}

// mayWritePart asks the store whether the client may write to the upload. The
// gateway asks before it stages a part under its own credential, and before it
// calls KES for an anonymous client. It sends an empty part with the number
// reserved for the part table: ListParts does not show it, and no Complete
// lists it.
func mayWritePart(c *call, u *state.Upload) error {
	header := uploadHeader(c)
	if c.store().IsGateway() && header.Get(s3.HeaderExpectedOwner) == "" {
		return nil
	}
	_, err := c.store().Exec(c.ctx(), upstream.Request{
		Method: http.MethodPut, Bucket: u.Bucket, Key: u.Key, Header: header,
		Query: u.AtStore().Query(upstream.MaxPartNumber),
	})
	return err
}

// sendPart seals the body and sends it to the upload, or to the state bucket if
// the part is staged.
func sendPart(c *call, u *state.Upload, p *state.Part, k *sealer.ObjectKey, body payload.Plaintext) error {
	sealed, err := k.SealPart(p.Number, p.Nonce, body, p.Size)
	if err != nil {
		return fmt.Errorf("proxy: sealing a part: %w", err)
	}
	o := upstream.Request{
		Method: http.MethodPut, Bucket: u.Bucket, Key: u.Key, Header: uploadHeader(c),
		Query: u.AtStore().Query(p.Number),
	}
	store, framing := c.store(), framing(c, p.Size)
	if p.Staged {
		p.ETag = upstream.RandomTag()
		o = upstream.Request{Method: http.MethodPut, Bucket: c.gw.State.Bucket(), Key: u.StagedName(p), Header: http.Header{}}
		store, framing = c.gw.Upstream.Own(), c.gw.Upstream.FramingOf(p.Size)
	}
	o.Frame(sealed, sealer.SealedSize(p.Size), framing, nil)
	answer, err := payload.Send(c.ctx(), store, o, body)
	switch {
	case err != nil && p.Staged:
		return upstream.OwnFailed("state bucket: a part", err)
	case err != nil:
		return err
	case !p.Staged:
		p.ETag = strings.Trim(answer.Get("ETag"), `"`)
	}
	return nil
}

// uploadHeader returns the client's headers that also apply to the gateway's
// own requests about an upload.
func uploadHeader(c *call) http.Header {
	header := http.Header{}
	upstream.PassHeaders(header, c.req.Header, s3.HeaderExpectedOwner, s3.HeaderRequestPayer)
	return header
}

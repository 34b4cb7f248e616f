package proxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/sealer"
)

// minPart is Amazon S3's lower bound on the bytes of a part that is not the
// last. A smaller one waits in the state bucket, because the part table goes
// behind the last part and would make it one in the middle.
const minPart = 5 << 20

// bounds are sizes in bytes that stores set.
type bounds struct {
	minPart   int64 // see minPart
	maxPut    int64 // of a body that one request carries
	putPart   int64 // of plaintext in each part of a longer one, at least minPart
	maxCopy   int64 // of an object that one request copies
	copyRange int64 // of one request of a copy by parts
	formPart  int64 // of a form's file, see formPart
}

var storeBounds = bounds{minPart: minPart, maxPut: maxPut, putPart: 1 << 30, maxCopy: maxPut, copyRange: 4 << 30, formPart: formPart}

// createMultipartUpload is CreateMultipartUpload: the scheme, the data key and
// the object key of the whole object are chosen here.
func (c *call) createMultipartUpload() error {
	s, err := c.writeSealing()
	if err != nil {
		return err
	}
	header := upstreamHeader(c.req.Header)
	u := &upload{
		Bucket: c.req.Bucket, Key: c.req.Key, Started: time.Now().UTC(),
		Algorithm: strings.ToUpper(c.req.Header.Get(s3.HeaderAlgorithm)), Type: strings.ToUpper(c.req.Header.Get(s3.HeaderChecksumType)),
	}
	if err := u.checkChecksums(); err != nil {
		return err
	}
	if s == nil {
		u.Plain = true
		passHeaders(header, c.req.Header, s3.HeaderAlgorithm, s3.HeaderChecksumType)
	} else if err = c.consent(); err != nil {
		return err
	} else if u.Header, err = c.newUploadHeader(s, u, header); err != nil {
		return err
	}
	created, err := c.createUpstream(header)
	if err != nil {
		return err
	}
	u.ID = created.ID
	doc := created.doc
	if s != nil {
		u.ID = sealedID(created.ID)
		if doc, err = s3.ReplaceText(doc, "InitiateMultipartUploadResult", "UploadId", u.ID); err != nil {
			err = fmt.Errorf("%w: %w", errUpstream, err)
		}
	}
	if err == nil {
		err = c.State.saveUpload(c.ctx(), u)
	}
	if err != nil {
		c.abandon(u)
		return err
	}
	c.uploads.add(u)
	h := c.w.Header()
	copyAnswer(h, created.header, s != nil)
	if s != nil {
		s.setHeaders(h)
	}
	if u.Algorithm != "" {
		h.Set(s3.HeaderAlgorithm, u.Algorithm)
		h.Set(s3.HeaderChecksumType, u.Type)
	}
	h.Set("Content-Length", strconv.Itoa(len(doc)))
	_, err = c.w.Write(doc)
	return err
}

// newMultipart seals the header of a multipart object into the metadata that the
// store keeps from the Create on. The caller wipes the object's key.
func (c *call) newMultipart(s *sealing, header http.Header, sum sealer.Announcement) (*sealer.Header, *sealer.ObjectKey, error) {
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", defaultContentType)
	}
	h, k, err := c.newObject(s, sealer.SealParams{
		Multipart: true, Facts: sealer.Facts{Headers: headersDigest(header, c.req.Key, -1), Announced: sum},
	})
	if err != nil {
		return nil, nil, err
	}
	header.Set(sealer.MetadataKey, h.Encode())
	return h, k, nil
}

// newUploadHeader is newMultipart for an upload whose parts come in requests of their own.
func (c *call) newUploadHeader(s *sealing, u *upload, header http.Header) (string, error) {
	if err := c.prepareHeader(s, header); err != nil {
		return "", err
	}
	h, k, err := c.newMultipart(s, header, u.announced())
	if err != nil {
		return "", err
	}
	k.Wipe()
	return h.Encode(), nil
}

// passHeaders copies single headers to the upstream's.
func passHeaders(dst, src http.Header, names ...string) {
	for _, name := range names {
		if v := src.Get(name); v != "" {
			dst.Set(name, v)
		}
	}
}

// uploadHeader is what a request about an upload that the gateway makes for the
// client's own takes over from it.
func (c *call) uploadHeader() http.Header {
	header := http.Header{}
	passHeaders(header, c.req.Header, s3.HeaderExpectedOwner, s3.HeaderRequestPayer)
	return header
}

// abandon takes back an upload that could not be recorded.
func (c *call) abandon(u *upload) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx()), c.times.abandon)
	defer cancel()
	resp, err := c.Upstream.expect(ctx, outgoing{
		method: http.MethodDelete, bucket: u.Bucket, key: u.Key, query: u.query(0), as: c.caller(),
	})
	if err == nil {
		discard(resp)
	}
}

// uploadOf returns the recorded upload that the request names. Of one without a
// record the upstream says what is wrong: that the bucket does not exist, for one.
func (c *call) uploadOf() (*upload, error) {
	u, err := c.State.findUpload(c.ctx(), c.req.Bucket, c.req.Key, c.req.Query.Get("uploadId"))
	if !errors.Is(err, s3.ErrNoSuchUpload) {
		return u, err
	}
	unknown := &upload{Bucket: c.req.Bucket, Key: c.req.Key, ID: c.req.Query.Get("uploadId")}
	refused := c.Upstream.knows(c.ctx(), unknown, c.caller())
	if refused == nil {
		return nil, err
	}
	if hasDocument(refused) && !errors.Is(refused, errUpstream) {
		refused = unrecorded{refused}
	}
	return nil, refused
}

// unrecorded is what the store says of an upload that has no record: the client is told
// that, and the gateway knows that there is none.
type unrecorded struct{ error }

func (u unrecorded) Unwrap() error        { return u.error }
func (u unrecorded) Is(target error) bool { return target == s3.ErrNoSuchUpload }

// knows returns nil if the store has the upload, otherwise what it says instead.
func (u *Upstream) knows(ctx context.Context, up *upload, as caller) error {
	query := up.query(0)
	query.Set("max-parts", "1")
	resp, err := u.expect(ctx, outgoing{method: http.MethodGet, bucket: up.Bucket, key: up.Key, query: query, as: as})
	if err == nil {
		discard(resp)
	}
	return err
}

// maxPartNumber is the store's highest part number.
const maxPartNumber = 10_000

func errPartNumber(value string, most int) error {
	return s3.ErrArgument("partNumber", value, fmt.Sprintf("Part number must be an integer between 1 and %d, inclusive.", most))
}

// partOf returns the recorded upload and the part number that the request names.
// The 10,000th part of a sealed upload is for the part table.
func (c *call) partOf() (*upload, int, error) {
	n, err := strconv.Atoi(c.req.Query.Get("partNumber"))
	if err != nil || n < 1 || n > maxPartNumber {
		return nil, 0, errPartNumber(c.req.Query.Get("partNumber"), maxPartNumber)
	}
	u, err := c.uploadOf()
	if err != nil {
		return nil, 0, err
	}
	if !u.Plain && n > sealer.MaxParts {
		return nil, 0, errPartNumber(c.req.Query.Get("partNumber"), sealer.MaxParts)
	}
	s, err := c.repeatedSealing(u)
	switch {
	case err != nil:
	case u.Plain:
		err = c.allowPlainUpload()
	case s.lacksKey():
		err = errUploadEncrypted
	}
	return u, n, err
}

// allowPlainUpload refuses to go on with an upload that is not sealed in a bucket that has
// become sealed-only since it began: nobody could read its object.
func (c *call) allowPlainUpload() error {
	only, err := c.sealedOnly()
	if err == nil && only {
		err = s3.ErrAccessDenied.Msg("The multipart upload was initiated without encryption, and the bucket accepts sealed objects only.")
	}
	return err
}

// stored is the size of a part at the store, in bytes.
func (u *upload) stored(size int64) int64 {
	if u.Plain {
		return size
	}
	return sealer.SealedSize(size)
}

// uploadPart is UploadPart. Every attempt has its own nonce, and so its own key.
func (c *call) uploadPart() error {
	u, number, err := c.partOf()
	if err != nil {
		return err
	}
	body, err := c.body()
	if err != nil {
		return err
	}
	switch size := body.Size(); {
	case size < 0:
		return s3.ErrMissingContentLength
	case u.stored(size) > maxPut:
		return s3.ErrEntityTooLarge
	}
	if err := u.checkPart(body); err != nil {
		return err
	}
	if u.Plain {
		return c.putPlain(upstreamHeader(c.req.Header), body)
	}
	summed := withChecksum(body, u.announced().Algorithm)
	p, s, err := c.storePart(u, number, summed)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("ETag", p.shown())
	s.setHeaders(h)
	shown := summed.Checksums()
	if u.Algorithm == "" {
		shown = body.Checksums() // the default is of the whole object
	}
	for _, sum := range shown {
		h.Set(sigv4.HeaderName(sum.Algorithm), checksumText(sum.Value))
	}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// storePart seals a body of withChecksum as one attempt of a part and records it. The attempts that were
// recorded before it began are of no use afterwards: the store had them before
// this one. Those that come to be meanwhile stay.
func (c *call) storePart(u *upload, number int, body plaintext) (*part, *sealing, error) {
	s, err := c.uploadSealing(u)
	if err != nil {
		return nil, nil, err
	}
	p := &part{number: number, PartRecord: sealer.PartRecord{
		Size: body.Size(), Nonce: sealer.NewPartNonce(), Staged: body.Size() < c.bounds.minPart, Tagged: true,
		Sent: u.Algorithm == "" && !isComputed(body),
	}}
	if p.Staged || c.credential == nil {
		if err := c.mayWritePart(u); err != nil {
			return nil, nil, err
		}
	}
	k, err := c.openKey(u.header, s)
	if err != nil {
		return nil, nil, err
	}
	defer k.Wipe()
	replaced, err := c.State.attempts(c.ctx(), u, number)
	if err != nil {
		return nil, nil, err
	}
	if err := c.sendPart(u, p, k, body); err != nil {
		return nil, nil, err
	}
	p.Checksums = storedChecksums(body.Checksums())
	if err := c.State.savePart(c.ctx(), u, p); err != nil {
		return nil, nil, err
	}
	if err := c.State.forgetAttempts(c.ctx(), u, replaced); err != nil {
		c.log.Warn("records of replaced attempts left behind", zap.Error(err))
	}
	return p, s, nil
}

// sendPart seals the body and sends it to where the attempt belongs.
func (c *call) sendPart(u *upload, p *part, k *sealer.ObjectKey, body plaintext) error {
	sealed, err := k.SealPart(p.number, p.Nonce, body, p.Size)
	if err != nil {
		return fmt.Errorf("proxy: sealing a part: %w", err)
	}
	o := outgoing{
		method: http.MethodPut, bucket: u.Bucket, key: u.Key, header: c.uploadHeader(), as: c.caller(),
		query: u.query(p.number),
	}
	framing := c.framing()
	if p.Staged {
		p.ETag = randomTag()
		o = outgoing{method: http.MethodPut, bucket: c.State.Bucket(), key: u.stagedName(p), header: http.Header{}}
		framing = c.Upstream.framing.get()
	}
	c.Upstream.frame(&o, sealed, sealer.SealedSize(p.Size), framing, nil)
	resp, err := c.send(o, body)
	if err != nil {
		return err
	}
	discard(resp)
	if !p.Staged {
		p.ETag = strings.Trim(resp.Header.Get("ETag"), `"`)
	}
	return nil
}

// mayWritePart asks the store whether the client may write to an upload, before the
// gateway stages a part in its own name or asks KES for an anonymous client: with an empty part under the number that no
// client's part has, which ListParts does not show and no Complete lists as it is.
func (c *call) mayWritePart(u *upload) error {
	header := c.uploadHeader()
	if c.caller().isGateway() && header.Get(s3.HeaderExpectedOwner) == "" {
		return nil
	}
	resp, err := c.Upstream.expect(c.ctx(), outgoing{
		method: http.MethodPut, bucket: u.Bucket, key: u.Key, header: header, as: c.caller(),
		query: u.query(maxPartNumber),
	})
	if err != nil {
		return err
	}
	discard(resp)
	return nil
}

const tagDigits = 32

// randomTag is 32 hexadecimal digits, such as an ETag that no other attempt has.
func randomTag() string {
	var b [tagDigits / 2]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// uploadTail sends the last part of a sealed upload, under the upstream's number:
// the part table behind the bytes of a staged part, or alone. It returns the
// upstream's ETag.
func (c *call) uploadTail(u *upload, last *part, number int, table []byte) (string, error) {
	o := outgoing{
		method: http.MethodPut, bucket: u.Bucket, key: u.Key, header: c.uploadHeader(), as: c.caller(),
		query: u.query(number),
	}
	src, size := io.Reader(bytes.NewReader(table)), int64(len(table))
	if last.Staged {
		staged, err := c.State.staged(c.ctx(), u, last)
		if err != nil {
			return "", err
		}
		defer func() { _ = staged.Close() }()
		length := sealer.SealedSize(last.Size)
		src, size = io.MultiReader(io.LimitReader(staged, length), src), length+size
	}
	c.Upstream.frame(&o, src, size, c.framing(), nil)
	resp, err := c.Upstream.expect(c.ctx(), o)
	if err != nil {
		return "", err
	}
	discard(resp)
	return strings.Trim(resp.Header.Get("ETag"), `"`), nil
}

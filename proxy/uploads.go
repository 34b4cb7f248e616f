package proxy

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// Upload records are the gateway's memory of a multipart upload: small sealed
// objects in the state bucket, below uploads/<name of the upload>/.
//
//	upload               written at Create: how the upload is sealed
//	p-<number>-<record>  one per attempt to upload a part; the record is the name,
//	                     so that a Complete reads a thousand of them in one listing.
//	                     An attempt removes those that it replaced
//	s-<number>-<etag>    the sealed bytes of a part that is too small to be upstream
//	                     before it is known to be the last
//	done                 written at Complete: its answer, to give again
const (
	uploadsPrefix = "uploads/"
	uploadRecord  = "upload"
	doneRecord    = "done"
	maxUpload     = 64 << 10 // bytes of an upload record

	forgetRequests = 8 // under way while the records of an upload are removed
)

// upload is a multipart upload as Create recorded it.
type upload struct {
	Bucket    string    `json:"bucket"`
	Key       string    `json:"key"`
	ID        string    `json:"id"`                  // as clients have it: see sealedID
	Header    string    `json:"header,omitempty"`    // of the object, encoded
	Plain     bool      `json:"plain,omitempty"`     // the object is not to be sealed, and has no header
	Algorithm string    `json:"algorithm,omitempty"` // of the checksums that the client announced
	Type      string    `json:"type,omitempty"`      // COMPOSITE or FULL_OBJECT
	Started   time.Time `json:"started"`

	header *sealer.Header // Header, parsed
}

// sealedMark stands in the upload IDs of sealed uploads, between the store's ID and
// the digits of a randomTag.
const sealedMark = "-ssegw-"

// sealedID makes the ID that clients have for a sealed upload. Its randomness is the
// gateway's own and is in the upload's record: a store that gives one of its IDs
// twice has no older record that fits, not that of an upload which is not sealed
// either (docs/adr/0009-upload-ids.md).
func sealedID(store string) string { return store + sealedMark + randomTag() }

// storeID is the store's part of an ID that a client has.
func storeID(id string) string {
	i := strings.LastIndex(id, sealedMark)
	if i < 0 || len(id)-i != len(sealedMark)+tagDigits {
		return id
	}
	return id[:i]
}

// query names the upload to the store, and a part of it unless number is 0.
func (u *upload) query(number int) url.Values {
	q := url.Values{"uploadId": {storeID(u.ID)}}
	if number > 0 {
		q.Set("partNumber", strconv.Itoa(number))
	}
	return q
}

func (u *upload) binding() sealer.Upload {
	return sealer.Upload{Binding: sealer.Binding{Bucket: u.Bucket, Key: u.Key}, UploadID: u.ID}
}

// prefix is where the records of an upload are. The name reveals neither bucket
// nor key, and no upload ID of the store's has to fit a key.
func (u *upload) prefix() string {
	h := sha256.New()
	for _, s := range [...]string{u.Bucket, u.Key, storeID(u.ID)} {
		_, _ = fmt.Fprintf(h, "%d:%s", len(s), s) // a hash takes everything
	}
	return uploadsPrefix + hex.EncodeToString(h.Sum(nil)[:16]) + "/"
}

// saveUpload records a new upload.
func (s *State) saveUpload(ctx context.Context, u *upload) error {
	plain, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("proxy: encoding an upload: %w", err)
	}
	return s.save(ctx, u.prefix()+uploadRecord, plain)
}

// save seals a document and stores it, over an older one too.
func (s *State) save(ctx context.Context, name string, plain []byte) error {
	record, err := sealer.SealRecord(s.Root(), name, plain)
	if err != nil {
		return fmt.Errorf("proxy: sealing %s: %w", name, err)
	}
	if _, err = s.cfg.Upstream.putSmall(ctx, s.cfg.Bucket, name, record, http.Header{}); err != nil {
		return stateFailed("writing "+name, err)
	}
	return nil
}

// stateFailed is an error of the state bucket. What the store says of it is not
// about the client's objects, and would tell the bucket's name.
func stateFailed(doing string, err error) error {
	return fmt.Errorf("%w: state bucket: %s: %w", errUpstream, doing, err)
}

// load reads and opens a document.
func (s *State) load(ctx context.Context, name string, limit int64) ([]byte, error) {
	b, _, err := s.cfg.Upstream.get(ctx, s.cfg.Bucket, name, limit)
	if err != nil {
		return nil, stateFailed("reading "+name, err)
	}
	plain, err := sealer.OpenRecord(s.Root(), name, b)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errIntegrity, name, err)
	}
	return plain, nil
}

// findUpload returns a recorded upload. One without a record is unknown, never
// one that is not sealed; so is one whose record has another ID.
func (s *State) findUpload(ctx context.Context, bucket, key, id string) (*upload, error) {
	u, err := s.recordedUpload(ctx, bucket, key, id)
	if err == nil && u.ID != id {
		return nil, s3.ErrNoSuchUpload
	}
	return u, err
}

// recordedUpload returns the recorded upload that has the store's ID in id.
func (s *State) recordedUpload(ctx context.Context, bucket, key, id string) (*upload, error) {
	u := &upload{Bucket: bucket, Key: key, ID: id}
	plain, err := s.load(ctx, u.prefix()+uploadRecord, maxUpload)
	if statusOf(err) == http.StatusNotFound {
		return nil, s3.ErrNoSuchUpload
	}
	if err != nil {
		return nil, err
	}
	found := &upload{}
	if err := json.Unmarshal(plain, found); err != nil {
		return nil, fmt.Errorf("%w: upload record: %w", errIntegrity, err)
	}
	if found.Bucket != bucket || found.Key != key || storeID(found.ID) != storeID(id) {
		return nil, fmt.Errorf("%w: record of another upload", errIntegrity)
	}
	if found.Plain && found.Header == "" {
		return found, nil
	}
	// Anything but a clear word for plaintext is a sealed upload or an error.
	if found.header, err = sealer.ParseHeader(found.Header); err != nil || found.Plain {
		return nil, fmt.Errorf("%w: upload record: %w", errIntegrity, errors.Join(err, errMismatch))
	}
	return found, nil
}

// part is a recorded attempt to upload a part.
type part struct {
	number int
	name   string    // of the record in the state bucket
	saved  time.Time // when the record was written, by the store's clock
	sealer.PartRecord
}

// shown is the ETag that the client was given for the attempt. It is not the
// store's, which then could make one attempt pass for another
// (docs/adr/0012-part-tags.md). Records of earlier versions have the store's.
func (p *part) shown() string {
	if p.Tagged {
		return s3.ETagShown(p.Tag(), true)
	}
	return s3.ETagShown(p.ETag, true)
}

// clientSum is the checksum that clients are shown for the attempt, or nil: of the
// algorithm that the upload announced or, where it announced none, the one that came with the
// part. The default one is of the object only, unless it came with the part.
func (p *part) clientSum(u *upload) *sealer.Checksum {
	want := u.announced().Algorithm
	if u.Algorithm != "" || p.Sent {
		return p.sum(want)
	}
	i := slices.IndexFunc(p.Checksums, func(c sealer.Checksum) bool { return c.Algorithm != want })
	if i < 0 {
		return nil
	}
	return &p.Checksums[i]
}

// sum is the attempt's checksum of an algorithm, or nil.
func (p *part) sum(a sealer.Algorithm) *sealer.Checksum {
	i := slices.IndexFunc(p.Checksums, func(c sealer.Checksum) bool { return c.Algorithm == a })
	if i < 0 {
		return nil
	}
	return &p.Checksums[i]
}

// savePart records an attempt. It is called before the attempt is answered. The checksum
// that the client sent beside the object's algorithm is left out where it does not fit.
func (s *State) savePart(ctx context.Context, u *upload, p *part) error {
	text, err := sealer.SealPartRecord(s.Root(), u.binding(), p.number, p.PartRecord)
	if errors.Is(err, sealer.ErrTooLarge) {
		p.Checksums = slices.DeleteFunc(p.Checksums, func(c sealer.Checksum) bool { return c.Algorithm != u.announced().Algorithm })
		text, err = sealer.SealPartRecord(s.Root(), u.binding(), p.number, p.PartRecord)
	}
	if err != nil {
		return fmt.Errorf("proxy: sealing a part record: %w", err)
	}
	p.name = u.recordsOf(p.number) + text
	if _, err := s.cfg.Upstream.putSmall(ctx, s.cfg.Bucket, p.name, nil, http.Header{}); err != nil {
		return stateFailed("writing a part record", err)
	}
	return nil
}

// recordsOf is what the names of a part's records begin with.
func (u *upload) recordsOf(number int) string { return fmt.Sprintf("%sp-%05d-", u.prefix(), number) }

// stagedName is where the sealed bytes of a small part wait.
func (u *upload) stagedName(p *part) string {
	return fmt.Sprintf("%ss-%05d-%s", u.prefix(), p.number, p.ETag)
}

// parts returns all recorded attempts of an upload, by part number.
func (s *State) parts(ctx context.Context, u *upload) (map[int][]*part, error) {
	return s.partsBelow(ctx, u, u.prefix()+"p-")
}

// attempts returns the recorded attempts of one part.
func (s *State) attempts(ctx context.Context, u *upload, number int) ([]*part, error) {
	parts, err := s.partsBelow(ctx, u, u.recordsOf(number))
	return parts[number], err
}

// partsBelow returns the attempts whose records' names begin with prefix.
func (s *State) partsBelow(ctx context.Context, u *upload, prefix string) (map[int][]*part, error) {
	parts := map[int][]*part{}
	err := s.each(ctx, prefix, func(e *s3.Entry) error {
		digits, text, _ := strings.Cut(strings.TrimPrefix(e.Key, u.prefix()+"p-"), "-")
		number, err := strconv.Atoi(digits)
		if err != nil {
			return fmt.Errorf("%w: part record %s", errIntegrity, e.Key)
		}
		r, err := sealer.OpenPartRecord(s.Root(), u.binding(), number, text)
		if err != nil {
			return fmt.Errorf("%w: part record: %w", errIntegrity, err)
		}
		parts[number] = append(parts[number], &part{number, e.Key, parseModified(e.LastModified), *r})
		return nil
	})
	return parts, err
}

// forgetAttempts removes attempts that were replaced, the record first: as long as
// it is there, the staged bytes have to be there too.
func (s *State) forgetAttempts(ctx context.Context, u *upload, replaced []*part) error {
	for _, p := range replaced {
		if err := s.remove(ctx, p.name); err != nil {
			return err
		}
		if p.Staged {
			if err := s.remove(ctx, u.stagedName(p)); err != nil {
				return err
			}
		}
	}
	return nil
}

// each calls f with the objects of the state bucket whose keys begin with prefix.
func (s *State) each(ctx context.Context, prefix string, f func(e *s3.Entry) error) error {
	for after := ""; ; {
		page, err := s.page(ctx, prefix, after)
		if err != nil {
			return err
		}
		for i := range page.Entries {
			if err := f(&page.Entries[i]); err != nil {
				return err
			}
		}
		if !page.IsTruncated || len(page.Entries) == 0 {
			return nil
		}
		after = page.Entries[len(page.Entries)-1].Key
	}
}

// page lists the next objects of the state bucket whose keys begin with prefix, from
// the one behind the key after on.
func (s *State) page(ctx context.Context, prefix, after string) (*s3.Listing, error) {
	query := url.Values{"list-type": {"2"}, "prefix": {prefix}}
	if after != "" {
		query.Set("start-after", after)
	}
	resp, err := s.cfg.Upstream.expect(ctx, outgoing{method: http.MethodGet, bucket: s.cfg.Bucket, query: query})
	if err != nil {
		return nil, stateFailed("listing", err)
	}
	defer func() { _ = resp.Body.Close() }()
	listing, err := parseListing(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("proxy: listing the state bucket: %w", err)
	}
	for _, e := range listing.Entries {
		if !strings.HasPrefix(e.Key, prefix) || e.Key <= after {
			// What follows would be asked for again and again.
			return nil, fmt.Errorf("%w: the listing of the state bucket behind %q has %q", errUpstream, after, e.Key)
		}
		after = e.Key
	}
	return listing, nil
}

// staged reads the sealed bytes of a small part. A part whose record is there and
// whose bytes are not all there was tampered with.
func (s *State) staged(ctx context.Context, u *upload, p *part) (io.ReadCloser, error) {
	resp, err := s.cfg.Upstream.expect(ctx, outgoing{method: http.MethodGet, bucket: s.cfg.Bucket, key: u.stagedName(p)})
	if statusOf(err) == http.StatusNotFound {
		return nil, fmt.Errorf("%w: a staged part is missing", errIntegrity)
	}
	if err != nil {
		return nil, stateFailed("reading a staged part", err)
	}
	if resp.ContentLength != sealer.SealedSize(p.Size) {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%w: a staged part of %d bytes", errIntegrity, resp.ContentLength)
	}
	return resp.Body, nil
}

// forget removes the records of an upload that ended, but for the answer of its
// Complete.
func (s *State) forget(ctx context.Context, u *upload) error {
	if err := s.forgetUpload(ctx, u); err != nil {
		return err
	}
	return s.forgetParts(ctx, u)
}

// forgetUpload removes the record of the upload itself. It goes before those of the
// parts: as long as it is there, they have to be there too.
func (s *State) forgetUpload(ctx context.Context, u *upload) error {
	return s.remove(ctx, u.prefix()+uploadRecord)
}

// forgetParts removes the records that are of no use without the upload's own.
func (s *State) forgetParts(ctx context.Context, u *upload) error {
	g, ctx := newGroup(ctx, forgetRequests)
	listed := s.each(ctx, u.prefix(), func(e *s3.Entry) error {
		if !strings.HasSuffix(e.Key, "/"+doneRecord) {
			g.Go(func() error { return s.remove(ctx, e.Key) })
		}
		return ctx.Err()
	})
	return cmp.Or(g.Wait(), listed) // a failed removal ends the listing
}

// remove deletes an object of the state bucket. One that is not there is removed.
func (s *State) remove(ctx context.Context, name string) error {
	resp, err := s.cfg.Upstream.expect(ctx, outgoing{method: http.MethodDelete, bucket: s.cfg.Bucket, key: name})
	if up := (*upstreamError)(nil); errors.As(err, &up) && up.code == s3.ErrNoSuchKey.Code {
		return nil
	}
	if err != nil {
		return stateFailed("removing "+name, err)
	}
	discard(resp)
	return nil
}

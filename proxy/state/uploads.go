package state

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
	"ssegw/proxy/task"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// Upload records hold the state of a multipart upload. They are small objects
// in the state bucket under uploads/<name of the upload>/ (docs/FORMAT.md,
// section 15).
//
//	upload               written at Create: how the upload is sealed
//	p-<number>-<record>  one per attempt to upload a part. The record is in the
//	                     name, so that Complete reads a thousand of them in one
//	                     listing. An attempt removes the records of those that
//	                     it replaces
//	s-<number>-<etag>    the sealed bytes of a part that the store accepts only
//	                     as the last part, because it is small
//	done                 written at Complete: its answer, for a client that
//	                     repeats the request
const (
	UploadsPrefix = "uploads/"
	UploadRecord  = "upload"
	DoneRecord    = "done"
	maxUpload     = 64 << 10 // bytes of the records upload and done

	forgetRequests = 8 // that remove records of an upload at the same time
)

// Upload is a multipart upload as recorded at Create.
type Upload struct {
	Bucket    string    `json:"bucket"`
	Key       string    `json:"key"`
	ID        string    `json:"id"`                  // as clients know it: see SealedID
	Encoded   string    `json:"header,omitempty"`    // the object's header, encoded; "" if Plain
	Plain     bool      `json:"plain,omitempty"`     // the object is not sealed
	Algorithm string    `json:"algorithm,omitempty"` // of the checksums that the client announced
	Type      string    `json:"type,omitempty"`      // COMPOSITE or FULL_OBJECT
	Tags      string    `json:"tags,omitempty"`      // of the object, if they are set after the Complete; in the form of x-amz-tagging
	Started   time.Time `json:"started"`

	Header *sealer.Parsed `json:"-"` // parsed from Encoded; nil if Plain

	root sealer.Root // that its records are sealed under
}

// sealedMark separates the store's upload ID from the digits of a RandomTag in
// the ID of a sealed upload.
const sealedMark = "-ssegw-"

// SealedID returns a new ID, for clients, of a sealed upload with the given ID
// in the store. The gateway's random digits in it are also in the upload's
// record. So if the store gives an ID twice, no older record fits, not even
// that of an upload that is not sealed (docs/adr/0009-upload-ids.md).
func SealedID(store string) string { return store + sealedMark + upstream.RandomTag() }

// StoreID returns the store's part of an upload ID that a client sent.
func StoreID(id string) string {
	i := strings.LastIndex(id, sealedMark)
	if i < 0 || len(id)-i != len(sealedMark)+upstream.TagDigits {
		return id
	}
	return id[:i]
}

// AtStore returns the upload as the store knows it.
func (u *Upload) AtStore() upstream.UploadName {
	return upstream.UploadName{Bucket: u.Bucket, Key: u.Key, ID: StoreID(u.ID)}
}

// Binding returns what the upload's part records are bound to.
func (u *Upload) Binding() sealer.Upload {
	return sealer.Upload{Binding: sealer.Binding{Bucket: u.Bucket, Key: u.Key}, UploadID: u.ID}
}

// Announced returns which checksum the completed object gets: the one that the
// client chose at Create, or the default.
func (u *Upload) Announced() sealer.Announcement {
	a, ok := sealer.ParseAlgorithm(u.Algorithm)
	if !ok {
		return sealer.Announcement{Algorithm: sealer.DefaultAlgorithm}
	}
	return sealer.Announcement{Algorithm: a, Composite: u.Type == s3.Composite}
}

// StoredSize returns the size at the store of a part of size plaintext bytes.
func (u *Upload) StoredSize(size int64) int64 {
	if u.Plain {
		return size
	}
	return sealer.SealedSize(size)
}

// Prefix returns the key prefix of the upload's records. It is a hash: it
// reveals neither bucket nor key, and any upload ID of the store yields a valid
// key.
func (u *Upload) Prefix() string {
	h := sha256.New()
	for _, s := range [...]string{u.Bucket, u.Key, StoreID(u.ID)} {
		_, _ = fmt.Fprintf(h, "%d:%s", len(s), s) // a hash never returns an error
	}
	return UploadsPrefix + hex.EncodeToString(h.Sum(nil)[:16]) + "/"
}

// SaveUpload records a new upload. The records of its parts are sealed under
// the same root, even after that is replaced.
func (s *State) SaveUpload(ctx context.Context, u *Upload) error {
	plain, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("state: encoding an upload: %w", err)
	}
	u.root = s.Root()
	return s.saveUnder(ctx, u.root, u.Prefix()+UploadRecord, plain)
}

// save seals a document under the present root and stores it. It replaces an
// older one.
func (s *State) save(ctx context.Context, name string, plain []byte) error {
	return s.saveUnder(ctx, s.Root(), name, plain)
}

func (s *State) saveUnder(ctx context.Context, root sealer.Root, name string, plain []byte) error {
	record, err := sealer.SealRecord(root, name, plain)
	if err != nil {
		return fmt.Errorf("state: sealing %s: %w", name, err)
	}
	if _, err = s.store.Put(ctx, s.cfg.Bucket, name, record, http.Header{}); err != nil {
		return stateFailed("writing "+name, err)
	}
	return nil
}

// stateFailed returns the error of a failed request to the state bucket.
// Clients must not get the store's error: it is not about their objects, and it
// would reveal the bucket's name.
func stateFailed(doing string, err error) error {
	return fmt.Errorf("%w: state bucket: %s: %w", upstream.ErrUnavailable, doing, upstream.Hide(err))
}

// FindUpload returns a recorded upload. If there is no record or the record has
// another ID, the error is NoSuchUpload: a missing record never means that the
// upload is not sealed. If the record is not authentic, the error is ErrRecord.
func (s *State) FindUpload(ctx context.Context, bucket, key, id string) (*Upload, error) {
	u, err := s.RecordedUpload(ctx, bucket, key, id)
	if err == nil && u.ID != id {
		return nil, s3.ErrNoSuchUpload
	}
	return u, err
}

// RecordedUpload is like FindUpload, but compares only the store's part of the
// ID.
func (s *State) RecordedUpload(ctx context.Context, bucket, key, id string) (*Upload, error) {
	u := &Upload{Bucket: bucket, Key: key, ID: id}
	found, err := s.loadUpload(ctx, u.Prefix()+UploadRecord)
	if err == nil && (found.Bucket != bucket || found.Key != key || StoreID(found.ID) != StoreID(id)) {
		return nil, fmt.Errorf("%w: record of another upload", ErrRecord)
	}
	return found, err
}

// loadUpload reads the record of an upload. If there is none, the error is
// NoSuchUpload.
func (s *State) loadUpload(ctx context.Context, name string) (*Upload, error) {
	plain, root, err := s.load(ctx, name, maxUpload)
	if upstream.StatusOf(err) == http.StatusNotFound {
		return nil, s3.ErrNoSuchUpload
	}
	if err != nil {
		return nil, err
	}
	found := &Upload{root: root}
	if err := json.Unmarshal(plain, found); err != nil {
		return nil, fmt.Errorf("%w: upload record: %w", ErrRecord, err)
	}
	if found.Plain && found.Encoded == "" {
		return found, nil
	}
	// Only an explicit Plain without a header means plaintext. Everything else
	// is a sealed upload or an error.
	if found.Plain {
		return nil, fmt.Errorf("%w: the upload has a header and is not to be sealed", ErrRecord)
	}
	if found.Header, err = sealer.Parse(found.Encoded); err != nil {
		return nil, fmt.Errorf("%w: upload record: %w", ErrRecord, err)
	}
	return found, nil
}

// load reads and opens a document. It also returns the root that the document
// is sealed under.
func (s *State) load(ctx context.Context, name string, limit int64) ([]byte, sealer.Root, error) {
	b, _, err := s.store.Get(ctx, s.cfg.Bucket, name, limit)
	if err != nil {
		return nil, sealer.Root{}, stateFailed("reading "+name, err)
	}
	root, err := s.recordRoot(ctx, s.Root(), b)
	var plain []byte
	if err == nil {
		plain, err = sealer.OpenRecord(root, name, b)
	}
	return plain, root, recordFailed(name, err)
}

// recordFailed returns the error for a record that did not open: ErrRecord,
// unless the store or KES is away. It returns nil if err is nil.
func recordFailed(name string, err error) error {
	if err == nil || isAway(err) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrRecord, name, err)
}

// Part is a recorded attempt to upload a part.
type Part struct {
	Number int
	Name   string    // of the record in the state bucket
	Saved  time.Time // when the record was written, by the store's clock; zero if unknown
	sealer.PartRecord
}

// Shown returns the ETag that the client got for the attempt. It is not the
// store's ETag, with which the store could pass off one attempt as another
// (docs/adr/0012-part-tags.md). Records of earlier versions use the store's.
func (p *Part) Shown() string {
	if p.Tagged {
		return s3.ETagShown(p.Tag(), true)
	}
	return s3.ETagShown(p.ETag, true)
}

// ClientSum returns the checksum that clients see for the attempt, or nil. It
// is that of the algorithm announced for the upload. If none was announced, it
// is the one that the client sent with the part. The gateway computes the
// default checksum only for the object, so clients see it only if they sent it.
func (p *Part) ClientSum(u *Upload) *sealer.Checksum {
	want := u.Announced().Algorithm
	if u.Algorithm != "" || p.Sent {
		return p.Sum(want)
	}
	i := slices.IndexFunc(p.Checksums, func(c sealer.Checksum) bool { return c.Algorithm != want })
	if i < 0 {
		return nil
	}
	return &p.Checksums[i]
}

// Sum returns the attempt's checksum of an algorithm, or nil.
func (p *Part) Sum(a sealer.Algorithm) *sealer.Checksum {
	i := slices.IndexFunc(p.Checksums, func(c sealer.Checksum) bool { return c.Algorithm == a })
	if i < 0 {
		return nil
	}
	return &p.Checksums[i]
}

// SavePart records an attempt. Call it before the client gets the answer. If
// the record is too large, SavePart drops checksums of other algorithms than
// the object's.
func (s *State) SavePart(ctx context.Context, u *Upload, p *Part) error {
	text, err := sealer.SealPartRecord(u.root, u.Binding(), p.Number, p.PartRecord)
	if errors.Is(err, sealer.ErrTooLarge) {
		p.Checksums = slices.DeleteFunc(p.Checksums, func(c sealer.Checksum) bool { return c.Algorithm != u.Announced().Algorithm })
		text, err = sealer.SealPartRecord(u.root, u.Binding(), p.Number, p.PartRecord)
	}
	if err != nil {
		return fmt.Errorf("state: sealing a part record: %w", err)
	}
	p.Name = u.recordsOf(p.Number) + text
	if _, err := s.store.Put(ctx, s.cfg.Bucket, p.Name, nil, http.Header{}); err != nil {
		return stateFailed("writing a part record", err)
	}
	return nil
}

// recordsOf returns the prefix of the names of a part's records.
func (u *Upload) recordsOf(number int) string { return fmt.Sprintf("%sp-%05d-", u.Prefix(), number) }

// StagedName returns the name of the object that holds the sealed bytes of a
// small part until Complete.
func (u *Upload) StagedName(p *Part) string {
	return fmt.Sprintf("%ss-%05d-%s", u.Prefix(), p.Number, p.ETag)
}

// Staged reads the sealed bytes of a small part. If they are missing or have
// the wrong length, the state bucket was tampered with, and the error is
// ErrRecord.
func (s *State) Staged(ctx context.Context, u *Upload, p *Part) (io.ReadCloser, error) {
	resp, err := s.store.Send(ctx, upstream.Request{Method: http.MethodGet, Bucket: s.cfg.Bucket, Key: u.StagedName(p)})
	if upstream.StatusOf(err) == http.StatusNotFound {
		return nil, fmt.Errorf("%w: a staged part is missing", ErrRecord)
	}
	if err != nil {
		return nil, stateFailed("reading a staged part", err)
	}
	if resp.ContentLength != sealer.SealedSize(p.Size) {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%w: a staged part of %d bytes", ErrRecord, resp.ContentLength)
	}
	return resp.Body, nil
}

// Parts returns all recorded attempts of an upload, by part number. If one of
// the records is not authentic, the error is ErrRecord.
func (s *State) Parts(ctx context.Context, u *Upload) (map[int][]*Part, error) {
	return s.partsBelow(ctx, u, u.Prefix()+"p-")
}

// Attempts returns the recorded attempts of one part. The error is that of
// Parts.
func (s *State) Attempts(ctx context.Context, u *Upload, number int) ([]*Part, error) {
	parts, err := s.partsBelow(ctx, u, u.recordsOf(number))
	return parts[number], err
}

// partsBelow returns the attempts whose records' names begin with prefix.
func (s *State) partsBelow(ctx context.Context, u *Upload, prefix string) (map[int][]*Part, error) {
	parts := map[int][]*Part{}
	err := s.each(ctx, prefix, func(e *s3.Entry) error {
		digits, text, _ := strings.Cut(strings.TrimPrefix(e.Key, u.Prefix()+"p-"), "-")
		number, err := strconv.Atoi(digits)
		if err != nil {
			return fmt.Errorf("%w: part record %s", ErrRecord, e.Key)
		}
		r, err := sealer.OpenPartRecord(u.root, u.Binding(), number, text)
		if err != nil {
			return fmt.Errorf("%w: part record: %w", ErrRecord, err)
		}
		parts[number] = append(parts[number], &Part{number, e.Key, ParseModified(e.LastModified), *r})
		return nil
	})
	return parts, err
}

// each calls f with the objects of the state bucket whose keys begin with
// prefix.
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
		if !page.IsTruncated {
			return nil
		}
		if len(page.Entries) == 0 {
			return fmt.Errorf("%w: the listing of the state bucket after %q has an empty page, and more after it", upstream.ErrUnavailable, after)
		}
		after = page.Entries[len(page.Entries)-1].Key
	}
}

// page lists the next objects of the state bucket whose keys begin with prefix
// and come after the key after.
func (s *State) page(ctx context.Context, prefix, after string) (*s3.Listing, error) {
	query := url.Values{"list-type": {"2"}, "prefix": {prefix}}
	if after != "" {
		query.Set("start-after", after)
	}
	resp, err := s.store.Send(ctx, upstream.Request{Method: http.MethodGet, Bucket: s.cfg.Bucket, Query: query})
	if err != nil {
		return nil, stateFailed("listing", err)
	}
	defer func() { _ = resp.Body.Close() }()
	listing, err := upstream.ParseListing(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("state: listing the state bucket: %w", err)
	}
	for _, e := range listing.Entries {
		if !strings.HasPrefix(e.Key, prefix) || e.Key <= after {
			// Listing on from such a key could loop forever.
			return nil, fmt.Errorf("%w: the listing of the state bucket behind %q has %q", upstream.ErrUnavailable, after, e.Key)
		}
		after = e.Key
	}
	return listing, nil
}

// ParseModified parses the time of a listing's entry. If the store uses another
// form than RFC 3339, it returns the zero time.
func ParseModified(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(text))
	if err != nil {
		return time.Time{}
	}
	return t
}

// ForgetAttempts removes replaced attempts. It removes the record first,
// because a record without its staged bytes counts as tampered with.
func (s *State) ForgetAttempts(ctx context.Context, u *Upload, replaced []*Part) error {
	for _, p := range replaced {
		if err := s.remove(ctx, p.Name); err != nil {
			return err
		}
		if p.Staged {
			if err := s.remove(ctx, u.StagedName(p)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Answer is the recorded answer of a Complete, for a client that repeats it.
type Answer struct {
	ID     string            `json:"id"`               // of the upload
	Parts  string            `json:"parts"`            // SHA-256 of the request's body, in hexadecimal
	Answer []byte            `json:"answer"`           // body
	Header map[string]string `json:"header,omitempty"` // of the answer
}

// SaveAnswer records the answer of a Complete. It sets the ID of d.
func (s *State) SaveAnswer(ctx context.Context, u *Upload, d *Answer) error {
	d.ID = u.ID
	plain, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("state: encoding the answer of a Complete: %w", err)
	}
	return s.save(ctx, u.Prefix()+DoneRecord, plain)
}

// FindAnswer returns the recorded answer to a Complete with that body. If there
// is none, the error is NoSuchUpload.
func (s *State) FindAnswer(ctx context.Context, u *Upload, request []byte) (*Answer, error) {
	plain, _, err := s.load(ctx, u.Prefix()+DoneRecord, maxUpload)
	if upstream.StatusOf(err) == http.StatusNotFound {
		return nil, s3.ErrNoSuchUpload
	}
	if err != nil {
		return nil, err
	}
	d := &Answer{}
	if err := json.Unmarshal(plain, d); err != nil {
		return nil, fmt.Errorf("%w: record of a Complete: %w", ErrRecord, err)
	}
	if d.ID != u.ID || d.Parts != upstream.HexSHA256(request) {
		return nil, s3.ErrNoSuchUpload
	}
	return d, nil
}

// Forget removes the records of an upload that ended, except the answer of its
// Complete.
func (s *State) Forget(ctx context.Context, u *Upload) error {
	if err := s.ForgetUpload(ctx, u); err != nil {
		return err
	}
	return s.ForgetParts(ctx, u)
}

// ForgetUpload removes the record of the upload itself. Call it before
// ForgetParts: as long as this record exists, those of the parts must exist
// too.
func (s *State) ForgetUpload(ctx context.Context, u *Upload) error {
	return s.remove(ctx, u.Prefix()+UploadRecord)
}

// ForgetParts removes all other records of an upload, except the answer of its
// Complete.
func (s *State) ForgetParts(ctx context.Context, u *Upload) error {
	g, ctx := task.NewGroup(ctx, forgetRequests)
	listed := s.each(ctx, u.Prefix(), func(e *s3.Entry) error {
		if !strings.HasSuffix(e.Key, "/"+DoneRecord) {
			g.Go(func() error { return s.remove(ctx, e.Key) })
		}
		return ctx.Err()
	})
	return cmp.Or(g.Wait(), listed) // a failed removal ends the listing
}

// remove deletes an object of the state bucket. A missing object is no error.
func (s *State) remove(ctx context.Context, name string) error {
	_, err := s.store.Exec(ctx, upstream.Request{Method: http.MethodDelete, Bucket: s.cfg.Bucket, Key: name})
	if upstream.IsCode(err, s3.ErrNoSuchKey) {
		return nil
	}
	if err != nil {
		return stateFailed("removing "+name, err)
	}
	return nil
}

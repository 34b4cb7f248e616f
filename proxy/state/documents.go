package state

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// Documents are sealed records that several processes change, such as those of
// jobs. Each change names the state of the document that it replaces.

// ErrOvertaken is returned if another process has changed a document first.
var ErrOvertaken = errors.New("state: another process changed the document first")

// ErrNoDocument is returned if there is no document of that name.
var ErrNoDocument = errors.New("state: no such document")

// Document is a sealed document of the state bucket.
type Document struct {
	Name  string
	ETag  string // of its stored state; each write makes another one
	Plain []byte
}

// ReadDocument reads a document of at most limit bytes. The errors are
// ErrNoDocument, and ErrRecord for a document that no gateway wrote under that
// name.
func (s *State) ReadDocument(ctx context.Context, name string, limit int64) (*Document, error) {
	b, etag, err := s.store.Get(ctx, s.cfg.Bucket, name, limit)
	if upstream.IsCode(err, s3.ErrNoSuchKey) {
		return nil, fmt.Errorf("%w: %s", ErrNoDocument, name)
	}
	if err != nil {
		return nil, stateFailed("reading "+name, err)
	}
	plain, err := sealer.OpenRecord(s.Root(), name, b)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrRecord, name, err)
	}
	return &Document{Name: name, ETag: etag, Plain: plain}, nil
}

// WriteDocument stores d in place of the stored document with d.ETag, or as a
// new one if that is empty, and sets d.ETag. The error is ErrOvertaken if
// another document is stored. A store without conditional writes never says so.
func (s *State) WriteDocument(ctx context.Context, d *Document) error {
	record, err := sealer.SealRecord(s.Root(), d.Name, d.Plain)
	if err != nil {
		return fmt.Errorf("state: sealing %s: %w", d.Name, err)
	}
	etag, err := s.put(ctx, d.Name, record, d.ETag)
	if upstream.LostRace(err) || upstream.IsCode(err, s3.ErrNoSuchKey) {
		return fmt.Errorf("%w: %s", ErrOvertaken, d.Name)
	}
	if err != nil {
		return stateFailed("writing "+d.Name, err)
	}
	d.ETag = etag
	return nil
}

// RemoveDocument removes a document. A missing one is no error.
func (s *State) RemoveDocument(ctx context.Context, name string) error { return s.remove(ctx, name) }

// ListDocuments returns the ETags of the documents whose names begin with
// prefix, by name.
func (s *State) ListDocuments(ctx context.Context, prefix string) (map[string]string, error) {
	found := map[string]string{}
	err := s.each(ctx, prefix, func(e *s3.Entry) error {
		found[e.Key] = `"` + strings.Trim(e.ETag, `"`) + `"`
		return nil
	})
	return found, err
}

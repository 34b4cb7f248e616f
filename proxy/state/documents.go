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

// Documents are the documents of a state bucket. They are safe for concurrent
// use.
type Documents struct{ state *State }

// Document is a sealed document of the state bucket.
type Document struct {
	Name  string
	ETag  string // of its stored state; each write makes another one
	Plain []byte
}

// Read reads a document of at most limit bytes. The errors are
// ErrNoDocument, ErrRecord for a document that no gateway wrote under that
// name, and ErrNotReady.
func (d Documents) Read(ctx context.Context, name string, limit int64) (*Document, error) {
	if err := d.state.Ready(); err != nil {
		return nil, err
	}
	b, etag, err := d.state.store.Get(ctx, d.state.cfg.Bucket, name, limit)
	if upstream.IsCode(err, s3.ErrNoSuchKey) {
		return nil, fmt.Errorf("%w: %s", ErrNoDocument, name)
	}
	if err != nil {
		return nil, stateFailed("reading "+name, err)
	}
	plain, err := d.state.openRecord(ctx, d.state.Root(), name, b)
	if err != nil {
		return nil, recordFailed(name, err)
	}
	return &Document{Name: name, ETag: etag, Plain: plain}, nil
}

// Write stores doc in place of the stored document with doc.ETag, or as a new
// one if that is empty, and sets doc.ETag. The error is ErrOvertaken if
// another document is stored, or ErrNotReady. A store without conditional
// writes does not tell.
func (d Documents) Write(ctx context.Context, doc *Document) error {
	if err := d.state.Ready(); err != nil {
		return err
	}
	record, err := sealer.SealRecord(d.state.Root(), doc.Name, doc.Plain)
	if err != nil {
		return fmt.Errorf("state: sealing %s: %w", doc.Name, err)
	}
	etag, err := d.state.put(ctx, doc.Name, record, doc.ETag)
	if err != nil {
		return overtaken(doc.Name, err)
	}
	doc.ETag = etag
	return nil
}

// Remove removes a document. A missing one is no error.
func (d Documents) Remove(ctx context.Context, name string) error { return d.state.remove(ctx, name) }

// List returns the ETags of the documents whose names begin with
// prefix, by name.
func (d Documents) List(ctx context.Context, prefix string) (map[string]string, error) {
	found := map[string]string{}
	err := d.state.each(ctx, prefix, func(e *s3.Entry) error {
		found[e.Key] = `"` + strings.Trim(e.ETag, `"`) + `"`
		return nil
	})
	return found, err
}

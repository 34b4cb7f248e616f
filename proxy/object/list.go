package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// unseen are the statuses of a store that does not show an object, and will not
// the next time either: one that it encrypts itself with a key of the client's
// (400), one that is archived or may not be read (403), one that is gone (404,
// or 405 for a delete marker), and one that was replaced by a shorter one
// (416).
var unseen = []int{
	http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
	http.StatusRequestedRangeNotSatisfiable,
}

// List returns what a listing shows of the reader's object. e is its entry in
// the store's page. If told is true, the metadata in e tells whether the object
// is sealed. Otherwise List calls asked and asks the store. An object that the
// store does not show is listed as the store lists it. Any other failure fails
// the page, because the next page could show another size.
//
// What it finds is remembered, unless it may be about another object than the
// listed one: one that has replaced it since, or that will look the same.
func (r *Reader) List(ctx context.Context, e *s3.Entry, told bool, asked func()) (Entry, error) {
	o, tag, err := r.proveEntry(ctx, e, told, asked)
	var refused *upstream.Error
	switch {
	case errors.As(err, &refused) && slices.Contains(unseen, refused.Status):
		return Entry{size: notSeen}, nil
	case errors.Is(err, ErrIntegrity):
		return Entry{size: unknownFacts}, nil
	case err != nil:
		return Entry{}, err
	}
	found := Plaintext
	if o != nil {
		defer o.Wipe()
		found = o.Entry()
	}
	if strings.Trim(tag, `"`) != strings.Trim(e.ETag, `"`) || !isUnique(e) {
		return found, nil
	}
	if found.counted = true; !told { // at a store that tells, a page costs one lookup, however many entries are unknown
		r.Caches.unsaved.Add(1)
	}
	r.Caches.entries.Set(stateOf(r.Name.Bucket, e.Key, e.ETag, e.Size, e.LastModified), found)
	return found, nil
}

// Of returns the reader of the object of a bucket's listing, in the version of
// the entry.
func (a *Access) Of(bucket string, e *s3.Entry) *Reader {
	version := e.VersionID
	if version == "null" && e.IsLatest {
		version = "" // stores without versioning list this ID, but some do not accept it
	}
	return a.At(s3.CopySource{Bucket: bucket, Key: e.Key, VersionID: version}, http.Header{})
}

// ProveEntry proves the object of an entry, without its content headers. It
// returns nil for an object that is not sealed. For told and asked see List.
func (r *Reader) ProveEntry(ctx context.Context, e *s3.Entry, told bool, asked func()) (*Object, error) {
	o, _, err := r.proveEntry(ctx, e, told, asked)
	return o, err
}

// clockSkew is more than the clocks of gateway and store can differ: stores
// refuse signatures that are 15 minutes old.
const clockSkew = 20 * time.Minute

// isUnique reports whether no other object can have the state of an entry. If
// the store lists times in seconds, an empty object can, until the second in
// which it was written is over. So can objects without an ETag.
func isUnique(e *s3.Entry) bool {
	if strings.Trim(e.ETag, `"`) == "" {
		return false
	}
	if e.Size > 0 {
		return true
	}
	modified, err := time.Parse(time.RFC3339, e.LastModified)
	return err == nil && (modified.Nanosecond() != 0 || time.Since(modified) > clockSkew)
}

// proveEntry proves the object of an entry. It returns nil for an object that
// is not sealed. tag is the ETag of the object that it has seen.
func (r *Reader) proveEntry(ctx context.Context, e *s3.Entry, told bool, asked func()) (o *Object, tag string, err error) {
	stored, total, tail := http.Header{}, e.Size, []byte(nil)
	if _, err := sealer.HeaderOf(e.Sealed); told && err == nil {
		maps.Copy(stored, e.Sealed)
		stored.Set("ETag", s3.ETagShown(e.ETag, false))
	} else { // also if the page lacks a piece of a split header
		asked()
		if stored, total, tail, err = r.headOrTail(ctx, e); err != nil {
			return nil, "", err
		}
	}
	tag = stored.Get("ETag")
	if !IsSealed(stored) {
		return nil, tag, nil
	}
	if total != e.Size {
		return nil, tag, fmt.Errorf("%w: another object than the one listed", ErrIntegrity)
	}
	o, err = r.Prove(ctx, stored, total, tail, nil)
	return o, tag, err
}

// IsAsListed reports whether an earlier listing showed o as it is: the same
// sealed header, ETag and size in stored bytes. Then o is not mixed of an
// object and its successor, because a sealed header never returns once it is
// replaced. Headers that do not belong to the sealed one are not compared.
func (o *Object) IsAsListed(e *s3.Entry, size int64) bool {
	if e == nil || e.Sealed == nil || o.Altered {
		return false
	}
	listed, err := sealer.HeaderOf(e.Sealed)
	return err == nil && sealer.HasHeader(o.Stored, listed) && strings.Trim(e.ETag, `"`) == strings.Trim(o.Stored.Get("ETag"), `"`) && e.Size == size
}

// headOrTail sends a HEAD of the object of an entry. If the ETag looks like
// that of a multipart object, it sends a GET of the last bytes instead, which
// may hold the part table.
func (r *Reader) headOrTail(ctx context.Context, e *s3.Entry) (stored http.Header, total int64, tail []byte, err error) {
	if !strings.Contains(e.ETag, "-") || e.Size == 0 {
		head, err := r.Head(ctx, Request{})
		if err != nil {
			return nil, 0, nil, err
		}
		return head.Header, head.Size, nil, nil
	}
	length := tailLength(e.ETag, e.Size)
	resp, err := r.Fetch(ctx, Request{Range: fmt.Sprintf("bytes=%d-%d", e.Size-length, e.Size-1)})
	if err != nil {
		return nil, 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	total, first := TotalSize(resp)
	if total == e.Size && first == total-length {
		if tail, err = io.ReadAll(io.LimitReader(resp.Body, length)); err != nil {
			return nil, 0, nil, fmt.Errorf("%w: reading the end of an object: %w", upstream.ErrUnavailable, err)
		}
	}
	return resp.Header, total, tail, nil
}

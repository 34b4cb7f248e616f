// Package object reads stored objects as far as they are proven.
//
// A store can answer anything. Three verbs say how far an answer is believed:
//
//   - Prove authenticates the sealed header, the size and the part table.
//   - Verify also authenticates content headers and user metadata.
//   - Inspect also checks the client's customer key and its conditions.
//
// None of them asks the KMS, unless the root that sealed the facts is unknown.
// Bodies are authenticated while they are read (Object.Open).
//
// docs/ARCHITECTURE.md is the map.
package object

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"go.uber.org/zap"

	"ssegw/proxy/field"
	"ssegw/proxy/s3"
	"ssegw/proxy/sse"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

var (
	// ErrIntegrity is returned when the store's answer is not what was stored.
	ErrIntegrity = errors.New("object: not authentic")
	// ErrChanged is returned when the object changed between two requests of a
	// read, so that their answers do not belong together.
	ErrChanged = errors.New("object: changed while it was read")

	errMismatch = errors.New("differs from what was stored")
	errRoots    = errors.New("object: the root could not be looked up")
)

// Roots finds the roots that facts are sealed under. The error for an unknown
// root is sealer.ErrUnknownRoot. Any other error means that the root may exist.
type Roots interface {
	RootOf(ctx context.Context, id sealer.RootID) (sealer.Root, error)
}

// Access is what a request may do with objects. Its readers share it. It is
// safe for concurrent use.
type Access struct {
	Store      upstream.Client // in the client's name
	Roots      Roots
	Keys       *sse.Keys
	DefaultKey string // KES key for requests and rules that name none
	Secure     bool   // the client's connection is encrypted
	Known      bool   // the client has a credential; others get no SSE-KMS objects

	WarnHeaders   bool // log, rather than refuse, content headers that were changed
	StrictHeaders bool // refuse objects whose content headers cannot be verified

	Caches    *Caches
	Integrity func(reason string) // counts an integrity failure
	Log       *zap.Logger
}

// Reader reads one object.
type Reader struct {
	*Access
	Name    sealer.Binding // bucket and key
	Version url.Values     // the versionId parameter; empty: the current version
	Header  http.Header    // headers of the client that apply to the object
	Part    []string       // the partNumber parameter
}

// At returns the reader of an object. Of the request's headers only the given
// ones apply to it.
func (a *Access) At(o s3.CopySource, h http.Header) *Reader {
	r := &Reader{Access: a, Name: sealer.Binding{Bucket: o.Bucket, Key: o.Key}, Header: h}
	if o.VersionID != "" {
		r.Version = url.Values{"versionId": {o.VersionID}}
	}
	return r
}

// Encryption is the part of the request that decides about encryption.
func (r *Reader) Encryption() sse.Request {
	return sse.Request{Header: r.Header, Object: r.Name, DefaultKey: r.DefaultKey, Secure: r.Secure, Known: r.Known}
}

// Request is how to ask the store for an object.
type Request struct {
	Range string // Range header; "": the whole object
	Guard string // ETag from an earlier answer; the client's conditions are then not sent again
	Part  bool   // ask for the client's part number
	Bare  bool   // leave the client's conditions out, as with a guard
}

// Fetch sends a GetObject. A status of 300 or above is an error.
func (r *Reader) Fetch(ctx context.Context, req Request) (*http.Response, error) {
	return r.ask(ctx, http.MethodGet, req)
}

// Stored is what the store says of an object in the answer to a HEAD.
type Stored struct {
	Header http.Header
	Status int
	Size   int64 // Content-Length in bytes; -1 if absent
}

// Sealed reports whether the object is sealed, if the store is to be believed.
func (s *Stored) Sealed() bool { return IsSealed(s.Header) }

// IsSealed reports whether the headers of a store's answer are those of a
// sealed object.
func IsSealed(h http.Header) bool { return field.Get(h, sealer.MetadataKey) != "" }

// Head sends a HeadObject.
func (r *Reader) Head(ctx context.Context, req Request) (*Stored, error) {
	resp, err := r.ask(ctx, http.MethodHead, req)
	if err != nil {
		return nil, err
	}
	return &Stored{resp.Header, resp.StatusCode, resp.ContentLength}, resp.Body.Close()
}

func (r *Reader) ask(ctx context.Context, method string, req Request) (*http.Response, error) {
	conditions := ConditionsOf(r.Header)
	send := func(literal bool) (*http.Response, error) {
		h := upstream.RequestHeader(r.Header)
		if req.Bare || req.Guard != "" {
			for _, name := range [...]string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
				h.Del(name)
			}
		} else {
			conditions.set(h, literal)
		}
		if req.Guard != "" {
			h.Set("If-Match", req.Guard)
		}
		if req.Range != "" {
			h.Set("Range", req.Range)
		}
		query := r.VersionQuery()
		if req.Part {
			query["partNumber"] = r.Part
		}
		return r.Store.Send(ctx, upstream.Request{Method: method, Bucket: r.Name.Bucket, Key: r.Name.Key, Query: query, Header: h})
	}
	resp, err := send(false)
	if upstream.StatusOf(err) == http.StatusPreconditionFailed && req.Guard == "" && conditions.ambiguous() {
		resp, err = send(true)
	}
	if upstream.StatusOf(err) == http.StatusPreconditionFailed && req.Guard != "" {
		return nil, fmt.Errorf("%w: %w", ErrChanged, upstream.Hide(err))
	}
	if status := upstream.StatusOf(err); status == http.StatusNotModified || status == http.StatusPreconditionFailed {
		return nil, r.conditionFailed(ctx, err)
	}
	return resp, err
}

// VersionQuery returns the query of a read: which version, and nothing else.
func (r *Reader) VersionQuery() url.Values {
	q := url.Values{}
	if v, ok := r.Version["versionId"]; ok {
		q["versionId"] = v
	}
	return q
}

// Explain returns the error of a HEAD with the document that it lacks: that of
// the same GET.
func (r *Reader) Explain(ctx context.Context, err error) error {
	switch upstream.StatusOf(err) {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound:
	default:
		return err
	}
	if upstream.HasDocument(err) {
		return err
	}
	header := http.Header{"Range": {"bytes=0-0"}}
	upstream.PassHeaders(header, r.Header, s3.HeaderExpectedOwner)
	resp, explained := r.Store.Send(ctx, upstream.Request{
		Method: http.MethodGet, Bucket: r.Name.Bucket, Key: r.Name.Key, Query: r.VersionQuery(), Header: header,
	})
	if explained == nil {
		_ = resp.Body.Close() // the object was created since
		return err
	}
	if upstream.StatusOf(explained) != upstream.StatusOf(err) {
		return err
	}
	return explained
}

// IsOther reports whether an answer with a plaintext object is about another
// object than an earlier one, at a store that does not honour If-Match.
func IsOther(answer, earlier http.Header) bool {
	return answer.Get("ETag") != earlier.Get("ETag") || IsSealed(answer)
}

// Same reports whether two answers are about the same object. ETags alone
// do not tell: equal bytes have equal ETags.
func Same(a, b http.Header) bool {
	identity := func(h http.Header) map[string][]string {
		kept := map[string][]string{}
		for name, values := range h {
			switch {
			case s3.IsStored(name), strings.EqualFold(name, "ETag"), strings.EqualFold(name, "Last-Modified"), strings.EqualFold(name, s3.HeaderVersionID):
				kept[name] = values
			}
		}
		return kept
	}
	return maps.EqualFunc(identity(a), identity(b), slices.Equal)
}

// ShownTag is the ETag that clients see for a store's answer.
func ShownTag(h http.Header) string { return s3.ETagShown(h.Get("ETag"), IsSealed(h)) }

// Tampered counts an integrity failure and returns the error for it, which
// wraps ErrIntegrity and err. Every integrity failure is counted here.
func (r *Reader) Tampered(reason string, err error) error {
	r.Integrity(reason)
	return fmt.Errorf("%w: %s: %w", ErrIntegrity, reason, err)
}

// SourceChanged returns ErrChanged if err refuses the condition on the
// source. Other errors stay.
func SourceChanged(err error) error {
	if upstream.StatusOf(err) == http.StatusPreconditionFailed {
		return fmt.Errorf("%w: %w", ErrChanged, upstream.Hide(err))
	}
	return err
}

package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"ssegw/kms"
	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/sse"
	"ssegw/sealer"
)

// Inspection is the result of Inspect. It holds no key, and nothing of the
// plaintext except its checksums.
type Inspection struct {
	Bucket     string `json:"bucket"`
	Key        string `json:"key"`
	VersionID  string `json:"version_id,omitempty"`
	ETag       string `json:"etag"` // the store's; clients see another one for a sealed object
	Modified   string `json:"last_modified"`
	StoredSize int64  `json:"stored_size"` // bytes in the store; -1 if it does not say
	Sealed     bool   `json:"sealed"`

	// Header is the content of the sealed header, authentic or not. It is nil
	// if the object is not sealed or the header cannot be read.
	Header *InspectedHeader `json:"header,omitempty"`

	Checksums []InspectedChecksum `json:"checksums,omitempty"` // of the plaintext; only authentic ones
	Parts     []InspectedPart     `json:"parts,omitempty"`     // of a multipart object; only if authentic
	Findings  []Finding           `json:"findings,omitempty"`  // which parts of the object are authentic
}

// InspectedHeader is a sealed header without keys, nonces and sealed values.
type InspectedHeader struct {
	Scheme        string          `json:"scheme"`
	KESKey        string          `json:"kes_key,omitempty"`               // "" with SSE-C
	SealedDataKey int             `json:"sealed_data_key_bytes,omitempty"` // its length in bytes
	SharedDataKey bool            `json:"shared_data_key"`                 // other objects of the bucket use it too
	Context       json.RawMessage `json:"context,omitempty"`               // the client's
	Cipher        string          `json:"cipher"`
	ObjectID      string          `json:"object_id"`
	RootID        string          `json:"root_id"`
	Root          string          `json:"root,omitempty"` // one of the constants; "" if that is not known
	Trailer       bool            `json:"trailer"`
	Multipart     bool            `json:"multipart"`
	Size          int64           `json:"size"`                 // plaintext bytes; -1 if only the trailer holds it and did not open
	ExpectedSize  int64           `json:"expected_stored_size"` // bytes that the store must have; -1 as for Size
}

// Values of InspectedHeader.Root.
const (
	RootPresent = "present"
	RootOld     = "old" // or that of another replica, which has replaced the root just now
	RootUnknown = "unknown"
)

// InspectedChecksum is a checksum of the plaintext as S3 shows it.
type InspectedChecksum struct {
	Algorithm string `json:"algorithm"`
	Type      string `json:"type"` // FULL_OBJECT or COMPOSITE
	Value     string `json:"value"`
}

// InspectedPart is a part as the client uploaded it.
type InspectedPart struct {
	Number int   `json:"number"`
	Size   int64 `json:"size"` // plaintext bytes
}

// NotAuthentic reports whether a check failed.
func (i *Inspection) NotAuthentic() bool {
	for _, f := range i.Findings {
		if f.Status == StatusFailed {
			return true
		}
	}
	return false
}

// Inspect reports the content of an object's header and which parts of the
// object are authentic. An empty versionID means the current version. Inspect
// reads no body, writes nothing and creates no root. The state need not be
// open. Inspect asks KES for the root and the object's data key. Without KES
// the findings that need them are not tried. Inspect returns an error if the
// store does not return the object's headers.
func (c Config) Inspect(ctx context.Context, bucket, key, versionID string) (*Inspection, error) {
	r := c.reader(s3.CopySource{Bucket: bucket, Key: key, VersionID: versionID})
	head, err := r.Head(ctx, object.Request{})
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", bucket, key, r.Explain(ctx, err))
	}
	i := &Inspection{
		Bucket: bucket, Key: key, VersionID: head.Header.Get(s3.HeaderVersionID), ETag: head.Header.Get("ETag"),
		Modified: head.Header.Get("Last-Modified"), StoredSize: head.Size, Sealed: head.Sealed(),
	}
	if !i.Sealed {
		return i, nil
	}
	h, err := sealer.ParseHeader(head.Header)
	if err != nil {
		i.found("header", tampered("cannot be read: %s", reason(err)))
		return i, nil
	}
	claims := h.Claims()
	i.Header = &InspectedHeader{
		Scheme: claims.Scheme.String(), KESKey: claims.KeyName, SealedDataKey: len(claims.SealedDataKey), SharedDataKey: claims.Shared,
		Context: contextJSON(claims.Context), Cipher: claims.Cipher.String(), ObjectID: claims.ObjectID.String(), RootID: claims.RootID.String(),
		Trailer: claims.Trailer, Multipart: claims.Multipart, Size: claims.Size, ExpectedSize: claims.StoredSize(),
	}
	(&inspector{Config: c, Inspection: i, reader: r, parsed: h, stored: head.Header}).verify(ctx)
	return i, nil
}

// reader returns a reader of the object o with the gateway's own rights.
func (c Config) reader(o s3.CopySource) *object.Reader {
	access := &object.Access{
		Store: c.Upstream.Own(), Known: true, Roots: c.State, DefaultKey: c.KMS.DefaultKey(),
		Keys: &sse.Keys{
			KMS: c.KMS, Timeout: c.KMSTimeout,
			Allowed: func(string) error { return nil },
			Used:    func(sse.Use, sealer.Binding, string, error) {},
		},
		Caches: object.NewCaches(), Integrity: func(string) {}, Log: c.Log,
	}
	return access.At(o, http.Header{})
}

// inspector verifies what can be verified of an object without its body.
type inspector struct {
	Config
	*Inspection
	reader *object.Reader
	parsed *sealer.Parsed
	stored http.Header
}

// contextJSON returns an encryption context as JSON. An unauthenticated context
// may not be JSON; it becomes a JSON string.
func contextJSON(b []byte) json.RawMessage {
	if len(b) == 0 || json.Valid(b) {
		return b
	}
	text, err := json.Marshal(string(b))
	if err != nil {
		panic(err) // cannot happen for a string
	}
	return text
}

// found adds a finding.
func (i *Inspection) found(name string, f Finding) { i.Findings = append(i.Findings, f.named(name)) }

// tampered returns the finding for something that differs from what was stored.
func tampered(format string, args ...any) Finding {
	return failed("restore the object from a backup or from an older version", format, args...)
}

// verify verifies everything that needs no body, one part after the other, so
// that the findings name the part that is wrong.
func (i *inspector) verify(ctx context.Context) {
	o, facts := i.verifyFacts(ctx)
	i.found("facts", facts)
	if facts.Status == StatusOK {
		defer o.Wipe()
		i.verifyLayout(ctx, o)
		i.found("content headers", i.verifyHeaders(o))
	} else {
		for _, name := range [...]string{"stored size", "content headers"} {
			i.found(name, notTried("the facts did not open"))
		}
	}
	i.found("data key", i.verifyDataKey(ctx))
}

// verifyFacts opens the facts, which authenticate the whole header.
func (i *inspector) verifyFacts(ctx context.Context) (*object.Object, Finding) {
	root, present, err := i.State.LookRoot(ctx, i.parsed.RootID)
	if errors.Is(err, kms.ErrUnreachable) {
		return nil, notTried("%s, and the gateway's root is sealed with a KES key", noKES)
	}
	if err != nil {
		return nil, notTried("the gateway's root is not available: %s", reason(err))
	}
	if i.Header.Root = RootOld; present {
		i.Header.Root = RootPresent
	}
	o := &object.Object{Stored: i.stored}
	o.Header, o.Facts, err = i.parsed.OpenFacts(i.reader.Name, root)
	switch {
	case errors.Is(err, sealer.ErrUnknownRoot):
		i.Header.Root = RootUnknown
		return nil, failed(`copy the record of that root, the object "root" of its state bucket, to "roots/<name of that bucket>" in the gateway's; until then only GET and HEAD can read the object, and they need KES`,
			"sealed under root %s, but the gateway has root %s", i.parsed.RootID, root.ID)
	case err != nil:
		return nil, tampered("the header was changed, or belongs to an object with another name: %s", reason(err))
	}
	return o, okay("header and name are unchanged")
}

// verifyLayout opens the trailer and compares the size in the store with the
// one that header and trailer require. For a single PUT the header holds the
// size, and with a wrong size the trailer is not where it should be. For a
// multipart object only the trailer holds the size, so it is opened first.
func (i *inspector) verifyLayout(ctx context.Context, o *object.Object) {
	var trailer *sealer.Trailer
	switch {
	case o.Header.Multipart:
		if trailer = i.openTrailer(ctx, o); trailer != nil {
			i.verifySize(o.Header, trailer)
		} else {
			i.found("stored size", notTried("the trailer did not open"))
		}
	case !i.verifySize(o.Header, nil):
		if o.Header.Trailer {
			i.found("trailer", notTried("the stored size is wrong"))
		}
	case o.Header.Trailer:
		trailer = i.openTrailer(ctx, o)
	}
	sums := slices.Clone(o.Facts.Checksums)
	if trailer != nil {
		sums = append(sums, trailer.Checksums...)
		o.Parts, i.Header.Size = trailer.Parts, trailer.Size
	}
	if o.Parts != nil {
		for _, p := range o.Parts.Parts {
			i.Parts = append(i.Parts, InspectedPart{p.Number, p.Size})
		}
	}
	for _, sum := range sums {
		i.Checksums = append(i.Checksums, InspectedChecksum{sum.Algorithm.String(), object.ChecksumType(sum), object.ChecksumValue(sum, o.PartCount())})
	}
}

// verifySize reports whether the store has as many bytes as it should.
func (i *inspector) verifySize(h *sealer.Header, trailer *sealer.Trailer) bool {
	i.Header.ExpectedSize = h.StoredSize(trailer)
	if i.StoredSize != i.Header.ExpectedSize {
		i.found("stored size", tampered("the store has %d bytes instead of %d", i.StoredSize, i.Header.ExpectedSize))
		return false
	}
	i.found("stored size", okay("the store has all %d bytes", i.StoredSize))
	return true
}

// openTrailer opens the trailer. It returns nil if that fails.
func (i *inspector) openTrailer(ctx context.Context, o *object.Object) *sealer.Trailer {
	trailer, err := i.reader.Trailer(ctx, o, i.StoredSize, nil)
	switch {
	case errors.Is(err, object.ErrIntegrity):
		i.found("trailer", tampered("the end of the object was cut off or changed: %s", reason(err)))
	case err != nil:
		i.found("trailer", notTried("%s", reason(err)))
	default:
		i.found("trailer", okay("opened"))
	}
	return trailer
}

// verifyHeaders verifies content headers and user metadata.
func (i *inspector) verifyHeaders(o *object.Object) Finding {
	if _, err := sealer.OpenContent(i.stored, i.Key, o.Header.Size, o.Facts.Headers); err == nil {
		return okay("these and user metadata are unchanged")
	}
	const detail = "these or user metadata were changed, added or removed"
	if i.WarnHeaderDigest {
		return warning("clients can still read the object, because SSEGW_HEADER_DIGEST=warn is set", detail)
	}
	return tampered(detail)
}

// verifyDataKey opens the data key and with it the object key, which every read
// of the body needs.
func (i *inspector) verifyDataKey(ctx context.Context) Finding {
	h := i.parsed.KeyHint
	if h.Scheme == sealer.SSEC {
		return notTried("only the client's key opens the object")
	}
	_, k, err := i.reader.Keys.Open(ctx, i.reader.Name, i.parsed, nil)
	switch {
	case errors.Is(err, kms.ErrKeyNotFound):
		return failed("restore the key in KES from a backup: without it the object is lost", "KES has no key %q", h.KeyName)
	case errors.Is(err, kms.ErrNotAllowed):
		return failed(policyRemedy(i.KMS, h.KeyName, "decrypt"), "KES does not let the gateway use the key %q", h.KeyName)
	case errors.Is(err, kms.ErrInvalidCiphertext):
		return tampered("KES does not open it with the key %q for this name", h.KeyName)
	case errors.Is(err, sse.ErrObjectKey):
		return tampered("KES opens it, but it is not the key of this header")
	case errors.Is(err, kms.ErrUnreachable):
		return notTried(noKES)
	case err != nil:
		return notTried("%s", reason(err))
	}
	k.Wipe()
	return okay("KES opens it with the key %q, and it opens the object key", h.KeyName)
}

package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"ssegw/kms"
	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// Inspection is what Inspect found out about an object. It holds no key and no
// plaintext, but the checksums of one.
type Inspection struct {
	Bucket     string `json:"bucket"`
	Key        string `json:"key"`
	VersionID  string `json:"version_id,omitempty"`
	ETag       string `json:"etag"` // the store's, which clients of a sealed object do not see
	Modified   string `json:"last_modified"`
	StoredSize int64  `json:"stored_size"` // bytes in the store; -1 if it does not say
	Sealed     bool   `json:"sealed"`

	// Header is what the sealed header says, whether that is authentic or not. It is nil
	// for an object that is not sealed, and for a header that cannot be read.
	Header *InspectedHeader `json:"header,omitempty"`

	Checksums []InspectedChecksum `json:"checksums,omitempty"` // of the plaintext; only authentic ones
	Parts     []InspectedPart     `json:"parts,omitempty"`     // of a multipart object; only if authentic
	Findings  []Finding           `json:"findings,omitempty"`  // what is authentic
}

// InspectedHeader is a sealed header without its keys, nonces and sealed values.
type InspectedHeader struct {
	Scheme        string          `json:"scheme"`
	KESKey        string          `json:"kes_key,omitempty"`               // none with SSE-C
	SealedDataKey int             `json:"sealed_data_key_bytes,omitempty"` // its length
	SharedDataKey bool            `json:"shared_data_key"`                 // with other objects of the bucket
	Context       json.RawMessage `json:"context,omitempty"`               // the client's
	Cipher        string          `json:"cipher"`
	ObjectID      string          `json:"object_id"`
	RootID        string          `json:"root_id"`
	Trailer       bool            `json:"trailer"`
	Multipart     bool            `json:"multipart"`
	Size          int64           `json:"size"`                 // plaintext bytes; -1 if only a trailer that did not open says
	ExpectedSize  int64           `json:"expected_stored_size"` // bytes that the store must have; -1 likewise
}

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

// NotAuthentic reports whether something was found to be other than it was stored.
func (i *Inspection) NotAuthentic() bool {
	for _, f := range i.Findings {
		if f.Status == StatusFailed {
			return true
		}
	}
	return false
}

// Inspect looks at an object in the store ("": its current version), and says what
// its header holds and what of it is authentic. The body is not read. Nothing is
// written: no root is made, and the state need not be open. KES is asked for the
// root and for the object's data key; without it, both are not tried. The error
// is for an object that the store does not show.
func (s *Server) Inspect(ctx context.Context, bucket, key, versionID string) (*Inspection, error) {
	c := s.own(ctx, bucket, key, versionID)
	head, err := c.head(lookup{})
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", bucket, key, c.explained(err))
	}
	i := &Inspection{
		Bucket: bucket, Key: key, VersionID: head.header.Get(s3.HeaderVersionID), ETag: head.header.Get("ETag"),
		Modified: head.header.Get("Last-Modified"), StoredSize: head.size, Sealed: head.header.Get(sealer.MetadataKey) != "",
	}
	if !i.Sealed {
		return i, nil
	}
	h, err := sealer.ParseHeader(head.header.Get(sealer.MetadataKey))
	if err != nil {
		i.found("header", tampered("it cannot be read: %s", reason(err)))
		return i, nil
	}
	i.Header = &InspectedHeader{
		Scheme: h.Scheme.String(), KESKey: h.KeyName, SealedDataKey: len(h.SealedDataKey), SharedDataKey: h.Shared,
		Context: contextJSON(h.Context), Cipher: h.Cipher.String(), ObjectID: h.ObjectID.String(), RootID: h.RootID.String(),
		Trailer: h.Trailer, Multipart: h.Multipart, Size: h.Size, ExpectedSize: h.StoredSize(nil),
	}
	i.verify(c, &sealedObject{stored: head.header, header: h, size: h.Size})
	return i, nil
}

// contextJSON is an encryption context as JSON. One that is not authentic can be anything.
func contextJSON(b []byte) json.RawMessage {
	if len(b) == 0 || json.Valid(b) {
		return b
	}
	text, err := json.Marshal(string(b))
	if err != nil {
		panic(err) // a string marshals
	}
	return text
}

func (i *Inspection) found(name string, f Finding) { i.Findings = append(i.Findings, f.named(name)) }

// tampered is the finding of something that differs from what was stored.
func tampered(format string, args ...any) Finding {
	return failed("restore the object from a backup or from an older version", format, args...)
}

// verify looks at all that can be verified without the body, each thing on its
// own, so that what is wrong is named.
func (i *Inspection) verify(c *reader, o *sealedObject) {
	facts := i.verifyFacts(c, o)
	i.found("facts", facts)
	if facts.Status == StatusOK {
		defer o.facts.Wipe()
		i.verifyLayout(c, o)
		i.found("content headers", i.verifyHeaders(c, o))
	} else {
		for _, name := range [...]string{"stored size", "content headers"} {
			i.found(name, notTried("the facts did not open"))
		}
	}
	i.found("data key", verifyDataKey(c, o.header))
}

// verifyFacts opens the facts, and with them all that the header says.
func (i *Inspection) verifyFacts(c *reader, o *sealedObject) Finding {
	root, err := c.State.lookRoot(c.ctx(), o.header.RootID)
	if errors.Is(err, kms.ErrUnreachable) {
		return notTried("%s, with which the gateway's root is sealed", noKES)
	}
	if err != nil {
		return notTried("the gateway's root: %s", reason(err))
	}
	o.facts, err = o.header.OpenFacts(c.binding(), root)
	switch {
	case errors.Is(err, sealer.ErrUnknownRoot):
		return failed(`put the record of that root, the object "root" of the state bucket it was made in, below "roots/" in the gateway's; until then only GET and HEAD read the object, with KES`,
			"sealed under root %s, where the gateway has %s", o.header.RootID, root.ID)
	case err != nil:
		return tampered("the header was changed, or is that of an object under another name: %s", reason(err))
	}
	return okay("header and name are as they were stored")
}

// verifyLayout compares the size in the store with the one that header and trailer
// stand for, and opens the trailer. That of a single PUT is where the body ends; only
// that of a multipart object says how long the body is.
func (i *Inspection) verifyLayout(c *reader, o *sealedObject) {
	var trailer *sealer.Trailer
	switch {
	case o.header.Multipart:
		if trailer = i.openTrailer(c, o); trailer != nil {
			i.verifySize(o.header, trailer)
		} else {
			i.found("stored size", notTried("the trailer did not open"))
		}
	case !i.verifySize(o.header, nil):
		if o.header.Trailer {
			i.found("trailer", notTried("the stored size is wrong"))
		}
	case o.header.Trailer:
		trailer = i.openTrailer(c, o)
	}
	sums := slices.Clone(o.facts.Checksums)
	if trailer != nil {
		sums = append(sums, trailer.Checksums...)
		o.parts, i.Header.Size = trailer.Parts, trailer.Size
	}
	if o.parts != nil {
		for _, p := range o.parts.Parts {
			i.Parts = append(i.Parts, InspectedPart{p.Number, p.Size})
		}
	}
	for _, sum := range sums {
		i.Checksums = append(i.Checksums, InspectedChecksum{sum.Algorithm.String(), checksumType(sum), checksumValue(sum, o.partCount())})
	}
}

func (i *Inspection) verifySize(h *sealer.Header, trailer *sealer.Trailer) bool {
	i.Header.ExpectedSize = h.StoredSize(trailer)
	if i.StoredSize != i.Header.ExpectedSize {
		i.found("stored size", tampered("the store has %d bytes of %d", i.StoredSize, i.Header.ExpectedSize))
		return false
	}
	i.found("stored size", okay("the store has all %d bytes", i.StoredSize))
	return true
}

// openTrailer returns nil if the trailer does not open.
func (i *Inspection) openTrailer(c *reader, o *sealedObject) *sealer.Trailer {
	trailer, err := c.trailer(o, i.StoredSize, nil)
	switch {
	case errors.Is(err, errIntegrity):
		i.found("trailer", tampered("the end of the object was cut off or changed: %s", reason(err)))
	case err != nil:
		i.found("trailer", notTried("%s", reason(err)))
	default:
		i.found("trailer", okay("opened"))
	}
	return trailer
}

func (i *Inspection) verifyHeaders(c *reader, o *sealedObject) Finding {
	if _, proven := authenticContent(o.stored, c.req.Key, o.header.Size, o.facts.Headers); proven {
		return okay("they and user metadata are as they were stored")
	}
	const detail = "they or user metadata were changed, added or removed"
	if c.WarnHeaderDigest {
		return warning("SSEGW_HEADER_DIGEST=warn lets clients read the object all the same", detail)
	}
	return tampered(detail)
}

// verifyDataKey opens the object key, without which no byte can be read.
func verifyDataKey(c *reader, h *sealer.Header) Finding {
	if h.Scheme == sealer.SSEC {
		return notTried("only the client's key opens the object")
	}
	k, err := c.openKey(h, nil)
	switch {
	case errors.Is(err, kms.ErrKeyNotFound):
		return failed("restore the key in KES from a backup: without it the object is lost", "KES has no key %q", h.KeyName)
	case errors.Is(err, kms.ErrNotAllowed):
		return failed(policyRemedy(c.KMS, h.KeyName, "decrypt"), "KES does not let the gateway use the key %q", h.KeyName)
	case errors.Is(err, kms.ErrInvalidCiphertext):
		return tampered("KES does not open it with the key %q for this name", h.KeyName)
	case errors.Is(err, errIntegrity):
		return tampered("KES opens it, but it is not the one of this header")
	case errors.Is(err, kms.ErrUnreachable):
		return notTried(noKES)
	case err != nil:
		return notTried("%s", reason(err))
	}
	k.Wipe()
	return okay("KES opens it with the key %q, and it opens the object key", h.KeyName)
}

// lookRoot returns the root of that ID, or the present one where there is none of
// it, from the state bucket where the state is not open. It changes nothing there.
func (s *State) lookRoot(ctx context.Context, id sealer.RootID) (sealer.Root, error) {
	root, err := s.presentRoot(ctx)
	if err != nil || root.ID == id {
		return root, err
	}
	if old, ok := s.oldRoot(ctx, id); ok {
		return old, nil
	}
	return root, nil
}

func (s *State) presentRoot(ctx context.Context) (sealer.Root, error) {
	if s.Ready() == nil {
		return s.Root(), nil
	}
	record, _, err := s.readRoot(ctx)
	if statusOf(err) == http.StatusNotFound {
		return sealer.Root{}, fmt.Errorf("proxy: there is none in bucket %s", s.cfg.Bucket)
	}
	if err != nil {
		return sealer.Root{}, err
	}
	return s.openRoot(ctx, record)
}

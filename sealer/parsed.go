package sealer

// Parsed is a header as the store returned it. It is not authentic. Its
// exported fields serve to find the keys; with those, [Parsed.OpenFacts] and
// [Parsed.Open] return the header that can be trusted.
type Parsed struct {
	KeyHint
	header Header
}

// KeyHint names the keys that a header needs. A wrong hint leads to a key that
// does not open the header.
type KeyHint struct {
	Scheme        Scheme
	KeyName       string // KES key; empty iff SSE-C
	SealedDataKey []byte // empty iff SSE-C
	Context       []byte // client's encryption context as canonical JSON; may be empty
	Shared        bool   // objects of the bucket share the data key
	RootID        RootID // root of the facts
}

// Parse strictly parses a metadata value. The errors are ErrNotSealed and
// ErrMalformed.
func Parse(value string) (*Parsed, error) {
	h, err := decodeHeader(value)
	if err != nil {
		return nil, err
	}
	return &Parsed{h.KeyHint(), *h}, nil
}

// KeyHint returns the fields of the header that name its keys.
func (h *Header) KeyHint() KeyHint {
	return KeyHint{h.Scheme, h.KeyName, h.SealedDataKey, h.Context, h.Shared, h.RootID}
}

// OpenFacts opens the facts and returns them with the header, which they
// authenticate. The caller finds the root by p.RootID. The errors are
// ErrUnknownRoot for a different root, ErrNotAuthentic if header, facts or
// binding are not those that were sealed, and ErrMalformed if the sealed facts
// violate section 6 of docs/FORMAT.md.
func (p *Parsed) OpenFacts(b Binding, root Root) (*Header, *Facts, error) {
	facts, err := p.header.openFacts(b, root)
	if err != nil {
		return nil, nil, err
	}
	return p.opened(), facts, nil
}

// Open opens the object key and returns it with the header, which it
// authenticates except for the facts. The errors are ErrWrongKey and
// ErrNotAuthentic.
func (p *Parsed) Open(b Binding, dataKey Key) (*Header, *ObjectKey, error) {
	k, err := p.header.open(b, dataKey)
	if err != nil {
		return nil, nil, err
	}
	return p.opened(), k, nil
}

// opened returns a copy of the header: p stays as it was parsed.
func (p *Parsed) opened() *Header {
	h := p.header
	return &h
}

// Claims are all fields of a header that has not been opened, for showing them.
// They are not a [Header], so nothing that needs an authentic one takes them.
type Claims Header

// Claims returns what the header states. None of it is authentic.
func (p *Parsed) Claims() *Claims { return (*Claims)(p.opened()) }

// StoredSize is like [Header.StoredSize] without a trailer.
func (c *Claims) StoredSize() int64 { return (*Header)(c).StoredSize(nil) }

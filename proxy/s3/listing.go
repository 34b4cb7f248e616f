package s3

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxListingDepth limits the nesting of a listing. The metadata of an entry is
// at depth 4.
const maxListingDepth = 16

// Listing is a page of a listing as the upstream sent it, with the positions of
// the elements that encryption changes.
type Listing struct {
	Entries      []Entry // Contents, Version, DeleteMarker or Part elements, in document order
	EncodingType string  // "url" if keys are percent-encoded in the document; Entry.Key is decoded
	Bucket       string  // from Name or, for parts, Bucket
	IsTruncated  bool    // there are more pages
	NextUploadID string  // the upload-id-marker of the next page of uploads
	Detailed     bool    // it was requested with metadata, which Splice removes; see HideMetadata

	doc []byte
}

// Entry is an object, a version, a delete marker, a part or an upload of a
// listing.
type Entry struct {
	Key          string // decoded; "" for parts
	VersionID    string // "" in listings without versions
	ETag         string // as in the document, quoted or not
	Size         int64  // the upstream's size in bytes
	LastModified string // as in the document
	PartNumber   int    // for parts, otherwise 0
	UploadID     string // for uploads, otherwise ""
	DeleteMarker bool
	IsLatest     bool        // for versions: whether it is the current one
	HasMetadata  bool        // the upstream sent user metadata (MinIO's metadata=true)
	Sealed       http.Header // the metadata with the sealed header; nil if absent or empty

	place     element // the entry itself
	size      element // whole.end is 0 if the element is absent
	etag      element
	upload    element
	checksums []element // ChecksumAlgorithm, ChecksumType
	own       []element // to remove: the gateway's own metadata
	details   []element // what a page without metadata would not have
}

// listRoots maps the root of each known listing to the names of its entries.
var listRoots = map[string][]string{
	"ListBucketResult":   {"Contents"},
	"ListVersionsResult": {"Version", "DeleteMarker"},
	"ListPartsResult":    {"Part"},

	"ListMultipartUploadsResult": {"Upload"},
}

// ParseListing parses the answer of ListObjects, ListObjectsV2,
// ListObjectVersions, ListParts or ListMultipartUploads. It keeps doc, which
// must not change. It accepts keys with control characters in the form in which
// stores send them, although XML 1.0 cannot hold them. The error is
// [ErrDocument] for any other document, and for an entry whose Size is not a
// number.
func ParseListing(doc []byte) (*Listing, error) {
	return parseEntries(doc, listRoots)
}

// ParseDelete parses the document of DeleteObjects as ParseListing does a
// listing. The entries are the objects to delete, with the conditions on their
// ETag and Size.
func ParseDelete(doc []byte) (*Listing, error) {
	return parseEntries(doc, map[string][]string{"Delete": {"Object"}})
}

func parseEntries(doc []byte, roots map[string][]string) (*Listing, error) {
	const leaf = 48 // bytes of a short element with its text
	p := listingParser{list: &Listing{doc: doc}, leafs: make([]element, 0, len(doc)/leaf)}
	if err := walk(doc, maxListingDepth, p.visit); err != nil {
		return nil, err
	}
	return p.finish(roots)
}

// HideMetadata makes Splice remove everything that the store sent because of
// metadata=true.
func (l *Listing) HideMetadata() {
	l.Detailed = true
	for i := range l.Entries {
		l.Entries[i].own = l.Entries[i].details
	}
}

// HasSize reports whether the entry has a size.
func (e *Entry) HasSize() bool { return e.size.whole.end > 0 }

// listingParser collects a listing bottom up: elements arrive when they end.
type listingParser struct {
	list  *Listing
	root  string
	leafs []element // elements at depth 2, below any element at depth 1
	own   []element // elements at depth 3 that isOwn accepts, below any element at depth 1
	kids  []entryElement
	seen  struct{ leafs, own int } // how many of them belong to kids
}

// entryElement is an element at depth 1 with its children.
type entryElement struct {
	element
	children []element
	own      []element
}

func (p *listingParser) visit(depth int, e element) error {
	switch depth {
	case 0:
		p.root = e.name
	case 1:
		p.kids = append(p.kids, entryElement{e, p.leafs[p.seen.leafs:], p.own[p.seen.own:]})
		p.seen.leafs, p.seen.own = len(p.leafs), len(p.own)
	case 2:
		p.leafs = append(p.leafs, e)
	case 3:
		if isOwn(e.name) {
			p.own = append(p.own, e)
		}
	}
	return nil
}

// finish interprets the collected elements once the name of the root is known.
// roots maps each known root to the names of its entries.
func (p *listingParser) finish(roots map[string][]string) (*Listing, error) {
	names, ok := roots[p.root]
	if !ok {
		return nil, fmt.Errorf("%w: root %q", ErrDocument, p.root)
	}
	l := p.list
	for i := range p.kids {
		switch k := &p.kids[i]; k.name {
		case "EncodingType":
			l.EncodingType = l.text(k.element)
		case "Name", "Bucket":
			l.Bucket = l.text(k.element)
		case "IsTruncated":
			l.IsTruncated = l.text(k.element) == "true"
		case "NextUploadIdMarker":
			l.NextUploadID = l.text(k.element)
		}
	}
	l.Entries = make([]Entry, 0, len(p.kids))
	for i := range p.kids {
		k := &p.kids[i]
		if k.name != names[0] && k.name != names[len(names)-1] {
			continue
		}
		l.Entries = append(l.Entries, Entry{})
		if err := l.read(&l.Entries[len(l.Entries)-1], k); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// read fills e from the element k.
func (l *Listing) read(e *Entry, k *entryElement) (err error) {
	e.place, e.DeleteMarker = k.element, k.name == "DeleteMarker"
	for _, c := range k.children {
		switch c.name {
		case "Key":
			e.Key, err = l.key(l.text(c))
		case "VersionId":
			e.VersionID = l.text(c)
		case "IsLatest":
			e.IsLatest = l.text(c) == "true"
		case "ETag":
			e.ETag, e.etag = l.text(c), c
		case "Size":
			e.size = c
			e.Size, err = number(l.text(c), math.MaxInt64)
		case "LastModified":
			e.LastModified = l.text(c)
		case "PartNumber":
			var n int64
			n, err = number(l.text(c), math.MaxInt32)
			e.PartNumber = int(n)
		case "UploadId":
			e.UploadID, e.upload = l.text(c), c
		case "ChecksumAlgorithm", "ChecksumType":
			e.checksums = append(e.checksums, c)
		case "UserMetadata":
			e.HasMetadata = true
			e.readOwn(l.doc, c, k.own)
			e.details = append(e.details, c)
		case "UserTags", "Internal":
			e.details = append(e.details, c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *Listing) text(e element) string { return text(e.inner.of(l.doc)) }

// isOwn reports whether metadata of that name can be the gateway's, or
// describes how the store encrypted an object.
func isOwn(name string) bool {
	return isSealedHeader(name) || len(name) >= len(HeaderSSE) && strings.EqualFold(name[:len(HeaderSSE)], HeaderSSE)
}

// isSealedHeader reports whether metadata of that name can hold the sealed
// header or a piece of it (docs/FORMAT.md, section 3.2).
func isSealedHeader(name string) bool {
	if len(name) < len(HeaderSealed) || !strings.EqualFold(name[:len(HeaderSealed)], HeaderSealed) {
		return false
	}
	number, isPiece := strings.CutPrefix(name[len(HeaderSealed):], "-")
	return name[len(HeaderSealed):] == "" || isPiece && number != "" && strings.Trim(number, "0123456789") == ""
}

// readOwn finds the gateway's metadata in the user metadata. For a sealed
// object it also marks the metadata about the store's encryption, which clients
// must not see.
func (e *Entry) readOwn(doc []byte, metadata element, own []element) {
	sealed := http.Header{}
	for _, o := range own {
		if metadata.inner.start <= o.whole.start && o.whole.end <= metadata.inner.end {
			e.own = append(e.own, o)
			if isSealedHeader(o.name) {
				sealed.Set(o.name, text(o.inner.of(doc)))
			}
		}
	}
	switch first := sealed.Get(HeaderSealed); {
	case len(sealed.Values(HeaderSealed)) == 0:
		e.own = nil
		return
	case !strings.Contains(first, "."): // not split: the other names are the client's
		sealed = http.Header{}
		sealed.Set(HeaderSealed, first)
		e.own = slices.DeleteFunc(e.own, func(o element) bool {
			return isSealedHeader(o.name) && !strings.EqualFold(o.name, HeaderSealed)
		})
	}
	if sealed.Get(HeaderSealed) != "" {
		e.Sealed = sealed
	}
}

// key decodes a key of the document.
func (l *Listing) key(s string) (string, error) {
	if l.EncodingType != "url" {
		return s, nil
	}
	k, err := url.QueryUnescape(s)
	if err != nil {
		return "", fmt.Errorf("%w: key: %w", ErrDocument, err)
	}
	return k, nil
}

// number parses a decimal number from 0 to limit.
func number(s string, limit int64) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 || n > limit {
		return 0, fmt.Errorf("%w: number %q", ErrDocument, s)
	}
	return n, nil
}

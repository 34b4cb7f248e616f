package s3

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
)

// ReplaceText returns doc with value as the text of the element name directly
// below the root. All other bytes stay the same. A document without the element
// is returned unchanged. The error is [ErrDocument] if the root has another
// name.
func ReplaceText(doc []byte, root, name, value string) ([]byte, error) {
	var patches []patch
	err := walkRoot(doc, root, func(depth int, e element) {
		if depth == 1 && e.name == name {
			var b bytes.Buffer
			at := e.write(&b, value)
			patches = append(patches, patch{at, b.Bytes()})
		}
	})
	if err != nil {
		return nil, err
	}
	return apply(doc, patches), nil
}

// HasRoot reports whether doc is an XML document whose root element has the
// name root.
func HasRoot(doc []byte, root string) bool {
	return walkRoot(doc, root, func(int, element) {}) == nil
}

// ResultHasKeys reports whether the result of an operation that lists something
// else than [ParseListing] knows has entries with keys. The error is
// [ErrDocument] if doc is no such result.
func ResultHasKeys(doc []byte) (has bool, err error) {
	root := ""
	err = walk(doc, maxListingDepth, func(depth int, e element) error {
		has = has || depth == 2 && e.name == "Key"
		root = e.name // the last one to end
		return nil
	})
	if err == nil && !strings.HasSuffix(root, "Result") {
		err = fmt.Errorf("%w: root %q", ErrDocument, root)
	}
	return has, err
}

const bucketsRoot = "ListAllMyBucketsResult"

// A BucketPage is an answer of ListBuckets. Its methods keep everything that
// they do not change.
type BucketPage struct {
	doc     []byte
	buckets []bucketEntry
	list    element // the element that contains the buckets
	token   element // the continuation token, if any
}

type bucketEntry struct {
	name  string
	whole span
}

// ParseBuckets parses an answer of ListBuckets. The error is [ErrDocument] for
// any other document.
func ParseBuckets(doc []byte) (*BucketPage, error) {
	p := &BucketPage{doc: doc}
	name := ""
	err := walkRoot(doc, bucketsRoot, func(depth int, e element) {
		switch {
		case depth == 3 && e.name == "Name":
			name = strings.TrimSpace(text(e.inner.of(doc)))
		case depth == 2 && e.name == "Bucket":
			p.buckets = append(p.buckets, bucketEntry{name, e.whole})
			name = ""
		case depth == 1 && e.name == "Buckets":
			p.list = e
		case depth == 1 && e.name == "ContinuationToken":
			p.token = e
		}
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Has reports whether the page lists bucket.
func (p *BucketPage) Has(bucket string) bool {
	return slices.ContainsFunc(p.buckets, func(b bucketEntry) bool { return b.name == bucket })
}

// Names returns the names of the buckets that the page lists.
func (p *BucketPage) Names() (names []string) {
	for _, b := range p.buckets {
		names = append(names, b.name)
	}
	return names
}

// Token returns the continuation token, or "" on the last page.
func (p *BucketPage) Token() string {
	if p.token.whole.end == 0 {
		return ""
	}
	return strings.TrimSpace(text(p.token.inner.of(p.doc)))
}

// Without returns the answer without bucket. If next is not nil, it is the
// following page: Without appends its buckets and takes over its token.
func (p *BucketPage) Without(bucket string, next *BucketPage) []byte {
	var patches []patch
	for _, b := range p.buckets {
		if b.name == bucket {
			patches = append(patches, patch{span: b.whole})
		}
	}
	if next == nil || p.list.whole.end == 0 || p.list.selfClosing() {
		return apply(p.doc, patches)
	}
	var added []byte
	for _, b := range next.buckets {
		added = append(added, b.whole.of(next.doc)...)
	}
	end := p.list.inner.end
	patches = append(patches, patch{span: span{end, end}, text: added})
	if p.token.whole.end > 0 {
		patches = append(patches, patch{span: p.token.whole, text: next.token.whole.of(next.doc)})
	}
	return apply(p.doc, patches)
}

// walkRoot walks a document whose root element is named root.
func walkRoot(doc []byte, root string, visit func(depth int, e element)) error {
	found := ""
	err := walk(doc, maxListingDepth, func(depth int, e element) error {
		if depth == 0 {
			found = e.name
		}
		visit(depth, e)
		return nil
	})
	if err != nil {
		return err
	}
	if found != root {
		return fmt.Errorf("%w: root %q", ErrDocument, found)
	}
	return nil
}

// MarshalXML returns v as an XML document.
func MarshalXML(v any) ([]byte, error) {
	doc, err := xml.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("s3: encoding an answer: %w", err)
	}
	return append([]byte(xml.Header), doc...), nil
}

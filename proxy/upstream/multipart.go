package upstream

import (
	"context"
	"crypto/md5" //nolint:gosec // of ETags, not a security measure
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"ssegw/proxy/s3"
)

// UploadName identifies a multipart upload at the store.
type UploadName struct{ Bucket, Key, ID string }

// Query returns the query of a request about the upload, or about one of its
// parts if part is not 0.
func (u UploadName) Query(part int) url.Values {
	q := url.Values{"uploadId": {u.ID}}
	if part > 0 {
		q.Set("partNumber", strconv.Itoa(part))
	}
	return q
}

// StartedUpload is the store's answer to CreateMultipartUpload.
type StartedUpload struct {
	UploadName
	Header http.Header
	Doc    []byte
}

// BeginUpload begins a multipart upload. The store keeps header with the
// object. An answer without an upload ID is an error that wraps
// [ErrUnavailable].
func (c Client) BeginUpload(ctx context.Context, bucket, key string, header http.Header) (*StartedUpload, error) {
	resp, err := c.Send(ctx, Request{
		Method: http.MethodPost, Bucket: bucket, Key: key, Query: url.Values{"uploads": {""}}, Header: header,
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	doc, err := ReadDocument(resp.Body)
	if err != nil {
		return nil, err
	}
	var result struct {
		ID string `xml:"UploadId"`
	}
	if err := xml.Unmarshal(doc, &result); err != nil || result.ID == "" {
		return nil, fmt.Errorf("%w: %w: answer to CreateMultipartUpload without an upload ID: %w", ErrUnavailable, s3.ErrDocument, err)
	}
	return &StartedUpload{UploadName{bucket, key, result.ID}, resp.Header, doc}, nil
}

// AbortUpload aborts an upload.
func (c Client) AbortUpload(ctx context.Context, up UploadName) error {
	resp, err := c.Send(ctx, Request{Method: http.MethodDelete, Bucket: up.Bucket, Key: up.Key, Query: up.Query(0)})
	if err == nil {
		Discard(resp)
	}
	return err
}

// FindUpload returns nil if the store has the upload, and otherwise the store's
// error, for which [IsNoUpload] may be true.
func (c Client) FindUpload(ctx context.Context, up UploadName) error {
	query := up.Query(0)
	query.Set("max-parts", "1")
	resp, err := c.Send(ctx, Request{Method: http.MethodGet, Bucket: up.Bucket, Key: up.Key, Query: query})
	if err == nil {
		Discard(resp)
	}
	return err
}

// IsGone reports whether the store has proven that it does not have the upload:
// with NoSuchUpload, or with NoSuchKey and a list of uploads without it. Any
// other answer proves nothing.
func (c Client) IsGone(ctx context.Context, up UploadName) (bool, error) {
	err := c.FindUpload(ctx, up)
	gone := IsNoUpload(err)
	if gone && AnswerOf(err).Meant {
		gone, err = c.isUnlisted(ctx, up)
	}
	if gone || AnswerOf(err) != nil && !errors.Is(err, ErrUnavailable) {
		return gone, nil
	}
	return false, err
}

// isUnlisted reports whether the store lists all uploads of the key, and not
// this one.
func (c Client) isUnlisted(ctx context.Context, up UploadName) (bool, error) {
	query := url.Values{"uploads": {""}, "prefix": {up.Key}}
	resp, err := c.Send(ctx, Request{Method: http.MethodGet, Bucket: up.Bucket, Query: query})
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	doc, err := ReadDocument(resp.Body)
	if err != nil || !s3.HasRoot(doc, "ListMultipartUploadsResult") {
		return false, err
	}
	listing, err := s3.ParseListing(doc)
	if err != nil || listing.IsTruncated {
		return false, nil //nolint:nilerr // an odd list proves nothing
	}
	return !slices.ContainsFunc(listing.Entries, func(e s3.Entry) bool { return e.UploadID == up.ID }), nil
}

// ListParts returns all parts of an upload that the store has, by number. A
// store may list more than one attempt of a part.
func (c Client) ListParts(ctx context.Context, up UploadName, header http.Header) (map[int][]s3.Entry, error) {
	parts, listed := map[int][]s3.Entry{}, 0
	query := up.Query(0)
	for marker := 0; ; {
		resp, err := c.Send(ctx, Request{
			Method: http.MethodGet, Bucket: up.Bucket, Key: up.Key, Query: query, Header: header.Clone(),
		})
		if err != nil {
			return nil, err
		}
		listing, err := ParseListing(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		if listed += len(listing.Entries); listed > maxAttempts {
			return nil, fmt.Errorf("%w: over %d parts of an upload", ErrUnavailable, maxAttempts)
		}
		last := 0
		for _, e := range listing.Entries {
			parts[e.PartNumber] = append(parts[e.PartNumber], e)
			last = max(last, e.PartNumber)
		}
		if !listing.IsTruncated || last >= MaxPartNumber {
			return parts, nil
		}
		if last <= marker {
			return nil, fmt.Errorf("%w: a page of parts behind %d ends with %d", ErrUnavailable, marker, last)
		}
		marker = last
		query.Set("part-number-marker", strconv.Itoa(last))
	}
}

// maxAttempts is how many attempts of parts ListParts reads, at most.
const maxAttempts = 4 * MaxPartNumber

// MaxPartNumber is the highest part number of S3.
const MaxPartNumber = 10_000

// SentPart is a part of an upload at the store.
type SentPart struct {
	Number int
	Etag   string // without quotes
}

// CompleteUpload completes an upload under the conditions in header. It returns
// the object's ETag and the headers of the answer, or the errors of
// [Client.Complete].
func (c Client) CompleteUpload(ctx context.Context, up UploadName, parts []SentPart, header http.Header) (string, http.Header, error) {
	var doc strings.Builder
	doc.WriteString("<CompleteMultipartUpload>")
	for _, p := range parts {
		fmt.Fprintf(&doc, `<Part><PartNumber>%d</PartNumber><ETag>"%s"</ETag></Part>`, p.Number, p.Etag)
	}
	doc.WriteString("</CompleteMultipartUpload>")
	o := Request{Method: http.MethodPost, Bucket: up.Bucket, Key: up.Key, Header: header, Query: up.Query(0), Copies: true}
	o.SetDocument([]byte(doc.String()))
	etag, _, answer, err := c.Complete(ctx, o)
	if err == nil && etag == "" {
		etag = c.assembled(ctx, up, parts).Get("ETag")
	}
	return etag, answer, err
}

// assembled returns the headers of the object if it is made of these parts: its
// ETag is the MD5 of the parts' ETags, with their number. Otherwise the object
// is another one, and assembled returns nil.
func (c Client) assembled(ctx context.Context, up UploadName, parts []SentPart) http.Header {
	sum := md5.New() //nolint:gosec // S3's way to make an ETag
	for _, p := range parts {
		digest, err := hex.DecodeString(p.Etag)
		if err != nil {
			return nil
		}
		sum.Write(digest)
	}
	made := fmt.Sprintf(`"%x-%d"`, sum.Sum(nil), len(parts))
	h, err := c.store.Own().Head(ctx, up.Bucket, up.Key)
	if err != nil || h.Get("ETag") != made {
		return nil
	}
	return h
}

// CompletedBefore returns the headers of the object if it is made of the parts
// that doc, a CompleteMultipartUpload, lists, and otherwise nil. An upload that
// is gone was then completed, or another one with the same bytes.
func (c Client) CompletedBefore(ctx context.Context, up UploadName, doc []byte) http.Header {
	var listed struct {
		Part []struct{ ETag string }
	}
	if err := xml.Unmarshal(doc, &listed); err != nil || len(listed.Part) == 0 {
		return nil
	}
	parts := make([]SentPart, 0, len(listed.Part))
	for _, p := range listed.Part {
		parts = append(parts, SentPart{Etag: strings.Trim(p.ETag, `"`)})
	}
	return c.assembled(ctx, up, parts)
}

// Complete sends a CompleteMultipartUpload. It returns the object's ETag, and
// the document and headers of the answer. An error document with the status 200
// is an [*Error] with the status of its code.
func (c Client) Complete(ctx context.Context, o Request) (etag string, doc []byte, header http.Header, err error) {
	resp, err := c.Send(ctx, o)
	if err != nil {
		return "", nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if doc, err = ReadDocument(resp.Body); err != nil {
		return "", nil, nil, err
	}
	var result struct {
		XMLName xml.Name
		ETag    string `xml:"ETag"`
	}
	if err := xml.Unmarshal(doc, &result); err != nil {
		return "", nil, nil, fmt.Errorf("%w: %w: answer to CompleteMultipartUpload: %w", ErrUnavailable, s3.ErrDocument, err)
	}
	if result.XMLName.Local == "Error" {
		return "", nil, nil, lateError(resp.Header, doc)
	}
	return result.ETag, doc, resp.Header, nil
}

// CopyResult is the answer's document of CopyObject and UploadPartCopy.
type CopyResult struct {
	XMLName      xml.Name
	LastModified string               `xml:"LastModified"`
	ETag         string               `xml:"ETag"`
	SumType      string               `xml:"ChecksumType,omitempty"`
	Sums         []s3.ChecksumElement `xml:",any"`
}

// Copy makes the store copy the source that header names to an object, or to a
// part if query names one. It returns the headers and the document of the
// answer. An error document with the status 200 is an [*Error] with the status
// of its code.
func (c Client) Copy(ctx context.Context, bucket, key string, query url.Values, header http.Header) (http.Header, *CopyResult, error) {
	resp, err := c.Send(ctx, Request{
		Method: http.MethodPut, Bucket: bucket, Key: key, Query: query, Header: header, Copies: true,
	})
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	doc, err := ReadDocument(resp.Body)
	if err != nil {
		return nil, nil, err
	}
	result := &CopyResult{}
	if err := xml.Unmarshal(doc, result); err != nil {
		return nil, nil, fmt.Errorf("%w: %w: answer to a copy: %w", ErrUnavailable, s3.ErrDocument, err)
	}
	if result.XMLName.Local == "Error" {
		return nil, nil, lateError(resp.Header, doc)
	}
	if tag := strings.Trim(result.ETag, `"`); tag != "" {
		result.ETag = `"` + tag + `"` // some stores leave the quotes out
	}
	return resp.Header, result, nil
}

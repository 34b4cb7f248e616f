package proxy

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"

	"ssegw/proxy/payload"
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/upstream"
)

// forward sends the request on and its answer back. A body is a small document,
// verified before the store gets any of it.
func forward(c *call) error { return forwardAs(c, outgoing(c), refuseStateBucket) }

// forwardAs is forward with o in place of the client's request and edit for its
// document.
func forwardAs(c *call, o upstream.Request, edit edit) error {
	resp, err := sendEdited(c, o, edit)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	doc, err := forwardedDocument(c, resp)
	if err != nil {
		return err
	}
	return passAnswer(c, resp, doc, "application/xml")
}

// passAnswer answers with the store's answer. doc is its document, of the
// content type kind.
func passAnswer(c *call, resp *http.Response, doc []byte, kind string) error {
	h := c.w.Header()
	upstream.CopyAnswer(h, resp.Header, false)
	if h.Get(s3.HeaderBucketRegion) != "" && c.gw.Region != sigv4.AnyRegion {
		h.Set(s3.HeaderBucketRegion, c.gw.Region)
	}
	if c.req.Route.Action == s3.CreateBucket { // that of the store could name the store's host
		h.Set("Location", "/"+c.req.Bucket)
	}
	if len(doc) > 0 {
		h.Set("Content-Type", kind)
	}
	if resp.StatusCode != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(doc)))
	}
	c.w.WriteHeader(resp.StatusCode)
	if len(doc) == 0 {
		return nil
	}
	_, err := c.w.Write(doc)
	return err
}

// outgoing returns the request to the store for the client's request. Handlers
// may change it.
func outgoing(c *call) upstream.Request {
	return upstream.Request{
		Method: c.in.Method, Bucket: c.req.Bucket, Key: c.req.Key,
		Query: maps.Clone(c.req.Query), Header: upstream.RequestHeader(c.req.Header),
	}
}

// sendOn sends o with the client's document, and translates its conditions.
func sendOn(c *call, o upstream.Request) (*http.Response, error) {
	return sendEdited(c, o, refuseStateBucket)
}

// sendEdited is sendOn with edit for the document.
func sendEdited(c *call, o upstream.Request, edit edit) (*http.Response, error) {
	if c.req.Key != "" {
		if err := c.object().StoreConditions(c.ctx(), o.Header); err != nil {
			return nil, err
		}
	}
	if c.req.Route.Action == s3.DeleteObject {
		if err := c.object().CheckIgnored(c.ctx(), o.Header, c.gw.Upstream.Capabilities().Delete); err != nil {
			return nil, err
		}
	}
	if err := addDocument(c, &o, edit); err != nil {
		return nil, err
	}
	done, err := c.gw.subresources.Check(c.ctx(), c.req.Route, c.store(), o)
	if err != nil {
		return nil, err
	}
	if done {
		return &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{}, Body: http.NoBody}, nil
	}
	return c.store().Send(c.ctx(), o)
}

// edit checks a client's document, and returns the one for the store and
// whether it differs.
type edit func(c *call, doc []byte) (edited []byte, changed bool, err error)

// refuseStateBucket is the edit of most operations. It changes nothing, and
// refuses documents that name the state bucket as an XML element.
func refuseStateBucket(c *call, doc []byte) ([]byte, bool, error) {
	return doc, false, s3.RefuseBucket(doc, c.gw.State.Bucket())
}

// addDocument reads, verifies and edits the client's document, and makes it the
// body of o.
func addDocument(c *call, o *upstream.Request, edit edit) error {
	doc, body, err := openDocument(c)
	if err != nil {
		return err
	}
	sums := body.Checksums()
	if len(doc) == 0 && len(sums) == 0 && c.req.Header.Get("Content-Md5") == "" {
		return nil
	}
	doc, changed, err := edit(c, doc)
	if err != nil {
		return err
	}
	if changed {
		sums = nil // they belong to the original document
	}
	setDocument(o, doc, sums)
	return nil
}

// openDocument reads and verifies a small body. Its memory is released when the
// request is answered.
func openDocument(c *call) ([]byte, *payload.Client, error) {
	if c.auth.Framed() {
		return nil, nil, errFramedDocument
	}
	body, err := openBody(c)
	if err != nil {
		return nil, nil, err
	}
	limit := c.req.Route.BodyLimit()
	if limit == 0 {
		limit = maxDocument
	}
	size := limit
	if n := body.Size(); n >= 0 {
		size = min(n, limit)
	}
	if c.freeDocument, err = c.reserve(c.gw.documents, size); err != nil {
		return nil, nil, err
	}
	doc, err := payload.ReadSmall(body, limit)
	return doc, body, err
}

// errFramedDocument refuses documents in aws-chunked framing, as Amazon S3
// does. Only PutObject and UploadPart take it.
var errFramedDocument = s3.ErrInvalidRequest.Msg("The value of x-amz-content-sha256 header is invalid.")

// setDocument makes a small document the body of o, with the client's
// checksums.
func setDocument(o *upstream.Request, doc []byte, sums []sigv4.Checksum) {
	o.SetDocument(doc)
	for _, s := range sums {
		o.Header.Set(sigv4.HeaderName(s.Algorithm), s3.ChecksumText(s.Value))
		o.Header.Set(s3.HeaderSDKChecksumAlgorithm, s.Algorithm)
	}
}

// forwardedDocument returns the XML document of the store's answer. Other
// bodies never reach a client: they could hold anything, such as a page with a
// script. After a write they are dropped, because the write is done.
func forwardedDocument(c *call, resp *http.Response) ([]byte, error) {
	if c.in.Method == http.MethodHead {
		return nil, nil
	}
	doc, err := upstream.ReadDocument(resp.Body)
	if err != nil || len(doc) == 0 {
		return nil, err
	}
	err = s3.CheckDocument(doc)
	if err != nil && (c.in.Method == http.MethodPut || c.in.Method == http.MethodDelete) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: its answer to %s: %w", upstream.ErrUnavailable, c.req.Route.Action, err)
	}
	return doc, nil
}

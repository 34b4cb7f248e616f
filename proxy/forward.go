package proxy

import (
	"bytes"
	"crypto/md5" //nolint:gosec // Content-MD5 is S3's transport checksum, not a security measure
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
)

// maxDocument bounds the body of an operation that takes no document, in bytes.
const maxDocument = 64 << 10

// forward sends a request on as it is and the answer back. A body is a small
// document: it is verified whole before the upstream sees any of it.
func (c *call) forward() error {
	resp, err := c.forwarded()
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	doc, kind, err := c.forwardedDocument(resp)
	if err != nil {
		return err
	}
	h := c.w.Header()
	copyAnswer(h, resp.Header, false)
	if c.req.Route.Action == "CreateBucket" {
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
	_, err = c.w.Write(doc)
	return err
}

// forwardedDocument reads the document of an answer and returns it with its type.
// Nothing else than such a document reaches a client: what a browser runs could be
// in any other body. A write that answers with one is done all the same.
func (c *call) forwardedDocument(resp *http.Response) (doc []byte, kind string, err error) {
	if c.in.Method == http.MethodHead {
		return nil, "", nil
	}
	if doc, err = readListing(resp.Body); err != nil || len(doc) == 0 {
		return nil, "", err
	}
	if c.req.Route.Action == "GetBucketPolicy" {
		if !json.Valid(doc) {
			return nil, "", fmt.Errorf("%w: its answer to %s is no JSON document", errUpstream, c.req.Route.Action)
		}
		return doc, "application/json", nil
	}
	err = s3.CheckDocument(doc)
	if err != nil && (c.in.Method == http.MethodPut || c.in.Method == http.MethodDelete) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("%w: its answer to %s: %w", errUpstream, c.req.Route.Action, err)
	}
	return doc, "application/xml", nil
}

// forwarded is the upstream's answer to the request as it is.
func (c *call) forwarded() (*http.Response, error) {
	header := upstreamHeader(c.req.Header)
	if c.req.Key != "" {
		if err := c.translateConditions(header); err != nil {
			return nil, err
		}
	}
	o := outgoing{
		method: c.in.Method, bucket: c.req.Bucket, key: c.req.Key, query: c.req.Query, header: header,
		as: c.caller(),
	}
	if err := c.addDocument(&o); err != nil {
		return nil, err
	}
	return c.Upstream.expect(c.ctx(), o)
}

// addDocument reads, verifies and checks the request's document.
func (c *call) addDocument(o *outgoing) error {
	doc, body, err := c.document()
	if err != nil {
		return err
	}
	if len(doc) == 0 && len(body.Checksums()) == 0 && c.req.Header.Get("Content-Md5") == "" {
		return nil
	}
	sums := body.Checksums()
	if c.req.Route.Action == s3.DeleteObjects {
		translated, changed, err := c.translateDelete(doc)
		if err != nil {
			return err
		}
		if doc = translated; changed {
			sums = nil // they are of another document
		}
	}
	if c.req.Route.Action == "PutBucketPolicy" && conditionsOnSSE(doc) {
		return errPolicyOnSSE
	}
	if !bucketless[c.req.Route.Action] {
		if err := refuseBucket(doc, c.State.Bucket()); err != nil {
			return err
		}
	}
	setDocument(o, doc, sums)
	return nil
}

// setDocument makes a small document the body of o, with the checksums that its
// sender gave and the one that many stores ask for.
func setDocument(o *outgoing, doc []byte, sums []sigv4.Checksum) {
	o.body, o.size, o.hash = bytes.NewReader(doc), int64(len(doc)), hexSHA256(doc)
	sum := md5.Sum(doc) //nolint:gosec // see the import
	o.header.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	for _, s := range sums {
		o.header.Set(sigv4.HeaderName(s.Algorithm), checksumText(s.Value))
		o.header.Set(s3.HeaderSDKChecksumAlgorithm, s.Algorithm)
	}
}

// errFramedDocument refuses aws-chunked documents, as Amazon S3 does: only
// PutObject and UploadPart take a framed body.
var errFramedDocument = s3.ErrInvalidRequest.Msg("The value of x-amz-content-sha256 header is invalid.")

// document reads and verifies a small body. Its memory counts until the request
// is answered.
func (c *call) document() ([]byte, *clientBody, error) {
	if c.auth.Framed() {
		return nil, nil, errFramedDocument
	}
	body, err := c.body()
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
	if c.held, err = c.reserve(c.documents, size); err != nil {
		return nil, nil, err
	}
	doc, err := readSmall(body, limit)
	return doc, body, err
}

// bucketless are the actions whose documents name no other bucket: a policy, which
// is JSON, is about its own one, and the keys to delete are any text.
var bucketless = map[s3.Action]bool{"PutBucketPolicy": true, s3.DeleteObjects: true}

// refuseBucket refuses an XML document that names a bucket, alone, as an ARN or
// behind a tenant, as the target of logs, inventories or the like: in an element
// whose name says so. What cannot be read here is refused too, for the store
// might read more in it.
func refuseBucket(doc []byte, bucket string) error {
	type element struct {
		name string
		text []byte
	}
	open := []element{{}}
	for d := xml.NewDecoder(bytes.NewReader(doc)); ; {
		token, err := d.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return s3.ErrMalformedXML.With(err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			open = append(open, element{name: strings.ToLower(t.Name.Local)})
		case xml.CharData:
			top := &open[len(open)-1]
			top.text = append(top.text, t...) // comments and children cut a text in pieces
		case xml.EndElement:
			e := open[len(open)-1]
			open = open[:len(open)-1]
			name := string(e.text[bytes.LastIndexByte(e.text, ':')+1:])
			name, _, _ = strings.Cut(name, "/")
			if strings.Contains(e.name, "bucket") && strings.TrimSpace(name) == bucket {
				return s3.ErrNoSuchBucket
			}
		}
	}
}

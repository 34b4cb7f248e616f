package upstream

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // Content-MD5 is S3's transport checksum, not a security measure
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssegw/proxy/s3"
)

// caller is the identity that requests to the store have. The zero value has
// the fewest rights: it is an anonymous client.
type caller struct {
	credentials aws.CredentialsProvider // sign the requests; nil: they are not signed
	isGateway   bool                    // credentials are the gateway's own
	origin      *Origin                 // where the client is; nil: the store is not told
}

// Client sends requests to the store on behalf of one caller. It is safe for
// concurrent use.
type Client struct {
	store *Store
	as    caller
}

// Anonymous returns a client for unsigned requests. They tell the store origin,
// unless that is nil.
func (s *Store) Anonymous(origin *Origin) Client { return Client{s, caller{origin: origin}} }

// Signing returns a client for requests signed with credentials, which must not
// be nil. They tell the store origin, unless that is nil.
func (s *Store) Signing(credentials aws.CredentialsProvider, origin *Origin) Client {
	if credentials == nil {
		panic("upstream: no credentials to sign with")
	}
	return Client{s, caller{credentials: credentials, origin: origin}}
}

// Own returns a client for requests with the gateway's own rights.
func (s *Store) Own() Client { return s.OwnFor(nil) }

// OwnFor returns a client for requests with the gateway's own rights that it
// sends for another client. They tell the store origin, unless that is nil.
func (s *Store) OwnFor(origin *Origin) Client {
	c := s.Signing(s.credentials, origin)
	c.as.isGateway = true
	return c
}

// Store returns the store that requests go to.
func (c Client) Store() *Store { return c.store }

// IsGateway reports whether requests have the gateway's own rights.
func (c Client) IsGateway() bool { return c.as.isGateway }

// IsAnonymous reports whether requests are not signed.
func (c Client) IsAnonymous() bool { return c.as.credentials == nil }

// Send sends o and returns the answer if its status is below 300. It closes any
// other answer and returns the error of [ReadError].
func (c Client) Send(ctx context.Context, o Request) (*http.Response, error) {
	resp, err := c.Do(ctx, o)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	return nil, ReadError(resp)
}

// Exec sends o and returns the headers of the answer. Its body is dropped.
func (c Client) Exec(ctx context.Context, o Request) (http.Header, error) {
	resp, err := c.Send(ctx, o)
	if err != nil {
		return nil, err
	}
	Discard(resp)
	return resp.Header, nil
}

// Get returns a small object and its ETag. An object of more than limit bytes
// is an error.
func (c Client) Get(ctx context.Context, bucket, key string, limit int64) ([]byte, string, error) {
	resp, err := c.Send(ctx, Request{Method: http.MethodGet, Bucket: bucket, Key: key})
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, "", fmt.Errorf("%w: reading %s: %w", ErrUnavailable, key, err)
	}
	if int64(len(b)) > limit {
		return nil, "", fmt.Errorf("upstream: %s is over %d bytes", key, limit)
	}
	return b, resp.Header.Get("ETag"), nil
}

// Put stores b as an object and returns its ETag. It sends h, and adds the
// default content type and a Content-MD5 to it.
func (c Client) Put(ctx context.Context, bucket, key string, b []byte, h http.Header) (string, error) {
	sum := md5.Sum(b) //nolint:gosec // see the import
	h.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	h.Set("Content-Type", s3.DefaultContentType)
	resp, err := c.Send(ctx, Request{
		Method: http.MethodPut, Bucket: bucket, Key: key, Header: h,
		Body: bytes.NewReader(b), Size: int64(len(b)), Hash: HexSHA256(b),
	})
	if err != nil {
		return "", err
	}
	return resp.Header.Get("ETag"), resp.Body.Close()
}

// HexSHA256 returns the SHA-256 of b in hexadecimal digits.
func HexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// TagDigits is the length of a [RandomTag] in hexadecimal digits.
const TagDigits = 32

// RandomTag returns 32 random hexadecimal digits. They are unique, and have the
// form of an ETag.
func RandomTag() string {
	var b [TagDigits / 2]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// SetDocument makes a small document the body of o. It adds the Content-MD5
// that many stores require.
func (o *Request) SetDocument(doc []byte) {
	o.Body, o.Size, o.Hash = bytes.NewReader(doc), int64(len(doc)), HexSHA256(doc)
	sum := md5.Sum(doc) //nolint:gosec // see the import
	o.Header.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
}

// CreateBucket makes a bucket in the store's region.
func (c Client) CreateBucket(ctx context.Context, bucket string) error {
	_, err := c.Exec(ctx, Request{Method: http.MethodPut, Bucket: bucket})
	if refused := AnswerOf(err); refused != nil && refused.Code == "IllegalLocationConstraintException" {
		// Outside of us-east-1 Amazon S3 requires the region in the document.
		o := Request{Method: http.MethodPut, Bucket: bucket, Header: http.Header{}}
		o.SetDocument([]byte("<CreateBucketConfiguration><LocationConstraint>" + c.store.region + "</LocationConstraint></CreateBucketConfiguration>"))
		_, err = c.Exec(ctx, o)
	}
	return err
}

// IsEmpty reports whether the bucket has no objects, no versions, and no
// uploads, which could still become objects. A store without versions or
// uploads may refuse to list them, or answer with the result of another
// operation. Only ListObjects has to work. A document that makes no sense is an
// error.
func (c Client) IsEmpty(ctx context.Context, bucket string) (bool, error) {
	for _, query := range [...]url.Values{
		{"uploads": {""}, "max-uploads": {"1"}}, {"versions": {""}, "max-keys": {"1"}}, {"max-keys": {"1"}},
	} {
		some, err := c.lists(ctx, bucket, query)
		if optional := len(query) > 1; optional && hasNone(err) {
			continue
		}
		if err != nil || some {
			return false, err
		}
	}
	return true, nil
}

// hasNone reports whether the store refuses to list something in a bucket, and
// the reason is not a missing right or a fault.
func hasNone(err error) bool {
	status := StatusOf(err)
	return status == http.StatusNotImplemented || status == http.StatusMethodNotAllowed || status == http.StatusBadRequest ||
		status == http.StatusNotFound && !IsCode(err, s3.ErrNoSuchBucket)
}

// lists reports whether a listing, of objects if it has only one parameter, has
// entries.
func (c Client) lists(ctx context.Context, bucket string, query url.Values) (bool, error) {
	resp, err := c.Send(ctx, Request{Method: http.MethodGet, Bucket: bucket, Query: query})
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	doc, err := ReadDocument(resp.Body)
	if err != nil {
		return false, err
	}
	listing, err := s3.ParseListing(doc)
	if err == nil {
		return len(listing.Entries) > 0 || listing.IsTruncated, nil
	}
	if len(query) > 1 {
		if keys, other := s3.ResultHasKeys(doc); other == nil {
			return keys, nil
		}
	}
	return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// Head returns the headers of an object.
func (c Client) Head(ctx context.Context, bucket, key string) (http.Header, error) {
	return c.Exec(ctx, Request{Method: http.MethodHead, Bucket: bucket, Key: key})
}

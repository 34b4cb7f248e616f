package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
)

// api is a client of the gateway's own S3 API. It signs with the root
// credential, and calls the handler without a connection.
type api struct {
	handler http.Handler
	region  string
	keys    aws.Credentials
	signer  *v4.Signer
}

const (
	apiHost    = "console.ssegw.invalid" // no bucket's host name
	apiMost    = 8 << 20                 // bytes of an answer
	apiTimeout = 30 * time.Second
)

func newAPI(handler http.Handler, region, accessKey, secretKey string) *api {
	if region == sigv4.AnyRegion {
		region = "us-east-1"
	}
	return &api{
		handler: handler, region: region,
		keys:   aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey},
		signer: v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }),
	}
}

// apiError is an error answer of the S3 API.
type apiError struct {
	XMLName xml.Name `xml:"Error"`
	Code    string
	Message string
}

func (e *apiError) Error() string { return e.Code + ": " + e.Message }

// send sends a request for a bucket, or for the service if bucket is "". The
// error is an *apiError if the API refuses the request.
func (a *api) send(ctx context.Context, method, bucket string, query url.Values, body []byte) ([]byte, error) {
	if bucket != "" && s3.CheckBucket(bucket) != nil {
		return nil, fmt.Errorf("console: %q is no bucket", bucket) // it would be another path
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	u := &url.URL{Scheme: "http", Host: apiHost, Path: "/" + bucket, RawQuery: query.Encode()}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	r.Header.Set("X-Amz-Content-Sha256", hash)
	r.Header.Set("User-Agent", "ssegw console")
	if err := a.signer.SignHTTP(ctx, a.keys, r, hash, "s3", a.region, time.Now()); err != nil {
		return nil, fmt.Errorf("console: signing: %w", err)
	}
	r.RemoteAddr = "console"
	w := &recorder{header: http.Header{}}
	a.handler.ServeHTTP(w, r)
	if w.tooLong {
		return nil, fmt.Errorf("console: the answer to %s is longer than %d bytes", method, apiMost)
	}
	if w.status >= 300 {
		e := &apiError{}
		if xml.Unmarshal(w.body.Bytes(), e) != nil || e.Code == "" {
			return nil, fmt.Errorf("console: status %d", w.status)
		}
		return nil, e
	}
	return w.body.Bytes(), nil
}

// recorder is a ResponseWriter that keeps the answer.
type recorder struct {
	header  http.Header
	status  int
	body    bytes.Buffer
	tooLong bool
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
}

func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.body.Len()+len(b) > apiMost {
		w.tooLong = true
		return 0, io.ErrShortWrite
	}
	return w.body.Write(b)
}

// bucketEntry is a bucket of a list.
type bucketEntry struct {
	Name         string
	CreationDate time.Time
}

// buckets returns the buckets that the root credential sees.
func (a *api) buckets(ctx context.Context) ([]bucketEntry, error) {
	var all []bucketEntry
	query := url.Values{}
	for {
		b, err := a.send(ctx, http.MethodGet, "", query, nil)
		if err != nil {
			return nil, err
		}
		var page struct {
			Buckets           []bucketEntry `xml:"Buckets>Bucket"`
			ContinuationToken string
		}
		if err := xml.Unmarshal(b, &page); err != nil {
			return nil, fmt.Errorf("console: list of buckets: %w", err)
		}
		all = append(all, page.Buckets...)
		if page.ContinuationToken == "" || page.ContinuationToken == query.Get("continuation-token") {
			return all, nil
		}
		query.Set("continuation-token", page.ContinuationToken)
	}
}

var encryptionQuery = url.Values{"encryption": {""}}

// encryption returns the rule of a bucket; nil: it has none.
func (a *api) encryption(ctx context.Context, bucket string) (*s3.Encryption, error) {
	b, err := a.send(ctx, http.MethodGet, bucket, encryptionQuery, nil)
	if e, ok := err.(*apiError); ok && e.Code == s3.ErrEncryptionNotFound.Code { //nolint:errorlint // send does not wrap it
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s3.ParseEncryption(b)
}

// setEncryption sets the rule of a bucket; nil clears it.
func (a *api) setEncryption(ctx context.Context, bucket string, e *s3.Encryption) error {
	if e == nil {
		_, err := a.send(ctx, http.MethodDelete, bucket, encryptionQuery, nil)
		return err
	}
	_, err := a.send(ctx, http.MethodPut, bucket, encryptionQuery, e.Marshal())
	return err
}

package e2e

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/encrypt"

	"ssegw/e2e/stack"
)

// A scheme is how a client asks for encryption.
type scheme string

const (
	sseS3  scheme = "SSE-S3"
	sseKMS scheme = "SSE-KMS"
	sseC   scheme = "SSE-C"
)

// customerKey is the SSE-C key of all tests, 32 bytes. Its base64 contains
// neither + nor /, which mc's command line does not accept.
var customerKey = []byte("0123456789abcdef0123456789ABCDEF")

// facts are what a HEAD returns.
type facts struct {
	size   int64
	scheme string // as in Amazon's header, "" if absent
	keyID  string // for SSE-KMS, otherwise ""
}

func wantFacts(s scheme, size int64, keyName string) facts {
	switch s {
	case sseS3:
		return facts{size, "AES256", ""}
	case sseKMS:
		return facts{size, "aws:kms", "arn:aws:kms:" + keyName}
	default:
		return facts{size, "SSE-C", ""}
	}
}

// A client is one S3 client program or library that uses one gateway. Every put
// is one PutObject request.
type client interface {
	put(ctx context.Context, bucket, key string, s scheme, c content) error
	get(ctx context.Context, bucket, key string, s scheme, w io.Writer) error
	head(ctx context.Context, bucket, key string, s scheme) (facts, error)
	list(ctx context.Context, bucket string) (map[string]int64, error)
}

// newClients returns all clients of a gateway, by name.
func newClients(t *testing.T, st *stack.Stack, g *stack.Gateway) map[string]client {
	t.Helper()
	return map[string]client{
		"aws-sdk-go-v2": sdkClient{sdkOf(t, g), g.KeyName},
		"minio-go":      newMinioClient(t, g),
		"mc":            newMCClient(t, st, g),
	}
}

// sdkClient uses aws-sdk-go-v2.
type sdkClient struct {
	*s3.Client
	keyName string
}

func (c sdkClient) put(ctx context.Context, bucket, key string, s scheme, body content) error {
	in := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: body.reader()}
	switch s {
	case sseS3:
		in.ServerSideEncryption = types.ServerSideEncryptionAes256
	case sseKMS:
		in.ServerSideEncryption = types.ServerSideEncryptionAwsKms
		in.SSEKMSKeyId = &c.keyName
	case sseC:
		in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = customerHeaders()
	}
	// Over https the SDK would read the body twice, once for its hash.
	_, err := c.PutObject(ctx, in, s3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware))
	return err
}

func (c sdkClient) get(ctx context.Context, bucket, key string, s scheme, w io.Writer) error {
	in := &s3.GetObjectInput{Bucket: &bucket, Key: &key}
	if s == sseC {
		in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = customerHeaders()
	}
	out, err := c.GetObject(ctx, in)
	if err != nil {
		return err
	}
	defer out.Body.Close()
	_, err = io.Copy(w, out.Body)
	return err
}

func (c sdkClient) head(ctx context.Context, bucket, key string, s scheme) (facts, error) {
	in := &s3.HeadObjectInput{Bucket: &bucket, Key: &key}
	if s == sseC {
		in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = customerHeaders()
	}
	out, err := c.HeadObject(ctx, in)
	if err != nil {
		return facts{}, err
	}
	f := facts{aws.ToInt64(out.ContentLength), string(out.ServerSideEncryption), aws.ToString(out.SSEKMSKeyId)}
	if out.SSECustomerAlgorithm != nil {
		f.scheme += "SSE-C"
	}
	return f, nil
}

func (c sdkClient) list(ctx context.Context, bucket string) (map[string]int64, error) {
	sizes := make(map[string]int64)
	pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			sizes[aws.ToString(o.Key)] = aws.ToInt64(o.Size)
		}
	}
	return sizes, nil
}

// customerHeaders returns the values of the three SSE-C headers.
func customerHeaders() (algorithm, key, keyMD5 *string) { return customerHeadersOf(customerKey) }

func customerHeadersOf(secret []byte) (algorithm, key, keyMD5 *string) {
	sum := md5.Sum(secret)
	return aws.String("AES256"), aws.String(base64.StdEncoding.EncodeToString(secret)),
		aws.String(base64.StdEncoding.EncodeToString(sum[:]))
}

// minioClient uses minio-go.
type minioClient struct {
	*minio.Client
	keyName string
}

func newMinioClient(t *testing.T, g *stack.Gateway) minioClient {
	t.Helper()
	http := must(stack.HTTPClient(g.CAFile))(t)
	t.Cleanup(http.CloseIdleConnections)
	_, addr, _ := strings.Cut(g.Endpoint, "://")
	c := must(minio.New(addr, &minio.Options{
		Creds:  credentials.NewStaticV4(g.AccessKey, g.SecretKey, ""),
		Secure: g.CAFile != "", Transport: http.Transport, MaxRetries: 1,
	}))(t)
	return minioClient{c, g.KeyName}
}

func (c minioClient) sse(s scheme) (encrypt.ServerSide, error) {
	switch s {
	case sseS3:
		return encrypt.NewSSE(), nil
	case sseKMS:
		return encrypt.NewSSEKMS(c.keyName, nil)
	default:
		return encrypt.NewSSEC(customerKey)
	}
}

// readSSE returns what minio-go needs for reading, which is nothing except for
// SSE-C.
func (c minioClient) readSSE(s scheme) (encrypt.ServerSide, error) {
	if s != sseC {
		return nil, nil
	}
	return c.sse(s)
}

func (c minioClient) put(ctx context.Context, bucket, key string, s scheme, body content) error {
	sse, err := c.sse(s)
	if err != nil {
		return err
	}
	_, err = c.PutObject(ctx, bucket, key, body.reader(), body.size,
		minio.PutObjectOptions{ServerSideEncryption: sse, DisableMultipart: true})
	return err
}

func (c minioClient) get(ctx context.Context, bucket, key string, s scheme, w io.Writer) error {
	sse, err := c.readSSE(s)
	if err != nil {
		return err
	}
	o, err := c.GetObject(ctx, bucket, key, minio.GetObjectOptions{ServerSideEncryption: sse})
	if err != nil {
		return err
	}
	defer o.Close()
	_, err = io.Copy(w, o)
	return err
}

func (c minioClient) head(ctx context.Context, bucket, key string, s scheme) (facts, error) {
	sse, err := c.readSSE(s)
	if err != nil {
		return facts{}, err
	}
	o, err := c.StatObject(ctx, bucket, key, minio.StatObjectOptions{ServerSideEncryption: sse})
	if err != nil {
		return facts{}, err
	}
	f := facts{
		o.Size, o.Metadata.Get("x-amz-server-side-encryption"),
		o.Metadata.Get("x-amz-server-side-encryption-aws-kms-key-id"),
	}
	if o.Metadata.Get("x-amz-server-side-encryption-customer-algorithm") != "" {
		f.scheme += "SSE-C"
	}
	return f, nil
}

func (c minioClient) list(ctx context.Context, bucket string) (map[string]int64, error) {
	sizes := make(map[string]int64)
	for o := range c.ListObjects(ctx, bucket, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			return nil, o.Err
		}
		sizes[o.Key] = o.Size
	}
	return sizes, nil
}

// mcClient runs the mc program with the alias gw.
type mcClient struct {
	mc      *stack.MC
	dir     string // for files to upload
	keyName string
}

func newMCClient(t *testing.T, st *stack.Stack, g *stack.Gateway) mcClient {
	t.Helper()
	var trust []string
	if g.CAFile != "" {
		trust = []string{g.CAFile}
	}
	mc := must(st.NewMC(t.Context(), trust...))(t)
	if err := mc.Alias(t.Context(), "gw", g.Endpoint, g.AccessKey, g.SecretKey); err != nil {
		t.Fatal(err)
	}
	return mcClient{mc, t.TempDir(), g.KeyName}
}

// encArgs returns the encryption options for one object.
func (c mcClient) encArgs(s scheme, target string, reading bool) []string {
	switch {
	case s == sseC:
		return []string{"--enc-c", target + "=" + base64.RawStdEncoding.EncodeToString(customerKey)}
	case reading:
		return nil
	case s == sseKMS:
		return []string{"--enc-kms", target + "=" + c.keyName}
	default:
		return []string{"--enc-s3", target}
	}
}

func (c mcClient) put(ctx context.Context, bucket, key string, s scheme, body content) error {
	f, err := os.Create(filepath.Join(c.dir, "upload"))
	if err != nil {
		return err
	}
	_, err = io.Copy(f, body.reader())
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	target := "gw/" + bucket + "/" + key
	args := append([]string{"cp", "--quiet", "--disable-multipart"}, c.encArgs(s, target, false)...)
	_, err = c.mc.Run(ctx, append(args, f.Name(), target)...)
	return errors.Join(err, os.Remove(f.Name()))
}

func (c mcClient) get(ctx context.Context, bucket, key string, s scheme, w io.Writer) error {
	target := "gw/" + bucket + "/" + key
	args := append([]string{"cat"}, c.encArgs(s, target, true)...)
	return c.mc.Stream(ctx, nil, w, append(args, target)...)
}

func (c mcClient) head(ctx context.Context, bucket, key string, s scheme) (facts, error) {
	target := "gw/" + bucket + "/" + key
	args := append([]string{"stat", "--json", "--no-list"}, c.encArgs(s, target, true)...)
	out, err := c.mc.Run(ctx, append(args, target)...)
	if err != nil {
		return facts{}, err
	}
	var stat struct {
		Size     int64
		Metadata map[string]string
	}
	if err := json.Unmarshal([]byte(out), &stat); err != nil {
		return facts{}, fmt.Errorf("mc stat printed %q: %w", out, err)
	}
	meta := make(map[string]string)
	for k, v := range stat.Metadata {
		meta[strings.ToLower(k)] = v
	}
	f := facts{stat.Size, meta["x-amz-server-side-encryption"], meta["x-amz-server-side-encryption-aws-kms-key-id"]}
	if meta["x-amz-server-side-encryption-customer-algorithm"] != "" {
		f.scheme += "SSE-C"
	}
	return f, nil
}

func (c mcClient) list(ctx context.Context, bucket string) (map[string]int64, error) {
	out, err := c.mc.Run(ctx, "ls", "--json", "--recursive", "gw/"+bucket)
	if err != nil {
		return nil, err
	}
	sizes := make(map[string]int64)
	for dec := json.NewDecoder(strings.NewReader(out)); dec.More(); {
		var o struct {
			Key  string
			Size int64
		}
		if err := dec.Decode(&o); err != nil {
			return nil, fmt.Errorf("mc ls printed %q: %w", out, err)
		}
		sizes[o.Key] = o.Size
	}
	return sizes, nil
}

// putReader puts size bytes of any reader.
func (c minioClient) putReader(ctx context.Context, bucket, key string, r io.Reader, size int64) error {
	_, err := c.PutObject(ctx, bucket, key, r, size, minio.PutObjectOptions{DisableMultipart: true})
	return err
}

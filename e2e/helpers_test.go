package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"ssegw/e2e/stack"
)

// skip skips the test. It fails the test if skips are not allowed.
func skip(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("SSEGW_NO_SKIP") == "1" {
		t.Fatalf("cannot run here: %s", reason)
	}
	t.Skip(reason)
}

// long skips a test, or a part of one, except in make e2e-all.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long: make e2e-all runs it")
	}
}

// newStack returns a stack that ends with the test. If the test has failed, it
// shows the logs.
func newStack(t *testing.T) *stack.Stack {
	t.Helper()
	s, err := stack.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	// No gateway may give up because the machine is busy.
	s.GatewayEnv = map[string]string{"SSEGW_KMS_TIMEOUT": "30s", "SSEGW_DRAIN_TIMEOUT": "10m"}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Logs(4000))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// must stops the test on an error.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// rig is a complete set-up: one KES, one MinIO, and gateways on demand.
type rig struct {
	name  string // of the store
	stack *stack.Stack
	kes   *stack.KES
	store *stack.Store
}

func newRig(t *testing.T) *rig {
	t.Helper()
	s := newStack(t)
	return &rig{
		name:  stack.StoreMinIO,
		stack: s,
		kes:   must(s.StartKES(t.Context(), stack.KESOptions{Pausable: true}))(t),
		store: must(s.StartMinIO(t.Context()))(t),
	}
}

// gateway starts a gateway between the rig's KES and store.
func (r *rig) gateway(t *testing.T, tls bool) *stack.Gateway {
	t.Helper()
	return must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{
		KES: []*stack.KES{r.kes}, Upstream: r.store, TLS: tls,
	}))(t)
}

// direct returns a client of the store that bypasses the gateway.
func (r *rig) direct(t *testing.T) *s3.Client {
	t.Helper()
	return newSDK(t, r.store.Endpoint, r.store.AccessKey, r.store.SecretKey, "")
}

func newSDK(t *testing.T, endpoint, accessKey, secretKey, caFile string) *s3.Client {
	t.Helper()
	client := must(stack.HTTPClient(caFile))(t)
	t.Cleanup(client.CloseIdleConnections)
	return s3.New(stack.SDKOptions(endpoint, accessKey, secretKey), func(o *s3.Options) {
		o.HTTPClient = client
		o.RetryMaxAttempts = 1 // a retry would hide a failure
	})
}

func sdkOf(t *testing.T, g *stack.Gateway) *s3.Client {
	t.Helper()
	return newSDK(t, g.Endpoint, g.AccessKey, g.SecretKey, g.CAFile)
}

func makeBucket(t *testing.T, client *s3.Client, bucket string) {
	t.Helper()
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
}

// removeObject deletes an object to save disk space.
func removeObject(t *testing.T, client *s3.Client, bucket, key string) {
	t.Helper()
	if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
		t.Fatal(err)
	}
}

// rule returns a bucket encryption rule; an empty key means SSE-S3.
func rule(key string) *types.ServerSideEncryptionConfiguration {
	by := &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAes256}
	if key != "" {
		by = &types.ServerSideEncryptionByDefault{
			SSEAlgorithm: types.ServerSideEncryptionAwsKms, KMSMasterKeyID: &key,
		}
	}
	return &types.ServerSideEncryptionConfiguration{
		Rules: []types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: by}},
	}
}

// listSizes returns the sizes of a bucket's objects, by key.
func listSizes(t *testing.T, client *s3.Client, bucket string) map[string]int64 {
	t.Helper()
	sizes := make(map[string]int64)
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &bucket, MaxKeys: aws.Int32(50)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			sizes[aws.ToString(o.Key)] = aws.ToInt64(o.Size)
		}
	}
	return sizes
}

// readAll returns the bytes of a small object.
func readAll(t *testing.T, client *s3.Client, bucket, key string) []byte {
	t.Helper()
	out, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	return must(io.ReadAll(out.Body))(t)
}

// wantCode fails the test unless err is an S3 error with that code.
func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if !hasCode(err, code) {
		t.Errorf("error %v, want the S3 error %s", err, code)
	}
}

// hasCode reports whether err is the S3 error with that code.
func hasCode(err error, code string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == code
}

// holdsMarker reports whether a stream contains the marker.
func holdsMarker(r io.Reader) (bool, error) {
	buf := make([]byte, 1<<20)
	kept := 0
	for {
		n, err := io.ReadFull(r, buf[kept:])
		if bytes.Contains(buf[:kept+n], []byte(marker)) {
			return true, nil
		}
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		kept = copy(buf, buf[len(buf)-len(marker)+1:])
	}
}

// wantSealedUpstream reads every object of a bucket directly from the store. It
// fails the test if one of them contains plaintext, or if the keys differ from
// those that the gateway shows.
func wantSealedUpstream(t *testing.T, gateway, direct *s3.Client, bucket string) {
	t.Helper()
	shown, stored := listSizes(t, gateway, bucket), listSizes(t, direct, bucket)
	if got, want := keys(stored), keys(shown); !slices.Equal(got, want) {
		t.Errorf("the store holds %q, the gateway shows %q", got, want)
	}
	for key, size := range stored {
		if found, err := readsMarker(t.Context(), direct, bucket, key); err != nil || found {
			t.Errorf("%s, %d bytes upstream: plaintext %v, error %v", key, size, found, err)
		}
		if size < shown[key] {
			t.Errorf("%s: %d bytes upstream, %d bytes of plaintext", key, size, shown[key])
		}
	}
}

func readsMarker(ctx context.Context, client *s3.Client, bucket, key string) (bool, error) {
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return false, err
	}
	defer out.Body.Close()
	return holdsMarker(out.Body)
}

func keys(m map[string]int64) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func TestHoldsMarker(t *testing.T) {
	t.Parallel()
	for _, at := range []int{0, 1, 1<<20 - 40, 1<<20 - 10, 1 << 20, 3<<20 - 33} {
		plain := strings.Repeat("x", at) + marker
		for body, want := range map[string]bool{plain: true, plain + "tail": true, plain[:len(plain)-1]: false} {
			if got, err := holdsMarker(strings.NewReader(body)); err != nil || got != want {
				t.Errorf("marker at %d of %d bytes: found %v, %v", at, len(body), got, err)
			}
		}
	}
}

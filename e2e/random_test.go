package e2e

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

var seed = flag.Uint64("seed", 0, "seed of TestRandomWrites; 0: a new one each time")

// TestRandomWrites writes random combinations of sizes, schemes, content
// headers, user metadata and tags. Each write is either refused with a 4xx S3
// error and leaves no object, or reads back as it was written. What a store
// itself gets wrong is left out: tags, or of plaintext objects alone.
func TestRandomWrites(t *testing.T) {
	t.Parallel()
	writes := 500
	if testing.Short() {
		writes = 100
	}
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("repeat with -args -seed %d", *seed)
	onStores(t, func(t *testing.T, r *rig) {
		g := r.gateway(t, true) // customers' keys need TLS
		makeFaultBuckets(t, g)
		names := bucketName("names")
		makeBucket(t, r.direct(t), names)
		w := &randomWriter{
			gateway: sdkOf(t, g), direct: r.direct(t), kept: keptName(t, coreSide{client: r.direct(t)}, names),
			tags: may(t, "tags"), uploadTags: may(t, "upload-tags"), directories: may(t, "directories"),
			taken: map[string]map[string]int64{plainBucket: {}, sealedBucket: {}}, schemes: map[scheme]int{}, refused: map[string]int{},
		}
		numbers := make(chan int)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for n := range numbers {
					d := w.allowed(drawWrite(*seed, n))
					if err := w.write(t.Context(), d); err != nil {
						t.Errorf("write %d, %+v: %v", n, d, err)
					}
				}
			})
		}
		for n := range writes {
			numbers <- n
		}
		close(numbers)
		all.Wait()
		t.Logf("taken: %v; refused: %v", w.schemes, w.refused)
		for _, s := range drawnSchemes {
			if w.schemes[s] < writes/20 {
				t.Errorf("%d writes under %q were taken, of %d", w.schemes[s], s, writes)
			}
		}
		for bucket, want := range w.taken {
			for side, client := range map[string]*s3.Client{"gateway": w.gateway, "store": w.direct} {
				if got := keys(listSizes(t, client, bucket)); !slices.Equal(got, keys(want)) {
					t.Errorf("%s at the %s: %q, want %q", bucket, side, got, keys(want))
				}
			}
		}
	})
}

// drawn is one random write.
type drawn struct {
	bucket, key string
	scheme      scheme
	body        content
	parts       []int64           // sizes; empty for one PutObject
	headers     map[string]string // content headers and user metadata, by lower-case name
	tags        map[string]string
}

func (d drawn) sealed() bool { return d.scheme != "" || d.bucket == sealedBucket }

var (
	drawnSchemes = []scheme{"", sseS3, sseKMS, sseC}

	// Around the limits of a package of the sealed format, and of a part.
	drawnSizes = []int64{0, 1, 64*kib - 1, 64 * kib, 64*kib + 1, 128 * kib}

	drawnTexts = []string{
		"plain", "text/plain; charset=utf-8", "no-cache, max-age=0", `attachment; filename="a b.txt"`, "gzip", "a  b", "=?UTF-8?Q?a=C3=BC?=", "%41+%2B",
		"Größe", "日本語", "a\u00a0b", "a\u3000b", "\U0001f680", "a\tb", "\xff\xfe", "", " around ",
	}
	drawnDates = []string{"Thu, 01 Dec 2044 16:00:00 GMT", "2044-12-01T16:00:00Z", "0", "never"}
	drawnNames = []string{"a", "color", "long-name-with-dashes", "under_score", "dot.dot", "0", "x-amz-meta-x"}
)

// drawWrite draws write n. The result does not depend on other draws.
func drawWrite(seed uint64, n int) drawn {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	of := func(list []string) string { return list[r.IntN(len(list))] }
	d := drawn{
		bucket: []string{plainBucket, sealedBucket}[r.IntN(2)], key: fmt.Sprintf("%d/%s", n, of([]string{"k", "a b", "a+b", "ü", "100%", "dir/"})),
		scheme: drawnSchemes[r.IntN(len(drawnSchemes))], body: content{seed: r.Uint64(), size: drawnSizes[r.IntN(len(drawnSizes))]},
		headers: map[string]string{}, tags: map[string]string{},
	}
	switch r.IntN(40) {
	case 0:
		d.body.size = 5*mib + 1
	case 1:
		d.parts, d.body.size = []int64{5 * mib, d.body.size}, d.body.size+5*mib
	case 2, 3, 4, 5, 6, 7, 8, 9:
		d.parts = []int64{d.body.size}
	}
	for _, name := range []string{"cache-control", "content-disposition", "content-encoding", "content-language", "content-type"} {
		if r.IntN(5) == 0 {
			d.headers[name] = of(drawnTexts)
		}
	}
	if r.IntN(6) == 0 {
		d.headers["expires"] = of(drawnDates)
	}
	for range r.IntN(4) {
		d.headers["x-amz-meta-"+of(drawnNames)] = of(drawnTexts)
	}
	if r.IntN(20) == 0 {
		d.headers["x-amz-meta-long"] = strings.Repeat("m", 1+r.IntN(2200))
	}
	if r.IntN(3) == 0 {
		for i := range r.IntN(12) {
			d.tags[fmt.Sprint("tag ", i)] = of([]string{"", "v", "a b+c=d", "ü", "a/b:c@d"})
		}
	}
	return d
}

// randomWriter writes through the gateway and counts results.
type randomWriter struct {
	gateway, direct *s3.Client

	kept func(name string) string // the store's name of user metadata

	tags, uploadTags, directories bool // what the store can do

	mu      sync.Mutex
	taken   map[string]map[string]int64 // sizes by bucket and key
	schemes map[scheme]int              // number of accepted writes
	refused map[string]int              // by code
}

// allowed returns the write without what the store itself gets wrong. Of sealed
// objects only tags are left out, if the store has none.
func (w *randomWriter) allowed(d drawn) drawn {
	if !w.tags || !w.uploadTags && d.parts != nil && !d.sealed() {
		d.tags = nil
	}
	if !w.directories && !d.sealed() {
		d.key = strings.TrimSuffix(d.key, "/")
	}
	return d
}

func (w *randomWriter) write(ctx context.Context, d drawn) error {
	err := w.send(ctx, w.gateway, d)
	w.mu.Lock()
	if err == nil {
		w.taken[d.bucket][d.key] = d.body.size
		w.schemes[d.scheme]++
	}
	w.mu.Unlock()
	if err == nil {
		return w.wantBack(ctx, d)
	}
	if !d.sealed() && statusOf(err) == http.StatusInternalServerError && statusOf(w.send(ctx, w.direct, d)) >= http.StatusBadRequest {
		return nil // the store takes no such plaintext directly either, as Swift with headers that are not UTF-8
	}
	return w.wantRefusal(err)
}

// wantRefusal returns the error of a write unless it is a clear refusal by the
// gateway.
func (w *randomWriter) wantRefusal(err error) error {
	var api smithy.APIError
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &api) || !errors.As(err, &answer) || answer.HTTPStatusCode()/100 != 4 || api.ErrorCode() == "UnknownError" || api.ErrorMessage() == "" {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused[api.ErrorCode()]++
	return nil
}

// withHeaders sets headers of a request before it is signed.
func withHeaders(all ...map[string]string) func(*s3.Options) {
	return func(o *s3.Options) {
		for _, headers := range all {
			for name, value := range headers {
				o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue(name, value))
			}
		}
	}
}

// customer returns the headers for the key that requests for an object need.
func (d drawn) customer() map[string]string {
	if d.scheme != sseC {
		return nil
	}
	algorithm, key, sum := customerHeaders()
	const prefix = "x-amz-server-side-encryption-customer-"
	return map[string]string{prefix + "algorithm": *algorithm, prefix + "key": *key, prefix + "key-md5": *sum}
}

// creation returns the headers of the request that creates the object.
func (d drawn) creation() map[string]string {
	h := maps.Clone(d.headers)
	maps.Copy(h, d.customer())
	switch d.scheme {
	case sseS3:
		h["x-amz-server-side-encryption"] = "AES256"
	case sseKMS:
		h["x-amz-server-side-encryption"] = "aws:kms"
	}
	tags := url.Values{}
	for k, v := range d.tags {
		tags.Set(k, v)
	}
	if len(tags) > 0 {
		h["x-amz-tagging"] = tags.Encode()
	}
	return h
}

func (*randomWriter) send(ctx context.Context, client *s3.Client, d drawn) error {
	if d.parts == nil {
		_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: &d.bucket, Key: &d.key, Body: d.body.reader()}, withHeaders(d.creation()))
		return err
	}
	create, err := client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &d.bucket, Key: &d.key}, withHeaders(d.creation()))
	if err != nil {
		return err
	}
	var listed []types.CompletedPart
	var offset int64
	for i, size := range d.parts {
		body := make([]byte, size)
		_, _ = d.body.ReadAt(body, offset)
		offset += size
		number := aws.Int32(int32(i + 1))
		part, err := client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &d.bucket, Key: &d.key, UploadId: create.UploadId, PartNumber: number, Body: bytes.NewReader(body),
		}, withHeaders(d.customer()))
		if err != nil {
			return err
		}
		listed = append(listed, types.CompletedPart{PartNumber: number, ETag: part.ETag, ChecksumCRC32: part.ChecksumCRC32})
	}
	_, err = client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &d.bucket, Key: &d.key, UploadId: create.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: listed},
	}, withHeaders(d.customer()))
	return err
}

// wantBack reads what was written. For objects that are not sealed, the gateway
// must show exactly what the store made of them.
func (w *randomWriter) wantBack(ctx context.Context, d drawn) error {
	v := &verifier{want: d.body}
	if err := (sdkClient{w.gateway, ""}).get(ctx, d.bucket, d.key, d.scheme, v); err != nil {
		return fmt.Errorf("GET: %w after %d bytes", err, v.off)
	}
	if v.off != d.body.size {
		return fmt.Errorf("GET ended after %d bytes", v.off)
	}
	got, tags, err := w.head(ctx, w.gateway, d)
	if err != nil {
		return err
	}
	want, wantTags := d.headers, d.tags
	if !d.sealed() {
		stored, storedTags, err := w.head(ctx, w.direct, d)
		if err != nil {
			return fmt.Errorf("at the store: %w", err)
		}
		want, wantTags = map[string]string{}, storedTags
		for name := range d.headers {
			want[name] = stored.Get(name)
		}
	}
	for name, value := range want {
		if name == "content-type" && d.body.size == 0 && strings.HasSuffix(d.key, "/") {
			continue // the store decides the type of a directory
		}
		if d.sealed() && strings.HasPrefix(name, "x-amz-meta-") {
			name = w.kept(name)
		}
		if value = strings.TrimSpace(value); value != "" && decoded(got.Get(name)) != decoded(value) && !sameDate(name, got.Get(name), value) {
			return fmt.Errorf("%s came back as %q, want %q", name, got.Get(name), value)
		}
	}
	if !maps.Equal(tags, wantTags) {
		return fmt.Errorf("tags came back as %q, want %q", tags, wantTags)
	}
	return nil
}

// sameDate reports whether an Expires came back as the same time in the form of
// RFC 9110.
func sameDate(name, got, sent string) bool {
	return name == "expires" && sent == "2044-12-01T16:00:00Z" && got == "Thu, 01 Dec 2044 16:00:00 GMT"
}

// head returns the headers and tags of an object.
func (w *randomWriter) head(ctx context.Context, client *s3.Client, d drawn) (http.Header, map[string]string, error) {
	head, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &d.bucket, Key: &d.key}, withHeaders(d.customer()))
	if err != nil {
		return nil, nil, err
	}
	answer, ok := awsmiddleware.GetRawResponse(head.ResultMetadata).(*smithyhttp.Response)
	if !ok {
		return nil, nil, errors.New("HEAD without an answer")
	}
	if !w.tags {
		return answer.Header, d.tags, nil
	}
	set, err := client.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &d.bucket, Key: &d.key})
	if err != nil {
		return nil, nil, err
	}
	tags := map[string]string{}
	for _, tag := range set.TagSet {
		tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return answer.Header, tags, nil
}

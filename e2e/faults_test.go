package e2e

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/iotest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"golang.org/x/sync/errgroup"

	"ssegw/e2e/stack"
)

// The two buckets of the fault tests: one under a rule, one without.
var sealedBucket, plainBucket = bucketName("sealed"), bucketName("plain")

// faultGateway starts a gateway that reaches the store through endpoint, and
// makes the two buckets.
func (r *rig) faultGateway(t *testing.T, endpoint string, env map[string]string) *stack.Gateway {
	t.Helper()
	g := must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{
		KES: []*stack.KES{r.kes}, Upstream: r.store, UpstreamEndpoint: endpoint, Env: env,
	}))(t)
	makeFaultBuckets(t, g)
	return g
}

func makeFaultBuckets(t *testing.T, g *stack.Gateway) {
	t.Helper()
	client := sdkOf(t, g)
	makeBucket(t, client, sealedBucket)
	makeBucket(t, client, plainBucket)
	setRule(t, client, sealedBucket, g.KeyName)
}

func setRule(t *testing.T, client *s3.Client, bucket, key string) {
	t.Helper()
	if _, err := client.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{
		Bucket: &bucket, ServerSideEncryptionConfiguration: rule(key),
	}); err != nil {
		t.Fatal(err)
	}
}

// bytesOf returns all bytes of a content.
func bytesOf(t *testing.T, c content) []byte {
	t.Helper()
	return must(io.ReadAll(c.reader()))(t)
}

// broken is an upload that must fail half-way. An older object may exist under
// its key.
type broken struct {
	name     string
	upload   upload
	at       func(length int64) int64 // number of bytes of the encoded body that arrive; nil means all, with the answer lost
	inOrder  bool                     // the connection is closed instead of reset
	old      []byte                   // the older object; nil if there is none
	complete bool                     // the whole body arrives, so the new object may exist
}

// A point is a place where an upload breaks.
type point struct {
	name     string
	at       func(length int64) int64
	complete bool // the whole encoded body arrives
	framing  bool // only the end of an aws-chunked body is missing, not a byte of the object
}

// points go from 200 bytes before the end to the end itself. 200 bytes are more
// than the framing after the last byte of data.
var points = []point{
	{"early", func(int64) int64 { return 1000 }, false, false},
	{"middle", func(n int64) int64 { return n / 2 }, false, false},
	{"last-data", func(n int64) int64 { return n - 200 }, false, false},
	{"last-10-bytes", func(n int64) int64 { return n - 10 }, false, true},
	{"last-byte", func(n int64) int64 { return n - 1 }, false, true},
	{"before-answer", func(n int64) int64 { return n }, true, false},
	{"answer-lost", nil, true, false},
}

// brokenUploads lists all combinations of bucket, framing and point, each once
// with an older object and once without. One of the two connections is closed
// in order, the other reset. Only two framings are combined with a larger size.
// mayEnd reports whether the new object may exist if only the end of the
// framing is missing.
func brokenUploads(t *testing.T, prefix string, mayEnd func(bucket string, f framing) bool) []broken {
	t.Helper()
	old := bytesOf(t, content{seed: 100, size: 1234})
	small, large := bytesOf(t, content{seed: 101, size: 3 * mib}), bytesOf(t, content{seed: 102, size: 20 * mib})
	var out []broken
	for _, bucket := range []string{sealedBucket, plainBucket} {
		for i, f := range framings {
			for j, p := range points {
				b := broken{at: p.at, complete: p.complete || p.framing && mayEnd(bucket, f)}
				add := func(body, old []byte, inOrder bool) {
					b.upload = upload{bucket: bucket, framing: f, body: body}
					b.upload.key = fmt.Sprintf("%s/%s/%d/%s/over-%d", prefix, f, len(body), p.name, len(old))
					b.old, b.inOrder, b.name = old, inOrder, bucket+"/"+b.upload.key
					out = append(out, b)
				}
				add(small, nil, (i+j)%2 == 0)
				add(small, old, (i+j)%2 != 0)
				if f == unsigned || f == signedChunks {
					add(large, old, j%2 == 0)
				}
			}
		}
	}
	return out
}

// putOld stores the older objects.
func putOld(t *testing.T, g *stack.Gateway, cases []broken) {
	t.Helper()
	each(t, cases, func(b broken) error {
		if b.old == nil {
			return nil
		}
		head, body := upload{bucket: b.upload.bucket, key: b.upload.key, framing: withMD5, body: b.old}.encode(t, g)
		var a answer
		var err error
		for range 10 { // on a busy machine the gateway may have to answer 503
			if a, err = send(g, head, body); err == nil && a.status == http.StatusOK {
				return nil
			}
		}
		return fmt.Errorf("the old object: %d %s, %w", a.status, a.code, err)
	})
}

// each runs f for all cases, a few at a time, and reports failures.
func each(t *testing.T, cases []broken, f func(b broken) error) {
	t.Helper()
	var group errgroup.Group
	group.SetLimit(4)
	for _, b := range cases {
		group.Go(func() error {
			if err := f(b); err != nil {
				t.Errorf("%s: %v", b.name, err)
			}
			return nil
		})
	}
	_ = group.Wait() // does not fail
}

// settle waits until no request is in progress, by stopping the servers. Then
// it starts them again.
func (r *rig) settle(t *testing.T, g *stack.Gateway) {
	t.Helper()
	if g.Running() {
		if err := g.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.store.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// States that a failed upload may or must not leave.
const (
	stateAsBefore = "as before"
	stateNew      = "the new object"
	stateBad      = "neither the old state nor the new object"
)

// stateOf examines what an upload left, through the gateway. The error
// describes a stateBad.
func stateOf(t *testing.T, client *s3.Client, b broken) (string, error) {
	out, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &b.upload.bucket, Key: &b.upload.key})
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "NoSuchKey" {
		if b.old == nil {
			return stateAsBefore, nil
		}
		return stateBad, errors.New("the old object is gone")
	}
	if err != nil {
		return stateBad, fmt.Errorf("GET: %w", err)
	}
	defer out.Body.Close()
	h := sha256.New()
	n, err := io.Copy(h, out.Body)
	sum := [sha256.Size]byte(h.Sum(nil))
	switch {
	case err != nil:
		return stateBad, fmt.Errorf("GET: %w after %d bytes", err, n)
	case b.old != nil && sum == sha256.Sum256(b.old):
		return stateAsBefore, nil
	case sum == sha256.Sum256(b.upload.body):
		return stateNew, nil
	}
	return stateBad, fmt.Errorf("GET: %d bytes, the new object has %d", n, len(b.upload.body))
}

// wantStates checks what all uploads left.
func wantStates(t *testing.T, client *s3.Client, cases []broken) {
	t.Helper()
	seen := make(map[string]int)
	for _, b := range cases {
		state, err := stateOf(t, client, b)
		seen[state]++
		if state == stateBad || state == stateNew && !b.complete {
			t.Errorf("%s: the store holds %s: %v", b.name, state, err)
		}
	}
	t.Logf("%d uploads: %v", len(cases), seen)
}

// wantNoStrays checks that no listing of the store shows objects that no upload
// made, such as temporary objects or objects under other names.
func wantNoStrays(t *testing.T, direct *s3.Client, cases []broken) {
	t.Helper()
	known := make(map[string]bool)
	for _, b := range cases {
		known[b.upload.bucket+"/"+b.upload.key] = true
	}
	for _, bucket := range []string{sealedBucket, plainBucket} {
		for key := range listSizes(t, direct, bucket) {
			if !known[bucket+"/"+key] {
				t.Errorf("the store shows %s/%s", bucket, key)
			}
		}
	}
}

// TestBrokenUploads breaks uploads on either side of the gateway. No object may
// appear, and an older one must stay. If the whole body has arrived, the new
// object may exist, but only whole.
func TestBrokenUploads(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		breaker := must(r.stack.StartBreaker(r.store.Endpoint))(t)
		g := r.faultGateway(t, breaker.Endpoint, nil)
		groups := []struct {
			name  string
			cases []broken
			run   func(b broken) error
		}{
			{"store", brokenUploads(t, "store", endIsForm(factsOf(t, g)["framing"])), func(b broken) error { return breakUpstream(t, breaker, g, b) }},
			{"client", brokenUploads(t, "client", never), func(b broken) error { return leave(t, g, b) }},
			{"library", failingReaders(t), func(b broken) error { return failReader(t, newMinioClient(t, g), b) }},
		}
		var all []broken
		for _, group := range groups {
			putOld(t, g, group.cases)
			each(t, group.cases, group.run)
			all = append(all, group.cases...)
		}
		r.settle(t, g)
		for _, group := range groups {
			t.Run(group.name, func(t *testing.T) { wantStates(t, sdkOf(t, g), group.cases) })
		}
		wantNoStrays(t, r.direct(t), all)
	})
}

// endIsForm returns which uploads go to the store in signed chunks, where the
// gateway chose that framing for sealed objects. Stores accept such a body as
// complete after its last data chunk, even if the final, empty chunk is missing.
func endIsForm(chosen string) func(bucket string, f framing) bool {
	return func(bucket string, f framing) bool {
		switch {
		case chosen == "plain" || bucket == plainBucket && (f == withMD5 || f == withChecksum):
			return false // the store gets the plain body
		case chosen == "signed":
			return true
		}
		return bucket == plainBucket && (f == unsigned || f == hashed || f == signedChunks)
	}
}

func never(string, framing) bool { return false }

// breakUpstream makes an upload whose connection to the store breaks.
func breakUpstream(t *testing.T, breaker *stack.Breaker, g *stack.Gateway, b broken) error {
	prefix := "/" + b.upload.bucket + "/" + b.upload.key
	breaker.Arm(stack.Break{Prefix: prefix, At: b.at, Answer: b.at == nil, Close: b.inOrder})
	head, body := b.upload.encode(t, g)
	for range 10 { // on a busy machine the gateway may refuse an upload before the store sees it
		a, err := send(g, head, body)
		if err != nil {
			return fmt.Errorf("the client gets no answer: %w", err)
		}
		if a.status != http.StatusServiceUnavailable || a.code != "ServiceUnavailable" {
			return fmt.Errorf("the client gets %d %s", a.status, a.code)
		}
		if !breaker.Armed(prefix) {
			return nil
		}
	}
	return errors.New("the upload never came to the store")
}

// leave makes an upload whose client disconnects.
func leave(t *testing.T, g *stack.Gateway, b broken) error {
	head, body := b.upload.encode(t, g)
	n := int64(len(body))
	if b.at != nil {
		n = b.at(n)
	}
	return abandon(g, head, body, int(n), b.inOrder)
}

// failingReaders returns uploads by a library whose reader fails, as happens in
// applications.
func failingReaders(t *testing.T) []broken {
	t.Helper()
	old := bytesOf(t, content{seed: 103, size: 1000})
	body := bytesOf(t, content{seed: 104, size: 3 * mib})
	var cases []broken
	for _, bucket := range []string{sealedBucket, plainBucket} {
		for _, part := range []int64{1000, 2 * mib, 3*mib - 10} {
			key := fmt.Sprint("library/", part)
			cases = append(cases, broken{
				name: bucket + "/" + key, old: old, at: func(int64) int64 { return part },
				upload: upload{bucket: bucket, key: key, body: body},
			})
		}
	}
	return cases
}

func failReader(t *testing.T, client minioClient, b broken) error {
	size := int64(len(b.upload.body))
	failing := io.MultiReader(bytes.NewReader(b.upload.body[:b.at(size)]), iotest.ErrReader(errors.New("the disk is gone")))
	if err := client.putReader(t.Context(), b.upload.bucket, b.upload.key, failing, size); err == nil {
		return errors.New("the library reports success")
	}
	return nil
}

// TestStoreRestarts checks that no request fails because the store has closed
// idle connections.
func TestStoreRestarts(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		g := r.faultGateway(t, "", nil)
		client := sdkOf(t, g)
		body := content{seed: 105, size: 100_000}
		put := func(key string) error {
			_, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(sealedBucket), Key: &key, Body: body.reader()})
			return err
		}
		for i := range 3 {
			if err := put(fmt.Sprint("before/", i)); err != nil {
				t.Fatal(err)
			}
			if err := r.store.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, client, sealedBucket, fmt.Sprint("before/", i)); !bytes.Equal(got, bytesOf(t, body)) {
				t.Errorf("round %d: %d other bytes", i, len(got))
			}
			if err := put(fmt.Sprint("after/", i)); err != nil {
				t.Error(err)
			}
		}
	})
}

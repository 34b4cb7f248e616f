package e2e

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"ssegw/e2e/stack"
)

// maxTransferRSS limits the memory, in bytes, of a gateway with eight transfers
// of 1 GiB at a time in each direction.
const maxTransferRSS = 150 * mib

// TestMemory uploads 1 GiB eight times in parallel and then downloads it eight
// times in parallel. The uploads end in a sink, so that the test does not
// measure the disk.
func TestMemory(t *testing.T) {
	t.Parallel()
	long(t)
	if runtime.GOOS != "linux" {
		skip(t, "the memory of a process is read from /proc")
	}
	const transfers = 8
	r := newRig(t)
	sink := newSink(t, r.store)
	g := r.faultGateway(t, sink.url, nil)
	client := sdkOf(t, g)
	body := content{seed: 170, size: gib}
	if err := (sdkClient{client, g.KeyName}).put(t.Context(), sealedBucket, "stored", sseKMS, body); err != nil {
		t.Fatal(err)
	}
	rounds := []struct {
		name string
		one  func(ctx context.Context, i int) error
	}{
		{"up", func(ctx context.Context, i int) error { return putPattern(ctx, g, fmt.Sprint("sink/", i), gib) }},
		{"down", func(ctx context.Context, i int) error { return getGiB(ctx, client, "stored", body, i == 0) }},
	}
	for _, round := range rounds {
		if err := g.ResetPeak(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		work, ctx := errgroup.WithContext(t.Context())
		for i := range transfers {
			work.Go(func() error { return round.one(ctx, i) })
		}
		if err := work.Wait(); err != nil {
			t.Fatalf("%s: %v", round.name, err)
		}
		u := must(g.Usage())(t)
		t.Logf("%d x 1 GiB %s in %v: at most %d MiB resident", transfers, round.name, time.Since(start).Round(time.Millisecond), u.PeakRSS/mib)
		if u.PeakRSS > maxTransferRSS {
			t.Errorf("%s: %d MiB resident, want at most %d", round.name, u.PeakRSS/mib, maxTransferRSS/mib)
		}
	}
	if got, want := sink.uploads.Load(), int64(transfers); got != want {
		t.Errorf("%d uploads came to the sink, want %d", got, want)
	}
	if got, least := sink.bytes.Load(), transfers*gib; got < least {
		t.Errorf("%d bytes came to the sink, want at least %d", got, least)
	}
}

// sink is a store that discards uploads below sink/ of the sealed bucket. It
// forwards all other requests to a real store.
type sink struct {
	url            string
	uploads, bytes atomic.Int64
}

func newSink(t *testing.T, store *stack.Store) *sink {
	t.Helper()
	target := must(url.Parse(store.Endpoint))(t)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.URL.RawQuery = target.Scheme, target.Host, p.In.URL.RawQuery
			p.Out.Host = p.In.Host // the signature covers it
		},
		BufferPool: &buffers{sync.Pool{New: func() any { return new([256 << 10]byte) }}},
		ErrorLog:   log.New(io.Discard, "", 0),
	}
	s := &sink{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodPut || !strings.HasPrefix(req.URL.Path, "/"+sealedBucket+"/sink/") {
			proxy.ServeHTTP(w, req)
			return
		}
		buf := proxy.BufferPool.Get()
		defer proxy.BufferPool.Put(buf)
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, req.Body, buf)
		if err != nil || n != req.ContentLength {
			panic(http.ErrAbortHandler)
		}
		s.uploads.Add(1)
		s.bytes.Add(n)
		w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// buffers is a pool for httputil.
type buffers struct{ sync.Pool }

func (b *buffers) Get() []byte  { return b.Pool.Get().(*[256 << 10]byte)[:] }
func (b *buffers) Put(p []byte) { b.Pool.Put((*[256 << 10]byte)(p)) }

// pattern is an endless stream that is cheap to make.
type pattern struct{}

func (pattern) Read(p []byte) (int, error) { return len(p), nil }

// putPattern puts size bytes that are cheap for the client to make.
func putPattern(ctx context.Context, g *stack.Gateway, key string, size int64) error {
	return putUnsigned(ctx, g, key, io.LimitReader(pattern{}, size), size)
}

// putUnsigned puts size bytes in one request that the client need not hash.
func putUnsigned(ctx context.Context, g *stack.Gateway, key string, body io.Reader, size int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, g.Endpoint+"/"+sealedBucket+"/"+key, body)
	if err != nil {
		return err
	}
	req.ContentLength = size
	const payload = "UNSIGNED-PAYLOAD"
	req.Header.Set("X-Amz-Content-Sha256", payload)
	creds := aws.Credentials{AccessKeyID: g.AccessKey, SecretAccessKey: g.SecretKey}
	if err := v4.NewSigner().SignHTTP(ctx, creds, req, payload, "s3", stack.Region, time.Now()); err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		doc, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("%s: %s", resp.Status, doc)
	}
	return nil
}

// getGiB reads an object to its end. One of the readers compares every byte.
func getGiB(ctx context.Context, client *s3.Client, key string, body content, compare bool) error {
	if compare {
		v := &verifier{want: body}
		if err := (sdkClient{client, ""}).get(ctx, sealedBucket, key, sseKMS, v); err != nil {
			return err
		}
		return v.complete()
	}
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(sealedBucket), Key: &key})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, out.Body, make([]byte, 256<<10))
	if err == nil && n != body.size {
		err = fmt.Errorf("%d of %d bytes", n, body.size)
	}
	return err
}

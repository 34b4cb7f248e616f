package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
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

const (
	inFlight     = 50 // transfers that a restart must not cut
	transferSize = 8 << 20
	probers      = 4                     // clients that read without a break
	probePause   = 20 * time.Millisecond // pause of each, so that there are ports for all their connections
	wantProbes   = 400                   // at least that many requests during the restarts
	maxRestarts  = 200                   // by then that many requests must have succeeded
)

// TestRestart restarts the gateway with mc while uploads and downloads are
// half-way and other requests keep arriving, each on its own connection. Every
// transfer finishes, and no request is refused.
func TestRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	gw := r.gateway(t, false)
	client := sdkOf(t, gw)
	mc := must(r.stack.NewMC(t.Context()))(t)
	if err := mc.Alias(t.Context(), "gw", gw.Endpoint, gw.AccessKey, gw.SecretKey); err != nil {
		t.Fatal(err)
	}
	const bucket = "restart"
	makeBucket(t, client, bucket)
	if _, err := client.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{
		Bucket: aws.String(bucket), ServerSideEncryptionConfiguration: rule(gw.KeyName),
	}); err != nil {
		t.Fatal(err)
	}
	body := content{seed: 1, size: transferSize}
	put(t, client, bucket, "source", body)
	put(t, client, bucket, "small", content{seed: 2, size: 1000})

	gate := make(chan struct{})
	var began sync.WaitGroup
	began.Add(inFlight)
	var transfers errgroup.Group
	for i := range inFlight {
		transfers.Go(func() error {
			if i%2 == 0 {
				return slowUpload(t.Context(), client, bucket, fmt.Sprintf("up-%d", i), body, began.Done, gate)
			}
			return slowDownload(t.Context(), client, bucket, "source", body, began.Done, gate)
		})
	}
	began.Wait()

	stop := make(chan struct{})
	var probes errgroup.Group
	var sent atomic.Int64
	probes.Go(func() error { return probeAll(t.Context(), gw, bucket, stop, &sent) })
	restarts := 0
	for ; restarts < 3 || sent.Load() < wantProbes && restarts < maxRestarts; restarts++ {
		if out, err := mc.Run(t.Context(), "--json", "admin", "service", "restart", "--wait", "gw"); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
	close(stop)
	if err := probes.Wait(); err != nil {
		t.Errorf("of %d requests during the restarts: %v", sent.Load(), err)
	}
	close(gate)
	if err := transfers.Wait(); err != nil {
		t.Error(err)
	}
	for i := 0; i < inFlight; i += 2 {
		if got := readAll(t, client, bucket, fmt.Sprintf("up-%d", i)); !bytes.Equal(got, must(io.ReadAll(body.reader()))(t)) {
			t.Errorf("upload %d holds %d other bytes", i, len(got))
		}
	}
	t.Logf("%d restarts, %d requests meanwhile, %d transfers in flight", restarts, sent.Load(), inFlight)
}

func put(t *testing.T, client *s3.Client, bucket, key string, c content) {
	t.Helper()
	if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: c.reader()}); err != nil {
		t.Fatal(err)
	}
}

// gated lets half of a stream pass, and the rest once gate is closed.
type gated struct {
	io.ReadSeeker
	size, off int64
	half      func() // called once, half-way
	gate      <-chan struct{}
	once      sync.Once
}

func (g *gated) Read(p []byte) (int, error) {
	if g.off >= g.size/2 {
		g.once.Do(g.half)
		<-g.gate
	} else {
		p = p[:min(int64(len(p)), g.size/2-g.off)]
	}
	n, err := g.ReadSeeker.Read(p)
	g.off += int64(n)
	return n, err
}

func slowUpload(ctx context.Context, client *s3.Client, bucket, key string, c content, half func(), gate <-chan struct{}) error {
	_, err := client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &bucket, Key: &key, ContentLength: aws.Int64(c.size),
		Body: &gated{ReadSeeker: c.reader(), size: c.size, half: half, gate: gate},
	}, s3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware))
	if err != nil {
		return fmt.Errorf("upload %s: %w", key, err)
	}
	return nil
}

func slowDownload(ctx context.Context, client *s3.Client, bucket, key string, c content, half func(), gate <-chan struct{}) error {
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		half()
		return fmt.Errorf("download: %w", err)
	}
	defer out.Body.Close()
	v := &verifier{want: c}
	if _, err = io.CopyN(v, out.Body, c.size/2); err == nil {
		half()
		<-gate
		_, err = io.Copy(v, out.Body)
	}
	if err == nil {
		err = v.complete()
	}
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	return nil
}

// probeAll reads a small object again and again, each time over a new
// connection, until stop is closed. It returns the error of the first request
// that fails.
func probeAll(ctx context.Context, gw *stack.Gateway, bucket string, stop <-chan struct{}, sent *atomic.Int64) error {
	client := s3.New(stack.SDKOptions(gw.Endpoint, gw.AccessKey, gw.SecretKey), func(o *s3.Options) {
		o.RetryMaxAttempts = 1
		o.HTTPClient = &http.Client{Timeout: giveUp, Transport: &http.Transport{DisableKeepAlives: true}}
	})
	var workers errgroup.Group
	for range probers {
		workers.Go(func() error {
			for {
				select {
				case <-stop:
					return nil
				case <-time.After(probePause):
				}
				sent.Add(1)
				out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("small")})
				if err != nil {
					return err
				}
				_, err = io.Copy(io.Discard, out.Body)
				if out.Body.Close(); err != nil {
					return err
				}
			}
		})
	}
	return workers.Wait()
}

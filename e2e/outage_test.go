package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"ssegw/e2e/stack"
)

// putBody puts a content without any options.
func putBody(ctx context.Context, client *s3.Client, bucket, key string, body content) error {
	_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: body.reader()})
	return err
}

// health returns the status of a gateway's health path.
func health(t *testing.T, endpoint, probe string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), giveUp)
	defer cancel()
	req := must(http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/minio/health/"+probe, nil))(t)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// outageTimeout is how long gateways wait for a KES that hangs on purpose. It
// is long enough for a healthy KES on any machine.
const outageTimeout = "5s"

// wantUnavailable checks that f fails with 503.
func wantUnavailable(t *testing.T, what string, f func() error) {
	t.Helper()
	if err := f(); statusOf(err) != http.StatusServiceUnavailable {
		t.Errorf("%s: %v, want 503", what, err)
	}
}

// TestKESDown stops KES, and also makes it hang with its connections open.
// Writes under a rule fail at once and store nothing. Operations that need no
// key continue. When KES is back, everything works again.
func TestKESDown(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		g := r.faultGateway(t, "", map[string]string{"SSEGW_KMS_TIMEOUT": outageTimeout})
		client, direct := sdkOf(t, g), r.direct(t)
		body := content{seed: 130, size: 100_000}
		for _, bucket := range []string{sealedBucket, plainBucket} {
			if err := putBody(t.Context(), client, bucket, "before", body); err != nil {
				t.Fatal(err)
			}
		}
		before := keys(listSizes(t, direct, sealedBucket))
		outages := []struct {
			name     string
			from, to func() error
		}{
			{"stopped", func() error { return r.kes.Stop(t.Context()) }, func() error { return r.kes.Start(t.Context()) }},
			{"hung", r.kes.Pause, r.kes.Continue},
		}
		for _, outage := range outages {
			t.Run(outage.name, func(t *testing.T) {
				if err := outage.from(); err != nil {
					t.Fatal(err)
				}
				wantWithoutKES(t, client, body)
				late := must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{Like: g, WaitFor: stack.WaitLive}))(t)
				wantNotReady(t, late)
				if got := keys(listSizes(t, direct, sealedBucket)); !slices.Equal(got, before) {
					t.Errorf("the store holds %q, before %q", got, before)
				}
				if err := outage.to(); err != nil {
					t.Fatal(err)
				}
				for _, gw := range []*stack.Gateway{g, late} {
					eventually(t, gw.Name()+" is ready", func() error {
						if status := health(t, gw.Endpoint, "ready"); status != http.StatusOK {
							return fmt.Errorf("ready: %d", status)
						}
						return nil
					})
					key := "after"
					if err := putBody(t.Context(), sdkOf(t, gw), sealedBucket, key, body); err != nil {
						t.Error("after the outage:", err)
					}
					wantRead(t, sdkOf(t, gw), sealedBucket, key, body, readable)
					wantRead(t, sdkOf(t, gw), sealedBucket, "before", body, readable)
				}
				before = keys(listSizes(t, direct, sealedBucket))
				if err := late.Stop(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

// wantWithoutKES checks a running gateway while no KES answers.
func wantWithoutKES(t *testing.T, client *s3.Client, body content) {
	t.Helper()
	ctx := t.Context()
	for _, size := range []int64{0, 10, 5 * mib} {
		wantUnavailable(t, fmt.Sprintf("PUT of %d bytes under a rule", size), func() error {
			return putBody(ctx, client, sealedBucket, fmt.Sprint("during/", size), content{seed: 131, size: size})
		})
	}
	wantUnavailable(t, "PUT over an old object", func() error { return putBody(ctx, client, sealedBucket, "before", content{seed: 132, size: 10}) })
	wantUnavailable(t, "PUT that asks for SSE-S3", func() error {
		return sdkClient{client, ""}.put(ctx, plainBucket, "during", sseS3, body)
	})
	head, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(sealedBucket), Key: aws.String("before")})
	if err != nil || aws.ToInt64(head.ContentLength) != body.size {
		t.Errorf("HEAD: %v", err)
	}
	if sizes := listSizes(t, client, sealedBucket); sizes["before"] != body.size {
		t.Errorf("LIST: %v", sizes)
	}
	if err := putBody(ctx, client, plainBucket, "before", body); err != nil {
		t.Errorf("PUT without a rule: %v", err)
	}
	wantRead(t, client, plainBucket, "before", body, readable)
}

// wantNotReady checks a gateway that was started without KES.
func wantNotReady(t *testing.T, g *stack.Gateway) {
	t.Helper()
	if live, ready := health(t, g.Endpoint, "live"), health(t, g.Endpoint, "ready"); live != http.StatusOK || ready != http.StatusServiceUnavailable {
		t.Errorf("started without KES: live %d, ready %d", live, ready)
	}
	for _, bucket := range []string{sealedBucket, plainBucket} {
		wantUnavailable(t, "PUT to a gateway that starts", func() error {
			return putBody(t.Context(), sdkOf(t, g), bucket, "early", content{seed: 133, size: 10})
		})
	}
	eventually(t, "the gateway's log to say why it is not ready", func() error {
		if !strings.Contains(g.LogTail(100_000), "waiting to open the state") {
			return errors.New(g.LogTail(1000))
		}
		return nil
	})
	if !g.Running() {
		t.Error("the gateway has ended")
	}
}

// TestOneKESDies kills one of two KES servers, then the other, and hangs each,
// while clients write and read. No request fails.
func TestOneKESDies(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	second := must(r.stack.StartKES(t.Context(), stack.KESOptions{SharedWith: r.kes, Pausable: true}))(t)
	g := must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{KES: []*stack.KES{r.kes, second}, Upstream: r.store, Env: map[string]string{"SSEGW_KMS_TIMEOUT": outageTimeout}}))(t)
	makeFaultBuckets(t, g)

	var done atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var load errgroup.Group
	for worker := range 4 {
		client := sdkOf(t, g)
		load.Go(func() error {
			body := content{seed: uint64(140 + worker), size: 3000}
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("%d/%d", worker, i%10)
				if err := putThenGet(t.Context(), client, key, body); err != nil {
					return fmt.Errorf("request %d: %w", done.Load(), err)
				}
				done.Add(1)
			}
			return nil
		})
	}
	more := func(what string) {
		goal := done.Load() + 40
		eventually(t, what, func() error {
			if n := done.Load(); n < goal {
				return fmt.Errorf("%d of %d requests", n, goal)
			}
			return nil
		})
	}
	more("requests pass")
	for _, k := range []*stack.KES{r.kes, second} {
		for name, fault := range map[string][2]func() error{
			"killed": {k.Kill, func() error { return k.Start(t.Context()) }},
			"hung":   {k.Pause, func() error { return errorsOf(k.Continue(), k.WaitReady(t.Context())) }},
		} {
			if err := fault[0](); err != nil {
				t.Fatal(err)
			}
			more(k.Name() + " " + name)
			if err := fault[1](); err != nil {
				t.Fatal(err)
			}
			more(k.Name() + " is back")
		}
	}
	stop()
	if err := load.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%d times PUT and GET", done.Load())
}

// errorsOf returns the first error.
func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func putThenGet(ctx context.Context, client *s3.Client, key string, body content) error {
	if err := putBody(ctx, client, sealedBucket, key, body); err != nil {
		return err
	}
	v := &verifier{want: body}
	if err := (sdkClient{client, ""}).get(ctx, sealedBucket, key, sseKMS, v); err != nil {
		return err
	}
	return v.complete()
}

// TestDefaultKeyChanges restarts the gateway under another default key. Old
// objects stay readable as long as their own key exists, even after the root
// has moved to the new key. A root whose key is gone stops the start.
func TestDefaultKeyChanges(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		g := r.faultGateway(t, "", nil)
		client := sdkOf(t, g)
		body := content{seed: 150, size: 100_000}
		mustPut := func(key string) {
			t.Helper()
			if err := (sdkClient{client, ""}).put(t.Context(), sealedBucket, key, sseS3, body); err != nil {
				t.Fatal(err)
			}
		}
		restart := func(key string) {
			t.Helper()
			g.Env["MINIO_KMS_KES_KEY_NAME"] = key
			if err := g.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		mustPut("first")
		for _, key := range []string{"second-key", g.KeyName, "third-key"} {
			restart(key)
			mustPut("under-" + key)
			for name := range listSizes(t, client, sealedBucket) {
				wantRead(t, client, sealedBucket, name, body, readable)
			}
		}
		forget := func(key string) {
			t.Helper()
			if err := r.kes.DeleteKey(key); err != nil {
				t.Fatal(err)
			}
			if err := r.kes.Restart(t.Context()); err != nil { // KES caches keys
				t.Fatal(err)
			}
		}
		forget("second-key") // the root is no longer sealed under it
		restart("third-key")
		wantRead(t, client, sealedBucket, "first", body, readable)
		wantRead(t, client, sealedBucket, "under-second-key", body, "KMS.NotFoundException")
		wantHead(t, client, sealedBucket, "under-second-key", readable)

		forget("third-key")
		wantNoStart(t, r, g, `"third-key"`)
		g.Env["MINIO_KMS_KES_KEY_NAME"] = "fourth-key"
		wantNoStart(t, r, g, `"third-key"`)
		if root := load(t, r.direct(t), g.Env["SSEGW_STATE"], "root"); !bytes.Contains(root.body, []byte("third-key")) {
			t.Error("the root was replaced")
		}
	})
}

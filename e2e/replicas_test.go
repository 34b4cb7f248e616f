package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"ssegw/e2e/stack"
)

// Limits of the time after which a rule that one gateway accepted is in force
// on another.
const (
	rulesPlain = time.Second     // if the result would be plaintext
	rulesOther = 5 * time.Second // otherwise
)

// TestRuleReachesReplica changes rules through one gateway and writes and reads
// through another, which has cached the earlier rules.
func TestRuleReachesReplica(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		one := r.faultGateway(t, "", nil)
		two := must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{Like: one}))(t)
		client, other := sdkOf(t, one), sdkOf(t, two)
		for i, step := range []struct {
			change func(bucket string) error
			bound  time.Duration
			want   types.ServerSideEncryption
		}{
			{func(bucket string) error { return putRule(t, client, bucket, "") }, rulesPlain, types.ServerSideEncryptionAes256},
			{func(bucket string) error { return putRule(t, client, bucket, one.KeyName) }, rulesOther, types.ServerSideEncryptionAwsKms},
			{func(bucket string) error { return deleteRule(t, client, bucket) }, rulesOther, ""},
			{func(bucket string) error { return putRule(t, client, bucket, one.KeyName) }, rulesPlain, types.ServerSideEncryptionAwsKms},
		} {
			old := schemeOfPut(t, other, plainBucket)
			if old == step.want {
				t.Fatalf("step %d: the scheme is %q already", i, old)
			}
			if err := step.change(plainBucket); err != nil {
				t.Fatal(err)
			}
			changed := time.Now()
			if got := schemeOfPut(t, client, plainBucket); got != step.want {
				t.Errorf("step %d: the gateway that took the rule seals with %q", i, got)
			}
			wantSchemeWithin(t, other, plainBucket, step.want, changed, step.bound)
		}
		planted := stored{body: []byte("plain"), contentType: "text/plain"}
		empty := bucketName("empty")
		makeBucket(t, client, empty)
		if got := listSizes(t, other, empty); len(got) != 0 {
			t.Errorf("LIST: %v", got)
		}
		setRule(t, client, empty, one.KeyName)
		set := time.Now()
		planted.save(t, r.direct(t), empty, "planted")
		eventually(t, "plaintext is refused in a sealed-only bucket", func() error {
			start := time.Now()
			_, err := other.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &empty, Key: aws.String("planted")})
			if statusOf(err) == http.StatusForbidden {
				return nil
			}
			if late := start.Sub(set); late > rulesPlain {
				t.Fatalf("plaintext is shown %v after the rule: %v", late, err)
			}
			return fmt.Errorf("HEAD: %w", err)
		})
	})
}

// wantSchemeWithin writes until the scheme is the wanted one. A write that
// began later than bound after the change must have the wanted scheme.
func wantSchemeWithin(t *testing.T, client *s3.Client, bucket string, want types.ServerSideEncryption, changed time.Time, bound time.Duration) {
	t.Helper()
	eventually(t, fmt.Sprintf("the scheme %q", want), func() error {
		start := time.Now()
		got := schemeOfPut(t, client, bucket)
		if late := start.Sub(changed); got != want && late > bound {
			t.Fatalf("scheme %q %v after the change to %q", got, late, want)
		}
		if got != want {
			return fmt.Errorf("scheme %q", got)
		}
		return nil
	})
	t.Logf("scheme %q in force after %v", want, time.Since(changed).Round(time.Millisecond))
}

// schemeOfPut puts an object and returns how it was sealed.
func schemeOfPut(t *testing.T, client *s3.Client, bucket string) types.ServerSideEncryption {
	t.Helper()
	out, err := client.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: &bucket, Key: aws.String("object"), Body: bytes.NewReader([]byte("x")),
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.ServerSideEncryption
}

func putRule(t *testing.T, client *s3.Client, bucket, key string) error {
	_, err := client.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{
		Bucket: &bucket, ServerSideEncryptionConfiguration: rule(key),
	})
	return err
}

func deleteRule(t *testing.T, client *s3.Client, bucket string) error {
	_, err := client.DeleteBucketEncryption(t.Context(), &s3.DeleteBucketEncryptionInput{Bucket: &bucket})
	return err
}

// gate lets the first part of a body pass and holds back the rest.
type gate struct {
	r      io.Reader
	left   int64           // number of bytes until the gate
	waits  func()          // called at the gate
	opened <-chan struct{} // closed when the rest may pass
}

func (g *gate) Read(p []byte) (int, error) {
	if g.left == 0 && g.waits != nil {
		g.waits()
		g.waits = nil
		<-g.opened
	}
	if g.left > 0 {
		p = p[:min(int64(len(p)), g.left)]
	}
	n, err := g.r.Read(p)
	g.left = max(g.left-int64(n), 0)
	return n, err
}

// TestDrain ends a gateway with SIGTERM during uploads and downloads. None of
// them fails. The gateway is no longer ready and accepts no new connections.
func TestDrain(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		g := r.faultGateway(t, "", nil)
		client, mc := sdkOf(t, g), newMinioClient(t, g)
		body := content{seed: 160, size: 8 * mib}
		const transfers = 10
		for i := range transfers {
			if err := putBody(t.Context(), client, sealedBucket, fmt.Sprint("get/", i), body); err != nil {
				t.Fatal(err)
			}
		}
		var arrived atomic.Int64
		opened := make(chan struct{})
		var work errgroup.Group
		for i := range transfers {
			work.Go(func() error {
				held := &gate{body.reader(), body.size / 2, func() { arrived.Add(1) }, opened}
				return mc.putReader(t.Context(), []string{sealedBucket, plainBucket}[i%2], fmt.Sprint("put/", i), held, body.size)
			})
			work.Go(func() error {
				out, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(sealedBucket), Key: aws.String(fmt.Sprint("get/", i))})
				if err != nil {
					return err
				}
				defer out.Body.Close()
				v := &verifier{want: body}
				held := &gate{out.Body, mib, func() { arrived.Add(1) }, opened}
				if _, err := io.Copy(v, held); err != nil {
					return fmt.Errorf("GET: %w after %d bytes", err, v.off)
				}
				return v.complete()
			})
		}
		eventually(t, "all transfers are under way", func() error {
			if n := arrived.Load(); n != 2*transfers {
				return fmt.Errorf("%d of %d", n, 2*transfers)
			}
			return nil
		})
		if err := g.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		eventually(t, "no new connection is taken", func() error {
			conn, err := rawConn(g)
			if err != nil {
				return nil //nolint:nilerr // the error is expected
			}
			return errors.Join(errors.New("a connection is taken"), conn.Close())
		})
		if status := health(t, g.AdminEndpoint, "ready"); status != http.StatusServiceUnavailable {
			t.Errorf("while it drains: ready %d", status)
		}
		if !g.Running() {
			t.Error("the gateway ended before its transfers")
		}
		close(opened)
		if err := work.Wait(); err != nil {
			t.Error(err)
		}
		wantCleanExit(t, g)
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range transfers {
			wantRead(t, sdkOf(t, g), []string{sealedBucket, plainBucket}[i%2], fmt.Sprint("put/", i), body, readable)
		}
	})
}

// wantCleanExit waits until a gateway that was told to end has exited.
func wantCleanExit(t *testing.T, g *stack.Gateway) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), giveUp)
	defer cancel()
	if err := g.Stop(ctx); err != nil && !errors.Is(err, stack.ErrExited) {
		t.Error(err)
	}
}

// TestGatewayKilled kills a gateway with SIGKILL during 50 uploads, each at
// another place of its body. Every answered upload is stored, and nothing else
// has changed.
func TestGatewayKilled(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		g := r.faultGateway(t, "", nil)
		var cases []broken
		old, body := bytesOf(t, content{seed: 161, size: 2000}), bytesOf(t, content{seed: 162, size: 2 * mib})
		const uploads = 50
		for i := range uploads {
			u := upload{bucket: sealedBucket, key: fmt.Sprint("killed/", i), framing: framings[i%len(framings)], body: body}
			if i%5 == 0 {
				u.bucket = plainBucket
			}
			b := broken{name: u.bucket + "/" + u.key, upload: u}
			if i%2 == 0 {
				b.old = old
			}
			b.at = func(n int64) int64 { return min(n*int64(i)/(uploads-1), n-1) }
			cases = append(cases, b)
		}
		putOld(t, g, cases)
		answered := bytesOf(t, content{seed: 163, size: mib + 77})
		head, whole := upload{bucket: sealedBucket, key: "answered", framing: trailer, body: answered}.encode(t, g)
		if a, err := send(g, head, whole); err != nil || a.status != http.StatusOK {
			t.Fatalf("%d %s, %v", a.status, a.code, err)
		}
		for _, b := range cases {
			head, body := b.upload.encode(t, g)
			conn, err := sendPart(g, head, body[:b.at(int64(len(body)))])
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		}
		eventually(t, "all uploads are under way", func() error {
			line := fmt.Sprintf("\nssegw_http_in_flight %d\n", uploads)
			if m := metricsOf(t, g); !strings.Contains(m, line) {
				return fmt.Errorf("no %q in the metrics", line)
			}
			return nil
		})
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
		r.settle(t, g)
		wantStates(t, sdkOf(t, g), cases)
		wantRead(t, sdkOf(t, g), sealedBucket, "answered", content{seed: 163, size: mib + 77}, readable)
	})
}

// metricsOf returns the gateway's metrics.
func metricsOf(t *testing.T, g *stack.Gateway) string {
	t.Helper()
	req := must(http.NewRequestWithContext(t.Context(), http.MethodGet, g.AdminEndpoint+"/metrics", nil))(t)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return string(must(io.ReadAll(resp.Body))(t))
}

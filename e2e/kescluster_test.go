package e2e

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"ssegw/e2e/stack"
)

// stormBound is the largest number of requests per second to a server that is
// down.
const stormBound = 30

var phase = flag.Int64("phase", 300, "requests of clients before, during and after each fault of KES: many, to see how long calls take")

// figures holds the gateway's metrics by name and labels, as they are printed.
type figures map[string]float64

// figuresOf reads the gateway's metrics.
func figuresOf(t *testing.T, g *stack.Gateway) figures {
	t.Helper()
	req := must(http.NewRequestWithContext(t.Context(), http.MethodGet, g.AdminEndpoint+"/metrics", nil))(t)
	resp := must(http.DefaultClient.Do(req))(t)
	defer resp.Body.Close()
	out := figures{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			out[name] = v
		}
	}
	return out
}

// sum adds up the metrics whose name begins with name and that have all labels.
func (f figures) sum(name string, labels ...string) float64 {
	total := 0.0
next:
	for k, v := range f {
		if k != name && !strings.HasPrefix(k, name+"{") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(k, l) {
				continue next
			}
		}
		total += v
	}
	return total
}

// kesCalls returns how many data keys KES was asked for.
func (f figures) kesCalls() int {
	return int(f.sum("ssegw_kes_requests_total", `op="generate"`) + f.sum("ssegw_kes_requests_total", `op="unseal"`))
}

// kesLoad runs clients that put and get without a pause.
type kesLoad struct {
	stop func()
	wait sync.WaitGroup
	done atomic.Int64

	mu     sync.Mutex
	failed map[string]int // by error
	worst  time.Duration  // duration of the slowest failed request
}

const kesWorkers = 8

func workerBody(worker int) content { return content{seed: uint64(200 + worker), size: 3000} }

func startKESLoad(t *testing.T, g *stack.Gateway) *kesLoad {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &kesLoad{stop: cancel, failed: map[string]int{}}
	for worker := range kesWorkers {
		client := sdkOf(t, g)
		l.wait.Go(func() {
			body := workerBody(worker)
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("%d/%d", worker, i%10)
				l.try(func() error { return putBody(t.Context(), client, sealedBucket, key, body) })
				l.try(func() error {
					v := &verifier{want: body}
					if err := (sdkClient{client, ""}).get(t.Context(), sealedBucket, fmt.Sprintf("%d/0", worker), sseKMS, v); err != nil {
						return err
					}
					return v.complete()
				})
			}
		})
	}
	return l
}

func (l *kesLoad) try(request func() error) {
	start := time.Now()
	err := request()
	took := time.Since(start)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.done.Add(1)
		return
	}
	text := err.Error()
	if statusOf(err) == http.StatusServiceUnavailable {
		text = "503"
	}
	l.failed[text]++
	l.worst = max(l.worst, took)
}

// more waits until n more requests have succeeded.
func (l *kesLoad) more(t *testing.T, n int64, what string) {
	t.Helper()
	goal := l.done.Load() + n
	eventually(t, what, func() error {
		if done := l.done.Load(); done < goal {
			return fmt.Errorf("%d of %d requests", done, goal)
		}
		return nil
	})
}

// failures returns how many requests have failed.
func (l *kesLoad) failures() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, failed := range l.failed {
		n += failed
	}
	return n
}

// end stops the load and returns the number of failures by error.
func (l *kesLoad) end() map[string]int {
	l.stop()
	l.wait.Wait()
	return l.failed
}

// kesCluster is a gateway with two KES servers that share a key store. The
// first server is behind a front.
type kesCluster struct {
	*rig
	first, second *stack.KES
	front         *stack.Front
	gateway       *stack.Gateway
}

func newKESCluster(t *testing.T, env map[string]string) *kesCluster {
	t.Helper()
	s := newStack(t)
	r := &rig{stack: s, kes: must(s.StartKES(t.Context(), stack.KESOptions{Pausable: true}))(t), store: must(s.StartVersitygw(t.Context()))(t)}
	second := must(s.StartKES(t.Context(), stack.KESOptions{SharedWith: r.kes, Pausable: true}))(t)
	front, fronted, err := s.StartFront(r.kes)
	if err != nil {
		t.Fatal(err)
	}
	g := must(s.StartGateway(t.Context(), stack.GatewayOptions{KES: []*stack.KES{fronted, second}, Upstream: r.store, Env: env}))(t)
	makeFaultBuckets(t, g)
	return &kesCluster{r, r.kes, second, front, g}
}

// TestKESFaults checks that no client notices a fault of one of two KES
// servers.
func TestKESFaults(t *testing.T) {
	t.Parallel()
	// Each GET asks KES.
	c := newKESCluster(t, map[string]string{"SSEGW_KMS_CACHE_TTL": "0", "SSEGW_KMS_TIMEOUT": outageTimeout})
	ctx := t.Context()
	set := func(f stack.FrontFault) func() error {
		return func() error { c.front.Set(f); return nil }
	}
	restart := func(end func() error) func() error {
		return func() error {
			for range 3 {
				if err := errorsOf(end(), c.first.Start(ctx)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	terminate := func() error { return c.first.Stop(ctx) }
	nothing := func() error { return nil }
	for _, fault := range []struct {
		name       string
		begin, end func() error
		away       bool // the server does not even answer probes
	}{
		{"none", nothing, nothing, false},
		{"SIGTERM", terminate, func() error { return c.first.Start(ctx) }, true},
		{"SIGKILL", c.first.Kill, func() error { return c.first.Start(ctx) }, true},
		{"hung", c.first.Pause, c.first.Continue, true},
		{"restarts", restart(terminate), nothing, false},
		{"kills and restarts", restart(c.first.Kill), nothing, false},
		{"500", set(stack.FrontFault{Status: 500}), set(stack.FrontFault{}), true},
		{"503 but to probes", set(stack.FrontFault{Status: 503, Probes: true}), set(stack.FrontFault{}), false},
		{"late", set(stack.FrontFault{Delay: 2 * time.Second}), set(stack.FrontFault{}), false},
	} {
		t.Run(fault.name, func(t *testing.T) {
			before, load := figuresOf(t, c.gateway), startKESLoad(t, c.gateway)
			load.more(t, *phase, "requests pass")
			if err := fault.begin(); err != nil {
				t.Error(err)
			}
			load.more(t, *phase, "requests pass during the fault")
			if fault.away {
				c.wantPassedBy(t, load)
			}
			if err := fault.end(); err != nil {
				t.Error(err)
			}
			load.more(t, *phase, "requests pass after the fault")
			for err, n := range load.end() {
				t.Errorf("%d times: %s", n, err)
			}
			c.wantUp(t, 2)
			after := figuresOf(t, c.gateway)
			delta := func(name string) float64 { return after.sum(name) - before.sum(name) }
			calls := delta("ssegw_kes_call_duration_seconds_count")
			if calls < float64(load.done.Load()) {
				t.Errorf("%.0f calls of KES for %d requests", calls, load.done.Load())
			}
			over := func(bound string) float64 {
				bucket, label := "ssegw_kes_call_duration_seconds_bucket", `le="`+bound+`"`
				return calls - (after.sum(bucket, label) - before.sum(bucket, label))
			}
			t.Logf("%d requests, %.0f calls of KES, %.0f over 25 ms, %.0f over 100 ms, %d attempts, %.0f hedges",
				load.done.Load(), calls, over("0.025"), over("0.1"), after.kesCalls()-before.kesCalls(), delta("ssegw_kes_hedges_total"))
		})
	}
}

// wantUp waits until the gateway counts that many servers as healthy.
func (c *kesCluster) wantUp(t *testing.T, servers float64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%.0f servers are in use", servers), func() error {
		if up := figuresOf(t, c.gateway).sum("ssegw_kes_endpoint_up"); up != servers {
			return fmt.Errorf("%.0f", up)
		}
		return nil
	})
}

// wantPassedBy checks that clients continue without asking the first server,
// which is down, for keys. Calls in progress end with one attempt each.
func (c *kesCluster) wantPassedBy(t *testing.T, load *kesLoad) {
	t.Helper()
	c.wantUp(t, 1)
	asked := func() float64 {
		f, first := figuresOf(t, c.gateway), `endpoint="`+c.front.Endpoint+`"`
		return f.sum("ssegw_kes_requests_total", first, `op="generate"`) + f.sum("ssegw_kes_requests_total", first, `op="unseal"`)
	}
	before := asked()
	load.more(t, *phase, "requests pass the server by")
	if n := asked() - before; n > kesWorkers {
		t.Errorf("a server that is away was asked for %.0f keys by %d requests", n, *phase)
	}
}

// TestKESClusterAway checks that without any KES, requests are refused soon and
// cost the cluster little, and that they succeed soon after a server is back.
func TestKESClusterAway(t *testing.T) {
	t.Parallel()
	c := newKESCluster(t, map[string]string{"SSEGW_KMS_CACHE_TTL": "0", "SSEGW_KMS_TIMEOUT": outageTimeout})
	for worker := range kesWorkers {
		if err := putBody(t.Context(), sdkOf(t, c.gateway), sealedBucket, fmt.Sprintf("%d/0", worker), workerBody(worker)); err != nil {
			t.Fatal(err)
		}
	}
	for _, outage := range []struct {
		name     string
		from, to func() error
	}{
		{"stopped", func() error { return errorsOf(c.first.Stop(t.Context()), c.second.Stop(t.Context())) },
			func() error { return errorsOf(c.second.Start(t.Context()), c.first.Start(t.Context())) }},
		{"hung", func() error { return errorsOf(c.first.Pause(), c.second.Pause()) },
			func() error { return errorsOf(c.second.Continue(), c.first.Continue()) }},
	} {
		t.Run(outage.name, func(t *testing.T) {
			if err := outage.from(); err != nil {
				t.Fatal(err)
			}
			load := startKESLoad(t, c.gateway)
			c.wantUp(t, 0)
			start := time.Now()
			before, goal := figuresOf(t, c.gateway), load.failures()+5*kesWorkers
			eventually(t, "requests are refused", func() error {
				if n := load.failures(); n < goal {
					return fmt.Errorf("%d of %d", n, goal)
				}
				return nil
			})
			after := figuresOf(t, c.gateway)
			perSecond := (after.sum("ssegw_kes_requests_total") - before.sum("ssegw_kes_requests_total")) / time.Since(start).Seconds() / 2
			if perSecond > stormBound {
				t.Errorf("each server saw %.0f requests/s, want at most %d", perSecond, stormBound)
			}
			if n := load.done.Load(); n > 0 {
				t.Errorf("%d requests passed without KES", n)
			}
			if err := outage.to(); err != nil {
				t.Fatal(err)
			}
			back := time.Now()
			load.more(t, kesWorkers, "requests pass")
			took := time.Since(back)
			failed := load.end()
			t.Logf("%v failed, the slowest after %v; %.1f requests/s to each server; back after %v", failed, load.worst, perSecond, took)
			if len(failed) != 1 || failed["503"] < kesWorkers {
				t.Errorf("failed: %v, want 503 alone", failed)
			}
		})
	}
}

// TestKESCalls counts the calls of KES that operations cost.
func TestKESCalls(t *testing.T) {
	t.Parallel()
	c := newKESCluster(t, nil)
	client := sdkOf(t, c.gateway)
	cost := func(what string, want int, f func() error) {
		t.Helper()
		before := figuresOf(t, c.gateway)
		if err := f(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		after := figuresOf(t, c.gateway)
		hedges := int(after.sum("ssegw_kes_hedges_total") - before.sum("ssegw_kes_hedges_total"))
		if n := after.kesCalls() - before.kesCalls() - hedges; n != want {
			t.Errorf("%s: %d calls of KES, want %d", what, n, want)
		}
	}
	ctx, body := t.Context(), content{seed: 1, size: 1000}
	get := func() error {
		out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(sealedBucket), Key: aws.String("k")})
		if err != nil {
			return err
		}
		defer out.Body.Close()
		_, err = io.Copy(io.Discard, out.Body)
		return err
	}
	cost("PUT", 1, func() error { return putBody(ctx, client, sealedBucket, "k", body) })
	cost("GET", 1, get)
	cost("GET again", 0, get)
	cost("HEAD", 0, func() error {
		_, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(sealedBucket), Key: aws.String("k")})
		return err
	})
	cost("LIST", 0, func() error { listSizes(t, client, sealedBucket); return nil })

	var upload *s3.CreateMultipartUploadOutput
	var parts []types.CompletedPart
	cost("Create", 1, func() (err error) {
		upload, err = client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: aws.String(sealedBucket), Key: aws.String("m")})
		return err
	})
	for number := range int32(3) {
		cost(fmt.Sprintf("UploadPart %d", number+1), map[int32]int{0: 1}[number], func() error {
			out, err := client.UploadPart(ctx, &s3.UploadPartInput{
				Bucket: upload.Bucket, Key: upload.Key, UploadId: upload.UploadId, PartNumber: aws.Int32(number + 1),
				Body: content{seed: uint64(number), size: 5 * mib}.reader(),
			})
			if err == nil {
				parts = append(parts, types.CompletedPart{ETag: out.ETag, PartNumber: aws.Int32(number + 1)})
			}
			return err
		})
	}
	cost("Complete", 0, func() error {
		_, err := client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: upload.Bucket, Key: upload.Key, UploadId: upload.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
		return err
	})

	bucketKey := rule(c.gateway.KeyName)
	bucketKey.Rules[0].BucketKeyEnabled = aws.Bool(true)
	if _, err := client.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{Bucket: aws.String(sealedBucket), ServerSideEncryptionConfiguration: bucketKey}); err != nil {
		t.Fatal(err)
	}
	cost("1,000 PUTs with a bucket key", 1, func() error {
		for i := range 1000 {
			if err := putBody(ctx, client, sealedBucket, fmt.Sprint("shared/", i), body); err != nil {
				return err
			}
		}
		return nil
	})
	head, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(sealedBucket), Key: aws.String("shared/7")})
	if err != nil || !aws.ToBool(head.BucketKeyEnabled) {
		t.Errorf("HEAD shows no bucket key: %v", err)
	}
	wantRead(t, client, sealedBucket, "shared/7", body, readable)
}

package e2e

import (
	"bufio"
	"context"
	"errors"
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

// What the gateway promises of a cluster of KES servers.
const (
	faultTime    = 20 * time.Second // of load around each fault
	stormBound   = 30               // requests per second that a dead server sees
	refusedAfter = time.Second      // when no KES answers
	backAfter    = time.Second      // when one answers again

	// slowCall is what no call of KES takes, in seconds as their histogram has it. Where one does, and the machine has
	// let a goroutine of the test wait for standstill too, that says nothing: the fault is tried again, so often in all.
	slowCall   = "0.25"
	standstill = 50 * time.Millisecond
	faultTries = 3
)

// figures are the values of the gateway's metrics by name and labels, as they are shown.
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

// sum adds up what begins with name and has all labels.
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

// kesCalls is how many data keys KES was asked for.
func (f figures) kesCalls() int {
	return int(f.sum("ssegw_kes_requests_total", `op="generate"`) + f.sum("ssegw_kes_requests_total", `op="unseal"`))
}

// kesLoad are clients that put and get without a pause.
type kesLoad struct {
	stop func()
	wait sync.WaitGroup
	done atomic.Int64

	mu     sync.Mutex
	failed map[string]int // by error
	worst  time.Duration  // of a request that failed
	last   time.Time      // success
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
		l.last = time.Now()
		return
	}
	text := err.Error()
	if statusOf(err) == http.StatusServiceUnavailable {
		text = "503"
	}
	l.failed[text]++
	l.worst = max(l.worst, took)
}

// end stops the load and returns what failed, by error.
func (l *kesLoad) end() map[string]int {
	l.stop()
	l.wait.Wait()
	return l.failed
}

// kesCluster is a gateway before two KES servers with one key store, the first
// of them behind a front.
type kesCluster struct {
	*rig
	first, second *stack.KES
	front         *stack.Front
	gateway       *stack.Gateway
}

func newKESCluster(t *testing.T, env map[string]string) *kesCluster {
	t.Helper()
	s := newStack(t)
	r := &rig{stack: s, kes: must(s.StartKES(t.Context(), stack.KESOptions{}))(t), store: must(s.StartVersitygw(t.Context()))(t)}
	second := must(s.StartKES(t.Context(), stack.KESOptions{SharedWith: r.kes}))(t)
	front, fronted, err := s.StartFront(r.kes)
	if err != nil {
		t.Fatal(err)
	}
	g := must(s.StartGateway(t.Context(), stack.GatewayOptions{KES: []*stack.KES{fronted, second}, Upstream: r.store, Env: env}))(t)
	makeFaultBuckets(t, g)
	return &kesCluster{r, r.kes, second, front, g}
}

// TestKESFaults: whatever happens to one of two KES servers, no client notices.
func TestKESFaults(t *testing.T) {
	c := newKESCluster(t, map[string]string{"SSEGW_KMS_CACHE_TTL": "0"}) // each GET asks KES
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
	}{
		{"none", nothing, nothing},
		{"SIGTERM", terminate, func() error { return c.first.Start(ctx) }},
		{"SIGKILL", c.first.Kill, func() error { return c.first.Start(ctx) }},
		{"SIGSTOP", c.first.Pause, c.first.Continue},
		{"restarts", restart(terminate), nothing},
		{"kills and restarts", restart(c.first.Kill), nothing},
		{"500", set(stack.FrontFault{Status: 500}), set(stack.FrontFault{})},
		{"503 but to probes", set(stack.FrontFault{Status: 503, Probes: true}), set(stack.FrontFault{})},
		{"2 s late", set(stack.FrontFault{Delay: 2 * time.Second}), set(stack.FrontFault{})},
	} {
		t.Run(fault.name, func(t *testing.T) {
			for try := 1; ; try++ {
				slow, stood := c.loadAround(t, fault.begin, fault.end)
				within(t, 5*time.Second, "both servers are in use", func() error {
					if up := figuresOf(t, c.gateway).sum("ssegw_kes_endpoint_up"); up != 2 {
						return fmt.Errorf("%.0f of 2", up)
					}
					return nil
				})
				if slow == 0 {
					return
				}
				if stood < standstill || try == faultTries {
					t.Fatalf("%.0f calls of KES took more than %s s, and the machine stood still for %v", slow, slowCall, stood)
				}
				t.Logf("again, since the machine stood still for %v", stood)
			}
		})
	}
}

// loadAround loads the gateway around a fault, of which no client may notice
// anything. It returns how many calls of KES took longer than slowCall, and for
// how long the machine stood still.
func (c *kesCluster) loadAround(t *testing.T, begin, end func() error) (slow float64, stood time.Duration) {
	t.Helper()
	before, watch := figuresOf(t, c.gateway), watchMachine()
	load := startKESLoad(t, c.gateway)
	time.Sleep(faultTime / 4)
	if err := begin(); err != nil {
		t.Error(err)
	}
	time.Sleep(faultTime / 2)
	if err := end(); err != nil {
		t.Error(err)
	}
	time.Sleep(faultTime / 4)
	for err, n := range load.end() {
		t.Errorf("%d times: %s", n, err)
	}
	after, stood := figuresOf(t, c.gateway), watch()
	const calls = "ssegw_kes_call_duration_seconds"
	total := after.sum(calls+"_count") - before.sum(calls+"_count")
	over := func(bound string) float64 {
		bound = `le="` + bound + `"`
		return total - (after.sum(calls+"_bucket", bound) - before.sum(calls+"_bucket", bound))
	}
	slow = over(slowCall)
	if total < float64(load.done.Load()) {
		t.Errorf("%.0f calls of KES for %d requests", total, load.done.Load())
	}
	t.Logf("%d requests, %.0f calls of KES, %.0f over 25 ms, %.0f over 100 ms, %.0f over %s s, %.0f hedges, a goroutine late by %v",
		load.done.Load(), total, over("0.025"), over("0.1"), slow, slowCall,
		after.sum("ssegw_kes_hedges_total")-before.sum("ssegw_kes_hedges_total"), stood)
	return slow, stood
}

// watchMachine returns a function that tells for how long at most a goroutine
// that was ready to run has waited since.
func watchMachine() func() time.Duration {
	const nap = 5 * time.Millisecond
	stop, longest := make(chan struct{}), make(chan time.Duration)
	go func() {
		most := time.Duration(0)
		for {
			slept := time.Now()
			select {
			case <-time.After(nap):
				most = max(most, time.Since(slept)-nap)
			case <-stop:
				longest <- most
				return
			}
		}
	}()
	return func() time.Duration {
		close(stop)
		return (<-longest).Round(time.Millisecond)
	}
}

// TestKESClusterAway: with no KES left requests are refused soon and cost the
// cluster little; with one back they pass soon.
func TestKESClusterAway(t *testing.T) {
	c := newKESCluster(t, map[string]string{"SSEGW_KMS_CACHE_TTL": "0"})
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
			time.Sleep(2 * time.Second) // until every breaker is open
			before, start := figuresOf(t, c.gateway), time.Now()
			time.Sleep(5 * time.Second)
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
			within(t, 10*time.Second, "requests pass", func() error {
				if load.done.Load() == 0 {
					return errors.New("none does")
				}
				return nil
			})
			took := time.Since(back)
			failed := load.end()
			t.Logf("%v failed, the slowest after %v; %.1f requests/s to each server; back after %v", failed, load.worst, perSecond, took)
			if took > backAfter {
				t.Errorf("requests pass %v after KES is back, want %v", took, backAfter)
			}
			if len(failed) != 1 || failed["503"] < kesWorkers {
				t.Errorf("failed: %v, want 503 alone", failed)
			}
			if load.worst > refusedAfter+refusedAfter/4 { // for the client and the rest of the request
				t.Errorf("refused after %v, want %v", load.worst, refusedAfter)
			}
		})
	}
}

// TestKESCalls counts what operations cost at KES.
func TestKESCalls(t *testing.T) {
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

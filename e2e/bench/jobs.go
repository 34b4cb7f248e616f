package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"ssegw/e2e/stack"
)

// The jobs work on jobObjects objects of jobSize bytes, jobParallel at a time,
// and so does what they are compared with.
const (
	jobObjects  = 1000
	jobSize     = mib
	jobParallel = 16
	jobBucket   = "jobs"
	otherBucket = "jobs-other"
)

// measureJobs compares encrypt with GET and PUT through the gateway, and rekey
// with copies by the store itself.
func (r *rig) measureJobs(ctx context.Context, rounds int) error {
	j := &jobBench{rig: r, direct: r.sdk(r.targets[0].client), through: r.sdk(r.through().client)}
	if err := j.prepare(ctx); err != nil {
		return err
	}
	fmt.Printf("\n### Jobs: %d objects of %d MiB, %d at a time\n\n| round | what | seconds | to | peak MiB | MiB between gateway and store |\n|--:|---|--:|--:|--:|--:|\n", jobObjects, jobSize/mib, jobParallel)
	for round := range rounds {
		if err := j.round(ctx, round+1); err != nil {
			return err
		}
	}
	return nil
}

// jobBench measures jobs.
type jobBench struct {
	*rig
	direct, through *s3.Client
	counter         *stack.Counter
	keys            [2]string // KES keys; each round goes from the first to the second
}

func (r *rig) sdk(c *client) *s3.Client {
	return s3.New(stack.SDKOptions(c.endpoint, c.credentials.AccessKeyID, c.credentials.SecretAccessKey))
}

func (j *jobBench) prepare(ctx context.Context) error {
	j.keys = [2]string{j.gateway.KeyName, "second-key"}
	if err := j.kes.CreateKey(ctx, j.keys[1]); err != nil {
		return err
	}
	var err error
	if j.counter, err = j.stack.StartCounter(j.gateway.Env["SSEGW_UPSTREAM_ENDPOINT"], ""); err != nil {
		return err
	}
	for _, bucket := range []string{jobBucket, otherBucket} {
		if _, err := j.direct.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
			return err
		}
		// A rule of an empty bucket would refuse plaintext.
		if _, err := j.direct.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("before")}); err != nil {
			return err
		}
		rule := types.ServerSideEncryptionRule{ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{
			SSEAlgorithm: types.ServerSideEncryptionAwsKms, KMSMasterKeyID: &j.keys[0],
		}}
		if _, err := j.through.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{
			Bucket: aws.String(bucket), ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{rule}},
		}); err != nil {
			return err
		}
	}
	return nil
}

// each calls f for each object and returns how long all took.
func (j *jobBench) each(ctx context.Context, f func(ctx context.Context, key *string) error) (time.Duration, error) {
	begin := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(jobParallel)
	for i := range jobObjects {
		g.Go(func() error { return f(ctx, aws.String(fmt.Sprint("k", i))) })
	}
	err := g.Wait()
	return time.Since(begin), err
}

func (j *jobBench) round(ctx context.Context, round int) error {
	bucket, other := aws.String(jobBucket), aws.String(otherBucket)
	body := make([]byte, jobSize)
	if _, err := j.each(ctx, func(ctx context.Context, key *string) error {
		_, err := j.direct.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: bytes.NewReader(body)})
		return err
	}); err != nil {
		return err
	}
	passed, err := j.each(ctx, func(ctx context.Context, key *string) error {
		got, err := j.through.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})
		if err != nil {
			return err
		}
		defer got.Body.Close()
		_, err = j.through.PutObject(ctx, &s3.PutObjectInput{Bucket: other, Key: key, Body: got.Body, ContentLength: aws.Int64(jobSize)},
			s3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware))
		return err
	})
	if err != nil {
		return err
	}
	row := func(what string, took time.Duration, ratio string, peak int64, moved float64) {
		fmt.Printf("| %d | %s | %.2f | %s | %d | %.1f |\n", round, what, took.Seconds(), ratio, peak/mib, moved)
	}
	row("GET and PUT through the gateway", passed, "", 0, 0)
	took, peak, err := j.job(ctx, "encrypt", "--keep-plain", jobBucket)
	if err != nil {
		return err
	}
	row("encrypt", took, fmt.Sprintf("%.2f of their rate", passed.Seconds()/took.Seconds()), peak, 0)
	copied, err := j.each(ctx, func(ctx context.Context, key *string) error {
		_, err := j.direct.CopyObject(ctx, &s3.CopyObjectInput{Bucket: other, Key: aws.String("copy-" + *key), CopySource: aws.String(jobBucket + "/" + *key)})
		return err
	})
	if err != nil {
		return err
	}
	row("copies by the store", copied, "", 0, 0)
	if took, peak, err = j.job(ctx, "rekey", "--key", j.keys[1], jobBucket); err != nil {
		return err
	}
	moved, err := j.count(ctx, "rekey", "--key", j.keys[0], jobBucket)
	if err != nil {
		return err
	}
	row("rekey", took, fmt.Sprintf("%.2f of their time", took.Seconds()/copied.Seconds()), peak, moved)
	for _, args := range [][]string{{"verify", jobBucket}, {"verify", "--headers", jobBucket}, {"inventory", jobBucket}} {
		if took, peak, err = j.job(ctx, args...); err != nil {
			return err
		}
		row(args[0]+" "+args[1], took, "", peak, 0)
	}
	return nil
}

// job runs a command and returns how long its job took, and the peak of the
// process's memory in bytes.
func (j *jobBench) job(ctx context.Context, args ...string) (time.Duration, int64, error) {
	out, cmd, err := j.run(ctx, j.gateway.Env["SSEGW_UPSTREAM_ENDPOINT"], args)
	if err != nil {
		return 0, 0, err
	}
	var job struct {
		Created, Ended time.Time
		Job            *struct{ Created, Ended time.Time }
	}
	if err := json.Unmarshal(out, &job); err != nil {
		return 0, 0, err
	}
	if job.Job != nil {
		job.Created, job.Ended = job.Job.Created, job.Job.Ended
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, 0, errors.New("no memory figures on this system")
	}
	return job.Ended.Sub(job.Created), usage.Maxrss << 10, nil
}

// count runs a command and returns how many MiB passed between the gateway and
// the store.
func (j *jobBench) count(ctx context.Context, args ...string) (float64, error) {
	j.counter.Reset()
	if _, _, err := j.run(ctx, j.counter.Endpoint, args); err != nil {
		return 0, err
	}
	n := int64(0)
	for _, c := range j.counter.Calls() {
		n += c.In + c.Out
	}
	return float64(n) / mib, nil
}

// run runs a command of ssegw with the gateway's settings.
func (j *jobBench) run(ctx context.Context, store string, args []string) ([]byte, *exec.Cmd, error) {
	args = append([]string{args[0], "--json", fmt.Sprint("--parallel=", jobParallel)}, args[1:]...)
	cmd := exec.CommandContext(ctx, j.stack.Tools().Path(stack.ToolGateway), args...)
	for name, value := range j.gateway.Env {
		if name == "SSEGW_UPSTREAM_ENDPOINT" {
			value = store
		}
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("ssegw %v: %w", args, err)
	}
	return out, cmd, err
}

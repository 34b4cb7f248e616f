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
// with copies by the store itself. It also compares rekey with uploads of one
// copied part by the store, the least that a conditional copy can be.
func (s *side) measureJobs(ctx context.Context) error {
	j := &jobBench{side: s, direct: s.sdk(s.targets[0].client), through: s.sdk(s.through().client)}
	if err := j.prepare(ctx); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\n### Jobs: %d objects of %d MiB, %d at a time\n\n| round | what | seconds | to | CPU s: command or client | store | KES | peak MiB | MiB between gateway and store |\n|--:|---|--:|--:|--:|--:|--:|--:|--:|\n", jobObjects, jobSize/mib, jobParallel)
	if err := j.fill(ctx); err != nil {
		return err
	}
	for round := range s.options.rounds {
		if err := j.round(ctx, round+1); err != nil {
			return err
		}
	}
	return nil
}

// jobBench measures jobs.
type jobBench struct {
	*side
	direct, through *s3.Client
	counter         *stack.Counter
	keys            [2]string // KES keys; each round goes from the first to the second
}

func (s *side) sdk(c *client) *s3.Client {
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

// cost is what something took.
type cost struct {
	took            time.Duration
	own, store, kes time.Duration // CPU time of the command or the client, of the store, and of KES
	peak            int64         // of the command's memory, in bytes
}

// measure calls f, which returns how long the work took. A command's own CPU
// time and memory are up to f.
func (j *jobBench) measure(f func(c *cost) error) (c cost, err error) {
	before, err := cpuTimes(j.server.Service, j.kes.Service)
	if err != nil {
		return c, err
	}
	if err := f(&c); err != nil {
		return c, err
	}
	after, err := cpuTimes(j.server.Service, j.kes.Service)
	c.store, c.kes = after[0]-before[0], after[1]-before[1]
	if c.own == 0 {
		c.own = after[2] - before[2]
	}
	return c, err
}

// each calls f for each object.
func (j *jobBench) each(ctx context.Context, f func(ctx context.Context, key *string) error) (cost, error) {
	return j.measure(func(c *cost) error {
		begin := time.Now()
		err := eachObject(ctx, f)
		c.took = time.Since(begin)
		return err
	})
}

func eachObject(ctx context.Context, f func(ctx context.Context, key *string) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(jobParallel)
	for i := range jobObjects {
		g.Go(func() error { return f(ctx, aws.String(fmt.Sprint("k", i))) })
	}
	return g.Wait()
}

// fill stores the objects that the copies replace. Otherwise only rekey would
// have to remove what it replaces.
func (j *jobBench) fill(ctx context.Context) error {
	body := make([]byte, jobSize)
	for _, prefix := range []string{"copy-", "upload-", ""} {
		if err := eachObject(ctx, func(ctx context.Context, key *string) error {
			_, err := j.direct.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(otherBucket), Key: aws.String(prefix + *key), Body: bytes.NewReader(body)})
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// copy has the store copy an object.
func (j *jobBench) copy(ctx context.Context, key *string) error {
	_, err := j.direct.CopyObject(ctx, &s3.CopyObjectInput{
		Bucket: aws.String(otherBucket), Key: aws.String("copy-" + *key), CopySource: aws.String(jobBucket + "/" + *key),
	})
	return err
}

// upload has the store copy an object as a part of an upload.
func (j *jobBench) upload(ctx context.Context, key *string) error {
	bucket, to := aws.String(otherBucket), aws.String("upload-"+*key)
	u, err := j.direct.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: to})
	if err != nil {
		return err
	}
	p, err := j.direct.UploadPartCopy(ctx, &s3.UploadPartCopyInput{
		Bucket: bucket, Key: to, UploadId: u.UploadId, PartNumber: aws.Int32(1), CopySource: aws.String(jobBucket + "/" + *key),
	})
	if err != nil {
		return err
	}
	_, err = j.direct.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: to, UploadId: u.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: p.CopyPartResult.ETag}}},
	})
	return err
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
	row := func(what string, c cost, ratio string, moved float64) {
		fmt.Fprintf(j.out, "| %d | %s | %.2f | %s | %.1f | %.1f | %.1f | %d | %.1f |\n", round, what, c.took.Seconds(), ratio,
			c.own.Seconds(), c.store.Seconds(), c.kes.Seconds(), c.peak/mib, moved)
	}
	row("GET and PUT through the gateway", passed, "", 0)
	sealed, err := j.job(ctx, "encrypt", "--keep-plain", jobBucket)
	if err != nil {
		return err
	}
	row("encrypt", sealed, fmt.Sprintf("%.2f of their rate", passed.took.Seconds()/sealed.took.Seconds()), 0)
	copied, err := j.each(ctx, j.copy)
	if err != nil {
		return err
	}
	row("copies by the store", copied, "", 0)
	uploaded, err := j.each(ctx, j.upload)
	if err != nil {
		return err
	}
	ofCopies := func(c cost) string {
		return fmt.Sprintf("%.2f of the copies' time", c.took.Seconds()/copied.took.Seconds())
	}
	row("uploads of a copied part by the store", uploaded, ofCopies(uploaded), 0)
	rekeyed, err := j.job(ctx, "rekey", "--key", j.keys[1], jobBucket)
	if err != nil {
		return err
	}
	moved, err := j.count(ctx, "rekey", "--key", j.keys[0], jobBucket)
	if err != nil {
		return err
	}
	row("rekey", rekeyed, ofCopies(rekeyed), moved)
	for _, args := range [][]string{{"verify", jobBucket}, {"verify", "--headers", jobBucket}, {"inventory", jobBucket}} {
		c, err := j.job(ctx, args...)
		if err != nil {
			return err
		}
		row(args[0]+" "+args[1], c, "", 0)
	}
	return nil
}

// job runs a command and measures its job. The CPU time includes the start of
// the process.
func (j *jobBench) job(ctx context.Context, args ...string) (cost, error) {
	return j.measure(func(c *cost) error { return j.measureJob(ctx, c, args) })
}

func (j *jobBench) measureJob(ctx context.Context, c *cost, args []string) error {
	out, cmd, err := j.run(ctx, j.gateway.Env["SSEGW_UPSTREAM_ENDPOINT"], args)
	if err != nil {
		return err
	}
	var job struct {
		Created, Ended time.Time
		Job            *struct{ Created, Ended time.Time }
	}
	if err := json.Unmarshal(out, &job); err != nil {
		return err
	}
	if job.Job != nil {
		job.Created, job.Ended = job.Job.Created, job.Job.Ended
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return errors.New("no memory figures on this system")
	}
	c.took, c.peak = job.Ended.Sub(job.Created), usage.Maxrss<<10
	c.own = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return nil
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

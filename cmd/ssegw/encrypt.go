package main

import (
	"context"
	"fmt"
	"io"

	"ssegw/proxy/jobs"
	"ssegw/sealer"
)

// schemes maps the words of flags.
var schemes = map[string]string{"": "", "sse-s3": sealer.SSES3.String(), "sse-kms": sealer.SSEKMS.String()}

type encryptCommand struct {
	Scope         string `arg:"" name:"bucket[/prefix]" help:"The objects to seal."`
	SSE           string `name:"sse" enum:",sse-s3,sse-kms" default:"" placeholder:"SCHEME" help:"sse-s3 or sse-kms; the default is the bucket's rule."`
	Key           string `name:"key" placeholder:"KEY" help:"KES key of sse-kms; the default is that of the rule, or the default key."`
	DryRun        bool   `name:"dry-run" help:"Only show what would be sealed."`
	KeepPlain     bool   `name:"keep-plain" help:"Do not make the bucket sealed-only at the end."`
	Unconditional bool   `name:"unconditional" help:"Go on although the store has no conditional writes, and client's writes could be lost."`
	jobFlags
}

// Help is the second part of the command's help.
func (encryptCommand) Help() string {
	return `It seals the objects that are stored in plaintext, in place: content, headers, metadata, tags, ACL, storage class and
locks stay. A client's write or delete that comes in between wins. Older versions cannot be replaced in S3: they are
counted. When nothing in the bucket is in plaintext any more, the bucket becomes sealed-only.

A job that is interrupted goes on after its last finished page, with the same command or in a gateway. Exit status 1
means that an object failed or was left out; each is named.`
}

// Run seals the objects.
func (c *encryptCommand) Run(ctx context.Context, out io.Writer) error {
	bucket, prefix, err := scopeOf(c.Scope)
	if err != nil {
		return err
	}
	s := jobs.Settings{Scheme: schemes[c.SSE], Key: c.Key, DryRun: c.DryRun, KeepPlain: c.KeepPlain, Unconditional: c.Unconditional}
	if c.Key != "" && c.SSE == "" {
		s.Scheme = schemes["sse-kms"]
	}
	return runJob(ctx, out, &c.jobFlags, &jobs.Job{Kind: jobs.Encrypt, Bucket: bucket, Prefix: prefix, Settings: s}, nil)
}

type verifyCommand struct {
	Scope   string  `arg:"" name:"bucket[/prefix]" help:"The objects to verify."`
	Headers bool    `name:"headers" help:"Read no bodies: verify headers, facts and sizes."`
	Sample  float64 `name:"sample" placeholder:"PERCENT" help:"Verify a random part of the objects, such as 5."`
	jobFlags
}

// Help is the second part of the command's help.
func (verifyCommand) Help() string {
	return `It reads every byte of all versions, and authenticates it. It lists what fails and why. Objects in plaintext and under
SSE-C cannot be authenticated and count as left out. Exit status 1 means that an object failed or was left out.`
}

// Run verifies the objects.
func (c *verifyCommand) Run(ctx context.Context, out io.Writer) error {
	bucket, prefix, err := scopeOf(c.Scope)
	if err != nil {
		return err
	}
	if c.Sample < 0 || c.Sample > 100 {
		return fmt.Errorf("%w: --sample %g is not between 0 and 100", errUsage, c.Sample)
	}
	s := jobs.Settings{HeadersOnly: c.Headers, Sample: c.Sample / 100}
	return runJob(ctx, out, &c.jobFlags, &jobs.Job{Kind: jobs.Verify, Bucket: bucket, Prefix: prefix, Settings: s}, nil)
}

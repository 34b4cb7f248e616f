package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"ssegw/proxy/jobs"
)

type rekeyCommand struct {
	Scope         string        `arg:"" name:"bucket[/prefix]" help:"The objects to seal again."`
	Key           string        `name:"key" placeholder:"KEY" help:"KES key to seal the data keys under."`
	To            string        `name:"to" enum:",sse-s3,sse-kms" default:"" placeholder:"SCHEME" help:"sse-s3 or sse-kms; the default is the object's own."`
	From          string        `name:"from" placeholder:"KEY" help:"Only objects under this KES key."`
	NewerThan     time.Duration `name:"newer-than" placeholder:"AGE" help:"Only objects younger than this, such as 72h."`
	OlderThan     time.Duration `name:"older-than" placeholder:"AGE" help:"Only objects older than this."`
	After         time.Time     `name:"created-after" placeholder:"TIME" help:"Only objects created at this time or later (RFC 3339)."`
	Before        time.Time     `name:"created-before" placeholder:"TIME" help:"Only objects created before this time (RFC 3339)."`
	Tag           []string      `name:"tag" placeholder:"NAME=VALUE" help:"Only objects with one of these tags; * stands for any characters."`
	Metadata      []string      `name:"metadata" placeholder:"NAME=VALUE" help:"Only objects with one of these headers or user metadata."`
	DryRun        bool          `name:"dry-run" help:"Only show what would be sealed again."`
	Unconditional bool          `name:"unconditional" help:"Go on although the store has no conditional writes, and clients' writes could be lost."`
	jobFlags
}

// Help is the second part of the command's help.
func (rekeyCommand) Help() string {
	return `It seals the data keys of objects under another KES key. No body passes the gateway. Objects under SSE-C are left and
counted, and so are older versions, which cannot be replaced in S3. "ssegw inventory" tells when nothing needs a key any more.`
}

// Run seals the objects again.
func (c *rekeyCommand) Run(ctx context.Context, out io.Writer) error {
	bucket, prefix, err := scopeOf(c.Scope)
	if err != nil {
		return err
	}
	f := jobs.Filter{Key: c.From, After: c.After, Before: c.Before}
	now := time.Now().UTC()
	if c.NewerThan > 0 {
		f.After = now.Add(-c.NewerThan)
	}
	if c.OlderThan > 0 {
		f.Before = now.Add(-c.OlderThan)
	}
	if f.Tags, err = pairs("--tag", c.Tag); err != nil {
		return err
	}
	if f.Metadata, err = pairs("--metadata", c.Metadata); err != nil {
		return err
	}
	s := jobs.Settings{Scheme: schemes[c.To], Key: c.Key, DryRun: c.DryRun, Unconditional: c.Unconditional, Filter: f}
	return runJob(ctx, out, &c.jobFlags, &jobs.Job{Kind: jobs.Rekey, Bucket: bucket, Prefix: prefix, Settings: s}, nil)
}

// pairs reads the values of a flag of the form NAME=VALUE.
func pairs(flag string, texts []string) (list []jobs.Pair, err error) {
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%w: %s %q is not NAME=VALUE", errUsage, flag, text)
		}
		list = append(list, jobs.Pair{Name: name, Value: value})
	}
	return list, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
	"time"

	"ssegw/proxy/audit"
	"ssegw/proxy/jobs"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

type rekeyCommand struct {
	Scope         string        `arg:"" optional:"" name:"bucket[/prefix]" help:"The objects to seal again."`
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
	Root          bool          `name:"root" help:"Make a new root for the gateways' own records, and leave the objects."`
	Unconditional bool          `name:"unconditional" help:"Go on although the store has no conditional writes, and clients' writes could be lost."`
	jobFlags
}

// Help is the second part of the command's help.
func (rekeyCommand) Help() string {
	return `It seals the data keys of objects under another KES key. No body passes the gateway. Objects under SSE-C are left and
counted, and so are older versions, which cannot be replaced in S3. "ssegw inventory" tells when nothing needs a key any more.

With --root and nothing else but --unconditional, it makes a new root, which new objects and records are sealed under, and seals
the old roots again under the default key. Old roots stay readable. Gateways may serve meanwhile, and use the new root 5 seconds
later. All of them must have a version that knows --root.`
}

// Run seals the objects again.
func (c *rekeyCommand) Run(ctx context.Context, out io.Writer) error {
	if c.Root {
		return c.rotate(ctx, out)
	}
	bucket, prefix, err := scopeOf(c.Scope)
	if err != nil {
		return err
	}
	f := jobs.Filter{Key: c.From, After: c.After, Before: c.Before, NewerThan: c.NewerThan, OlderThan: c.OlderThan}
	if f.Tags, err = pairs("--tag", c.Tag); err != nil {
		return err
	}
	if f.Metadata, err = pairs("--metadata", c.Metadata); err != nil {
		return err
	}
	s := jobs.Settings{Scheme: schemes[c.To], Key: c.Key, DryRun: c.DryRun, Unconditional: c.Unconditional, Filter: f}
	return runJob(ctx, out, &c.jobFlags, &jobs.Job{Kind: jobs.Rekey, Bucket: bucket, Prefix: prefix, Settings: s}, nil)
}

// rotate makes a new root.
func (c *rekeyCommand) rotate(ctx context.Context, out io.Writer) error {
	alone := rekeyCommand{Root: true, Unconditional: c.Unconditional, jobFlags: jobFlags{Parallel: c.Parallel}}
	if !reflect.DeepEqual(*c, alone) || c.Parallel != defaultParallel {
		return fmt.Errorf("%w: --root goes with no other argument than --unconditional", errUsage)
	}
	return withGateway(ctx, func(g *gateway) error {
		done, err := state.Rotate(ctx, g.state, c.Unconditional)
		g.auditRotation(done, err)
		return errors.Join(printRotation(out, done), err)
	})
}

// printRotation prints what a rotation has done.
func printRotation(out io.Writer, done *state.Rotation) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if done.New != (sealer.RootID{}) {
		fmt.Fprintf(w, "old root\t%s\nnew root\t%s\n", done.Old, done.New)
	}
	for _, name := range done.Written {
		fmt.Fprintf(w, "sealed\t%s\n", printable(name))
	}
	for _, r := range done.Left {
		fmt.Fprintf(w, "left\t%s\n", printable(r.Name+" does not open: "+r.Err.Error()))
	}
	if err := w.Flush(); err != nil || len(done.Left) == 0 {
		return err
	}
	return fmt.Errorf("%d records of old roots do not open: restore their KES keys, or remove them", len(done.Left))
}

// auditRotation records that the KES key has sealed records of roots.
func (g *gateway) auditRotation(done *state.Rotation, err error) {
	record := audit.Record{
		Time: time.Now().UTC(), AccessKey: g.cfg.AccessKey, Action: "RotateRoot", Bucket: g.cfg.State,
		KESKey: g.client.DefaultKey(), Use: "generate", Result: "ok",
	}
	for _, record.Key = range done.Written {
		g.audit.Record(&record)
	}
	if err != nil {
		record.Key, record.Result = state.RootObject, s3.ErrInternal.Code
		g.audit.Record(&record)
	}
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

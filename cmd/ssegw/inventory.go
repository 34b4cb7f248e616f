package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"ssegw/proxy/jobs"
)

type inventoryCommand struct {
	Bucket string `arg:"" optional:"" help:"The bucket; the default is all buckets."`
	Key    string `name:"key" placeholder:"KEY" help:"Only tell what needs this KES key."`
	CSV    bool   `name:"csv" help:"Print CSV."`
	jobFlags
}

// Help is the second part of the command's help.
func (inventoryCommand) Help() string {
	return `It counts objects, versions, bytes and parts by bucket and KES key, and tells what still needs a key: objects, unfinished
uploads, bucket rules and the gateway's roots. A key that nothing needs may be deleted in KES. An asterisk marks the present
root; the others are old. Exit status 1 means that an object could not be counted.`
}

// Run counts the objects.
func (c *inventoryCommand) Run(ctx context.Context, out io.Writer) error {
	return runJob(ctx, out, &c.jobFlags, &jobs.Job{Kind: jobs.Inventory, Bucket: c.Bucket}, func(e *jobs.Engine, j *jobs.Job) error {
		needs, err := e.NeedsOf(ctx, j, c.Key)
		if err != nil {
			return err
		}
		roots := rootsOf(j, e.State.Root().ID.String())
		switch {
		case c.JSON:
			return printJSON(out, struct {
				Job   *jobs.Job     `json:"job"`
				Needs []*jobs.Needs `json:"needs"`
				Roots []rootUse     `json:"roots"`
			}{j, needs, roots})
		case c.CSV:
			return j.WriteUses(out, roots[0].ID)
		case c.Key != "":
			return printNeeds(out, j, needs)
		}
		return errors.Join(printInventory(out, j, roots), printNeeds(out, j, needs))
	})
}

// rootUse counts what is sealed under one root.
type rootUse struct {
	ID       string `json:"id"`
	Present  bool   `json:"present"`
	Objects  int64  `json:"objects"`
	Versions int64  `json:"versions"`
}

// rootsOf counts objects by root, the present root first.
func rootsOf(j *jobs.Job, present string) []rootUse {
	all := []rootUse{{ID: present, Present: true}}
	for _, u := range j.Uses {
		if u.Root == "" {
			continue
		}
		i := slices.IndexFunc(all, func(r rootUse) bool { return r.ID == u.Root })
		if i < 0 {
			i = len(all)
			all = append(all, rootUse{ID: u.Root})
		}
		all[i].Objects += u.Objects
		all[i].Versions += u.Versions
	}
	slices.SortFunc(all[1:], func(a, b rootUse) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// String is one line about the root.
func (r rootUse) String() string {
	what := "an old root"
	if r.Present {
		what = "the present root"
	}
	return fmt.Sprintf("root %s, %s, has %d objects and %d older versions", r.ID, what, r.Objects, r.Versions)
}

// printInventory prints the counts.
func printInventory(out io.Writer, j *jobs.Job, roots []rootUse) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "BUCKET\tSCHEME\tKES KEY\tROOT\tOBJECTS\tVERSIONS\tSIZE\tPARTS")
	for _, u := range j.Uses {
		root := u.Root
		if root == roots[0].ID {
			root += "*"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%d\n", u.Bucket, u.Scheme, u.Key, root, u.Objects, u.Versions, humanize.IBytes(uint64(max(u.Bytes, 0))), u.Parts)
	}
	_, _ = fmt.Fprintln(w)
	for _, r := range roots {
		_, _ = fmt.Fprintln(w, r)
	}
	_, _ = fmt.Fprintln(w)
	return w.Flush()
}

// printNeeds prints what needs the keys, and what could not be counted.
func printNeeds(out io.Writer, j *jobs.Job, needs []*jobs.Needs) error {
	for _, n := range needs {
		if _, err := fmt.Fprintln(out, printable(n.String())); err != nil {
			return err
		}
	}
	for _, n := range j.Named {
		if _, err := fmt.Fprintln(out, namedLine(n)); err != nil {
			return err
		}
	}
	return nil
}

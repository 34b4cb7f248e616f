package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
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
uploads, bucket rules and the gateway's root. A key that nothing needs may be deleted in KES. Exit status 1 means that an
object could not be counted.`
}

// Run counts the objects.
func (c *inventoryCommand) Run(ctx context.Context, out io.Writer) error {
	return runJob(ctx, out, &c.jobFlags, &jobs.Job{Kind: jobs.Inventory, Bucket: c.Bucket}, func(e *jobs.Engine, j *jobs.Job) error {
		needs, err := e.NeedsOf(ctx, j, c.Key)
		if err != nil {
			return err
		}
		switch {
		case c.JSON:
			return printJSON(out, struct {
				Job   *jobs.Job     `json:"job"`
				Needs []*jobs.Needs `json:"needs"`
			}{j, needs})
		case c.CSV:
			return writeCSV(out, j)
		}
		return printInventory(out, j, needs, c.Key == "")
	})
}

// columns are those of CSV.
var columns = []string{"bucket", "scheme", "kes_key", "root", "objects", "versions", "uploads", "bytes", "parts"}

func writeCSV(out io.Writer, j *jobs.Job) error {
	w := csv.NewWriter(out)
	if err := w.Write(columns); err != nil {
		return err
	}
	for _, u := range j.Uses {
		row := []string{u.Bucket, u.Scheme, u.Key, u.Root}
		for _, n := range [...]int64{u.Objects, u.Versions, u.Uploads, u.Bytes, u.Parts} {
			row = append(row, strconv.FormatInt(n, 10))
		}
		if err := w.Write(row); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// printInventory prints the counts, unless only one key was asked for, and what
// needs the keys.
func printInventory(out io.Writer, j *jobs.Job, needs []*jobs.Needs, all bool) error {
	if all {
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(w, "BUCKET\tSCHEME\tKES KEY\tROOT\tOBJECTS\tVERSIONS\tSIZE\tPARTS")
		for _, u := range j.Uses {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%d\n", u.Bucket, u.Scheme, u.Key, u.Root, u.Objects, u.Versions, humanize.IBytes(uint64(max(u.Bytes, 0))), u.Parts)
		}
		_, _ = fmt.Fprintln(w)
		if err := w.Flush(); err != nil {
			return err
		}
	}
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

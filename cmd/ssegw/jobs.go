package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"ssegw/proxy/jobs"
	"ssegw/proxy/s3"
	"ssegw/proxy/task"
	"ssegw/proxy/upstream"
)

// defaultParallel is the default of jobFlags.Parallel.
const defaultParallel = 16

// jobFlags are the flags that all commands with a job have.
type jobFlags struct {
	Parallel   int     `name:"parallel" default:"16" help:"Objects to work on at one time."`
	MaxBytes   string  `name:"max-bytes" placeholder:"SIZE" help:"Most bytes of bodies per second, such as 50MiB."`
	MaxObjects float64 `name:"max-objects" placeholder:"N" help:"Most objects per second."`
	JSON       bool    `name:"json" help:"Print the job as JSON at its end."`
}

// settings writes the flags into the settings of a job.
func (f *jobFlags) settings(s *jobs.Settings) (err error) {
	s.Parallel, s.ObjectsRate = f.Parallel, f.MaxObjects
	if f.MaxBytes == "" {
		return nil
	}
	s.BytesRate, err = parseRate(f.MaxBytes)
	return err
}

// parseRate parses the value of --max-bytes.
func parseRate(text string) (int64, error) {
	rate, err := humanize.ParseBytes(strings.TrimSuffix(text, "/s"))
	if err != nil || rate > math.MaxInt64 {
		return 0, fmt.Errorf("%w: --max-bytes: %q is no size, such as 50MiB", errUsage, text)
	}
	return int64(rate), nil
}

// scopeOf splits BUCKET[/PREFIX].
func scopeOf(scope string) (bucket, prefix string, err error) {
	bucket, prefix, _ = strings.Cut(scope, "/")
	if s3.CheckBucket(bucket) != nil {
		return "", "", fmt.Errorf("%w: %q is not BUCKET or BUCKET/PREFIX", errUsage, scope)
	}
	return bucket, prefix, nil
}

// withEngine calls f with an engine on the state of this environment's
// gateways.
func withEngine(ctx context.Context, f func(e *jobs.Engine) error) error {
	return withGateway(ctx, func(g *gateway) error { return f(g.jobs) })
}

// withGateway calls f with a gateway of this environment whose state is open.
// It listens on no address.
func withGateway(ctx context.Context, f func(g *gateway) error) error {
	cfg, err := settings()
	if err != nil {
		return err
	}
	cfg.LogLevel = "error" // the report has what matters
	g, err := newGateway(ctx, cfg, func(bool) error { return errors.ErrUnsupported }, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", errSettings, err)
	}
	defer g.retire()
	g.open()
	if err := g.waitReady(ctx); err != nil {
		return err
	}
	return f(g)
}

// runJob starts a job, or goes on with an equal one that has not ended, and
// stays until it ends. The error is one unless every object was done.
func runJob(ctx context.Context, out io.Writer, flags *jobFlags, j *jobs.Job, report func(e *jobs.Engine, j *jobs.Job) error) error {
	if err := flags.settings(&j.Settings); err != nil {
		return err
	}
	return withEngine(ctx, func(e *jobs.Engine) error {
		j, err := e.Create(ctx, j)
		if errors.Is(err, jobs.ErrInvalid) {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		if err != nil {
			return err
		}
		j, err = follow(ctx, e, j, flags.JSON)
		if err != nil {
			return err
		}
		if report != nil && j.Status == jobs.Finished {
			err = report(e, j)
		} else if flags.JSON {
			err = printJSON(out, j)
		} else {
			err = printJob(out, j)
		}
		if err != nil {
			return err
		}
		return verdict(j)
	})
}

// follow runs a job until it ends. While another process runs the job, follow
// shows how far it is, and takes over if that process is lost.
func follow(ctx context.Context, e *jobs.Engine, j *jobs.Job, quiet bool) (*jobs.Job, error) {
	view := newProgress(ctx, e, j, quiet)
	defer view.close()
	atStop := jobs.Paused
	if j.Kind == jobs.Inventory {
		atStop = jobs.Cancelled // its answer would be about the past
	}
	for {
		now, err := e.Run(ctx, j.ID, atStop, view.observe)
		switch {
		case errors.Is(err, jobs.ErrEnded):
			return now, nil
		case errors.Is(err, upstream.ErrUnavailable): // the state bucket is away
		case !errors.Is(err, jobs.ErrBusy):
			return now, err
		case now != nil:
			view.elsewhere(now)
			if now, err = e.Get(ctx, j.ID); err == nil && now.Status == jobs.Paused {
				return now, nil // by somebody else
			}
		}
		if !task.Pause(ctx, time.Second) {
			return nil, fmt.Errorf("job %s goes on in another process", j.ID)
		}
	}
}

// verdict returns an error for a job that is not all done.
func verdict(j *jobs.Job) error {
	switch {
	case j.Status == jobs.Paused:
		return fmt.Errorf("the job is paused: the same command goes on with it, or \"ssegw jobs resume %s\"", j.ID)
	case j.Status == jobs.Failed:
		return errors.New(j.Error)
	case j.Status != jobs.Finished:
		return fmt.Errorf("the job is %s", j.Status)
	case j.Incomplete() > 0:
		return fmt.Errorf("%d objects failed or were left out", j.Incomplete())
	}
	return nil
}

// printJob prints the report of a job.
func printJob(out io.Writer, j *jobs.Job) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	line("job", "%s", j.ID)
	line("scope", "%s", j.Scope())
	line("status", "%s", j.Status)
	if j.Error != "" {
		line("error", "%s", j.Error)
	}
	line("started", "%s", j.Created.Format(time.RFC3339))
	if !j.Ended.IsZero() {
		line("ended", "%s, after %s", j.Ended.Format(time.RFC3339), j.Ended.Sub(j.Created).Round(time.Second))
	}
	for _, r := range j.Results() {
		t := j.Counts[r]
		line(string(r), "%d objects, %s", t.Objects, humanize.IBytes(uint64(max(t.Bytes, 0))))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, n := range j.Named {
		if _, err := fmt.Fprintln(out, namedLine(n)); err != nil {
			return err
		}
	}
	if more := j.Incomplete() - int64(len(j.Named)); more > 0 {
		if _, err := fmt.Fprintf(out, "and %d more\n", more); err != nil {
			return err
		}
	}
	for _, n := range j.Notes {
		if _, err := fmt.Fprintln(out, printable(n)); err != nil {
			return err
		}
	}
	return nil
}

// namedLine is one line about an object that failed or was left out.
func namedLine(n jobs.Named) string {
	text := fmt.Sprintf("%s: %s", n.Result, n.Key)
	if n.Version != "" {
		text += " (version " + n.Version + ")"
	}
	if n.Why != "" {
		text += ": " + n.Why
	}
	return printable(text)
}

type jobsCommand struct {
	List   jobsListCommand   `cmd:"" default:"withargs" help:"List the jobs (the default)."`
	Show   jobsShowCommand   `cmd:"" help:"Show a job."`
	Pause  jobsPauseCommand  `cmd:"" help:"Stop a job for now."`
	Resume jobsResumeCommand `cmd:"" help:"Let a paused job go on, in a gateway or here (--here)."`
	Cancel jobsCancelCommand `cmd:"" help:"End a job. What it has done stays."`
	Pace   jobsPaceCommand   `cmd:"" help:"Change how fast a job is, also while it runs."`
}

type jobsListCommand struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run lists the jobs, the newest first.
func (c *jobsListCommand) Run(ctx context.Context, out io.Writer) error {
	return withEngine(ctx, func(e *jobs.Engine) error {
		all, err := e.List(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			for _, j := range all {
				j.Settings.Notify.Token = ""
			}
			return printJSON(out, all)
		}
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(w, "JOB\tSCOPE\tSTATUS\tOBJECTS\tFAILED OR LEFT OUT\tSTARTED")
		for _, j := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\n", j.ID, printable(j.Scope()), j.Status, j.Total().Objects, j.Incomplete(), j.Created.Format(time.RFC3339))
		}
		return w.Flush()
	})
}

type jobsShowCommand struct {
	ID   string `arg:"" help:"The job."`
	JSON bool   `name:"json" help:"Print JSON."`
}

// Run shows a job.
func (c *jobsShowCommand) Run(ctx context.Context, out io.Writer) error {
	return withEngine(ctx, func(e *jobs.Engine) error {
		j, err := e.Get(ctx, c.ID)
		if err != nil {
			return err
		}
		j.Settings.Notify.Token = ""
		if c.JSON {
			return printJSON(out, j)
		}
		return printJob(out, j)
	})
}

type jobsPauseCommand struct {
	ID string `arg:"" help:"The job."`
}

// Run pauses a job.
func (c *jobsPauseCommand) Run(ctx context.Context) error {
	return withEngine(ctx, func(e *jobs.Engine) error { return e.Pause(ctx, c.ID) })
}

type jobsCancelCommand struct {
	ID string `arg:"" help:"The job."`
}

// Run cancels a job.
func (c *jobsCancelCommand) Run(ctx context.Context) error {
	return withEngine(ctx, func(e *jobs.Engine) error { return e.Cancel(ctx, c.ID) })
}

type jobsResumeCommand struct {
	ID   string `arg:"" help:"The job."`
	Here bool   `name:"here" help:"Run the job in this process, until it ends."`
}

// Run lets a paused job go on.
func (c *jobsResumeCommand) Run(ctx context.Context, out io.Writer) error {
	return withEngine(ctx, func(e *jobs.Engine) error {
		if err := e.Resume(ctx, c.ID); err != nil || !c.Here {
			return err
		}
		j, err := e.Get(ctx, c.ID)
		if err != nil {
			return err
		}
		if j, err = follow(ctx, e, j, false); err != nil {
			return err
		}
		if err := printJob(out, j); err != nil {
			return err
		}
		return verdict(j)
	})
}

type jobsPaceCommand struct {
	ID         string   `arg:"" help:"The job."`
	Parallel   *int     `name:"parallel" placeholder:"N" help:"Objects to work on at one time; 0: as many as usual."`
	MaxBytes   *string  `name:"max-bytes" placeholder:"SIZE" help:"Most bytes of bodies per second, such as 50MiB; 0: no limit."`
	MaxObjects *float64 `name:"max-objects" placeholder:"N" help:"Most objects per second; 0: no limit."`
}

// Run changes the pace of a job.
func (c *jobsPaceCommand) Run(ctx context.Context) error {
	p := jobs.Pace{Parallel: c.Parallel, ObjectsRate: c.MaxObjects}
	if c.MaxBytes != nil {
		rate, err := parseRate(*c.MaxBytes)
		if err != nil {
			return err
		}
		p.BytesRate = &rate
	}
	if p == (jobs.Pace{}) {
		return fmt.Errorf("%w: name --parallel, --max-bytes or --max-objects", errUsage)
	}
	return withEngine(ctx, func(e *jobs.Engine) error {
		err := e.SetPace(ctx, c.ID, p)
		if errors.Is(err, jobs.ErrInvalid) {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		return err
	})
}

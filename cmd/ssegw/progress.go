package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"ssegw/proxy/jobs"
	"ssegw/proxy/task"
)

// progressEvery is the time between two lines where there is no terminal.
const progressEvery = 10 * time.Second

// progress shows how far a job is: a bar on a terminal, otherwise lines. What
// fails or is left out has a line of its own at once.
type progress struct {
	out   io.Writer // for lines; nil: none
	bars  *mpb.Progress
	bar   *mpb.Bar
	stop  context.CancelFunc
	ended sync.WaitGroup

	mu       sync.Mutex
	done     jobs.Tally
	bad      int64
	expected jobs.Tally
}

// newProgress shows the progress of a job on standard error, which quiet turns
// off.
func newProgress(ctx context.Context, e *jobs.Engine, j *jobs.Job, quiet bool) *progress {
	p := &progress{}
	p.set(j)
	ctx, p.stop = context.WithCancel(ctx)
	switch {
	case quiet:
		return p
	case term.IsTerminal(int(os.Stderr.Fd())):
		p.bars = mpb.NewWithContext(ctx, mpb.WithOutput(os.Stderr), mpb.WithAutoRefresh())
		p.bar = p.bars.AddBar(0,
			mpb.PrependDecorators(decor.Name(string(j.Kind)+" "), decor.CountersNoUnit("%d / %d objects ")),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return p.text() }), decor.AverageETA(decor.ET_STYLE_GO, decor.WCSyncSpace)))
		p.out = p.bars
	default:
		p.out = os.Stderr
	}
	p.ended.Go(func() { p.follow(ctx, e, j.ID) })
	return p
}

// set takes over the counts of a job.
func (p *progress) set(j *jobs.Job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.bad, p.expected = j.Total(), j.Incomplete(), j.Expected
}

// text is the part of the progress without the number of objects.
func (p *progress) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := humanize.IBytes(uint64(max(p.done.Bytes, 0)))
	if p.bad > 0 {
		text += fmt.Sprintf(", %d failed or left out", p.bad)
	}
	return text
}

// follow learns how many objects there are, and prints lines where there is no
// bar.
func (p *progress) follow(ctx context.Context, e *jobs.Engine, id string) {
	lined := time.Now()
	for task.Pause(ctx, 2*time.Second) {
		if j, err := e.Get(ctx, id); err == nil {
			p.mu.Lock()
			p.expected = j.Expected
			p.mu.Unlock()
		}
		p.show()
		if p.bar == nil && time.Since(lined) >= progressEvery {
			lined = time.Now()
			p.mu.Lock()
			done, expected := p.done.Objects, p.expected.Objects
			p.mu.Unlock()
			fmt.Fprintf(p.out, "%d of %d objects, %s\n", done, max(done, expected), p.text())
		}
	}
}

// show draws the bar.
func (p *progress) show() {
	if p.bar == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bar.SetTotal(max(p.expected.Objects, p.done.Objects)+1, false) // never complete before close
	p.bar.SetCurrent(p.done.Objects)
}

// observe takes in what happened to one object.
func (p *progress) observe(e jobs.Event) {
	p.mu.Lock()
	p.done.Objects++
	p.done.Bytes += e.Bytes
	bad := e.Result.IsIncomplete()
	if bad {
		p.bad++
	}
	p.mu.Unlock()
	if bad && p.out != nil {
		n := jobs.Named{Result: e.Result, Key: e.Key, Version: e.Version}
		if e.Err != nil {
			n.Why = e.Err.Error()
		}
		_, _ = fmt.Fprintln(p.out, namedLine(n))
	}
}

// elsewhere shows the progress of a job that another process runs.
func (p *progress) elsewhere(j *jobs.Job) {
	p.set(j)
	p.show()
}

// close ends the display.
func (p *progress) close() {
	p.show()
	p.stop()
	p.ended.Wait()
	if p.bars != nil {
		p.bar.Abort(false)
		p.bars.Wait()
	}
}

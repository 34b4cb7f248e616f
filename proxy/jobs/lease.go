package jobs

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"ssegw/proxy/state"
	"ssegw/proxy/task"
)

// A process that runs a job writes the job's document every Times.Beat. Another
// process that has seen the same state of the document for Times.Lapse takes
// the job over. Only durations count, so clocks need not agree.

// sighting is since when this process has seen a state of a document.
type sighting struct {
	etag    string
	since   time.Time
	settled bool // the job needs no process in this state
}

// saw records a state of a document, and returns since when it has not changed.
func (e *Engine) saw(name, etag string) sighting {
	etag = strings.Trim(etag, `"`)
	if v, ok := e.seen.Load(name); ok && v.(sighting).etag == etag {
		return v.(sighting)
	}
	s := sighting{etag: etag, since: time.Now()}
	e.seen.Store(name, s)
	return s
}

// isLapsed reports whether the process that runs a job is lost.
func (e *Engine) isLapsed(d *state.Document) bool {
	return time.Since(e.saw(d.Name, d.ETag).since) >= e.Times.Lapse
}

// maxServed is how many jobs a process of Serve runs at one time.
const maxServed = 4

// Serve runs the jobs of Begin, and those that wait or have lost their process,
// until ctx ends. Jobs that run then are left to other processes.
func (e *Engine) Serve(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	places := make(chan struct{}, maxServed)
	begin := func(id string) {
		select {
		case places <- struct{}{}:
			running.Go(func() {
				defer func() { <-places }()
				e.guard("running a job", func() { e.serve(ctx, id) })
			})
		default: // a later look finds it
		}
	}
	tick := time.NewTicker(e.Times.Poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-e.begun:
			begin(id)
		case <-tick.C:
			if e.State.Ready() != nil {
				continue
			}
			for _, id := range e.orphans(ctx) {
				begin(id)
			}
		}
	}
}

// Begin lets Serve run a job at once. If this process runs many jobs already,
// another one takes it over.
func (e *Engine) Begin(id string) {
	select {
	case e.begun <- id:
	default:
	}
}

// serve runs a job until it ends or ctx does.
func (e *Engine) serve(ctx context.Context, id string) {
	e.Log.Info("job begun", zap.String("job", id))
	_, err := e.Run(ctx, id, Waiting, nil)
	if err != nil && !errors.Is(err, ErrBusy) && !errors.Is(err, ErrEnded) {
		e.Log.Warn("job not run", zap.String("job", id), zap.Error(err))
	}
}

// orphans returns the jobs that no process runs although one should.
func (e *Engine) orphans(ctx context.Context) (ids []string) {
	found, err := e.State.Documents().List(ctx, Prefix)
	if err != nil {
		e.Log.Warn("jobs not listed", zap.Error(err))
		return nil
	}
	e.seen.Range(func(name, _ any) bool {
		if _, ok := found[name.(string)]; !ok {
			e.seen.Delete(name)
		}
		return true
	})
	for name, etag := range found {
		s := e.saw(name, etag)
		if s.settled || time.Since(s.since) < e.Times.Lapse {
			continue
		}
		id := strings.TrimPrefix(name, Prefix)
		d, j, err := e.read(ctx, id)
		switch {
		case err != nil:
			e.Log.Warn("job not read", zap.String("job", id), zap.Error(err))
		case j.Status.Ended(), j.Status == Paused:
			e.seen.Store(name, sighting{strings.Trim(d.ETag, `"`), time.Now(), true})
		case e.isLapsed(d) && !e.isRunning(id):
			ids = append(ids, id)
		}
	}
	return ids
}

// isRunning reports whether this process runs a job.
func (e *Engine) isRunning(id string) bool {
	_, ok := e.runs.Load(id)
	return ok
}

// guard runs f and logs a panic in it.
func (e *Engine) guard(doing string, f func()) {
	err := task.Guard(func() error { f(); return nil })
	if p := (*task.PanicError)(nil); errors.As(err, &p) {
		e.Log.Error("panic", zap.String("doing", doing), zap.Error(p), zap.ByteString("stack", p.Stack))
	}
}

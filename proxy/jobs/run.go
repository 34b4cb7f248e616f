package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/proxy/task"
)

// Event is what happened to one object.
type Event struct {
	Key, Version string
	Result       Result
	Bytes        int64 // plaintext bytes
	Err          error
}

// Observer is told of each object, from several goroutines. It may be nil.
type Observer func(Event)

// Causes of the end of a run before the job is done.
var (
	errLost   = errors.New("jobs: another process took the job over")
	errWanted = errors.New("jobs: asked to stop")
)

// run is the work of this process on one job.
type run struct {
	*Engine
	observe Observer
	pace    *pace
	stop    context.CancelCauseFunc

	writing sync.Mutex // held while the document is written
	doc     *state.Document
	saved   time.Time // when the document was last written

	failed sync.Map // by key, why encrypt has not sealed an object

	mu   sync.Mutex
	job  *Job
	page tally // of the page that is not done yet
}

// tally is what a page adds to a job.
type tally struct {
	counts map[Result]Tally
	named  []Named
	uses   uses
}

// Run claims a job and works on it until the job ends. If ctx ends first, the
// job gets the status atStop, Waiting or Paused. Run returns the job as it left
// it. The error is ErrBusy while another process runs the job or after one took
// it over, and ErrEnded if the job has ended before. A job that Failed is no
// error.
func (e *Engine) Run(ctx context.Context, id string, atStop Status, observe Observer) (*Job, error) {
	if _, isRunning := e.runs.LoadOrStore(id, true); isRunning {
		j, err := e.Get(ctx, id)
		return j, cmp.Or(err, fmt.Errorf("%w: %s", ErrBusy, id))
	}
	defer e.runs.Delete(id)
	d, j, err := e.claim(ctx, id)
	if err != nil {
		return j, err
	}
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r := &run{Engine: e, observe: observe, stop: stop, doc: d, job: j, saved: time.Now(), pace: newPace(&j.Settings)}
	var beats sync.WaitGroup
	beats.Go(func() { e.guard("writing a job", func() { r.beat(working) }) })
	beats.Go(func() { e.guard("counting objects", func() { r.expect(working) }) })
	err = task.Guard(func() error { return r.work(working) })
	cause := context.Cause(working)
	stop(nil)
	beats.Wait()
	return r.finish(context.WithoutCancel(ctx), atStop, err, cause)
}

// claim makes this process the one that runs the job.
func (e *Engine) claim(ctx context.Context, id string) (*state.Document, *Job, error) {
	d, j, err := e.read(ctx, id)
	switch {
	case err != nil:
		return nil, nil, err
	case j.Status.Ended():
		return d, j, fmt.Errorf("%w: %s is %s", ErrEnded, id, j.Status)
	case j.Worker != "" && j.Worker != e.id && !e.isLapsed(d):
		return d, j, fmt.Errorf("%w: %s", ErrBusy, id)
	}
	if err := e.check(j); err != nil {
		return d, j, err
	}
	j.Status, j.Worker, j.Ongoing = Running, e.id, nil
	err = e.write(ctx, d, j)
	if err == nil && !e.Upstream.Capabilities().Put.Honoured() {
		err = e.confirmClaim(ctx, d)
	}
	if errors.Is(err, state.ErrOvertaken) {
		return d, j, fmt.Errorf("%w: %s", ErrBusy, id)
	}
	return d, j, err
}

// confirmClaim makes sure that this process has a job, at a store without
// conditional writes: the last of several that claimed it has it.
func (e *Engine) confirmClaim(ctx context.Context, d *state.Document) error {
	if !task.Pause(ctx, e.Times.Poll/2) {
		return context.Cause(ctx)
	}
	now, err := e.State.Documents().Read(ctx, d.Name, maxDocument)
	if err == nil && now.ETag != d.ETag {
		err = state.ErrOvertaken
	}
	return err
}

// work runs the passes of the job that are not done yet.
func (r *run) work(ctx context.Context) error {
	var passes []pass
	err := r.retry(ctx, func() (err error) {
		passes, err = r.passes(ctx)
		return err
	})
	if err != nil {
		return err
	}
	for at := r.position(); at.Pass < len(passes); at = r.position() {
		p := passes[at.Pass]
		if err := r.walk(ctx, p); err != nil {
			return err
		}
		if p.done != nil {
			if err := r.retry(ctx, func() error { return p.done(ctx) }); err != nil {
				return err
			}
		}
		r.mu.Lock()
		r.job.Position = Position{Pass: at.Pass + 1}
		r.mu.Unlock()
		if err := r.save(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) position() Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.job.Position
}

// pass is one look at all objects of the scope.
type pass struct {
	listing
	object func(ctx context.Context, e *s3.Entry) outcome
	done   func(ctx context.Context) error // after the last page; nil: nothing to do. It may run again
}

// walk works through the rest of a pass, page by page.
func (r *run) walk(ctx context.Context, p pass) error {
	for {
		var page *s3.Listing
		err := r.retry(ctx, func() (err error) {
			page, err = p.next(ctx, r.position())
			return err
		})
		if err != nil {
			return err
		}
		g, working := task.NewGroup(ctx, maxParallel)
		for i := range page.Entries {
			e := &page.Entries[i]
			if r.pace.begin(working) != nil {
				break // g.Wait has the error
			}
			g.Go(func() error {
				defer r.pace.end()
				if err := r.pace.object(working); err != nil {
					return err
				}
				return r.count(e, r.persist(working, func() outcome { return p.object(working, e) }), working.Err())
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		r.turn(page)
		if err := r.save(ctx); err != nil {
			return err
		}
		if !page.IsTruncated {
			return nil
		}
	}
}

// retry repeats f while the store or KES is away.
func (r *run) retry(ctx context.Context, f func() error) error {
	o := r.persist(ctx, func() outcome { return outcome{err: f()} })
	return o.err
}

// turn adds the counts of a page that is done to the job.
func (r *run) turn(page *s3.Listing) {
	r.mu.Lock()
	defer r.mu.Unlock()
	j := r.job
	if j.Counts == nil {
		j.Counts = map[Result]Tally{}
	}
	for result, t := range r.page.counts {
		all := j.Counts[result]
		j.Counts[result] = Tally{all.Objects + t.Objects, all.Bytes + t.Bytes}
	}
	j.Named = append(j.Named, r.page.named[:min(len(r.page.named), maxNamed-len(j.Named))]...)
	j.Uses = r.page.uses.addTo(j.Uses)
	r.page, j.Ongoing = tally{}, nil
	if n := len(page.Entries); n > 0 {
		j.Position.Key, j.Position.Version = page.Entries[n-1].Key, page.Entries[n-1].VersionID
	}
}

// count counts an outcome. If the run has ended, the outcome may not be the
// object's, and ended is returned.
func (r *run) count(e *s3.Entry, o outcome, ended error) error {
	if ended != nil && o.err != nil {
		return ended
	}
	if o.result == "" {
		return nil // nothing to count
	}
	r.mu.Lock()
	if r.page.counts == nil {
		r.page.counts = map[Result]Tally{}
	}
	t := r.page.counts[o.result]
	r.page.counts[o.result] = Tally{t.Objects + 1, t.Bytes + o.bytes}
	if o.result.IsIncomplete() && len(r.job.Named)+len(r.page.named) < maxNamed {
		n := Named{Result: o.result, Key: e.Key, Version: e.VersionID}
		if o.err != nil {
			n.Why = reason(o.err)
		}
		r.page.named = append(r.page.named, n)
	}
	r.mu.Unlock()
	if r.observe != nil {
		r.observe(Event{e.Key, e.VersionID, o.result, o.bytes, o.err})
	}
	return nil
}

const (
	maxTries = 5                // at an object, while store and KES answer otherwise
	maxRetry = 30 * time.Second // between two of them
)

// persist repeats the work on an object while the store or KES is away. It
// gives up on an object that fails although both answer.
func (r *run) persist(ctx context.Context, f func() outcome) outcome {
	set := &r.job.Settings
	pause, most := cmp.Or(set.Delay, r.Times.Retry), cmp.Or(set.Attempts, maxTries)
	for tries := 1; ; {
		var o outcome
		if err := task.Guard(func() error { o = f(); return nil }); err != nil {
			return outcome{result: ResultFailed, err: err}
		}
		if o.err == nil || tries >= most || set.Attempts == 0 && !isTransient(o.err) {
			return o
		}
		if !task.Pause(ctx, pause) {
			return o
		}
		pause = min(2*pause, maxRetry)
		if r.isHealthy(ctx) {
			tries++
		}
	}
}

// isHealthy reports whether the store and KES answer.
func (r *run) isHealthy(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return r.State.CheckUpstream(ctx) == nil && !isKMSDown(r.KMS.TryGenerate(ctx, r.KMS.DefaultKey()))
}

// expect counts the objects of the scope, which tells how long the job takes. A
// failure leaves that unknown.
func (r *run) expect(ctx context.Context) {
	r.mu.Lock()
	known := r.job.Expected.Objects > 0
	l := r.listing(false)
	r.mu.Unlock()
	if known || r.job.Bucket == "" {
		return
	}
	var all Tally
	for at := (Position{}); ; {
		page, err := l.next(ctx, at)
		if err != nil {
			return
		}
		for i := range page.Entries {
			all.Objects++
			all.Bytes += page.Entries[i].Size
		}
		if !page.IsTruncated {
			break
		}
		at.Key = page.Entries[len(page.Entries)-1].Key
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.job.Expected = all
}

// beat writes the job from time to time until ctx ends.
func (r *run) beat(ctx context.Context) {
	for task.Pause(ctx, r.Times.Beat) {
		if err := r.save(ctx); err != nil {
			r.Log.Warn("job not written", zap.String("job", r.job.ID), zap.Error(err))
		}
	}
}

// save writes the job. It ends the run if the job is another process's now, if
// it was not written for so long that it may be, or if the job is to stop.
func (r *run) save(ctx context.Context) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	if !r.Upstream.Capabilities().Put.Honoured() { // the write would not tell what others wrote
		if err := r.merge(ctx); errors.Is(err, errLost) {
			r.stop(errLost)
			return err
		}
	}
	for {
		r.mu.Lock()
		r.job.Ongoing = r.page.counts
		err := r.job.encodeNext(r.doc)
		r.mu.Unlock()
		if err != nil {
			return err
		}
		err = r.State.Documents().Write(ctx, r.doc)
		if errors.Is(err, state.ErrOvertaken) {
			err = r.merge(ctx)
			if err == nil {
				continue
			}
		}
		switch {
		case err == nil:
			r.saved = time.Now()
		case errors.Is(err, errLost):
			r.stop(errLost)
			return err
		case time.Since(r.saved) >= r.Times.Lapse:
			r.stop(errLost)
			return err
		default:
			return nil // the next beat tries again
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.job.Wanted != "" {
			r.stop(errWanted)
			return errWanted
		}
		return nil
	}
}

// merge takes over what others wrote into the document of a job that is still
// this process's.
func (r *run) merge(ctx context.Context) error {
	d, j, err := r.read(ctx, r.job.ID)
	if errors.Is(err, ErrNoJob) {
		return fmt.Errorf("%w: its document is gone", errLost)
	}
	if err != nil {
		return err
	}
	if j.Worker != r.id {
		return errLost
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doc.ETag, r.job.Wanted, r.job.Beat = d.ETag, j.Wanted, max(r.job.Beat, j.Beat)
	if r.job.Settings.takePace(&j.Settings) {
		r.pace.set(&r.job.Settings)
	}
	return nil
}

// finish writes the last state of the run.
func (r *run) finish(ctx context.Context, atStop Status, err, cause error) (*Job, error) {
	j := r.job
	j.Ongoing = nil
	switch {
	case errors.Is(cause, errLost) || errors.Is(err, errLost):
		return j, fmt.Errorf("%w: %w", ErrBusy, errLost)
	case errors.Is(cause, errWanted) || errors.Is(err, errWanted):
		j.end(j.Wanted)
	case cause != nil:
		j.end(atStop)
	case err != nil:
		j.Error = reason(err)
		j.end(Failed)
	default:
		j.end(Finished)
	}
	for {
		err := r.write(ctx, r.doc, j)
		if errors.Is(err, state.ErrOvertaken) {
			if err = r.mergeLast(ctx); err == nil {
				continue
			}
		}
		if err == nil && j.Status.Ended() && j.Settings.Notify.Endpoint != "" {
			r.notify(ctx, j)
		}
		r.Log.Info("job stopped", zap.String("job", j.ID), zap.String("status", string(j.Status)), zap.Error(err))
		return j, err
	}
}

// mergeLast is merge for a run that is over: the wishes of others come too
// late.
func (r *run) mergeLast(ctx context.Context) error {
	wanted := r.job.Wanted
	err := r.merge(ctx)
	r.job.Wanted = wanted
	return err
}
